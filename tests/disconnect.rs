//! Clients that go away while their guest is at work: it ends, on every ABI and over every transport; and clients that have
//! only ended their own side, which get their response however long it takes.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use crate::support::guests::{component, puppet_folder};
use crate::support::tls::{Authority, Client};
use crate::support::{Conn, DEADLINE, Server, Site, http2};

/// Paths of guests that compute for ever, one for each ABI.
const LOOPS: [&str; 3] = ["/s", "/p2?fault=loop", "/p3?do=spin"];

/// Clients of the wedge test.
const CLIENTS: usize = 4;

/// Nothing but a client that leaves ends a guest in here.
fn site(server: &str) -> Site {
    let (puppet, p2, p3) = (puppet_folder(), component("proxy"), component("trouble"));
    let service = component("service");
    let routes = format!(
        r#"
        [server]
        threads = 2
        {server}
        [defaults]
        timeout = "10m"
        cpu = "10m"
        [handlers]
        bad = {{ wasm = "bad.wat" }}
        puppet = {{ wasm = {puppet:?} }}
        finish = {{ wasm = {puppet:?}, on_disconnect = "finish" }}
        p2 = {{ wasm = {p2:?} }}
        p3 = {{ wasm = {p3:?} }}
        service = {{ wasm = {service:?} }}
        [routes]
        "/s" = "bad"
        "/h" = "bad"
        "/puppet" = "puppet"
        "/finish" = "finish"
        "/p2" = "p2"
        "/p3" = "p3"
        "/service" = "service"
        "/fixed" = {{ respond = "fixed" }}
        "#
    );
    Site::new(&routes).guest("bad").log_level("debug")
}

/// What the process has computed.
fn cpu(server: &Server) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    // Behind the name, which may have spaces: fields 14 and 15 of proc_pid_stat(5), in hundredths of a second.
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks = |field: usize| fields[field - 3].parse::<u64>().unwrap();
    Duration::from_millis(10 * (ticks(14) + ticks(15)))
}

