//! `response_start`, `response_write`, `response_flush`, `response_trailers` and `client_gone`.

use super::script::{Op, SCRATCH, Script};
use super::{Call, REFUSED, caller, caller_with_log, check};

fn start(fields: &[(&str, &str)]) -> Script {
    Script::new().start(200, fields)
}

#[test]
fn calls_out_of_order() {
    let server = caller();
    let new = Script::new;
    check(
        &server,
        vec![
            ("write before start", new().write("x"), "-2", 200, ""),
            ("flush before start", new().flush(), "-2", 200, ""),
            ("trailers before start", new().trailers(&[]), "-2", 200, ""),
            ("start and no more", new().start(201, &[]), "0", 201, ""),
            ("start twice", new().start(201, &[]).start(202, &[]), "0 -2", 201, ""),
            ("writes", start(&[]).write("a").write("").write("b"), "0 0 0 0", 200, "ab"),
            ("flushes", start(&[]).flush().write("a").flush().write("b").flush(), "0 0 0 0 0 0", 200, "ab"),
            ("write after trailers", start(&[]).write("a").trailers(&[]).write("b"), "0 0 0 -2", 200, "a"),
            ("trailers twice", start(&[]).write("a").trailers(&[]).trailers(&[]), "0 0 0 -2", 200, "a"),
            ("start after trailers", start(&[]).trailers(&[]).start(200, &[]), "0 0 -2", 200, ""),
            ("flush after trailers", start(&[]).write("a").trailers(&[]).flush(), "0 0 0 0", 200, "a"),
            ("the client is there", new().raw(Op::ClientGone, &[]), "0", 200, ""),
        ],
    );
}

#[test]
fn start_checks_like_respond() {
    let server = caller();
    let too_long = Script::new().raw(Op::ResponseStart, &[200, SCRATCH, 65_537]);
    let (script, len) = Script::new().many_fields(501);
    let too_many = script.raw(Op::ResponseStart, &[200, SCRATCH, len]);
    let mut cases = vec![
        ("beyond 64 KiB", too_long, "-4", 500, REFUSED),
        ("501 fields", too_many, "0 0 -4", 500, REFUSED),
    ];
    for status in [0, 99, 100, 199, 1000, 65_736, u32::MAX] {
        cases.push(("status", Script::new().start(status, &[]).start(201, &[]), "-3 0", 201, ""));
    }
    for (name, value) in [("", "v"), ("a b", "v"), ("n", "\r\n"), ("Content-Length", "x")] {
        cases.push(("field", start(&[(name, value)]).start(201, &[]), "-3 0", 201, ""));
    }
    let differing = start(&[("content-length", "1"), ("content-length", "2")]);
    cases.push(("two lengths", differing, "-3", 200, ""));
    check(&server, cases);
}

#[test]
fn trailers_check_their_fields() {
    let server = caller();
    let too_long = start(&[]).write("a").raw(Op::ResponseTrailers, &[SCRATCH, 65_537]);
    let (script, len) = start(&[]).write("a").many_fields(501);
    let too_many = script.raw(Op::ResponseTrailers, &[SCRATCH, len]);
    check(
        &server,
        vec![
            ("bad name", start(&[]).write("a").trailers(&[("a b", "c")]), "0 0 -3", 200, "a"),
            ("bad value", start(&[]).write("a").trailers(&[("a", "\0")]), "0 0 -3", 200, "a"),
            ("no effect", start(&[]).trailers(&[("", "c")]).write("a"), "0 -3 0", 200, "a"),
            ("framing", start(&[]).write("a").trailers(&[("Content-Length", "1")]), "0 0 -3", 200, "a"),
            (
                "framing",
                start(&[]).write("a").trailers(&[("transfer-encoding", "chunked")]),
                "0 0 -3",
                200,
                "a",
            ),
            ("routing", start(&[]).write("a").trailers(&[("Host", "x")]), "0 0 -3", 200, "a"),
            ("beyond 64 KiB", too_long, "0 0 -4", 200, "a"),
            ("501 fields", too_many, "0 0 0 0 -4", 200, "a"),
        ],
    );
}

