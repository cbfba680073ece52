//! Bodies that move while they are made: both ways, in HTTP/1.1 and HTTP/2, with clients that are slow or go away.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::support::{Server, Site, http2};

fn streaming() -> Server {
    let routes = r#"
        [server]
        instances = 2
        [defaults]
        timeout = "20s"
        [handlers]
        echo = { wasm = "echo.wat" }
        ticks = { wasm = "ticks.wat" }
        flood = { wasm = "flood.wat" }
        read = { wasm = "read.wat" }
        [routes]
        "/echo" = "echo"
        "/ticks" = "ticks"
        "/flood" = "flood"
        "/read" = "read"
        "/fixed" = { respond = "fixed\n" }
    "#;
    Site::new(routes).guest("echo").guest("ticks").guest("flood").guest("read").serve()
}

/// What `flood.wat` streams.
const FLOOD: u64 = 256 << 20;

#[test]
fn the_first_byte_does_not_wait_for_the_last() {
    let server = streaming();
    let mut conn = server.connect();
    conn.request("GET", "/ticks", &[], b"");
    assert_eq!(conn.head().header("transfer-encoding"), Some("chunked"));
    for _ in 0..3 {
        assert_eq!(conn.chunk().unwrap(), b"tick\n");
    }
}

#[test]
fn a_body_comes_back_while_it_is_sent() {
    let server = streaming();
    let mut conn = server.connect();
    conn.request("POST", "/echo", &["Transfer-Encoding: chunked", "TE: trailers"], b"");
    assert_eq!(conn.head().status, 200, "the head is there before the first byte of the body");
    for piece in ["one", "two", "three"] {
        conn.send_chunk(piece.as_bytes());
        assert_eq!(conn.chunk().unwrap(), piece.as_bytes());
    }
    conn.send("0\r\nX-Sum: 42\r\nX-Other: 1\r\n\r\n");
    assert_eq!(conn.chunk().unwrap(), b"");
    assert_eq!(conn.some(), b"X-Sum: 42\r\nX-Other: 1\r\n\r\n");
    conn.request("GET", "/fixed", &[], b"");
    assert_eq!(conn.response().text(), "fixed\n", "the connection goes on");
}

#[test]
fn a_large_body_does_not_deadlock() {
    let server = streaming();
    let mut conn = server.connect();
    // The client sends everything before it reads: as much as the buffers on the way hold.
    let body = vec![b'x'; 100_000];
    conn.request("POST", "/echo", &[], &body);
    assert_eq!(conn.response().body, body);
}

#[test]
fn http2_both_ways() {
    let server = streaming();
    http2::run(async {
        let (client, _) = http2::connect(server.address()).await;
        let mut client = client.ready().await.unwrap();
        let (response, mut sending) = client.send_request(http2::request("POST", "/echo"), false).unwrap();
        let mut receiving = response.await.unwrap().into_body();
        for piece in ["one", "two", "three"] {
            sending.send_data(Bytes::from(piece), false).unwrap();
            let data = receiving.data().await.unwrap().unwrap();
            receiving.flow_control().release_capacity(data.len()).unwrap();
            assert_eq!(data, piece);
        }
        let trailers = http::HeaderMap::from_iter([
            (http::HeaderName::from_static("x-sum"), http::HeaderValue::from_static("42")),
            (http::HeaderName::from_static("x-other"), http::HeaderValue::from_static("1")),
        ]);
        sending.send_trailers(trailers.clone()).unwrap();
        assert!(receiving.data().await.is_none());
        assert_eq!(receiving.trailers().await.unwrap(), Some(trailers), "all of them, announced or not");
    });
}

#[test]
fn http2_breaks_off_with_a_reset() {
    let routes =
        "[handlers.t]\nwasm = \"ticks.wat\"\nlimits = { timeout = \"300ms\" }\n[routes]\n\"/\" = \"t\"\n";
    let server = Site::new(routes).guest("ticks").serve();
    http2::run(async {
        let (client, _) = http2::connect(server.address()).await;
        let mut client = client.ready().await.unwrap();
        let (response, _) = client.send_request(http2::request("GET", "/"), true).unwrap();
        let error = http2::whole(response.await.unwrap()).await.unwrap_err();
        assert!(error.is_reset() && error.is_remote(), "{error:?}");
        // The connection and its other streams are not concerned.
        assert_eq!(http2::get(&client.ready().await.unwrap(), "/../x").await.0, 307);
    });
}

