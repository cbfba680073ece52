use std::io::Write;

use wasmux_sdk::{Recorder, Request, ResponseWriter, Result, ServeMux, TestRequest};

fn show(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    Ok(write!(w, "{} id={} outer={}", r.pattern(), r.path_value("id"), r.path_value("outer"))?)
}

fn mux() -> ServeMux {
    let mut mux = ServeMux::new();
    for pattern in ["/", "GET /items/{id}", "POST /items/{id}", "PUT /only", "/dir/", "other.example/"] {
        mux.handle_func(pattern, show).expect(pattern);
    }
    mux
}

fn serve(request: TestRequest) -> Recorder {
    Recorder::serve(mux(), request)
}

#[test]
fn the_most_specific_pattern_wins_and_is_what_the_handler_sees() {
    let request = Request::get("/items/a%2Fb").pattern("/{outer...}");
    assert_eq!(serve(request).text(), "GET /items/{id} id=a/b outer=");
    assert_eq!(serve(Request::get("/x")).text(), "/ id= outer=");
    assert_eq!(serve(Request::get("/").host("other.example:80")).text(), "other.example/ id= outer=");
}

#[test]
fn redirects_405_and_404_are_net_https() {
    let response = serve(Request::post("/dir?q=1"));
    assert_eq!((response.status().as_u16(), response.header("location")), (307, "/dir/?q=1"));
    let response = serve(Request::get("//x/../dir/y"));
    assert_eq!((response.status().as_u16(), response.header("location")), (307, "/dir/y"));
    assert_eq!(response.text(), "<a href=\"/dir/y\">Temporary Redirect</a>.\n\n");

    let mut only = ServeMux::new();
    only.handle_func("GET /a", show).expect("valid");
    let response = Recorder::serve(&only, Request::post("/a"));
    assert_eq!((response.status().as_u16(), response.header("allow")), (405, "GET, HEAD"));
    assert_eq!(response.text(), "Method Not Allowed\n");
    assert_eq!(Recorder::serve(&only, Request::head("/a")).status(), 200);
    let response = Recorder::serve(&only, Request::get("/b"));
    assert_eq!((response.status().as_u16(), response.text()), (404, "404 page not found\n"));
    let response = Recorder::serve(&only, Request::options("*"));
    assert_eq!((response.status().as_u16(), response.header("connection")), (400, "close"));
}

#[test]
fn bad_patterns_are_errors_that_say_why() {
    let mut mux = mux();
    for (pattern, want) in [
        ("GET /items/{name}", "matches the same requests as"),
        ("/{a}x", "bad wildcard segment"),
        ("", "empty pattern"),
    ] {
        let error = mux.handle_func(pattern, show).expect_err(pattern);
        assert!(error.to_string().contains(want), "{error}");
    }
}