#[test]
fn declared_lengths_are_used_and_enforced() {
    let server = caller();
    let with = |length: &str| start(&[("Content-Length", length)]);

    let call = Call::new(&server, with("5").write("he").write("llo"));
    let response = call.send(b"");
    assert_eq!((response.header("content-length"), response.header("transfer-encoding")), (Some("5"), None));
    assert_eq!((response.text().as_str(), call.results().as_str()), ("hello", "0 0 0"));

    // What is too much is cut off, in one write or in several.
    let call = Call::new(&server, with("5").write("hello, world"));
    let response = call.send(b"");
    assert_eq!((response.text().as_str(), call.results().as_str()), ("hello", "0 -7"));
    let call = Call::new(&server, with("5").write("hello").flush().write("!").write(""));
    let response = call.send(b"");
    assert_eq!((response.text().as_str(), call.results().as_str()), ("hello", "0 0 0 -7 0"));
    assert!(response.complete);

    // What is too little breaks the response off.
    let call = Call::new(&server, with("5").write("hel"));
    let mut conn = server.connect();
    conn.request("GET", &call.path, &["X-Request-Id: short."], b"");
    let response = conn.response();
    assert_eq!((response.text().as_str(), response.complete), ("hel", false));
    let line = server.log.wait_for(&["request_id=\"short.\"", "bad-response"]);
    assert!(line.contains("2 bytes of its declared Content-Length were never written"), "{line}");

    let call = Call::new(&server, with("5").write("hello").trailers(&[("a", "b")]));
    assert!(call.send(b"").complete);
}

#[test]
fn statuses_without_a_body() {
    let server = caller();
    for status in [204, 304] {
        let call = Call::new(&server, Script::new().start(status, &[]).write("x").flush());
        let response = call.send(b"");
        assert_eq!((response.status, response.text().as_str()), (status as u16, ""), "{response:?}");
        assert_eq!(call.results(), "0 -6 0");
        assert_eq!(response.header("transfer-encoding"), None, "{response:?}");
    }
}

#[test]
fn head_drops_the_body() {
    let server = caller();
    let script = start(&[("Content-Length", "5")]).write("hello").write("!");
    let call = Call::new(&server, script).method("HEAD");
    let response = call.send(b"");
    assert_eq!((response.status, response.header("content-length")), (200, Some("5")), "{response:?}");
    assert_eq!(call.results(), "0 0 -7");

    // A guest that flushes is not cut short, though nobody waits for its body.
    let call = Call::new(&server, start(&[]).write("hello").flush().write("more").flush()).method("HEAD");
    assert!(call.send(b"").complete);
    assert_eq!(call.results(), "0 0 0 0 0");

    let script = start(&[]).write("hello").flush().write("more").trailers(&[]);
    let mut conn = server.connect();
    conn.request("HEAD", &format!("/call/{}", script.encode()), &[], b"");
    conn.response();
    conn.request("GET", "/call/nothing%00", &["Connection: close"], b"");
    let raw = conn.rest();
    assert!(
        raw.starts_with(b"HTTP/1.1 "),
        "bytes of the body were sent: {:?}",
        String::from_utf8_lossy(&raw)
    );
}

#[test]
fn the_body_limit_breaks_the_response_off() {
    let server = caller();
    let script = start(&[]).write("12345").write("67890");
    let call = Call::new(&server, script).at("small");
    assert_eq!((call.send(b"").text().as_str(), call.results().as_str()), ("1234567890", "0 0 0"));

    let script = start(&[]).write("12345").flush().write("67890!").write("x");
    let call = Call::new(&server, script).at("small");
    let response = call.send(b"");
    assert_eq!((response.complete, call.results().as_str()), (false, "0 0 0 -4 -4"), "{response:?}");
    assert!(call.failure().contains("`response_body` limit"), "{}", call.failure());

    // Nothing has left the host yet: that can still be said with a status.
    let call = Call::new(&server, start(&[]).write("12345678901")).at("small");
    assert_eq!((call.send(b"").status, call.results().as_str()), (500, "0 -4"));
}

#[test]
fn a_trap_before_the_first_byte_is_a_500() {
    let server = caller();
    for script in [Script::new(), start(&[]), Script::new().start(204, &[])] {
        let call = Call::new(&server, script.trap());
        let response = call.send(b"");
        assert_eq!(response.status, 500, "{response:?}");
        assert_eq!(response.header("x-request-id"), Some(call.id.as_str()));
        assert!(response.text().contains(&call.id), "{response:?}");
    }
}

