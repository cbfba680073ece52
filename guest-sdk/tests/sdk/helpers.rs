use std::io::Write;

use super::get;
use wasmux_sdk::{
    HeaderValue, Recorder, Request, ResponseWriter, Result, StatusCode, error, header, not_found, redirect,
    strip_prefix,
};

#[test]
fn error_is_plain_text_and_forgets_another_length() {
    let response = get(|w, _| {
        w.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("1000"));
        w.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
        w.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        error(w, "no", StatusCode::IM_A_TEAPOT)
    });
    assert_eq!((response.status().as_u16(), response.text()), (418, "no\n"));
    assert_eq!(response.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(response.header("x-content-type-options"), "nosniff");
    assert_eq!((response.header("content-length"), response.header("content-encoding")), ("3", "gzip"));
    let response = get(not_found);
    assert_eq!((response.status().as_u16(), response.text()), (404, "404 page not found\n"));
}

#[test]
fn redirects_are_resolved_as_net_http_does() {
    let table = [
        ("http://foobar.com/baz", "http://foobar.com/baz"),
        ("https://foobar.com/baz", "https://foobar.com/baz"),
        ("test://foobar.com/baz", "test://foobar.com/baz"),
        ("//foobar.com/baz", "//foobar.com/baz"),
        ("/foobar.com/baz", "/foobar.com/baz"),
        ("foobar.com/baz", "/qux/foobar.com/baz"),
        ("../quux/foobar.com/baz", "/quux/foobar.com/baz"),
        ("///foobar.com/baz", "/foobar.com/baz"),
        ("/foo?next=http://bar.com/", "/foo?next=http://bar.com/"),
        (
            "http://localhost:8080/_ah/login?continue=http://localhost:8080/",
            "http://localhost:8080/_ah/login?continue=http://localhost:8080/",
        ),
        ("/фубар", "/%d1%84%d1%83%d0%b1%d0%b0%d1%80"),
        ("http://foo.com/фубар", "http://foo.com/%d1%84%d1%83%d0%b1%d0%b0%d1%80"),
        ("", "/qux/"),
        ("?a=b", "/qux/?a=b"),
        ("/a/../b/", "/b/"),
        ("/a%2Fb", "/a%2Fb"),
        ("/a\r\nSet-Cookie: x=y", "/a%0d%0aSet-Cookie: x=y"),
    ];
    for (url, want) in table {
        let handler = |w: &mut ResponseWriter, r: &mut Request| redirect(w, r, url, StatusCode::FOUND);
        let response = Recorder::serve(handler, Request::get("/qux/"));
        assert_eq!((response.status().as_u16(), response.header("location")), (302, want), "{url}");
    }
}

#[test]
fn redirects_have_a_body_for_get_only() {
    let handler = |kind: Option<&'static str>| {
        move |w: &mut ResponseWriter, r: &mut Request| {
            if let Some(kind) = kind {
                w.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            }
            redirect(w, r, "/foo?a=b&c=\"<'", StatusCode::MOVED_PERMANENTLY)
        }
    };
    let html = "text/html; charset=utf-8";
    let body = "<a href=\"/foo?a=b&amp;c=&#34;&lt;&#39;\">Moved Permanently</a>.\n\n";
    let table = [
        (Request::get("/"), None, html, body),
        (Request::head("/"), None, html, ""),
        (Request::post("/"), None, "", ""),
        (Request::get("/"), Some("text/plain"), "text/plain", ""),
    ];
    for (request, kind, want_type, want_body) in table {
        let response = Recorder::serve(handler(kind), request);
        assert_eq!((response.header("content-type"), response.text()), (want_type, want_body));
    }
}

#[test]
fn strip_prefix_compares_decoded_paths_and_restores_them() {
    let show = |w: &mut ResponseWriter, r: &mut Request| -> Result<()> {
        Ok(write!(w, "{} {}", r.path(), r.escaped_path())?)
    };
    let table = [
        ("/foo", "/foo/bar", Some("/bar /bar")),
        ("/foo", "/foo", Some(" ")),
        ("/foo/", "/foo/bar", Some("bar bar")),
        ("/foo", "/foo%20/x", Some(" /x %20/x")),
        ("/foo", "/bar", None),
        ("/foo bar", "/foo%20bar/baz", Some("/baz /baz")),
        ("/é", "/%C3%A9/x", Some("/x /x")),
        ("/foo/bar", "/foo%2Fbar/baz", None),
        ("/foo%2Fbar", "/foo%2Fbar", None),
        ("", "/foo", Some("/foo /foo")),
        ("/foo", "/foo%2Fbar", Some("/bar %2Fbar")),
        ("/foo", "/f%6Fo/bar", None), // RawPath does not begin with it
        ("/foo", "/foo/b%6Fr", Some("/bor /b%6Fr")),
        ("/é", "/%c3%a9/x", None),
        ("/it's", "/it's/x!", Some("/x! /x!")),
        ("/foo", "/foobar", Some("bar bar")),
        ("foo", "/foo", None),
    ];
    for (prefix, target, want) in table {
        let outer = |w: &mut ResponseWriter, r: &mut Request| {
            let result = wasmux_sdk::Handler::serve_http(&strip_prefix(prefix, show), w, r);
            assert_eq!(r.escaped_path(), target);
            result
        };
        let response = Recorder::serve(outer, Request::get(target));
        assert_eq!(response.status(), if want.is_some() { 200 } else { 404 }, "{prefix} {target}");
        assert_eq!(response.text(), want.unwrap_or("404 page not found\n"), "{prefix} {target}");
    }
}
