//! What must not get past a proxy, and what must not be lost on the way.

use std::io::{Read as _, Write as _};
use std::sync::mpsc::channel;

use super::{line, mirror, proxy, to};
use crate::support::upstream::{Upstream, ok, read_head};
use crate::support::{DEADLINE, Site};

/// RFC 9110 section 9.3.1: such a body has no meaning, but it is there, and what comes behind it is another request.
#[test]
fn a_body_of_get_is_passed_on() {
    let (tell, told) = channel();
    let tell = std::sync::Mutex::new(tell);
    let upstream = Upstream::start(move |number, mut stream| {
        let head = read_head(&mut stream).unwrap();
        let mut body = vec![0; 15];
        stream.read_exact(&mut body).unwrap();
        let _ = tell.lock().unwrap().send((head, String::from_utf8(body).unwrap()));
        if number == 0 {
            let answer = ok("done").replace("200 OK\r\n", "200 OK\r\nConnection: close\r\n");
            let _ = stream.write_all(answer.as_bytes());
        }
        let _ = stream.read(&mut [0]);
    });
    let server = proxy(&format!("{{ to = {:?}, response_header_timeout = \"300ms\" }}", upstream.url()));
    for status in [200, 504] {
        let mut conn = server.connect();
        conn.send("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        let (head, body) = told.recv_timeout(DEADLINE).unwrap();
        assert_eq!(line(&head, "transfer-encoding"), Some("chunked"), "{head}");
        assert_eq!(body, "5\r\nhello\r\n0\r\n\r\n");
        assert_eq!(conn.response().status, status, "the clock runs, too");
    }
}

#[test]
fn prefixes_are_stripped_by_segments() {
    let upstream = mirror();
    let proxied = format!("{{ proxy = {{ to = \"{}/base\", strip_prefix = \"/api\" }} }}", upstream.url());
    let routes = format!(
        "[handlers.back]\nproxy = {{ to = {:?}, strip_prefix = \"/api\" }}\n\
         [handlers.front]\nwasm = \"forward.wat\"\nnext = \"back\"\n\
         [routes]\n\"/api/\" = {proxied}\n\"/api\" = {proxied}\n\"/fe/{{name}}\" = \"front\"\n",
        upstream.url()
    );
    let server = Site::new(&routes).guest("forward").serve();
    for (path, seen) in [
        ("/api/x?y", "/base/x?y"),
        ("/api", "/base/"),
        ("/api?y", "/base/?y"),
        ("/%61pi/x", "/base/x"),
        ("/api/a%2Fb", "/base/a%2Fb"),
    ] {
        let head = server.get(path).text();
        assert!(head.starts_with(&format!("GET {seen} HTTP/1.1\r\n")), "{path}: {head}");
    }
    let response = server.get("/fe/x");
    assert_eq!((response.status, &*response.text()), (404, "404 page not found\n"), "it does not fit");
}

/// An upstream that switches to whatever it likes.
fn switching(to: &'static str) -> Upstream {
    Upstream::answering(move |head| match line(head, "upgrade") {
        Some(_) => format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n{to}\r\n"),
        None => ok("plain"),
    })
}

#[test]
fn http_is_no_protocol_to_switch_to() {
    let server = to(&switching("Upgrade: h2c\r\n"));
    for protocol in ["h2c", "H2C", "HTTP/2.0", "websocket, h2c"] {
        let fields =
            format!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {protocol}\r\nHTTP2-Settings: AA");
        let response = server.request("GET", "/", &[&fields], b"");
        assert_eq!((response.status, &*response.text()), (200, "plain"), "{protocol}");
    }
    for wrong in ["Upgrade: h2c\r\n", "Upgrade: other\r\n", ""] {
        let server = to(&switching(wrong));
        let response = server.request("GET", "/", &["Connection: Upgrade\r\nUpgrade: websocket"], b"");
        assert_eq!(response.status, 502, "{wrong:?}");
        server.log.wait_for(&["ERROR", "it switches to", "websocket"]);
    }
}

#[test]
fn trailers_are_no_second_header() {
    let upstream = Upstream::answering(|_| {
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\nSet-Cookie: a=b\r\n\
         Content-Length: 9\r\nProxy-Status: x\r\n\r\n"
            .to_owned()
    });
    let server = to(&upstream);
    let mut conn = server.connect();
    conn.send("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: close\r\n\r\n");
    assert_eq!(conn.head().status, 200);
    let rest = String::from_utf8(conn.rest()).unwrap();
    assert!(rest.ends_with("\r\n0\r\nX-Sum: 7\r\n\r\n"), "{rest:?}");
}

#[test]
fn a_response_of_two_lengths_is_passed_on_with_one() {
    let upstream = Upstream::answering(|_| {
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nall\r\n0\r\n\r\n"
            .to_owned()
    });
    let server = to(&upstream);
    for _ in 0..2 {
        let response = server.get("/");
        assert_eq!((response.header("content-length"), &*response.text()), (None, "all"));
    }
    assert_eq!(upstream.connections(), 2, "such a connection serves nobody else");
}

/// Who is busy is not ill: it is asked how it is all the same, and is not left alone for having no connection to spare.
#[test]
fn requests_wait_for_a_connection_only_so_long() {
    let (tell, told) = channel();
    let tell = std::sync::Mutex::new(tell);
    let upstream = Upstream::answering(move |head| {
        if head.starts_with("GET /healthz ") {
            let _ = tell.lock().unwrap().send(());
            return ok("well");
        }
        std::thread::sleep(DEADLINE);
        ok("late")
    });
    let server = proxy(&format!(
        "{{ to = {:?}, max_per_host = 1, dial_timeout = \"1s\", health = {{ path = \"/healthz\", interval = \"50ms\", timeout = \"5s\" }} }}",
        upstream.url()
    ));
    let mut first = server.connect();
    first.request("GET", "/", &[], b"");
    for _ in 0..3 {
        told.recv_timeout(DEADLINE).unwrap();
    }
    let response = server.get("/");
    assert_eq!(response.status, 504, "{}", response.text());
    server.log.wait_for(&["no connection came free in time (`max_per_host`)"]);
    assert_eq!(server.log.count("upstream is ill"), 0);
}