#[test]
fn a_trap_after_the_first_byte_breaks_the_response_off() {
    let server = caller();
    let call = Call::new(&server, start(&[]).write("begun").flush().trap());
    let response = call.send(b"");
    assert_eq!((response.status, response.text().as_str(), response.complete), (200, "begun", false));
    assert!(call.failure().contains("reason=\"trapped\""), "{}", call.failure());
    let call = Call::new(&server, start(&[("Content-Length", "9")]).write("begun").flush().trap());
    let response = call.send(b"");
    assert_eq!((response.status, response.text().as_str(), response.complete), (200, "begun", false));
}

/// As a trap does, but when the guest has returned and without a backtrace in the log.
#[test]
fn abort_breaks_the_response_off() {
    let server = caller_with_log("info,wasmux=debug"); // a guest that means it is no error of the log
    for (script, results) in [
        (start(&[]).write("begun").flush().abort().write("!").flush(), "0 0 0 0 0 0"),
        (start(&[("Content-Length", "9")]).write("begun").flush().abort().abort().write("!"), "0 0 0 0 0 0"),
    ] {
        let call = Call::new(&server, script);
        let response = call.send(b"");
        assert_eq!((response.status, call.results().as_str()), (200, results));
        assert!(response.text().starts_with("begun") && !response.complete, "{response:?}");
        let failure = server.log.wait_for(&["reason=\"aborted\"", &call.id]);
        assert!(!failure.contains("backtrace"), "{failure}");
    }
    for script in [Script::new().abort(), Script::new().respond(200, &[], "x").abort(), start(&[]).abort()] {
        let call = Call::new(&server, script);
        assert_eq!(call.send(b"").status, 500, "nothing has left the host: that can be said with a status");
        server.log.wait_for(&["reason=\"aborted\"", &call.id]);
    }
}

#[test]
fn trailers_go_where_http1_allows_them() {
    let server = caller();
    let te = "TE: trailers";
    // Neither what `Trailer` declares nor what `TE` asks for matters, only the framing.
    for (fields, ask, expected) in [
        (&[("Trailer", "X-Sum")][..], Some(te), true),
        (&[("Trailer", "X-Sum")][..], None, true),
        (&[][..], Some(te), true),
        (&[("Trailer", "X-Other")][..], Some(te), true),
        (&[("Trailer", "X-Sum"), ("Content-Length", "4")][..], Some(te), false),
    ] {
        let script = start(fields).write("body").trailers(&[("X-Sum", "42")]);
        let response = Call::new(&server, script).field(ask.unwrap_or("X-Nothing: here")).send(b"");
        assert_eq!((response.text().as_str(), response.complete), ("body", true));
        let trailers = response.trailers.iter().any(|field| *field == ("x-sum".to_owned(), "42".to_owned()));
        assert_eq!(trailers, expected, "{fields:?} {ask:?}: {response:?}");
    }
}

#[test]
fn a_guest_that_finishes_sees_that_the_client_is_gone() {
    let server = caller();
    let script = start(&[]).flush().raw(Op::WaitGone, &[]).raw(Op::ClientGone, &[]);
    let script =
        script.raw(Op::RequestRead, &[SCRATCH, 9]).write("x").flush().raw(Op::RequestRead, &[SCRATCH, 0]);
    let call = Call::new(&server, script).at("finish");
    let mut conn = server.connect();
    let id = format!("X-Request-Id: {}", call.id);
    conn.request("GET", &call.path, &[&id], b"");
    assert_eq!(conn.head().status, 200);
    conn.reset();
    assert_eq!(call.results(), "0 0 1 1 -1 -1 -1 0");
}

#[test]
fn a_guest_that_is_cancelled_runs_no_further() {
    let server = caller();
    let script = start(&[]).flush().raw(Op::WaitGone, &[]).log(3, b"ran on");
    let call = Call::new(&server, script.clone());
    let mut conn = server.connect();
    conn.request("GET", &call.path, &["X-Request-Id: cancelled."], b"");
    assert_eq!(conn.head().status, 200);
    conn.reset();
    // Evidence needs a point in time: the same guest that may finish has seen its client go later.
    let finishing = Call::new(&server, script).at("finish");
    let mut conn = server.connect();
    let id = format!("X-Request-Id: {}", finishing.id);
    conn.request("GET", &finishing.path, &[&id], b"");
    assert_eq!(conn.head().status, 200);
    conn.reset();
    assert_eq!(finishing.results(), "0 0 1 0");
    let lines = server.log.all();
    assert!(!lines.iter().any(|line| line.contains("cancelled.")), "{}", lines.join("\n"));
}
