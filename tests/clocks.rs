//! Slow clients. Each clock starts and stops where net/http's does, ends what it is for and not sooner, and is named
//! in the log.
//!
//! Sleeps here are what a slow client does. Lower bounds are exact, since our clock starts before the server's; upper
//! ones only tell the clock under test from the others, which take longer.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::support::guests::puppet_site;
use crate::support::{Conn, DEADLINE, Server, Site};

/// Far less than the clocks that a test does not set.
const SOON: Duration = Duration::from_secs(20);

/// Between the bytes of a client that trickles.
const PAUSE: Duration = Duration::from_millis(50);

/// What `flood.wat` sends, in bytes.
const FLOOD: usize = 256 << 20;

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Runs the puppet with these lines in `[server]`.
fn puppet(settings: &str) -> Server {
    let server = puppet_site(settings).log_level("debug").serve();
    assert_eq!(server.get("/probe").text(), "ok\n", "it is compiled before a clock counts");
    server
}

/// Runs a guest that sends more than sockets hold.
fn flood(settings: &str) -> Server {
    let routes =
        format!("[server]\n{settings}\n[handlers.f]\nwasm = \"flood.wat\"\n[routes]\n\"/flood\" = \"f\"\n");
    Site::new(&routes).guest("flood").log_level("debug").serve()
}

/// Sends `first`, then a byte at a time until the server ends the connection; what came, and how long it lasted.
fn trickle(server: &Server, first: &str) -> (String, Duration) {
    let started = Instant::now();
    let mut socket = TcpStream::connect(server.address()).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut reader = socket.try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let mut came = Vec::new();
        // A reset is an end as well.
        let _ = reader.read_to_end(&mut came);
        (String::from_utf8_lossy(&came).into_owned(), started.elapsed())
    });
    let _ = socket.write_all(first.as_bytes());
    while !reader.is_finished() && started.elapsed() < SOON {
        let _ = socket.write_all(b"a");
        std::thread::sleep(PAUSE);
    }
    // If it has not ended, this ends it, and the test finds that it took too long.
    let _ = socket.shutdown(Shutdown::Both);
    reader.join().unwrap()
}

fn get(conn: &mut Conn, ops: &str) -> String {
    conn.request("GET", &format!("/puppet?ops={ops}"), &[], b"");
    conn.response().text()
}

#[track_caller]
fn assert_took(took: Duration, clock: Duration) {
    assert!(took >= clock && took < SOON, "the clock is {clock:?}, it took {took:?}");
}

#[test]
fn every_clock_is_on_by_default() {
    let server = wasmux::config::ServerConfig::default();
    let readme = include_str!("../README.md");
    for (key, clock) in [
        ("read_header_timeout", server.read_header_timeout),
        ("read_timeout", server.read_timeout),
        ("write_timeout", server.write_timeout),
        ("idle_timeout", server.idle_timeout),
        ("tls_handshake_timeout", server.tls_handshake_timeout),
        ("stall_timeout", Some(server.stall_timeout)),
    ] {
        let clock = clock.unwrap_or_else(|| panic!("`{key}` is off"));
        assert!(clock >= Duration::from_secs(5) && clock <= Duration::from_secs(600), "{key}: {clock:?}");
        let row = readme.lines().find(|line| line.starts_with(&format!("| `{key}` |")));
        let row = row.unwrap_or_else(|| panic!("the README has no row of `{key}`"));
        let default = row.split('|').nth(2).unwrap().trim().trim_matches(['`', '"']);
        assert_eq!(humantime::parse_duration(default).ok(), Some(clock), "the README's default of `{key}`");
    }
}

#[test]
fn heads_that_trickle_are_given_up() {
    let server = puppet("read_header_timeout = \"600ms\"");
    for (count, first) in ["", "G", "GET /puppet HTTP/1.1\r\nHost: x\r\nX-"].into_iter().enumerate() {
        let (came, took) = trickle(&server, first);
        assert!(came.is_empty() || came.starts_with("HTTP/1.1 4"), "{first:?}: {came}");
        assert_took(took, ms(600));
        server.log.wait_for_many("read_header_timeout", count + 1);
    }
}

