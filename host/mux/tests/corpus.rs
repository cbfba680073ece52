//! Plays the cases that real Go made: `tests/conformance/mux-corpus.jsonl` at the root of the repository.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::Value;
use wasmux_mux::{Found, InsertError, Mux, Target};

const CORPUS: &str = include_str!("../../../tests/conformance/mux-corpus.jsonl");

#[test]
fn agrees_with_go() {
    let mut failures = Vec::new();
    let mut count = 0;
    for (number, line) in CORPUS.lines().enumerate() {
        let case: Value = serde_json::from_str(line).unwrap();
        let mut mux = Mux::new();
        for pattern in case["register"].as_array().unwrap() {
            let (text, expected) = (text(pattern, "pattern"), text(pattern, "result"));
            let actual = match mux.insert(text, ()) {
                Ok(()) => "ok",
                Err(InsertError::Conflict(_)) => "conflict",
                Err(InsertError::Pattern(_)) => "invalid",
            };
            if actual != expected {
                failures.push(format!("line {}: {text}: {actual}, not {expected}", number + 1));
            }
        }
        for request in case["requests"].as_array().unwrap() {
            count += 1;
            let actual = answer(&mux, request);
            let mut expected = request.clone();
            for key in ["method", "target", "host"] {
                expected.as_object_mut().unwrap().remove(key);
            }
            if actual != expected {
                failures.push(format!("line {}: {request}: {actual}", number + 1));
            }
        }
    }
    assert!(count > 5000, "the corpus is incomplete");
    assert!(
        failures.is_empty(),
        "{} failures:\n{}",
        failures.len(),
        failures[..failures.len().min(40)].join("\n")
    );
}

/// What the mux makes of a request, in the corpus's form.
fn answer(mux: &Mux<()>, request: &Value) -> Value {
    let method = text(request, "method");
    let Ok(target) = Target::parse(method, text(request, "target")) else {
        return serde_json::json!({ "status": 400 });
    };
    match mux.find(&target.request(method, text(request, "host"))) {
        Found::Match(found) => {
            let mut answer = serde_json::json!({ "status": 200, "pattern": found.pattern().as_str() });
            let values: serde_json::Map<_, _> = found
                .values()
                .map(|(name, value)| (name.to_owned(), String::from_utf8_lossy(&value).into()))
                .collect();
            if !values.is_empty() {
                answer["values"] = values.into();
            }
            answer
        }
        Found::Redirect(redirect) => serde_json::json!({ "status": 307, "location": redirect.location() }),
        Found::MethodNotAllowed(allow) => serde_json::json!({ "status": 405, "allow": allow.to_string() }),
        Found::NotFound => serde_json::json!({ "status": 404 }),
        Found::BadRequest => serde_json::json!({ "status": 400 }),
    }
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap()
}