/// Waits until guests are at work.
fn wait_until_busy(server: &Server) {
    let (before, until) = (cpu(server), Instant::now() + DEADLINE);
    while cpu(server) < before + Duration::from_millis(60) {
        assert!(Instant::now() < until, "nobody computes");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until the process hardly computes any more.
fn wait_until_idle(server: &Server) {
    const LOOK: Duration = Duration::from_millis(200);
    let until = Instant::now() + DEADLINE;
    loop {
        let before = cpu(server);
        std::thread::sleep(LOOK);
        if cpu(server) - before <= LOOK / 10 {
            return;
        }
        assert!(Instant::now() < until, "it still computes");
    }
}

/// Has clients begin, waits until their guests compute, lets `leave` end them, and waits for the end of their guests.
fn assert_ends<C>(server: &Server, what: &str, begin: impl Fn() -> C, leave: impl Fn(C)) {
    let gone = server.log.count("reason=\"client_gone\"");
    let clients: Vec<C> = (0..CLIENTS).map(|_| begin()).collect();
    wait_until_busy(server);
    let left = Instant::now();
    clients.into_iter().for_each(leave);
    server.log.wait_for_many("reason=\"client_gone\"", gone + CLIENTS);
    println!("{what}: noticed within {:?}", left.elapsed());
    wait_until_idle(server);
    assert_eq!(server.get("/fixed").text(), "fixed");
}

fn begin(mut conn: Conn, target: &str, fields: &[&str], body: &[u8]) -> Conn {
    conn.request(if body.is_empty() { "GET" } else { "POST" }, target, fields, body);
    conn
}

#[test]
fn clients_that_close_end_their_guests() {
    let server = site("").serve();
    for target in LOOPS.into_iter().chain(["/h"]) {
        assert_ends(&server, target, || begin(server.connect(), target, &[], b""), drop);
        assert_ends(&server, target, || begin(server.connect(), target, &[], b""), Conn::reset);
    }
}

/// The end of the stream is behind bytes that nobody reads.
#[test]
fn so_do_those_with_an_unread_body() {
    let server = site("").serve();
    for target in LOOPS {
        let whole = || begin(server.connect(), target, &[], &[b'x'; 100_000]);
        assert_ends(&server, target, whole, drop);
        let part = || begin(server.connect(), target, &["Content-Length: 1000"], b"part");
        assert_ends(&server, target, part, drop);
        let chunked = || begin(server.connect(), target, &["Transfer-Encoding: chunked"], b"5\r\nhello\r\n");
        assert_ends(&server, target, chunked, drop);
    }
}

#[test]
fn so_do_those_that_have_sent_further_requests() {
    let server = site("").serve();
    let pipelined = || {
        let mut conn = begin(server.connect(), "/s", &[], b"");
        conn.send("GET /fixed HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000));
        conn
    };
    assert_ends(&server, "pipelined", pipelined, drop);
}

#[test]
fn so_do_old_clients() {
    let server = site("").serve();
    let old = || {
        let mut conn = server.connect();
        conn.send("GET /s HTTP/1.0\r\n\r\n");
        conn
    };
    assert_ends(&server, "HTTP/1.0", old, drop);
}

#[test]
fn so_do_those_on_unix_sockets() {
    let server = site("listen = [\"127.0.0.1:0\", \"unix:wasmux.sock\"]").listeners(2).serve();
    let path = server.site.path("wasmux.sock");
    assert_ends(&server, "unix", || begin(Conn::unix(&path), "/s", &[], b""), drop);
    let mut conn = begin(Conn::unix(&path), "/puppet?ops=sleep:400,text:late", &[], b"");
    conn.finish();
    assert_eq!(conn.response().text(), "late");
}

#[test]
fn so_do_those_behind_tls() {
    let authority = Authority::new("root");
    let identity = authority.sign(&["a.test"]);
    let tls = "[server.tls]\n[[server.tls.certificates]]\ncert = \"cert.pem\"\nkey = \"key.pem\"";
    let site = site(tls).file("cert.pem", &identity.cert).file("key.pem", &identity.key);
    let server = site.serve();
    let client = Client::new(&authority);
    let request = |target: &str| {
        let (mut session, mut socket) = client.handshake(server.address(), "a.test").unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
        rustls::Stream::new(&mut session, &mut socket).write_all(request.as_bytes()).unwrap();
        (session, socket)
    };
    // As browsers do, and as programs do that are killed.
    for takes_leave in [true, false] {
        let gone = server.log.count("reason=\"client_gone\"");
        let clients: Vec<_> = (0..CLIENTS).map(|_| request("/s")).collect();
        wait_until_busy(&server);
        for (mut session, mut socket) in clients {
            if takes_leave {
                session.send_close_notify();
                session.write_tls(&mut socket).unwrap();
            }
        }
        server.log.wait_for_many("reason=\"client_gone\"", gone + CLIENTS);
        wait_until_idle(&server);
    }
    let (mut session, mut socket) = request("/puppet?ops=sleep:400,text:late");
    session.send_close_notify();
    session.write_tls(&mut socket).unwrap();
    let mut answer = String::new();
    rustls::Stream::new(&mut session, &mut socket).read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("late"), "{answer}");
}

/// Nothing is written while the guest waits, and its client is not there to see it.
#[test]
fn guests_that_wait_end_too() {
    let server = site("").serve();
    for handler in ["puppet", "p2", "service"] {
        for ops in ["sleep:600000", "text:a,flush,sleep:600000"] {
            let gone = server.log.count("reason=\"client_gone\"");
            let mut conn = begin(server.connect(), &format!("/{handler}?ops={ops}"), &[], b"");
            if ops.contains("flush") {
                assert_eq!(conn.head().status, 200, "{handler}");
            } else {
                // It has begun when a later request is answered.
                assert_eq!(server.get("/fixed").status, 200);
                assert!(!conn.answers_within(Duration::from_millis(50)));
            }
            drop(conn);
            server.log.wait_for_many("reason=\"client_gone\"", gone + 1);
        }
    }
}

#[test]
fn who_only_ends_its_side_gets_its_response() {
    let server = site("").serve();
    for handler in ["puppet", "p2", "service"] {
        for (ops, text) in [
            ("sleep:300,text:late", "late"),
            ("sleep:150,text:a,flush,sleep:300,text:b", "ab"),
            ("text:a,flush,sleep:300,text:b,flush,sleep:300", "ab"),
        ] {
            let mut conn = begin(server.connect(), &format!("/{handler}?ops={ops}"), &[], b"");
            conn.finish();
            let response = conn.response();
            assert_eq!((response.status, response.text().as_str()), (200, text), "{handler}: {ops}");
            assert!(response.complete && response.interim.is_empty(), "{handler}: {ops}");
            assert!(conn.is_closed());
        }
        // With a body that nobody reads in between.
        let mut conn =
            begin(server.connect(), &format!("/{handler}?ops=sleep:300,read:all,digest"), &[], &[b'x'; 5000]);
        conn.finish();
        let response = conn.response();
        assert_eq!(response.status, 200, "{handler}: {response:?}");
        assert!(response.text().contains("5000"), "{handler}: {response:?}");
    }
    let mut conn =
        begin(server.connect(), "/puppet?ops=sleep:200,status:103,sleep:200,text:x,trailer:a:b", &[], b"");
    conn.finish();
    let response = conn.response();
    assert_eq!((response.interim.as_slice(), response.text().as_str()), (&[103][..], "x"));
    assert_eq!(server.log.count("reason=\"client_gone\""), 0);
}

#[test]
fn old_clients_that_end_their_side_get_it_byte_for_byte() {
    let server = site("").serve();
    let answer = |ops: &str, finishes: bool| {
        let mut conn = server.connect();
        conn.send(format!("GET /puppet?ops={ops} HTTP/1.0\r\n\r\n"));
        if finishes {
            conn.finish();
        }
        let text = String::from_utf8(conn.rest()).unwrap();
        text.lines()
            .filter(|line| !line.to_lowercase().starts_with("date:"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    for ops in ["sleep:300,text:late", "sleep:100,text:a,flush,sleep:300,text:b"] {
        assert_eq!(answer(ops, true), answer(ops, false), "{ops}");
    }
}

#[test]
fn http2_streams_and_connections_that_end_do_so_too() {
    let server = site("").serve();
    for target in LOOPS {
        // From here on its code is in memory, and requests begin at once.
        assert_ends(&server, target, || begin(server.connect(), target, &[], b""), drop);
        for resets in [true, false] {
            let gone = server.log.count("reason=\"client_gone\"");
            http2::run(async {
                let (client, connection) = http2::connect(server.address()).await;
                let mut streams = Vec::new();
                for _ in 0..CLIENTS {
                    let mut client = client.clone().ready().await.unwrap();
                    streams.push(client.send_request(http2::request("GET", target), true).unwrap());
                }
                // What follows on the connection is answered, so those before it have begun.
                assert_eq!(http2::get(&client, "/fixed").await.0, 200);
                if resets {
                    for (_, stream) in &mut streams {
                        stream.send_reset(h2::Reason::CANCEL);
                    }
                    // What is sent behind them says that they are out.
                    assert_eq!(http2::get(&client, "/fixed").await.0, 200);
                } else {
                    connection.abort();
                }
            });
            server.log.wait_for_many("reason=\"client_gone\"", gone + CLIENTS);
            wait_until_idle(&server);
        }
    }
}

#[test]
fn guests_may_finish_where_their_handler_says_so() {
    let server = site("").serve();
    let conn = begin(server.connect(), "/finish?ops=out:begun,sleep:300,out:done", &[], b"");
    server.log.wait_for(&["guest: begun"]);
    drop(conn);
    server.log.wait_for(&["reason=\"client_gone\"", "handler=\"finish\""]);
    server.log.wait_for(&["guest: done"]);
}
