use std::{
    io::Write,
    thread::sleep,
    time::{Duration, SystemTime},
};

use wasmux_sdk::{
    Error, HeaderValue, Recorder, Request, ResponseWriter, Result, StatusCode, timeout_handler,
};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(1);

/// Takes longer than [`SHORT`].
fn slow(w: &mut ResponseWriter, _: &mut Request) -> Result<()> {
    w.set_header("x-slow", "yes");
    w.write_all(b"slow")?;
    sleep(Duration::from_millis(5));
    Ok(())
}

#[test]
fn a_reply_in_time_is_passed_on_whole() {
    let handler = |w: &mut ResponseWriter, _: &mut Request| {
        w.set_header("x-both", "inner");
        w.write_header(StatusCode::EARLY_HINTS);
        w.write_header(StatusCode::CREATED);
        w.write_header(StatusCode::OK); // superfluous
        w.write_all(b"<html>")?;
        w.flush()?;
        w.set_header("x-late", "counts, too");
        Ok(())
    };
    let limited = timeout_handler(handler, LONG, "");
    let outer = |w: &mut ResponseWriter, r: &mut Request| {
        w.set_header("x-both", "outer");
        w.set_header("x-outer", "yes");
        wasmux_sdk::Handler::serve_http(&limited, w, r)
    };
    let response = Recorder::serve(outer, Request::get("/"));
    assert_eq!((response.status().as_u16(), response.text()), (201, "<html>"));
    assert_eq!(response.header("content-type"), "text/html; charset=utf-8");
    assert_eq!((response.header("x-both"), response.header("x-outer")), ("inner", "yes"));
    assert_eq!((response.header("x-late"), response.header("content-length")), ("counts, too", "6"));
    assert!(!response.is_flushed() && response.interim().is_empty());
}

#[test]
fn without_a_word_it_is_200() {
    let response = Recorder::serve(
        timeout_handler(|_: &mut ResponseWriter, _: &mut Request| Ok(()), LONG, ""),
        Request::get("/"),
    );
    assert_eq!((response.status().as_u16(), response.header("content-length")), (200, "0"));
}

#[test]
fn a_late_reply_is_503_with_the_message() {
    let page = "<html><head><title>Timeout</title></head><body><h1>Timeout</h1></body></html>";
    let table =
        [("", page, "text/html; charset=utf-8"), ("too late", "too late", "text/plain; charset=utf-8")];
    for (message, want, content_type) in table {
        let limited = timeout_handler(slow, SHORT, message);
        let response = Recorder::serve(&limited, Request::get("/"));
        assert_eq!((response.status().as_u16(), response.text()), (503, want));
        assert_eq!((response.header("content-type"), response.header("x-slow")), (content_type, ""));
    }
    let response = Recorder::serve(timeout_handler(slow, Duration::ZERO, "none"), Request::head("/"));
    assert_eq!((response.status().as_u16(), response.header("content-length")), (503, "4"));
}

#[test]
fn errors_pass_unless_they_are_late() {
    let fail = |_: &mut ResponseWriter, _: &mut Request| Err(Error::bad_request("no"));
    assert_eq!(Recorder::serve(timeout_handler(fail, LONG, ""), Request::get("/")).status(), 400);
    let fail_late = |w: &mut ResponseWriter, r: &mut Request| {
        slow(w, r)?;
        Err(Error::bad_request("no"))
    };
    assert_eq!(Recorder::serve(timeout_handler(fail_late, SHORT, ""), Request::get("/")).status(), 503);
}

#[test]
fn limits_nest() {
    let inner = timeout_handler(slow, SHORT, "inner");
    let response = Recorder::serve(timeout_handler(inner, LONG, "outer"), Request::get("/"));
    assert_eq!((response.status().as_u16(), response.text()), (503, "inner"));
    let inner = timeout_handler(slow, LONG, "inner");
    let response = Recorder::serve(timeout_handler(inner, SHORT, "outer"), Request::get("/"));
    assert_eq!((response.status().as_u16(), response.text()), (503, "outer"));
}

#[test]
fn the_handler_sees_its_deadline() {
    let left = |r: &Request| r.deadline().duration_since(SystemTime::now()).unwrap_or_default();
    let look = |w: &mut ResponseWriter, r: &mut Request| {
        assert!(left(r) <= Duration::from_secs(10), "{:?}", left(r));
        w.headers_mut().insert("x-seen", HeaderValue::from_static("yes"));
        Ok(())
    };
    let limited = timeout_handler(look, Duration::from_secs(10), "");
    let outer = |w: &mut ResponseWriter, r: &mut Request| {
        wasmux_sdk::Handler::serve_http(&limited, w, r)?;
        assert!(left(r) > Duration::from_secs(10), "the host's own 30 s again");
        Ok(())
    };
    assert_eq!(Recorder::serve(outer, Request::get("/")).header("x-seen"), "yes");
}
