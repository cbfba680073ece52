//! One table: a fault, what its client gets, and what the log says.

use std::time::{Duration, Instant};

use super::{commit, serve};
use crate::support::Server;

/// Handlers with time, and without.
fn faulty() -> Server {
    serve(
        "threads = 2",
        &[
            ("p2", "limits = { timeout = \"20s\", memory = \"16MiB\" }"),
            ("hasty", "limits = { timeout = \"500ms\" }"),
        ],
    )
}

struct Fault {
    handler: &'static str,
    name: &'static str,
    status: u16,
    body: &'static str,
    complete: bool,
    /// What lines of the log have, beside the request's id.
    log: &'static [&'static str],
}

const fn fault(name: &'static str, status: u16, body: &'static str, log: &'static [&'static str]) -> Fault {
    Fault { handler: "p2", name, status, body, complete: true, log }
}

const fn broken(name: &'static str, body: &'static str, log: &'static [&'static str]) -> Fault {
    Fault { handler: "p2", name, status: 200, body, complete: false, log }
}

const fn hasty(name: &'static str, status: u16, body: &'static str, log: &'static [&'static str]) -> Fault {
    Fault { handler: "hasty", name, status, body, complete: true, log }
}

const FAILED: &str = "the handler failed";
const NO_MEMORY: &str = "the handler ran out of memory";
const NO_RESPONSE: &str = "the handler gave no response";
const COMPLETE: &str = "complete\n";

const FAULTS: &[Fault] = &[
    // Nothing that could be sent.
    fault("forget", 502, NO_RESPONSE, &["without `response-outparam.set`", "reason=\"no-response\""]),
    fault("drop", 502, NO_RESPONSE, &["without `response-outparam.set`", "reason=\"no-response\""]),
    fault(
        "error",
        502,
        NO_RESPONSE,
        &["the guest answered with an error", "no luck", "reason=\"guest-error\""],
    ),
    fault("trap", 500, FAILED, &["the guest trapped", "reason=\"trapped\""]),
    fault("exit:0", 502, NO_RESPONSE, &["without `response-outparam.set`"]),
    fault("exit:1", 500, FAILED, &["the guest trapped: ", "reason=\"trapped\""]),
    fault("memory", 500, NO_MEMORY, &["limit `memory` is 16384 KiB", "reason=\"memory\""]),
    fault("fields", 500, NO_MEMORY, &["limit `memory` is 16384 KiB", "reason=\"memory\""]),
    fault("stack", 500, "the handler ran out of stack", &["reason=\"stack\""]),
    fault("handles", 500, "the handler holds too many resources", &["reason=\"handles\""]),
    fault("unchecked:64", 500, FAILED, &["cannot write more than `check-write` allows"]),
    fault("early-bodies:100", 502, NO_RESPONSE, &["the host took 1048576 bytes"]),
    fault(
        "interim",
        500,
        FAILED,
        &["103 Early Hints is not the status of a final response", "reason=\"bad-response\""],
    ),
    fault("status:1000", 200, "", &["set-status-code: Err(())"]),
    fault("status:99", 200, "", &["set-status-code: Err(())"]),
    hasty("loop", 504, "the handler took too long", &["the handler's `timeout` has passed"]),
    // A body that is not complete, while nothing of it has left.
    fault("without-finish", 500, FAILED, &["its `outgoing-body` was dropped without `finish`"]),
    fault("trap-set", 500, FAILED, &["the guest trapped", "reason=\"trapped\""]),
    fault("finish-with-stream", 500, FAILED, &["the guest trapped"]),
    // And when some of it has.
    broken("flush-without-finish", "part", &["its `outgoing-body` was dropped without `finish`"]),
    broken("trap-part", "part", &["the guest trapped", "reason=\"trapped\""]),
    broken(
        "short",
        "part",
        &["6 bytes of its declared Content-Length were never written", "reason=\"bad-response\""],
    ),
    broken("long", "", &["4 bytes of its declared Content-Length were never written"]),
    // Unusual, but complete.
    fault("no-body", 200, "", &[]),
    fault("forget-body", 200, "part", &["write: ok"]),
    fault("twice", 200, "", &["second body: Err(())"]),
    // What goes wrong behind a complete response is no client's business.
    fault(
        "trap-complete",
        200,
        COMPLETE,
        &["after its complete response: the guest trapped", "reason=\"trapped\""],
    ),
    fault("exit-complete:0", 200, COMPLETE, &["finish: Ok(())"]),
    fault("exit-complete:1", 200, COMPLETE, &["after its complete response: the guest trapped"]),
    fault("after:50", 200, COMPLETE, &["after: done"]),
    hasty(
        "loop-complete",
        200,
        COMPLETE,
        &["worked on after its response, and was stopped at the handler's `timeout`"],
    ),
    hasty("after:60000", 200, COMPLETE, &["worked on after its response, and was stopped"]),
];

