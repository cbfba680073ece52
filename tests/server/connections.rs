//! The life of a connection: keep-alive, pipelining, HTTP/1.0, HTTP/2, limits and clocks on heads.

use std::time::Duration;

use super::plain;
use crate::support::{Site, http2};

#[test]
fn a_connection_serves_many_requests() {
    let server = plain();
    let mut conn = server.connect();
    for round in 0..20 {
        conn.request("POST", "/thing", &[], b"some body");
        assert_eq!(conn.response().status, 201, "round {round}");
    }
    conn.request("GET", "/thing", &["Connection: close"], b"");
    let last = conn.response();
    assert_eq!(last.header("connection"), Some("close"));
    assert!(conn.is_closed());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = plain();
    let mut conn = server.connect();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let post = "POST /thing HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody";
    conn.send([&get("/sleep/200"), post, &get("/tree/x"), &get("/sleep/1"), &get("/thing")].concat());
    let bodies = [(); 5].map(|()| conn.response().text());
    assert_eq!(bodies, ["slept\n", "made\n", "tree\n", "slept\n", "thing\n"]);
}

#[test]
fn http_1_0() {
    let server = plain();
    let mut conn = server.connect();
    conn.send("GET /thing HTTP/1.0\r\n\r\n");
    let response = conn.response();
    assert_eq!((response.status, response.text().as_str()), (200, "thing\n"));
    assert_eq!(response.version, "HTTP/1.0");
    assert!(conn.is_closed());

    let mut conn = server.connect();
    for _ in 0..2 {
        conn.send("GET /thing HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let response = conn.response();
        assert_eq!(response.header("connection").map(str::to_ascii_lowercase).as_deref(), Some("keep-alive"));
    }

    // Without chunks, the end of a stream is the end of the connection.
    let streaming =
        Site::new("[handlers.e]\nwasm = \"echo.wat\"\n[routes]\n\"/\" = \"e\"\n").guest("echo").serve();
    let mut conn = streaming.connect();
    conn.send("POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello");
    let response = conn.response();
    assert_eq!(response.header("transfer-encoding"), None, "{response:?}");
    assert_eq!(response.text(), "hello");
}

#[test]
fn http2_on_the_same_port() {
    let server = plain();
    assert_eq!(server.get("/thing").status, 200);
    http2::run(async {
        let (client, _) = http2::connect(server.address()).await;
        assert_eq!(http2::get(&client, "/thing").await, (200, "thing\n".to_owned()));
        assert_eq!(http2::get(&client, "/nothing").await.0, 200);
        assert_eq!(http2::get(&client, "/tree").await.0, 307);
        // Many streams at once, and quick ones overtake slow ones.
        let slow: Vec<_> = (0..8)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { http2::get(&client, "/sleep/1000").await })
            })
            .collect();
        for _ in 0..50 {
            assert_eq!(http2::get(&client, "/thing").await.0, 200);
        }
        assert!(slow.iter().all(|stream| !stream.is_finished()), "the slow ones are still at it");
        for stream in slow {
            assert_eq!(stream.await.unwrap(), (200, "slept\n".to_owned()));
        }
    });
}

#[test]
fn http2_uses_the_authority() {
    let server = plain();
    http2::run(async {
        let (client, _) = http2::connect(server.address()).await;
        let mut client = client.ready().await.unwrap();
        let request = http::Request::get("http://api.test/x").body(()).unwrap();
        let (response, _) = client.send_request(request, true).unwrap();
        let (body, _) = http2::whole(response.await.unwrap()).await.unwrap();
        assert_eq!(body, b"api\n");
    });
}

#[test]
fn heads_that_are_too_large() {
    let site = Site::new("[server]\nmax_header_bytes = \"16KiB\"\n[routes]\n\"/\" = { respond = \"ok\" }\n");
    let server = site.serve();
    let with = |field: &str| {
        let mut conn = server.connect();
        conn.try_send(format!("GET / HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n"));
        let response = conn.response();
        (response.status, conn.is_closed())
    };
    assert_eq!(with(&format!("X-Long: {}\r\nConnection: close", "a".repeat(10_000))), (200, true));
    assert_eq!(with(&format!("X-Long: {}", "a".repeat(25_000))), (431, true));
    let many = |count: usize| vec!["X-Many: 1"; count].join("\r\n");
    assert_eq!(with(&format!("{}\r\nConnection: close", many(400))), (200, true));
    assert_eq!(with(&many(600)), (431, true));
    assert_eq!(server.get("/").status, 200, "others are not concerned");
}

