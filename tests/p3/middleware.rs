//! A component in front of another handler: `next` in routes.toml, `wasi:http/handler` for the guest.

use std::time::Duration;

use crate::support::guests::component;
use crate::support::{Server, Site};

/// `/a/…` and, where the outer instance has several requests, `/b/…`.
fn chain() -> Server {
    let (outer, inner) = (component("middleware"), component("trouble"));
    let routes = format!(
        "[handlers]\n\
         a = {{ wasm = {outer:?}, next = \"inner\" }}\n\
         b = {{ wasm = {outer:?}, next = \"shared\", isolation = \"concurrent\" }}\n\
         inner = {{ wasm = {inner:?} }}\n\
         shared = {{ wasm = {inner:?}, isolation = \"concurrent\" }}\n\
         echo = {{ wasm = \"echo.wat\" }}\n\
         c = {{ wasm = {outer:?}, next = \"echo\" }}\n\
         [routes]\n\"/a/\" = \"a\"\n\"/b/\" = \"b\"\n\"/c/\" = \"c\"\n"
    );
    Site::new(&routes).guest("echo").serve()
}

#[test]
fn the_inner_handler_answers_the_outer_one() {
    let server = chain();
    for route in ["/a", "/b"] {
        let response = server.get(&format!("{route}/before?do=info"));
        assert_eq!(response.header("x-outer"), Some("response"));
        assert_eq!(response.header("content-type"), Some("text/plain"));
        let expected = format!(
            "Method::Get Some(Scheme::Http) Some(\"localhost\") Some(\"{route}/after?do=info\") host=[\"localhost\"]\n"
        );
        assert_eq!(response.text(), expected);
        assert_eq!(server.get(&format!("{route}/?outer=answer")).text(), "the outer one\n");
        let anew = server.request("POST", &format!("{route}/?outer=anew"), &[], b"unread").text();
        assert!(
            anew.starts_with("Method::Get Some(Scheme::Http) Some(\"localhost\") Some(\"/anew?do=info\")"),
            "{anew}"
        );
        let anew = server.get(&format!("{route}/?outer=anew&authority=1")).text();
        assert!(anew.ends_with("host=[\"inner.test\"]\n"), "{anew}");
    }
}

#[test]
fn both_bodies_stream_through() {
    let server = chain();
    for target in ["/a/?do=copy", "/b/?do=echo", "/b/?do=copy", "/c/"] {
        let mut conn = server.connect();
        conn.request("POST", target, &["Transfer-Encoding: chunked", "TE: trailers"], b"");
        conn.send_chunk(b"one");
        assert_eq!(conn.head().header("x-outer"), Some("response"), "{target}");
        assert_eq!(conn.chunk().unwrap(), b"one", "{target}");
        conn.send_chunk(b"two");
        assert_eq!(conn.chunk().unwrap(), b"two", "{target}");
        conn.send("0\r\nX-Sum: 42\r\n\r\n");
        assert_eq!(conn.chunk().unwrap(), b"", "{target}");
        assert_eq!(conn.some(), b"X-Sum: 42\r\n\r\n", "{target}");
    }
}

#[test]
fn failures_behind_are_responses() {
    let server = chain();
    for (index, route) in ["/a", "/b"].into_iter().enumerate() {
        let response = server.get(&format!("{route}/?do=error"));
        assert_eq!((response.status, response.header("x-outer")), (502, Some("response")));
        let lines = server.log.wait_for_many("ErrorCode::ConfigurationError", index + 1);
        assert!(lines[index].contains(["handler=\"inner\"", "handler=\"shared\""][index]), "{lines:?}");
        let response = server.get(&format!("{route}/?do=mid"));
        assert_eq!((&*response.text(), response.complete), ("first\n", false), "{route}");
    }
}

/// The inner guest is told when the client of the outer one has gone.
#[test]
fn clients_that_leave_end_both() {
    let server = chain();
    for (index, route) in ["/a", "/b"].into_iter().enumerate() {
        let mut conn = server.connect();
        conn.request("GET", &format!("{route}/?do=flood&n=1000"), &[], b"");
        assert_eq!(conn.head().status, 200);
        // The stream is on its way.
        std::thread::sleep(Duration::from_millis(50));
        conn.reset();
        server.log.wait_for_many("nobody reads beyond", index + 1);
    }
}

#[test]
fn requests_of_one_outer_instance_keep_their_ids() {
    let server = chain();
    for id in ["one", "two"] {
        server.request("GET", "/b/?do=error", &[&format!("X-Request-Id: {id}")], b"");
        server.log.wait_for(&["ErrorCode::ConfigurationError", &format!("request_id=\"{id}\"")]);
    }
}

#[test]
fn middleware_needs_a_next() {
    let wasm = component("middleware");
    let site = Site::new(&format!("[handlers.m]\nwasm = {wasm:?}\n[routes]\n\"/\" = \"m\"\n"));
    let output = site.run(&["check"]);
    let text =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("wasi:http/handler@0.3.2") && text.contains("next = "), "{text}");
}
