//! The `serve_http` ABI, as guest-sdk/abi/ABI.md specifies it: every import, used well and in every wrong way.
//!
//! One hand-written guest (`tests/guests/abi/caller.wat`) makes the calls that a script tells it to, and logs what they
//! returned; so a case is a line: the script, the results, the response.

mod head;
mod log;
mod memory;
mod modules;
mod request;
mod respond;
mod script;
mod stream;
mod timeout;

use std::sync::atomic::{AtomicU32, Ordering};

use script::Script;

use crate::support::{Response, Server, Site};

/// The guest on several patterns, with different limits.
fn caller() -> Server {
    caller_with_log("info")
}

fn caller_with_log(level: &'static str) -> Server {
    let routes = r#"
        [handlers]
        caller = { wasm = "caller.wat" }
        small = { wasm = "caller.wat", limits = { request_body = "10B", response_body = "10B" } }
        finish = { wasm = "caller.wat", on_disconnect = "finish" }
        [routes]
        "/call/{script}" = "caller"
        "POST /call/{script}/{name}/{rest...}" = "caller"
        "/small/{script}" = "small"
        "/finish/{script}" = "finish"
    "#;
    Site::new(routes).guest("abi/caller").log_level(level).serve()
}

/// A request that makes the guest follow a script.
struct Call<'s> {
    server: &'s Server,
    method: &'static str,
    path: String,
    fields: Vec<String>,
    id: String,
}

impl<'s> Call<'s> {
    fn new(server: &'s Server, script: Script) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = format!("call-{}.", COUNT.fetch_add(1, Ordering::Relaxed));
        let path = format!("/call/{}", script.encode());
        Self { server, method: "GET", path, fields: vec![format!("X-Request-Id: {id}")], id }
    }

    /// On another pattern: `small` or `finish`.
    fn at(mut self, name: &str) -> Self {
        self.path = self.path.replacen("/call/", &format!("/{name}/"), 1);
        self
    }

    fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    fn field(mut self, field: &str) -> Self {
        self.fields.push(field.to_owned());
        self
    }

    fn send(&self, body: &[u8]) -> Response {
        let fields: Vec<_> = self.fields.iter().map(String::as_str).collect();
        self.server.request(self.method, &self.path, &fields, body)
    }

    /// What the calls returned, once the guest has come to the end of the script.
    fn results(&self) -> String {
        let line = self.server.log.wait_for(&["guest: results", &self.id]);
        let results = line.split_once("results").unwrap().1.split_once(" handler=").unwrap().0;
        results.trim().to_owned()
    }

    /// The whole event in which the host says why it ended the guest.
    fn failure(&self) -> String {
        let last = self.server.log.wait_for(&["reason=", &self.id]);
        let lines = self.server.log.all();
        let end = lines.iter().position(|line| *line == last).unwrap();
        let begin = lines[..=end].iter().rposition(|line| line.contains("ERROR")).unwrap();
        lines[begin..=end].join("\n")
    }
}

/// A case of the tables: a script, what its calls return, and the response.
type Case = (&'static str, Script, &'static str, u16, &'static str);

/// What the host says in place of a response whose fields it has refused.
const REFUSED: &str = "the handler's response has too large a header";

/// Plays cases; all of them, before it fails.
fn check(server: &Server, cases: Vec<Case>) {
    let mut failures = Vec::new();
    for (name, script, results, status, body) in cases {
        let call = Call::new(server, script);
        let response = call.send(b"");
        // The host's own sentences end with the id of the request.
        let text = response.text().split(" (request ").next().unwrap_or_default().to_owned();
        let seen = (call.results(), response.status, text);
        if seen != (results.to_owned(), status, body.to_owned()) || !response.complete {
            failures.push(format!("{name}: {seen:?}, not {:?}", (results, status, body)));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Plays scripts that must trap: status 500, and a log line that begins with the name of the call.
fn check_traps(server: &Server, cases: Vec<(&'static str, Script)>) {
    let mut failures = Vec::new();
    for (why, script) in cases {
        let shown = format!("{script:?}");
        let call = Call::new(server, script);
        let response = call.send(b"");
        if response.status != 500 {
            failures.push(format!("{shown}: status {}, results {}", response.status, call.results()));
            continue;
        }
        let failure = call.failure();
        if !failure.contains(&format!("the guest trapped: {why}")) {
            failures.push(format!("{shown}: the log has no {why:?}: {failure}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