/// A client that does not read suspends the guest: the host holds a few buffers, not the response.
#[test]
fn slow_readers_hold_the_guest_back() {
    let server = streaming();
    server.get("/fixed");
    let before = server.resident_bytes();
    let mut conn = server.connect();
    conn.request("GET", "/flood", &["X-Request-Id: slow"], b"");
    let head = conn.head();
    assert_eq!(head.header("content-length").unwrap(), FLOOD.to_string());
    let mut received = conn.some().len() as u64;
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(20)); // a slow reader, not a wait for anything
        received += conn.some().len() as u64;
        let grown = server.resident_bytes().saturating_sub(before);
        assert!(grown < 32 << 20, "grown by {grown} bytes");
    }
    assert!(received < FLOOD / 2);
    assert!(server.log.all().iter().all(|line| !line.contains("flooded")), "the guest cannot be done");
    while received < FLOOD {
        received += conn.some().len() as u64;
    }
    assert_eq!(received, FLOOD);
    server.log.wait_for(&["flooded", "slow"]);
    conn.request("GET", "/fixed", &[], b"");
    assert_eq!(conn.response().text(), "fixed\n");
}

/// Bodies that nobody reads are not collected either.
#[test]
fn slow_guests_hold_the_client_back() {
    let server = streaming();
    server.get("/fixed");
    let before = server.resident_bytes();
    let mut conn = server.connect();
    conn.request("POST", "/ticks", &["Content-Length: 100000000"], b"");
    assert_eq!(conn.head().status, 200);
    let mut sender = conn;
    let piece = vec![0; 1 << 20];
    let sending = std::thread::spawn(move || (0..30).take_while(|_| sender.try_send(&piece)).count());
    // The guest has sent nothing but ticks meanwhile and read nothing.
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(20));
        let grown = server.resident_bytes().saturating_sub(before);
        assert!(grown < 32 << 20, "grown by {grown} bytes");
    }
    drop(server);
    assert!(sending.join().unwrap() < 30, "the client cannot have sent everything");
}

/// With two instances in all, a guest that is not ended keeps the others out.
#[test]
fn a_client_that_goes_away_ends_its_guest() {
    let server = streaming();
    for path in ["/ticks", "/flood", "/ticks", "/flood", "/ticks"] {
        let mut conn = server.connect();
        conn.request("GET", path, &[], b"");
        assert_eq!(conn.head().status, 200, "{path}");
        assert!(!conn.some().is_empty());
    }
    let mut conn = server.connect();
    conn.request("POST", "/echo", &["Transfer-Encoding: chunked"], b"");
    assert_eq!(conn.head().status, 200);
    drop(conn);
    let response = server.request("POST", "/echo", &[], b"still here");
    assert_eq!(response.text(), "still here");
}

#[test]
fn http2_streams_that_are_reset_end_their_guests() {
    let server = streaming();
    http2::run(async {
        let (client, _) = http2::connect(server.address()).await;
        for _ in 0..6 {
            let mut client = client.clone().ready().await.unwrap();
            let (response, mut stream) = client.send_request(http2::request("GET", "/ticks"), true).unwrap();
            let mut body = response.await.unwrap().into_body();
            assert!(body.data().await.unwrap().is_ok());
            stream.send_reset(h2::Reason::CANCEL);
        }
        assert_eq!(http2::get(&client, "/fixed").await.0, 200);
    });
    assert_eq!(server.request("POST", "/echo", &[], b"still here").text(), "still here");
}

/// A client that never reads may keep its guest until the guest's deadline, and no longer.
#[test]
fn a_client_that_never_reads_keeps_no_instance_beyond_the_deadline() {
    let routes = r#"
        [server]
        instances = 1
        [handlers.flood]
        wasm = "flood.wat"
        limits = { timeout = "1s" }
        [handlers.read]
        wasm = "read.wat"
        [routes]
        "/flood" = "flood"
        "/read" = "read"
    "#;
    let server = Site::new(routes).guest("flood").guest("read").serve();
    http2::run(async {
        let (client, _) = http2::connect(server.address()).await;
        let mut client = client.ready().await.unwrap();
        let (response, _stream) = client.send_request(http2::request("GET", "/flood"), true).unwrap();
        // In HTTP/2, not to read is not to open the window: nothing but the first 64 KiB can be sent.
        let stuck = response.await.unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        let other = http2::connect(server.address()).await.0;
        while http2::get(&other, "/read").await.0 != 200 {
            assert!(Instant::now() < until, "the guest's only instance is still taken");
        }
        drop(stuck);
    });
}

#[test]
fn continue_is_asked_for_when_the_guest_reads() {
    let server = streaming();
    let mut conn = server.connect();
    conn.request("POST", "/read", &["Expect: 100-continue", "Content-Length: 4"], b"");
    assert_eq!(conn.head().status, 100);
    conn.send("body");
    assert_eq!(conn.response().text(), "read\n");
    // The connection is as good as new, also behind a body of a length that was not declared.
    conn.request("POST", "/read", &["Expect: 100-continue", "Transfer-Encoding: chunked"], b"");
    assert_eq!(conn.head().status, 100);
    conn.send("4\r\nbody\r\n0\r\n\r\n");
    let response = conn.response();
    assert_eq!((response.text().as_str(), response.header("connection")), ("read\n", None));
    // A handler that does not read does not ask.
    conn.request("POST", "/fixed", &["Expect: 100-continue", "Content-Length: 4"], b"");
    assert_eq!(conn.response().status, 200);
}