#[test]
fn every_fault_has_its_answer() {
    let server = faulty();
    let mut failures = Vec::new();
    for Fault { handler, name, status, body, complete, log } in FAULTS {
        let (response, id) = commit(&server, handler, name);
        let came = (response.status, response.text(), response.complete);
        let is_as_wanted = came.0 == *status
            && came.2 == *complete
            && match status {
                200 => came.1 == *body,
                _ => came.1 == format!("{body} (request {id})\n"),
            };
        if !is_as_wanted {
            failures.push(format!("{name}: {came:?}, not {:?}", (status, body, complete)));
            continue;
        }
        // A trap has several lines, of which the last has the id.
        log.iter().for_each(|part| drop(server.log.wait_for(&[part])));
        if !log.is_empty() {
            server.log.wait_for(&[&id]);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(commit(&server, "p2", "count").0.text(), "1\n", "nothing else is disturbed");
}

/// The guest is told what its client gets.
#[test]
fn calls_say_what_is_wrong() {
    let server = faulty();
    for (fault, lines) in [
        ("short", &["write: ok", "finish: Err(ErrorCode::HttpResponseBodySize"][..]),
        (
            "long",
            &[
                "write: failed: ErrorCode::HttpResponseBodySize",
                "finish: Err(ErrorCode::HttpResponseBodySize",
            ],
        ),
        ("twice", &["second body: Err(())", "second write: Err(())", "finish: Ok(())"]),
        ("interim", &["set-status-code: Ok(())"]),
    ] {
        let (_, id) = commit(&server, "p2", fault);
        for line in lines {
            server.log.wait_for(&[line, &id]);
        }
    }
}

/// The client of a guest that works on has its response at once, and its connection too.
#[test]
fn nobody_waits_for_work_after_the_response() {
    let server = faulty();
    let started = Instant::now();
    let mut conn = server.connect();
    for _ in 0..2 {
        conn.request("GET", "/p2?fault=after:10000", &[], b"");
        let response = conn.response();
        assert_eq!((response.text().as_str(), response.header("content-length")), ("complete\n", Some("9")));
    }
    conn.request("GET", "/p2?fault=loop-complete", &[], b"");
    assert_eq!(conn.response().text(), "complete\n");
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
}

/// A body may be written, and even be complete, before the response is set: up to 1 MiB.
#[test]
fn bodies_may_come_before_their_heads() {
    let server = faulty();
    for count in [0, 1, 100_000, 1_000_000] {
        let (response, _) = commit(&server, "p2", &format!("early:{count}"));
        assert_eq!((response.status, response.body.len(), response.complete), (200, count, true), "{count}");
    }
    let (response, id) = commit(&server, "hasty", "early:3000000");
    assert_eq!(response.status, 504, "it waits for room that only it could make");
    server.log.wait_for(&["the handler's `timeout` has passed", &id]);
}
