//! Upstreams of other kinds: HTTP/2, and those that answer for long.

use std::io::Write as _;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use super::{proxy, to};
use crate::support::upstream::{Upstream, ok, read_head};
use crate::support::{DEADLINE, Site};

#[test]
fn http2_without_tls() {
    let routes = "[server]\nlisten = \"127.0.0.1:0\"\naccess_log = \"json\"\n[handlers.echo]\nwasm = \"echo.wat\"\n\
                  [routes]\n\"/\" = { respond = \"here\" }\n\"/echo\" = \"echo\"\n";
    let upstream = Site::new(routes).guest("echo").serve();
    let server = proxy(&format!("\"h2c://{}\"", upstream.address()));
    assert_eq!(server.get("/").text(), "here");
    upstream.out.wait_for(&["HTTP/2.0", "\"status\":200"]);
    let large = "x".repeat(1 << 20);
    assert_eq!(server.request("POST", "/echo", &[], large.as_bytes()).text(), large);
}

#[test]
fn the_one_with_the_fewest_requests_is_chosen() {
    let (asked, first_asked) = channel();
    let (release, released) = channel::<()>();
    let asked_too = asked.clone();
    let (asked, asked_too, released) = (Mutex::new(asked), Mutex::new(asked_too), Mutex::new(released));
    // Its first request takes until it is told.
    let slow = Upstream::answering(move |_| {
        asked.lock().unwrap().send("slow").unwrap();
        let _ = released.lock().unwrap().recv();
        ok("slow")
    });
    let quick = Upstream::answering(move |_| {
        let _ = asked_too.lock().unwrap().send("quick");
        ok("quick")
    });
    let settings =
        format!("{{ to = [{:?}, {:?}], balance = \"least_connections\" }}", slow.url(), quick.url());
    let server = proxy(&settings);
    let mut waiting = server.connect();
    // With nothing at work they take turns, so that one of the first two gets there.
    waiting.request("GET", "/", &[], b"");
    if first_asked.recv_timeout(DEADLINE).unwrap() == "quick" {
        assert_eq!(waiting.response().text(), "quick");
        waiting.request("GET", "/", &[], b"");
        assert_eq!(first_asked.recv_timeout(DEADLINE), Ok("slow"));
    }
    // One after the other on a connection: each has ended before the next is looked at.
    let mut others = server.connect();
    for _ in 0..6 {
        others.request("GET", "/", &[], b"");
        assert_eq!(others.response().text(), "quick");
    }
    release.send(()).unwrap();
    assert_eq!(waiting.response().text(), "slow");
}

/// httputil.ReverseProxy flushes a `text/event-stream` at once; so does this one with everything.
#[test]
fn events_arrive_one_by_one() {
    let (next, more) = channel::<()>();
    let more = std::sync::Mutex::new(more);
    let upstream = Upstream::start(move |_, mut stream| {
        let Some(_) = read_head(&mut stream) else { return };
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        for count in 0..3 {
            let event = format!("data: {count}\n\n");
            write!(stream, "{:x}\r\n{event}\r\n", event.len()).unwrap();
            more.lock().unwrap().recv().unwrap();
        }
        stream.write_all(b"0\r\n\r\n").unwrap();
    });
    let server = to(&upstream);
    let mut conn = server.connect();
    conn.request("GET", "/", &[], b"");
    assert_eq!(conn.head().header("content-type"), Some("text/event-stream"));
    for count in 0..3 {
        assert_eq!(conn.chunk().unwrap(), format!("data: {count}\n\n").into_bytes());
        next.send(()).unwrap();
    }
    assert_eq!(conn.chunk(), Some(Vec::new()), "the end");
}
