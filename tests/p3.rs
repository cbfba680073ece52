//! wasi:http 0.3: every way to answer and to fail, under each isolation. The guest is `tests/guests/trouble`.

use std::time::{Duration, Instant};

use crate::support::guests::component;
use crate::support::{Server, Site};

mod concurrent;
mod middleware;

/// One way to serve the guest for each isolation: `/request/`, `/reuse/`, `/concurrent/`; with these lines in each handler.
fn all_isolations(settings: &str) -> Server {
    let wasm = component("trouble");
    let handlers: Vec<_> = ISOLATIONS
        .iter()
        .map(|name| format!("[handlers.{name}]\nwasm = {wasm:?}\nisolation = \"{name}\"\n{settings}\n"))
        .collect();
    let routes: Vec<_> = ISOLATIONS.iter().map(|name| format!("\"/{name}/\" = \"{name}\"\n")).collect();
    Site::new(&format!("{}[routes]\n{}", handlers.concat(), routes.concat())).serve()
}

const ISOLATIONS: [&str; 3] = ["request", "reuse", "concurrent"];

/// A target for each isolation.
fn targets(query: &str) -> impl Iterator<Item = String> {
    ISOLATIONS.iter().map(move |name| format!("/{name}/?{query}"))
}

#[test]
fn small_responses_leave_in_one_piece() {
    let server = all_isolations("");
    for target in targets("do=hello") {
        let response = server.get(&target);
        assert_eq!((response.status, &*response.text()), (200, "Hello, 0.3!\n"), "{target}");
        assert_eq!(response.header("content-length"), Some("12"), "{target}");
        assert_eq!(response.header("content-type"), Some("text/plain"), "{target}");
        let response = server.request("HEAD", &target, &[], b"");
        assert_eq!((response.status, response.body.len()), (200, 0), "{target}");
    }
}

#[test]
fn requests_have_scheme_authority_and_host() {
    let server = all_isolations("");
    for target in targets("do=info") {
        let response =
            server.request("PUT", &target, &["Host: example.test:81", "Connection: keep-alive"], b"");
        let expected = format!(
            "Method::Put Some(Scheme::Http) Some(\"example.test:81\") Some({target:?}) host=[\"example.test:81\"]\n"
        );
        assert_eq!(response.text(), expected);
    }
}

#[test]
fn statuses() {
    let server = all_isolations("");
    for (status, body) in [(200, "body\n"), (404, "body\n"), (503, "body\n"), (204, ""), (304, "")] {
        for target in targets(&format!("do=status&n={status}")) {
            let mut conn = server.connect();
            for _ in 0..2 {
                conn.request("GET", &target, &[], b"");
                let response = conn.response();
                assert_eq!((response.status, &*response.text()), (status, body), "{target}");
                assert!(response.complete, "{target}");
            }
        }
    }
    assert_eq!(server.log.count("ERROR"), 0);
}

#[test]
fn trailers_go_both_ways() {
    let server = all_isolations("");
    for (bytes, body) in [(0, ""), (3, "xxx")] {
        for target in targets(&format!("do=trailers&n={bytes}")) {
            let response = server.request("GET", &target, &["TE: trailers"], b"");
            assert_eq!(
                (response.status, &*response.text(), response.complete),
                (200, body, true),
                "{target}"
            );
            assert_eq!(response.trailers, [("x-sum".to_owned(), "42".to_owned())], "{target}");
        }
    }
    for target in targets("do=drain") {
        for body in ["", "3\r\nabc\r\n"] {
            let body = format!("{body}0\r\nX-A: 1\r\nX-B: 2\r\n\r\n");
            let fields = ["Transfer-Encoding: chunked", "Trailer: X-A, X-B"];
            let response = server.request("POST", &target, &fields, body.as_bytes());
            let expected = format!("{} bytes, 2 trailers\n", if body.starts_with('3') { 3 } else { 0 });
            assert_eq!(response.text(), expected, "{target}");
        }
    }
}

