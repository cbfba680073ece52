//! Listeners, connections, and what is answered before any handler is asked.

mod connections;
mod listeners;
mod log;

use crate::support::{Server, Site};

/// Fixed answers on a few patterns, and a guest that sleeps.
fn plain() -> Server {
    let routes = r#"
        [handlers.sleep]
        wasm = "sleep.wat"
        [routes]
        "/" = { respond = "root\n" }
        "GET /thing" = { respond = "thing\n", headers = { X-A = "1" } }
        "POST /thing" = { respond = "made\n", status = 201 }
        "/tree/" = { respond = "tree\n" }
        "/sleep/{ms}" = "sleep"
        "api.test/" = { respond = "api\n" }
        "GET /old" = { redirect = "/new?x=1", status = 308 }
        "only.test/here" = { respond = "here\n" }
    "#;
    Site::new(routes).guest("sleep").serve()
}

#[test]
fn host_rules() {
    let server = plain();
    let status = |head: &str| {
        let mut conn = server.connect();
        conn.send(format!("{head}\r\n\r\n"));
        let response = conn.response();
        if response.status == 400 {
            assert_eq!(response.header("connection"), Some("close"));
            assert!(conn.is_closed(), "{head:?}");
        }
        (response.status, response.text().trim_end().to_owned())
    };
    let ok = |text: &str| (200, text.to_owned());
    let bad = |why: &str| (400, format!("400 Bad Request{why}"));
    assert_eq!(status("GET /a HTTP/1.1\r\nHost: x"), ok("root"));
    assert_eq!(status("GET /a HTTP/1.1\r\nHost:"), ok("root"), "an empty Host is there");
    assert_eq!(status("GET /a HTTP/1.1"), bad(": missing required Host header"), "no Host");
    assert_eq!(status("GET /a HTTP/1.1\r\nHost: x\r\nHost: x"), bad(""), "two Hosts");
    assert_eq!(status("GET /a HTTP/1.0\r\nHost: x\r\nHost: y"), bad(""), "two Hosts");
    assert_eq!(status("GET /a HTTP/1.1\r\nHost: a/b"), bad(": malformed Host header"));
    assert_eq!(status("GET /a HTTP/1.1\r\nHost: {a}"), bad(": malformed Host header"));
    assert_eq!(status("GET /a HTTP/1.0"), ok("root"));
    assert_eq!(status("GET /a HTTP/1.1\r\nHost: api.test"), ok("api"));
    assert_eq!(status("GET /a HTTP/1.1\r\nHost: api.test:8080"), ok("api"), "the port does not matter");
    assert_eq!(status("GET http://api.test/a HTTP/1.1\r\nHost: other"), ok("api"), "the target's host wins");
    assert_eq!(status("GET http://api.test/a HTTP/1.1\r\nHost: a\r\nHost: b"), bad(""));
}

#[test]
fn what_the_mux_answers() {
    let server = plain();
    assert_eq!(server.get("/thing").header("x-a"), Some("1"));
    assert_eq!(server.request("POST", "/thing", &[], b"").status, 201);
    let refused = server.request("PUT", "/thing", &["Host: localhost"], b"");
    assert_eq!(refused.status, 200, "`/` takes any method, so PUT is not refused");

    let only = Site::new(
        "[routes]\n\"GET /thing\" = { respond = \"x\" }\n\"POST /thing\" = { respond = \"x\" }\n\"/tree/\" = { respond = \"x\" }\n",
    );
    let only = only.serve();
    let refused = only.request("PUT", "/thing", &[], b"");
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD, POST")), "{refused:?}");
    assert_eq!(refused.text(), "Method Not Allowed\n");
    assert_eq!(refused.header("x-content-type-options"), Some("nosniff"));
    let missing = only.get("/nothing");
    assert_eq!((missing.status, missing.text().as_str()), (404, "404 page not found\n"));
    assert_eq!(missing.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(missing.header("x-request-id").is_some_and(|id| id.len() == 20), "{missing:?}");
}

#[test]
fn redirects_keep_the_query() {
    let server = plain();
    for (target, location) in [
        ("/tree?a=1&b", "/tree/?a=1&b"),
        ("/a/../b?x", "/b?x"),
        ("//x", "/x"),
        ("/tree/./x/", "/tree/x/"),
        ("/a%2Fb/..?q", "/?q"),
    ] {
        let response = server.get(target);
        assert_eq!((response.status, response.header("location")), (307, Some(location)), "{target}");
    }
    let html = server.get("/tree?a=1&b");
    assert_eq!(html.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(html.text(), "<a href=\"/tree/?a=1&amp;b\">Temporary Redirect</a>.\n\n");
    let post = server.request("POST", "/tree", &[], b"x");
    assert_eq!((post.status, post.text().as_str(), post.header("content-type")), (307, "", None));

    let configured = server.get("/old");
    assert_eq!((configured.status, configured.header("location")), (308, Some("/new?x=1")));
}

#[test]
fn targets_and_methods() {
    let server = plain();
    let options = server.request("OPTIONS", "*", &[], b"");
    assert_eq!((options.status, options.header("content-length")), (200, Some("0")), "{options:?}");
    assert_eq!(server.request("GET", "*", &[], b"").status, 400);
    assert_eq!(server.request("BREW", "/x", &[], b"").text(), "root\n", "any token is a method");
    assert_eq!(server.get("/%zz").status, 400, "a bad escape");
    assert_eq!(server.get("thing").status, 400, "a host without CONNECT");
    let long = server.get(&format!("/{}", "a".repeat(60_000)));
    assert_eq!(long.text(), "root\n");
    for broken in ["GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", "GE(T / HTTP/1.1\r\nHost: x\r\n\r\n", "x\r\n\r\n"]
    {
        let mut conn = server.connect();
        conn.send(broken);
        assert_eq!(conn.response().status, 400, "{broken:?}");
        assert!(conn.is_closed());
    }
}

#[test]
fn head_is_get_without_the_body() {
    let server = plain();
    let mut conn = server.connect();
    conn.request("HEAD", "/thing", &[], b"");
    let response = conn.response();
    assert_eq!((response.status, response.header("content-length")), (200, Some("6")));
    assert_eq!(response.header("x-a"), Some("1"));
    conn.request("HEAD", "/sleep/1", &[], b"");
    assert_eq!(conn.response().header("content-length"), Some("6"), "of a guest, too");
    conn.request("GET", "/thing", &[], b"");
    assert_eq!(conn.response().text(), "thing\n", "no body came in between");
}
