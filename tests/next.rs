//! A handler in front of another one: `next` in routes.toml, for core modules.

use crate::support::guests::{guest_folder, puppet_folder};
use crate::support::{Server, Site};

/// `forward.wat` in front of several others; the first letter of the path says what it does.
fn chain() -> Server {
    let puppet = puppet_folder();
    let routes = format!(
        r#"
        [handlers]
        puppet = {{ wasm = {puppet:?} }}
        echo = {{ wasm = "echo.wat" }}
        trap = {{ wasm = "bad.wat" }}
        front = {{ wasm = "forward.wat", next = "puppet" }}
        first = {{ wasm = "forward.wat", next = "front" }}
        echoed = {{ wasm = "forward.wat", next = "echo" }}
        failing = {{ wasm = "forward.wat", next = "trap" }}
        [routes]
        "/" = "front"
        "/first/" = "first"
        "/fe/{{name}}" = "echoed"
        "/t" = "failing"
        "#
    );
    Site::new(&routes).guest("forward").guest("echo").guest("bad").serve()
}

#[test]
fn request_and_response_pass_as_they_are() {
    let server = chain();
    let fields = ["X-Twice: 1", "X-Twice: 2"];
    let response = server.request("POST", "/f%66?ops=hdr:X-One:1,status:201,see", &fields, b"12345");
    assert_eq!(response.status, 201);
    assert_eq!(response.header("x-one"), Some("1"));
    let seen = response.text();
    for part in [
        r#""method":"POST""#,
        r#""uri":"/f%66?ops=hdr:X-One:1,status:201,see""#,
        r#""length":5"#,
        r#"["X-Twice","1"],["X-Twice","2"]"#,
    ] {
        assert!(seen.contains(part), "{part} is not in {seen}");
    }
    // Two in front of the same one.
    let response = server.get("/first/?ops=text:far");
    assert_eq!((response.status, &*response.text()), (200, "far"));
}

#[test]
fn bodies_stream_both_ways_and_trailers_pass() {
    let server = chain();
    let mut conn = server.connect();
    conn.send("POST /fe/x HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n");
    conn.send_chunk(b"one");
    // It comes back while the request goes on: nobody waits for its end.
    assert_eq!(conn.head().status, 200);
    assert_eq!(conn.chunk().as_deref(), Some(&b"one"[..]));
    conn.send_chunk(b"two");
    assert_eq!(conn.chunk().as_deref(), Some(&b"two"[..]));
    conn.send("0\r\nX-Sum: 3\r\n\r\n");
    let rest = String::from_utf8(conn.some()).unwrap();
    assert!(rest.to_ascii_lowercase().contains("x-sum: 3"), "{rest}");
}

#[test]
fn a_guest_may_change_the_request_and_copy_the_response() {
    let server = chain();
    let response = server.request("POST", "/c", &["X-Lost: 1"], b"body");
    assert_eq!((response.status, &*response.text()), (200, "ok\n"), "the puppet was asked for `x=1`");
    let response = server.request("GET", "/c?ops=status:500", &[], b"");
    assert_eq!(response.status, 200, "{response:?}");
}

#[test]
fn a_guest_may_answer_itself() {
    let server = chain();
    let response = server.get("/own");
    assert_eq!((response.status, &*response.text()), (403, "own"));
}

/// STATE is −2, INVALID −3.
#[test]
fn calls_out_of_order_say_so() {
    let server = chain();
    assert_eq!(server.get("/wrong?ops=text:x").text(), "2222302222");
}

#[test]
fn the_next_handlers_failure_is_a_response() {
    let server = chain();
    let response = server.get("/t");
    assert_eq!(response.status, 500);
    assert!(response.text().starts_with("the handler failed (request "), "{response:?}");
    server.log.wait_for(&["handler=\"trap\"", "reason=\"trapped\""]);
    assert_eq!(server.get("/own").status, 403);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    for (routes, part) in [
        (
            "f = { wasm = \"forward.wat\", next = \"g\" }",
            "`next` names the handler `g`, which is not defined",
        ),
        ("f = { wasm = \"forward.wat\" }", "name one, `next = \"…\"` in [handlers.f]"),
        (
            "e = { wasm = \"echo.wat\" }\nf = { wasm = \"echo.wat\", next = \"e\" }",
            "has a `next`, but calls none",
        ),
        (
            "f = { wasm = \"forward.wat\", next = \"g\" }\ng = { wasm = \"forward.wat\", next = \"f\" }",
            "leads back to where it began: `g` → `f` → `g`",
        ),
    ] {
        let site = Site::new(&format!("[handlers]\n{routes}\n[routes]\n\"/\" = \"f\"\n"));
        let output = site.guest("forward").guest("echo").run(&["check"]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(part), "{text}");
        assert!(text.contains("1 problem"), "and nothing more: {text}");
    }
}

/// The SDK's `next`, in the guest `key`.
#[test]
fn a_middleware_made_with_the_sdk() {
    let (key, puppet) = (guest_folder("key"), puppet_folder());
    let routes = format!(
        r#"
        [handlers]
        puppet = {{ wasm = {puppet:?} }}
        key = {{ wasm = {key:?}, next = "puppet" }}
        [routes]
        "/" = "key"
        "#
    );
    let server = Site::new(&routes).serve();
    let get = |target: &str| server.request("POST", target, &["X-Key: open"], b"12345");
    assert_eq!(server.get("/puppet").status, 401);

    let response = get("/puppet?ops=hdr:X-One:1,status:201,text:made");
    assert_eq!((response.status, &*response.text()), (201, "made"));
    assert_eq!((response.header("x-checked"), response.header("x-one")), (Some("yes"), Some("1")));

    let seen = get("/old/x?ops=see").text();
    assert!(seen.contains(r#""uri":"/puppet/x?ops=see""#) && seen.contains(r#""length":5"#), "{seen}");
    assert!(!seen.contains("X-Key"), "{seen}");
    assert_eq!(get("/old?ops=text:x").header("x-moved"), Some("yes"));

    assert_eq!(get("/loud?ops=text:quiet").text(), "QUIET");
    let seen = get("/api/v1?ops=see").text();
    assert!(seen.contains(r#""uri":"/v1?ops=see""#), "{seen}");
    // More than one buffer, and trailers.
    let response = get("/puppet?ops=flush,write:300000");
    assert_eq!(response.body.len(), 300_000);
}