#[test]
fn bodies_come_back_while_they_are_sent() {
    let server = all_isolations("");
    for target in targets("do=copy").chain(targets("do=echo")) {
        let mut conn = server.connect();
        conn.request("POST", &target, &["Transfer-Encoding: chunked", "TE: trailers"], b"");
        conn.send_chunk(b"one");
        assert_eq!(conn.head().status, 200, "{target}");
        assert_eq!(conn.chunk().unwrap(), b"one", "{target}");
        for piece in ["two", "three"] {
            conn.send_chunk(piece.as_bytes());
            assert_eq!(conn.chunk().unwrap(), piece.as_bytes(), "{target}");
        }
        conn.send("0\r\nX-Sum: 42\r\n\r\n");
        assert_eq!(conn.chunk().unwrap(), b"", "{target}");
        assert_eq!(conn.some(), b"X-Sum: 42\r\n\r\n", "{target}");
    }
    // More than the buffers of the host hold: what the sockets hold lets the client send first and read then.
    let body: Vec<u8> = (0..400_000_u32).map(|n| (n % 251) as u8).collect();
    for target in targets("do=copy") {
        assert!(server.request("POST", &target, &[], &body).body == body, "{target}");
    }
}

/// A client that does not read holds the guest back, and one that leaves ends its stream.
#[test]
fn slow_readers_hold_the_guest_back() {
    let server = all_isolations("");
    server.get("/request/?do=hello");
    for target in targets("do=flood&n=400") {
        server.get(&target.replace("flood", "hello"));
        let before = server.resident_bytes();
        let mut conn = server.connect();
        conn.request("GET", &target, &[], b"");
        assert_eq!(conn.head().status, 200);
        // As much as the sockets' buffers hold goes at once; what else could grow would do so now.
        let mut grown = 0;
        let until = Instant::now() + Duration::from_millis(300);
        while Instant::now() < until {
            grown = grown.max(server.resident_bytes().saturating_sub(before));
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(grown < 24 << 20, "{target}: {grown} bytes");
        let told = server.log.count("nobody reads beyond");
        conn.reset();
        server.log.wait_for_many("nobody reads beyond", told + 1);
    }
}

#[test]
fn clients_that_leave_end_their_upload() {
    let server = all_isolations("");
    for (index, target) in targets("do=drain").enumerate() {
        let mut conn = server.connect();
        conn.request("POST", &target, &["Content-Length: 1000000"], b"some");
        // The guest reads: only then it is told.
        std::thread::sleep(Duration::from_millis(50));
        conn.reset();
        let lines = server.log.wait_for_many("drained 4 bytes", index + 1);
        assert!(lines[index].contains("ErrorCode::"), "{lines:?}");
    }
}

#[test]
fn responses_must_keep_their_promises() {
    let server = all_isolations("");
    let mut faults = 0;
    for (length, written) in [(3, 2), (3, 4), (0, 1), (5, 0)] {
        for target in targets(&format!("do=declare&length={length}&n={written}")) {
            let response = server.get(&target);
            // On a slow machine the head may have left before the fault is there; without a body that is all of it.
            assert!(response.status == 500 || !response.complete || length == 0, "{target}: {response:?}");
            faults += 1;
            let lines = server.log.wait_for_many("its body is not as long as its Content-Length", faults);
            assert!(lines[faults - 1].contains("reason=\"bad-response\""), "{lines:?}");
        }
    }
    for target in targets("do=declare&length=3&n=3") {
        assert_eq!(server.get(&target).text(), "xxx", "{target}");
    }
}

#[test]
fn failures_have_an_answer_and_a_line() {
    let server = all_isolations("");
    let cases = [
        ("do=error", 502, "the guest answered with an error: ErrorCode::ConfigurationError"),
        ("do=panic", 500, "wasm `unreachable` instruction executed"),
        ("do=status&n=103", 500, "103 Early Hints is not the status of a final response"),
        ("do=grow", 500, "note: limit `memory` is 65536 KiB"),
    ];
    for (query, status, line) in cases {
        for (index, target) in targets(query).enumerate() {
            let response = server.request("GET", &target, &["X-Request-Id: asked"], b"");
            assert_eq!(response.status, status, "{target}");
            assert!(!response.text().contains("Error"), "{target}: clients learn nothing: {response:?}");
            server.log.wait_for_many(line, index + 1);
            assert_eq!(server.get(&target.replace(query, "do=hello")).text(), "Hello, 0.3!\n", "{target}");
        }
    }
}

#[test]
fn traps_in_the_middle_break_the_response_off() {
    let server = all_isolations("");
    for target in targets("do=mid") {
        let mut conn = server.connect();
        conn.request("GET", &target, &[], b"");
        let response = conn.response();
        assert_eq!(
            (response.status, &*response.text(), response.complete),
            (200, "first\n", false),
            "{target}"
        );
    }
    server.log.wait_for_many("`unreachable` instruction executed", 3);
}

#[test]
fn guests_may_work_on_until_their_time_is_up() {
    let server = all_isolations("limits = { timeout = \"600ms\" }");
    for (index, target) in targets("do=after&n=50&then=done").enumerate() {
        let mut conn = server.connect();
        conn.request("GET", &target, &[], b"");
        let response = conn.response();
        assert_eq!(
            (&*response.text(), response.header("content-length")),
            ("before\n", Some("7")),
            "{target}"
        );
        server.log.wait_for_many("after: done", index + 1);
    }
    for (index, target) in targets("do=after&n=50&then=panic").enumerate() {
        assert!(server.get(&target).complete, "{target}");
        server.log.wait_for_many("after its complete response", index + 1);
    }
    for (index, target) in targets("do=after&n=60000&then=never").enumerate() {
        assert!(server.get(&target).complete, "{target}");
        server.log.wait_for_many("and was stopped at the handler's `timeout`", index + 1);
    }
    assert_eq!(server.log.count("after: never"), 0);
}

#[test]
fn a_drain_waits_for_work_after_responses() {
    let mut server = all_isolations("");
    for target in targets("do=after&n=900&then=worked") {
        assert_eq!(server.get(&target).text(), "before\n");
    }
    server.signal("TERM");
    assert!(server.wait().success());
    assert_eq!(server.log.count("after: worked"), 3);
}

#[test]
fn deadlines() {
    let server = all_isolations("limits = { timeout = \"300ms\" }");
    for target in targets("do=wait&n=60000").chain(targets("do=spin")) {
        let started = Instant::now();
        assert_eq!(server.get(&target).status, 504, "{target}");
        assert!(started.elapsed() >= Duration::from_millis(300), "{target}");
    }
    // A body that nobody ends, with and without a part of it.
    for target in targets("do=leak&n=0").chain(targets("do=leak&n=5")) {
        let response = server.get(&target);
        assert_eq!((response.status, response.complete), (200, false), "{target}");
    }
    for target in targets("do=hello") {
        assert_eq!(server.get(&target).status, 200, "{target}");
    }
}

#[test]
fn body_limits() {
    let server = all_isolations("limits = { request_body = \"1KiB\", response_body = \"1MiB\" }");
    for target in targets("do=drain") {
        let response = server.request("POST", &target, &[], &[b'x'; 1025]);
        assert_eq!(response.status, 413, "{target}");
        let mut body = format!("{:x}\r\n", 2000).into_bytes();
        body.extend([b'x'; 2000]);
        body.extend(b"\r\n0\r\n\r\n");
        let response = server.request("POST", &target, &["Transfer-Encoding: chunked"], &body);
        assert!(response.text().contains("ErrorCode::HttpRequestBodySize"), "{target}: {response:?}");
    }
    for target in targets("do=flood&n=2") {
        assert!(!server.get(&target).complete, "{target}");
    }
    server.log.wait_for_many("reason=\"response_body\"", 3);
}

#[test]
fn unread_bodies_are_no_obstacle() {
    let server = all_isolations("");
    for target in targets("do=hello") {
        let mut conn = server.connect();
        for _ in 0..3 {
            conn.request("POST", &target, &[], &[b'x'; 10_000]);
            assert_eq!(conn.response().text(), "Hello, 0.3!\n", "{target}");
        }
    }
}