#[test]
fn a_client_that_says_nothing_is_given_up() {
    let server = puppet("read_header_timeout = \"600ms\"");
    let started = Instant::now();
    assert!(server.connect().is_closed());
    assert_took(started.elapsed(), ms(600));
    server.log.wait_for(&["read_header_timeout"]);
}

#[test]
fn heads_are_not_timed_while_a_connection_is_idle() {
    let server = puppet("read_header_timeout = \"300ms\"");
    let mut conn = server.connect();
    assert_eq!(get(&mut conn, "text:one"), "one");
    std::thread::sleep(ms(900));
    assert_eq!(get(&mut conn, "text:two"), "two");
    // The next one begins with its first four bytes.
    let started = Instant::now();
    conn.send("GET ");
    let came = String::from_utf8_lossy(&conn.rest()).into_owned();
    assert!(came.is_empty() || came.starts_with("HTTP/1.1 4"), "{came}");
    assert_took(started.elapsed(), ms(300));
    server.log.wait_for(&["read_header_timeout"]);
}

#[test]
fn idle_connections_are_closed() {
    let server = puppet("idle_timeout = \"600ms\"");
    let mut conn = server.connect();
    assert_eq!(get(&mut conn, "text:one"), "one");
    let started = Instant::now();
    assert_eq!(get(&mut conn, "text:two"), "two");
    assert!(conn.is_closed());
    assert_took(started.elapsed(), ms(600));
    server.log.wait_for(&["idle_timeout"]);
}

/// Behind a streamed response, what a client still owes of its request is waited for as for its next one.
#[test]
fn the_rest_of_an_answered_request_is_not_waited_for_any_longer_than_the_next() {
    let server = puppet("read_timeout = \"off\"\nidle_timeout = \"600ms\"");
    let started = Instant::now();
    let mut conn = server.connect();
    conn.send("POST /puppet?ops=text:a,flush,text:b HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc");
    assert_eq!(conn.response().text(), "ab");
    assert_eq!(conn.rest(), b"", "it is closed, and what was not read is no request");
    assert_took(started.elapsed(), ms(600));
}

/// A few bytes are no request: they neither stop the idle clock nor start it anew.
#[test]
fn up_to_three_bytes_leave_a_connection_idle() {
    let server = puppet("idle_timeout = \"600ms\"");
    let mut conn = server.connect();
    let started = Instant::now();
    assert_eq!(get(&mut conn, "text:x"), "x");
    for byte in b"GET" {
        std::thread::sleep(ms(100));
        conn.try_send([*byte]);
    }
    assert_eq!(conn.rest(), b"", "silently");
    assert_took(started.elapsed(), ms(600));
    server.log.wait_for(&["idle_timeout"]);
    // Nor are they one that is broken off.
    let mut conn = server.connect();
    assert_eq!(get(&mut conn, "text:x"), "x");
    conn.send("GET");
    conn.finish();
    assert_eq!(conn.rest(), b"", "silently");
}

