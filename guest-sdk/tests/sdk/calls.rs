use std::io::{Read as _, Write as _};

use wasmux_sdk::client::{self, CallError, CallErrorKind, Called, Reply};
use wasmux_sdk::{Recorder, Request, ResponseWriter, Result};

/// Has a handler make calls, which `upstream` answers; what it says of them.
fn told(upstream: fn(&Called) -> Reply, call: impl Fn() -> Result<String, CallError> + 'static) -> String {
    let handler = move |w: &mut ResponseWriter, _: &mut Request| match call() {
        Ok(text) => Ok(w.write_all(text.as_bytes())?),
        Err(error) => Ok(write!(w, "{:?}: {error}", error.kind())?),
    };
    Recorder::serve(handler, Request::get("/").upstream(upstream)).text().to_owned()
}

/// Says what was asked, and redirects by the path: `/STATUS/…` leads to `…`.
fn echo(called: &Called) -> Reply {
    let path = called.url().split("a.test").nth(1).unwrap_or_default();
    let hop = path.get(1..4).and_then(|status| Some((status.parse().ok()?, path.get(4..)?)));
    match hop {
        Some((status, "/round")) => Reply::status(status).header("location", path),
        Some((status, to)) => Reply::status(status).header("location", to),
        None => {
            let (credentials, body) = (called.header("authorization"), called.body().len());
            Reply::text(&format!("{} {} {credentials:?} {body}", called.method(), called.url()))
        }
    }
}

#[test]
fn redirects_are_followed_as_the_host_does() {
    let get = |url: &'static str| told(echo, move || client::get(url)?.text());
    assert_eq!(get("http://a.test/x"), "GET http://a.test/x \"\" 0");
    assert_eq!(get("http://a.test/302/301/x?q"), "GET http://a.test/x?q \"\" 0");
    assert_eq!(get("http://u:p@a.test/302/x"), "GET http://a.test/x \"Basic dTpw\" 0", "its own host");
    assert_eq!(get("http://u:p@a.test/302//b.test/x"), "GET http://b.test/x \"\" 0");
    assert_eq!(
        get("http://a.test/302/round"),
        "Failed: GET http://a.test/302/round: stopped after 10 redirects"
    );
    let post = |url: &'static str| told(echo, move || client::post(url, "text/plain", "four")?.text());
    assert_eq!(post("http://a.test/303/x"), "GET http://a.test/x \"\" 0");
    assert_eq!(post("http://a.test/308/x"), "POST http://a.test/x \"\" 4");
    let large =
        || Ok(client::post("http://a.test/308/x", "text/plain", vec![0; 2 << 20])?.status().to_string());
    assert_eq!(told(echo, large), "308 Permanent Redirect", "there is no body any more");
    let first =
        || Ok(client::request("GET", "http://a.test/302/x").redirects(0).send()?.status().to_string());
    assert_eq!(told(echo, first), "302 Found");
}

#[test]
fn errors_say_which_call() {
    let fail = |reply: fn(&Called) -> Reply| {
        told(reply, || client::get("http://ann:secret@a.test/x?key=secret")?.text())
    };
    for (reply, expected) in [
        (
            (|_| Reply::timeout()) as fn(&Called) -> Reply,
            "Timeout: GET http://a.test/x: the call took too long",
        ),
        (|_| Reply::failure(), "Failed: GET http://a.test/x: the call failed"),
        (|_| Reply::denied(), "Denied: GET http://a.test/x: the call was refused"),
        (|_| Reply::limit(), "Limit: GET http://a.test/x: there are too many calls, or one is too large"),
        (|_| Reply::invalid(), "Invalid: GET http://a.test/x: the call cannot be made as it is"),
        (|_| Reply::text("half").broken_off(), "Broken: GET http://a.test/x: the response broke off"),
    ] {
        assert_eq!(fail(reply), expected);
    }
    let bad = told(echo, || client::request("A B", "ftp://a.test/").send()?.text());
    assert_eq!(bad, "Invalid: A B ftp://a.test/: `A B` is not a method");
    let bad = told(echo, || client::get("a.test")?.text());
    assert_eq!(bad, "Invalid: GET a.test: the call cannot be made as it is");
}

#[test]
fn a_broken_body_stays_broken() {
    let read = || {
        let mut response = client::get("http://a.test/")?;
        let mut text = [0; 10];
        assert_eq!(response.read(&mut text).ok(), Some(4));
        for _ in 0..2 {
            let error =
                response.read(&mut text).expect_err("broken").downcast::<CallError>().expect("a call's");
            assert_eq!(error.kind(), CallErrorKind::Broken);
        }
        Ok("read".to_owned())
    };
    assert_eq!(told(|_| Reply::text("half").broken_off(), read), "read");
}
