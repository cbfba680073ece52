use super::*;
use crate::store::{Profile, User};
use wasmux_sdk::{Recorder, TestRequest};

fn serve(request: TestRequest) -> Recorder {
    Recorder::serve(serve_http, request)
}

fn profile(name: &str, email: &str) -> Profile {
    Profile { name: name.into(), email: email.into() }
}

#[test]
fn lists_and_searches() {
    let all: Vec<User> = serve(Request::get("/users/")).json();
    assert_eq!(all.len(), 3);
    let found: Vec<User> = serve(Request::get("/users/?q=grace")).json();
    assert_eq!(found[0].profile.name, "Grace Hopper");
}

#[test]
fn shows_one() {
    let response = serve(Request::get("/users/2"));
    assert_eq!(response.header("content-type"), "application/json");
    assert_eq!(response.json::<User>().profile.email, "grace@example.com");
}

#[test]
fn creates_with_a_location() {
    let new = profile("Barbara Liskov", "barbara@example.com");
    let response = serve(Request::post("/users/").json(&new));
    assert_eq!(response.status(), 201);
    assert_eq!(response.header("location"), "/users/4");
    assert_eq!(response.json::<User>(), User { id: 4, profile: new });
}

#[test]
fn replaces_and_deletes() {
    let response = serve(Request::put("/users/1").json(&profile("Ada King", "ada@example.com")));
    assert_eq!(response.json::<User>().profile.name, "Ada King");
    let response = serve(Request::delete("/users/1"));
    assert_eq!((response.status().as_u16(), response.body()), (204, &b""[..]));
}

#[test]
fn every_refusal_is_json_and_says_why() {
    let table = [
        (Request::get("/users/nine"), 400, "the id must be a number"),
        (Request::get("/users/9"), 404, "no such user"),
        (Request::delete("/users/9"), 404, "no such user"),
        (Request::post("/users/").body("name=x"), 415, "send application/json"),
        (Request::post("/users/").header("content-type", "application/json").body("{"), 400, "invalid JSON"),
        (Request::post("/users/").json(&"x".repeat(70_000)), 413, "request body too large"),
        (Request::post("/users/").json(&profile("Ada", "ada@example.com")), 409, "taken"),
        (Request::put("/users/1").json(&profile(" ", "ada")), 422, "must be an e-mail address"),
    ];
    for (request, status, text) in table {
        let response = serve(request);
        assert_eq!(response.status(), status, "{}", response.text());
        assert_eq!(response.header("content-type"), "application/json");
        assert!(response.text().contains(text), "{}", response.text());
    }
}

#[test]
fn the_mux_refuses_methods_and_paths() {
    let response = serve(Request::patch("/users/1"));
    assert_eq!(response.status(), 405);
    assert_eq!(response.header("allow"), "DELETE, GET, HEAD, PUT");
    assert_eq!(serve(Request::get("/users/1/name")).status(), 404);
    assert_eq!(serve(Request::get("/users")).header("location"), "/users/");
}