#[test]
fn heads_that_are_too_slow() {
    let site = Site::new(
        "[server]\nread_header_timeout = \"300ms\"\nidle_timeout = \"300ms\"\n[routes]\n\"/\" = { respond = \"ok\" }\n",
    );
    let server = site.serve();
    for beginning in
        ["", "P", "PRI * HTTP/2.0\r\n\r\n", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: x\r\nX-"]
    {
        let mut conn = server.connect();
        conn.send(beginning);
        let answer = conn.rest();
        let text = String::from_utf8_lossy(&answer);
        // As net/http has it: an answer where the line at which it stops could not become one.
        assert!(answer.is_empty() || text.starts_with("HTTP/1.1 400"), "{beginning:?}: {text}");
    }
    // Waiting for the next request is timed as well.
    let mut conn = server.connect();
    conn.request("GET", "/", &[], b"");
    assert_eq!(conn.response().status, 200);
    assert!(conn.is_closed());
}

#[test]
fn smuggling_is_refused() {
    let server = plain();
    for fields in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: +5",
        "Content-Length: -1",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked, gzip",
        "X Y: z",
        "X: a\r\n b",
        " X: a",
    ] {
        let mut conn = server.connect();
        conn.send(format!(
            "POST /thing HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\nhelloGET /thing HTTP/1.1\r\nHost: x\r\n\r\n"
        ));
        let status = conn.response().status;
        assert!(matches!(status, 400 | 501), "{fields:?}: {status}");
        assert!(conn.rest().is_empty(), "{fields:?}: what follows must not be taken for a request");
    }
    // Both: chunked counts, and the connection is not used again.
    let mut conn = server.connect();
    conn.send("POST /thing HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /thing HTTP/1.1\r\nHost: x\r\n\r\n");
    let status = conn.response().status;
    assert!(status == 400 || (status == 201 && conn.rest().is_empty()), "{status}");
}

#[test]
fn beyond_max_connections_busy_ones_are_waited_for() {
    let server = Site::new(
        "[server]\nmax_connections = 1\n[handlers]\necho = { wasm = \"echo.wat\" }\n\
         [routes]\n\"/\" = { respond = \"ok\" }\n\"/echo\" = \"echo\"\n",
    );
    let server = server.guest("echo").serve();
    let mut first = server.connect();
    first.request("POST", "/echo", &["Transfer-Encoding: chunked"], b"");
    assert_eq!(first.head().status, 200, "and the body goes on");
    let mut second = server.connect();
    second.request("GET", "/", &[], b"");
    assert!(!second.answers_within(Duration::from_millis(800)), "the first connection is at work");
    first.reset();
    assert_eq!(second.response().status, 200);
}

#[test]
fn beyond_max_connections_idle_ones_make_room() {
    let site = Site::new("[server]\nmax_connections = 2\n[routes]\n\"/\" = { respond = \"ok\" }\n");
    let server = site.log_level("debug").serve();
    let open = || {
        let mut conn = server.connect();
        conn.request("GET", "/", &[], b"");
        assert_eq!(conn.response().status, 200);
        conn
    };
    let (mut first, mut second) = (open(), open());
    let mut third = open();
    server.log.wait_for(&["connection closed: idle", "`max_connections`"]);
    assert!(first.is_closed(), "it was idle for longest");
    for conn in [&mut second, &mut third] {
        conn.request("GET", "/", &[], b"");
        assert_eq!(conn.response().status, 200, "the others are not concerned");
    }
}

#[test]
fn who_is_still_taking_a_response_makes_no_room() {
    // More than sockets hold: the rest waits in the server, which has nothing else to do with this request.
    let large = "x".repeat(12 << 20);
    let routes = format!(
        "[server]\nmax_connections = 1\n[routes]\n\"/\" = {{ respond = \"ok\" }}\n\"/large\" = {{ respond = \"{large}\" }}\n"
    );
    let server = Site::new(&routes).serve();
    let mut slow = server.connect();
    slow.request("GET", "/large", &["Connection: close"], b"");
    assert_eq!(slow.head().status, 200);
    let mut next = server.connect();
    next.request("GET", "/", &[], b"");
    // Idle connections are shed after 500 ms.
    assert!(!next.answers_within(Duration::from_secs(1)));
    assert_eq!(slow.rest().len(), large.len());
    assert_eq!(next.response().text(), "ok");
}
