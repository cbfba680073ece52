//! What the guest is told of a request.

use super::{Abi, Case, case, check};

/// What `tell` writes of a plain request to `localhost`.
fn told(method: &str, target: &str, fields: &[&str]) -> String {
    let head = format!("method={method}\nscheme=http\nauthority=localhost\ntarget={target}\n");
    fields.iter().fold(head, |text, field| text + field + "\n")
}

/// A request whose head is told.
fn tells(name: &'static str) -> Case {
    case(name, "tell")
}

#[test]
fn methods() {
    let methods =
        ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND", "M-SEARCH", "get"];
    let cases: Vec<_> = methods
        .into_iter()
        .map(|method| tells(method).method(method).body(told(method, "/?ops=tell", &["host: localhost"])))
        .collect();
    check(&cases);
}

#[test]
fn targets_are_verbatim() {
    let cases: Vec<_> = [
        "/a%2Fb/%7Euser/%e4%B8%ad",
        "/a;b=c/$&'()*+,:@!~-._",
        "/with/%20space",
        "/caf%C3%A9",
        "/%00",
        "/..%2f",
    ]
    .into_iter()
    .map(|path| tells(path).path(path).body(told("GET", &format!("{path}?ops=tell"), &["host: localhost"])))
    .collect();
    check(&cases);
    check(&[
        case("query", "tell&a=1&&b=%26%zz+//?x=[]{}|^`\\").http1().body(told(
            "GET",
            "/?ops=tell&a=1&&b=%26%zz+//?x=[]{}|^`\\",
            &["host: localhost"],
        )),
        case("query of HTTP/2", "tell&a=1&&b=%26%zz+//?x").body(told(
            "GET",
            "/?ops=tell&a=1&&b=%26%zz+//?x",
            &["host: localhost"],
        )),
        tells("absolute form")
            .wire(b"GET http://localhost/x?ops=tell HTTP/1.1\r\nHost: other\r\n\r\n")
            .body(told("GET", "/x?ops=tell", &["host: localhost"]))
            .but(Abi::ServeHttp, "as in net/http, the target is what stood on the line", |expected| {
                expected.body = Some(told("GET", "http://localhost/x?ops=tell", &["host: localhost"]).into());
            }),
    ]);
}

#[test]
fn scheme_and_authority_are_always_there() {
    check(&[
        tells("a port")
            .field("Host: example.test:8080")
            .body("method=GET\nscheme=http\nauthority=example.test:8080\ntarget=/?ops=tell\nhost: example.test:8080\n"),
        tells("an address")
            .field("Host: [::1]:80")
            .body("method=GET\nscheme=http\nauthority=[::1]:80\ntarget=/?ops=tell\nhost: [::1]:80\n"),
        tells("HTTP/1.0 without Host")
            .wire(b"GET /?ops=tell HTTP/1.0\r\n\r\n")
            .body("method=GET\nscheme=http\nauthority={address}\ntarget=/?ops=tell\nhost: {address}\n")
            .but(Abi::ServeHttp, "as in net/http, no Host is an empty one", |expected| {
                expected.body = Some("method=GET\nscheme=http\nauthority=\ntarget=/?ops=tell\n".into());
            }),
        tells("an empty Host")
            .wire(b"GET /?ops=tell HTTP/1.1\r\nHost:\r\n\r\n")
            .body("method=GET\nscheme=http\nauthority={address}\ntarget=/?ops=tell\nhost: \n")
            .but(Abi::ServeHttp, "as in net/http, that is no Host", |expected| {
                expected.body = Some("method=GET\nscheme=http\nauthority=\ntarget=/?ops=tell\n".into());
            }),
    ]);
}

#[test]
fn header_fields() {
    check(&[
        tells("repeats, in their order")
            .field("X-B: 2")
            .field("X-A: 1")
            .field("X-B: 1")
            .field("x-b: 3")
            .body(told("GET", "/?ops=tell", &["host: localhost", "x-a: 1", "x-b: 2", "x-b: 1", "x-b: 3"])),
        tells("values are bytes")
            .wire(b"GET /?ops=tell HTTP/1.1\r\nHost: localhost\r\nX-Bytes: \xff\xe4 \x80\r\nX-None:\r\n\r\n")
            .body(told("GET", "/?ops=tell", &["host: localhost", "x-bytes: \\xff\\xe4 \\x80", "x-none: "])),
        tells("not one line").field("Cookie: a=1; b=2").field("Accept: */*, text/html;q=0.5").body(told(
            "GET",
            "/?ops=tell",
            &["accept: */*, text/html;q=0.5", "cookie: a=1; b=2", "host: localhost"],
        )),
        tells("many").wire(MANY.as_bytes()).status(200),
    ]);
}

/// As many lines as a head may have.
static MANY: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
    let lines: String = (0..490).map(|number| format!("X-{number}: {number}\r\n")).collect();
    format!("GET /?ops=tell HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n")
});

#[test]
fn what_belongs_to_the_connection_is_not_told() {
    check(&[
        tells("hop by hop")
            .wire(
                b"GET /?ops=tell HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, x-hop\r\nKeep-Alive: timeout=5\r\n\
                  TE: trailers\r\nUpgrade: websocket\r\nProxy-Connection: keep-alive\r\nX-Hop: 1\r\nX-End: 1\r\n\r\n",
            )
            .body(told("GET", "/?ops=tell", &["host: localhost", "x-end: 1", "x-hop: 1"]))
            .but(Abi::ServeHttp, "as in net/http, handlers see all fields but the framing", |expected| {
                expected.body = Some(
                    told(
                        "GET",
                        "/?ops=tell",
                        &[
                            "connection: keep-alive, x-hop",
                            "host: localhost",
                            "keep-alive: timeout=5",
                            "proxy-connection: keep-alive",
                            "te: trailers",
                            "upgrade: websocket",
                            "x-end: 1",
                            "x-hop: 1",
                        ],
                    )
                    .into(),
                );
            }),
        tells("TE over HTTP/2")
            .http2()
            .field("te: trailers")
            .body(told("GET", "/?ops=tell", &["host: localhost"]))
            .but(Abi::ServeHttp, "as in net/http, handlers see all fields", |expected| {
                expected.body = Some(told("GET", "/?ops=tell", &["host: localhost", "te: trailers"]).into());
            }),
        case("chunks", "read:all,tell")
            .wire(
                b"POST /?ops=read:all,tell HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
                  1\r\na\r\n0\r\n\r\n",
            )
            .body(told("POST", "/?ops=read:all,tell", &["host: localhost"]))
            .but(Abi::ServeHttp, "the SDK finds out from it that there is no length", |expected| {
                expected.body = Some(
                    told("POST", "/?ops=read:all,tell", &["host: localhost", "transfer-encoding: chunked"])
                        .into(),
                );
            }),
        tells("a length").sends("abc").body(told(
            "POST",
            "/?ops=tell",
            &["content-length: 3", "host: localhost"],
        ))
        .http1(),
    ]);
}
