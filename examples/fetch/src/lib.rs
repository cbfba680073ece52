//! Run with: cargo run --release -- serve
//! Then: curl http://localhost:8080/fetch/1
//!
//! Asks two others at the same time, a user's record from one and notes from the other, and merges their JSON. The record is
//! needed; notes are a plus: when they are late or fail, the answer goes without them.
//!
//! In the sample deployment both are handlers beside this one, called without a socket. With other values in `config`, and
//! their hosts in `outbound`, they are servers anywhere.

use std::time::Duration;

use serde_json::{Value, json};
use wasmux_sdk::{
    Error, Request, ResponseWriter, Result, StatusCode,
    client::{self, CallError},
    config,
};

/// Nobody waits longer for either.
const PATIENCE: Duration = Duration::from_millis(500);

#[wasmux_sdk::handler]
fn serve_http(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    let id: u32 =
        r.path_value("id").parse().map_err(|_| Error::bad_request("the id of a user is a number"))?;
    let base = |name, default: &str| config::get(name).unwrap_or_else(|| default.to_owned());
    let users = base("USERS", "http://users.handler/users");
    let notes = base("NOTES", "http://notes.handler/notes");

    // Both are under way before either is waited for.
    let user = client::request("GET", &format!("{users}/{id}")).timeout(PATIENCE).start()?;
    let notes = client::request("GET", &format!("{notes}/?tag=user-{id}")).timeout(PATIENCE).start()?;

    let user = user.wait()?;
    match user.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return wasmux_sdk::error(w, "there is no such user", StatusCode::NOT_FOUND),
        status => return Err(Error::new(StatusCode::BAD_GATEWAY, format!("users: {status}"))),
    }
    let user: Value = user.json()?;
    let notes: Result<Value, CallError> = notes.wait().and_then(client::Response::json);
    let merged = match notes {
        Ok(notes) => json!({ "user": user, "notes": notes }),
        Err(error) => {
            wasmux_sdk::log::warn!("without notes: {error}");
            json!({ "user": user, "notes": null })
        }
    };
    w.json(&merged)
}

#[cfg(test)]
mod tests {
    use wasmux_sdk::{Recorder, client::Reply};

    use super::*;

    fn fetch(id: &str, notes: impl Fn() -> Reply + 'static) -> Recorder {
        let request = Request::get("/").path_value("id", id).upstream(move |call| match call.url() {
            "http://users.handler/users/1" => Reply::json(&json!({ "name": "Ada" })),
            "http://notes.handler/notes/?tag=user-1" => notes(),
            "http://users.handler/users/3" => Reply::failure(),
            _ => Reply::status(404),
        });
        Recorder::serve(serve_http, request)
    }

    #[test]
    fn both_are_merged() {
        let response = fetch("1", || Reply::json(&json!(["milk"])));
        assert_eq!(response.status(), 200);
        assert_eq!(response.json::<Value>(), json!({ "user": { "name": "Ada" }, "notes": ["milk"] }));
    }

    #[test]
    fn notes_may_be_missing() {
        for reply in [Reply::timeout, Reply::failure, || Reply::text("no JSON")] {
            let response = fetch("1", reply);
            assert_eq!(response.json::<Value>(), json!({ "user": { "name": "Ada" }, "notes": null }));
        }
    }

    #[test]
    fn a_user_must_be_there() {
        assert_eq!(fetch("2", Reply::failure).status(), 404);
        assert_eq!(fetch("3", Reply::failure).status(), 502);
        assert_eq!(fetch("x", Reply::failure).status(), 400);
    }
}