#[test]
fn four_bytes_end_the_idle_time() {
    let server = puppet("idle_timeout = \"600ms\"");
    let mut conn = server.connect();
    assert_eq!(get(&mut conn, "text:one"), "one");
    conn.send("GET ");
    std::thread::sleep(ms(1500));
    conn.send("/puppet?ops=text:two HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(conn.response().text(), "two");
}

#[test]
fn slow_handlers_are_not_taken_for_slow_clients() {
    let clocks = "read_header_timeout = \"500ms\"\nidle_timeout = \"500ms\"\nread_timeout = \"500ms\"";
    let server = puppet(clocks);
    // The body is read, or there is none: nothing is waited for from the client.
    assert_eq!(get(&mut server.connect(), "sleep:1500,text:slow"), "slow");
    assert_eq!(get(&mut server.connect(), "text:a,flush,sleep:1500,text:b"), "ab");
    let response = server.request("POST", "/puppet?ops=read:all,sleep:1500,echo", &[], b"body");
    assert_eq!((response.status, response.text().as_str()), (200, "body"));
}

#[test]
fn bodies_that_stall_are_given_up() {
    let server = puppet("read_timeout = \"600ms\"");
    let started = Instant::now();
    let mut conn = server.connect();
    conn.send("POST /puppet?ops=read:all,state HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc");
    let response = conn.response();
    assert_took(started.elapsed(), ms(600));
    assert_eq!(response.text(), "end=error\n", "the handler learns of it");
    // What comes late is neither the body nor a request.
    conn.try_send("GET /secret HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(conn.rest(), b"");
    server.log.wait_for(&["read_timeout"]);
}

#[test]
fn bodies_that_trickle_are_given_up() {
    let server = puppet("read_timeout = \"600ms\"");
    for (count, framing) in ["Content-Length: 100000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nffff\r\n"]
        .into_iter()
        .enumerate()
    {
        let head = format!("POST /puppet?ops=read:all,state HTTP/1.1\r\nHost: x\r\n{framing}");
        let (came, took) = trickle(&server, &head);
        assert!(came.starts_with("HTTP/1.1 200") && came.ends_with("end=error\n"), "{framing:?}: {came}");
        assert_took(took, ms(600));
        server.log.wait_for_many("read_timeout", count + 1);
    }
}

#[test]
fn the_read_clock_starts_anew_for_each_request() {
    let server = puppet("read_timeout = \"1500ms\"");
    let mut conn = server.connect();
    for body in ["one", "two"] {
        conn.send("POST /puppet?ops=read:all,echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n");
        std::thread::sleep(ms(900));
        conn.send(body);
        assert_eq!(conn.response().text(), body);
    }
}

#[test]
fn a_client_that_never_reads_meets_the_write_clock() {
    let server = flood("write_timeout = \"600ms\"");
    let started = Instant::now();
    let mut conn = server.connect();
    conn.request("GET", "/flood", &[], b"");
    server.log.wait_for(&["write_timeout"]);
    assert_took(started.elapsed(), ms(600));
    assert!(conn.rest().len() < FLOOD, "the response is broken off");
}

/// It takes a little all the time, so it does not stall.
#[test]
fn a_client_that_reads_slowly_meets_the_write_clock() {
    let server = flood("write_timeout = \"600ms\"");
    let started = Instant::now();
    let mut conn = server.connect();
    conn.request("GET", "/flood", &[], b"");
    let mut received = 0;
    loop {
        let count = conn.some().len();
        received += count;
        if count == 0 || started.elapsed() > SOON {
            break;
        }
        std::thread::sleep(ms(20));
    }
    assert_took(started.elapsed(), ms(600));
    assert!(received < FLOOD, "the response is broken off");
    server.log.wait_for(&["write_timeout"]);
}

#[test]
fn a_client_that_never_reads_stalls() {
    let server = flood("stall_timeout = \"600ms\"");
    let started = Instant::now();
    let mut conn = server.connect();
    conn.request("GET", "/flood", &[], b"");
    server.log.wait_for(&["stall_timeout"]);
    assert_took(started.elapsed(), ms(600));
    assert!(conn.rest().len() < FLOOD, "the response is broken off");
}

/// The write clock counts from the end of the head, also while the handler has nothing to say.
#[test]
fn responses_that_come_too_late_are_not_sent() {
    let server = puppet("write_timeout = \"800ms\"");
    let started = Instant::now();
    let mut conn = server.connect();
    conn.request("GET", "/puppet?ops=sleep:2000,text:late", &[], b"");
    let came = String::from_utf8_lossy(&conn.rest()).into_owned();
    assert!(!came.contains("late"), "{came}");
    assert_took(started.elapsed(), ms(800));
    server.log.wait_for(&["write_timeout"]);
}

#[test]
fn the_write_clock_starts_anew_for_each_request() {
    let server = puppet("write_timeout = \"1500ms\"");
    let mut conn = server.connect();
    for text in ["one", "two", "three"] {
        assert_eq!(get(&mut conn, &format!("sleep:900,text:{text}")), text);
    }
}
