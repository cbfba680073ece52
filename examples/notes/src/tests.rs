use std::{cell::RefCell, rc::Rc};

use wasmux_sdk::sql::{Answer, Error, ErrorKind, Value};
use wasmux_sdk::{Recorder, TestRequest};

use super::*;
use crate::store::{Note, Text};

/// What was asked of the database, in short: the first words of each statement, and its values.
type Asked = Rc<RefCell<Vec<(String, Vec<Value>)>>>;

/// Serves a request on a database that has one note.
fn serve(request: TestRequest) -> (Recorder, Vec<(String, Vec<Value>)>) {
    let asked = Asked::default();
    let seen = Rc::clone(&asked);
    let request = request.sql("notes", move |statement, values| {
        let words: Vec<_> = statement.split_whitespace().take(3).collect();
        let words = words.join(" ");
        seen.borrow_mut().push((words.clone(), values.to_vec()));
        let is_first = values.last() == Some(&1.into());
        Ok(match &*words {
            "SELECT id, title," if is_first || statement.contains("LIMIT") => {
                Answer::rows(["id", "title", "body"], [[1.into(), "Shopping".into(), "Milk".into()]])
            }
            "SELECT tag FROM" => Answer::rows(["tag"], [["home".into()]]),
            "INSERT INTO notes" if values[0] == "Shopping".into() => {
                return Err(Error::new(ErrorKind::Unique, "UNIQUE constraint failed: notes.title"));
            }
            "INSERT INTO notes" => Answer::rows(["id"], [[2.into()]]),
            "UPDATE notes SET" | "DELETE FROM notes" => Answer::changed(u64::from(is_first)),
            _ => Answer::default(),
        })
    });
    let response = Recorder::serve(serve_http, request);
    let asked = asked.take();
    (response, asked)
}

fn text(title: &str, tags: &[&str]) -> Text {
    Text { title: title.into(), body: "Milk".into(), tags: tags.iter().map(|&tag| tag.into()).collect() }
}

fn words(asked: &[(String, Vec<Value>)]) -> Vec<&str> {
    asked.iter().map(|(words, _)| words.as_str()).collect()
}

#[test]
fn lists_and_shows() {
    let (response, asked) = serve(Request::get("/notes/?tag=home"));
    assert_eq!(response.json::<Vec<Note>>(), [Note { id: 1, text: text("Shopping", &["home"]) }]);
    assert_eq!(asked[0].1, ["home".into(), 100.into()]);
    let (response, _) = serve(Request::get("/notes/1"));
    assert_eq!(response.json::<Note>().text.title, "Shopping");
}

#[test]
fn creates_in_a_transaction() {
    let (response, asked) = serve(Request::post("/notes/").json(&text("Garden", &["home", "spring"])));
    assert_eq!(response.status(), 201, "{}", response.text());
    assert_eq!(response.header("location"), "/notes/2");
    let wanted = ["BEGIN", "INSERT INTO notes", "INSERT INTO tags", "INSERT INTO tags", "COMMIT"];
    assert_eq!(words(&asked), wanted);
    assert_eq!(asked[3].1, [2.into(), "spring".into()]);
}

#[test]
fn a_title_that_is_taken_changes_nothing() {
    let (response, asked) = serve(Request::post("/notes/").json(&text("Shopping", &["home"])));
    assert_eq!(response.status(), 409);
    assert_eq!(words(&asked), ["BEGIN", "INSERT INTO notes", "ROLLBACK"]);
}

#[test]
fn replaces_and_deletes() {
    let (response, asked) = serve(Request::put("/notes/1").json(&text("Garden", &[])));
    assert_eq!(response.json::<Note>().text.title, "Garden");
    assert_eq!(words(&asked), ["BEGIN", "UPDATE notes SET", "DELETE FROM tags", "COMMIT"]);
    assert_eq!(serve(Request::delete("/notes/1")).0.status(), 204);
}

#[test]
fn every_refusal_is_json_and_says_why() {
    let table = [
        (Request::get("/notes/one"), 400, "the id must be a number"),
        (Request::get("/notes/9"), 404, "no such note"),
        (Request::put("/notes/9").json(&text("Garden", &[])), 404, "no such note"),
        (Request::delete("/notes/9"), 404, "no such note"),
        (Request::post("/notes/").json(&text(" ", &[])), 422, "a note has a title"),
        (Request::post("/notes/").header("content-type", "application/json").body("{"), 400, "invalid JSON"),
        (Request::post("/notes/").json(&text(&"x".repeat(70_000), &[])), 413, "too large"),
    ];
    for (request, status, wanted) in table {
        let (response, _) = serve(request);
        assert_eq!(response.status(), status, "{}", response.text());
        assert_eq!(response.header("content-type"), "application/json");
        assert!(response.text().contains(wanted), "{}", response.text());
    }
}
