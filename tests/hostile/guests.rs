//! One table: what a guest does, what its client gets, and which limit the log names; on every ABI, for every isolation,
//! while all requests of the neighbours succeed.

use super::fixtures::{self, Abi, site, target};
use super::neighbour::{beside, good, good_answer};
use crate::support::{Response, Server};

/// Limits that are hit soon; but for `timeout`, which nobody should come to who computes, on a busy machine either.
const SHORT: &str = r#"
    timeout = "25s"
    cpu = "400ms"
    memory = "24MiB"
    response_body = "1MiB"
    log = "256KiB"
    handles = 100
    breaker = "off"
"#;

struct Case {
    name: &'static str,
    status: u16,
    /// Whether the response came to its end.
    complete: bool,
    /// Which reason the log gives: one of these, or none if there are none.
    reasons: &'static [&'static str],
}

const fn ends(name: &'static str, status: u16, reasons: &'static [&'static str]) -> Case {
    Case { name, status, complete: true, reasons }
}

const fn breaks(name: &'static str, reasons: &'static [&'static str]) -> Case {
    Case { name, status: 200, complete: false, reasons }
}

/// Time in the host is not the guest's: which of its limits a guest hits that mostly asks the host, the machine decides.
const TIME: &[&str] = &["cpu", "timeout"];

/// What needs no interface: the same in all.
const COMPUTING: &[Case] = &[
    ends("copy", 504, &["cpu"]),
    ends("divide", 500, &["trapped"]),
    ends("fill", 504, &["cpu"]),
    ends("loop", 504, &["cpu"]),
    ends("memory_beg", 504, TIME),
    ends("memory_grow", 500, &["memory"]),
    ends("recurse", 500, &["stack"]),
    ends("start_grow", 500, &["memory"]),
    ends("start_loop", 504, &["cpu"]),
    ends("start_trap", 500, &["trapped"]),
    ends("storm", 504, TIME),
    ends("table_beg", 504, TIME),
    ends("table_fill", 504, &["cpu"]),
    // The bound on a table's elements is no limit of the handler: its own trap.
    ends("table_grow", 500, &["trapped"]),
];

/// What needs one.
const SPEAKING: &[Case] = &[
    ends("bad_headers", 200, &[]),
    breaks("endless", &["response_body"]),
    ends("headers", 500, &["response_headers", "response_header_bytes"]),
    ends("headers_600", 500, &["response_headers"]),
    // What is left out of the log is said before what ends it.
    ends("log_flood", 504, &["log", "cpu", "timeout"]),
    // Whichever comes first: it computes little, and waits little.
    breaks("trickle", &["cpu", "timeout", "response_body"]),
];

fn serve(defaults: &str) -> Server {
    let handlers = format!(
        "good = {{ wasm = \"serve_http-hello.wat\", limits = {{ timeout = \"60s\" }} }}\n\
         good2 = {{ wasm = {:?}, limits = {{ timeout = \"60s\" }} }}\n\
         good3 = {{ wasm = {:?}, limits = {{ timeout = \"60s\" }} }}\n",
        fixtures::rust_guest(Abi::P2),
        fixtures::rust_guest(Abi::P3),
    );
    let routes = "\"/good/module\" = \"good\"\n\"/good/p2\" = \"good2\"\n\"/good/p3\" = \"good3\"\n";
    site("threads = 2\ninstances = 200", defaults, &handlers, routes).serve()
}

/// Has guests of all isolations do what the case names, twice, and says what is not as it should be.
fn play(server: &Server, abi: Abi, case: &Case) -> Vec<String> {
    let mut failures = Vec::new();
    for round in 0..2 {
        let ask = |isolation: &&'static str| {
            let id = format!("{}.{isolation}.{}.{round}", abi.name(), case.name);
            let mut conn = server.connect();
            let field = format!("X-Request-Id: {id}");
            conn.request("GET", &target(abi, isolation, case.name), &[&field], b"");
            (conn, id)
        };
        let asked: Vec<_> = abi.isolations().iter().map(ask).collect();
        for (mut conn, id) in asked {
            let response = conn.response();
            failures.extend(judge(server, case, &response, &id).map(|failure| format!("{id}: {failure}")));
        }
    }
    failures
}

/// What is wrong with a response, or with what the log says of it.
fn judge(server: &Server, case: &Case, response: &Response, id: &str) -> Option<String> {
    let came = (response.status, response.complete);
    // On a busy machine its time may be up before the first byte of what would be broken off has left.
    let is_early = !case.complete && came == (504, true);
    if came != (case.status, case.complete) && !is_early {
        return Some(format!("status {}, complete: {}; {}", came.0, came.1, response.text()));
    }
    if response.headers.iter().any(|(name, _)| name.contains("injected")) {
        return Some(format!("{:?}", response.headers));
    }
    let of_request = format!("request_id=\"{id}\"");
    if case.reasons.is_empty() {
        let lines = server.log.all();
        return lines.into_iter().find(|line| line.contains(&of_request) && line.contains("reason="));
    }
    // A backtrace has lines of its own; these words are behind it.
    let line = server.log.wait_for(&[&of_request, "reason=\""]);
    let is_named = case.reasons.iter().any(|reason| line.contains(&format!("reason=\"{reason}\"")));
    (!is_named).then(|| format!("not {:?}, but {line}", case.reasons))
}

fn play_all<'a>(server: &Server, abi: Abi, cases: impl Iterator<Item = &'a Case>) {
    let failures: Vec<_> =
        beside(server, || cases.flat_map(|case| play(server, abi, case)).collect::<Vec<_>>());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let response = server.get(&good(abi));
    assert_eq!((response.status, &*response.text()), (200, good_answer(abi)));
}

#[test]
fn modules_run_into_their_limits() {
    let server = serve(SHORT);
    play_all(&server, Abi::Module, COMPUTING.iter().chain(SPEAKING));
}

#[test]
fn components_run_into_their_limits() {
    let server = serve(SHORT);
    let handles = ends("handles", 500, &["handles"]);
    play_all(&server, Abi::P2, COMPUTING.iter().chain(SPEAKING).chain([&handles]));
}

#[test]
fn concurrent_components_run_into_their_limits() {
    let server = serve(SHORT);
    let handles = ends("handles", 500, &["handles"]);
    // Of 10 GiB.
    let flood = breaks("flood", &["response_body"]);
    let speaking = SPEAKING.iter().filter(|case| case.name != "endless");
    play_all(&server, Abi::P3, COMPUTING.iter().chain(speaking).chain([&handles, &flood]));
}

/// Who only waits has used no CPU time, and who has much of it left has no more time for it.
#[test]
fn time_passes_for_all_alike() {
    let server = serve("timeout = \"400ms\"\nbreaker = \"off\"");
    let cases = [ends("sleep", 504, &["timeout"]), ends("loop", 504, &["timeout"])];
    for abi in Abi::ALL {
        play_all(&server, abi, cases.iter());
    }
}

/// A guest that neither reads nor answers, and clients that go on sending: the others do not notice.
#[test]
fn bodies_that_nobody_reads() {
    let server = serve(SHORT);
    beside(&server, || {
        for abi in Abi::ALL {
            for isolation in abi.isolations() {
                let mut conn = server.connect();
                let length = format!("Content-Length: {}", 64 << 20);
                conn.request("POST", &target(abi, isolation, "hello"), &[&length], &[0; 64 << 10]);
                let response = conn.response();
                assert_eq!(
                    (response.status, &*response.text()),
                    (200, good_answer(abi)),
                    "{abi:?} {isolation}"
                );
                while conn.try_send([0; 64 << 10]) {}
            }
        }
    });
}
