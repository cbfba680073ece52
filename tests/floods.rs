//! Clients that want more than their share, in numbers or in patience: while they try, every request of a neighbour is
//! answered.

use std::io::Write as _;
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::frames::{Client, END_HEADERS, END_STREAM, GET, HEADERS, RST_STREAM, head};
use crate::support::server::PROGRAM;
use crate::support::{Conn, Server, Site, tls};

fn site(settings: &str) -> Site {
    let routes = format!(
        r#"
        [server]
        {settings}
        [handlers]
        sleep = {{ wasm = "sleep.wat" }}
        echo = {{ wasm = "echo.wat" }}
        [routes]
        "/sleep/{{ms}}" = "sleep"
        "/echo" = "echo"
        "/fixed" = {{ respond = "fixed" }}
        "#
    );
    Site::new(&routes).guest("sleep").guest("echo")
}

/// Runs `attack` while a neighbour sends requests on a connection of its own; every one of them must be answered.
fn beside_a_neighbour(server: &Server, attack: impl FnOnce()) {
    beside(server.connect(), attack);
}

fn beside(mut conn: Conn, attack: impl FnOnce()) {
    let is_over = Arc::new(AtomicBool::new(false));
    let neighbour = {
        let is_over = Arc::clone(&is_over);
        std::thread::spawn(move || {
            let mut answered = 0;
            // One more behind the end.
            let mut is_last = false;
            while !is_last {
                is_last = is_over.load(Ordering::Acquire);
                conn.request("GET", "/sleep/1", &[], b"");
                let response = conn.response();
                assert_eq!(response.status, 200, "request {answered}: {response:?}");
                conn.request("GET", "/fixed", &[], b"");
                assert_eq!(conn.response().text(), "fixed", "request {answered}");
                answered += 1;
            }
            answered
        })
    };
    attack();
    is_over.store(true, Ordering::Release);
    assert!(neighbour.join().unwrap() > 0);
}

#[test]
fn descriptors_that_run_out_come_back() {
    const DESCRIPTORS: usize = 100;
    let site = site("");
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit -n {DESCRIPTORS}; exec \"$0\" \"$@\""), PROGRAM])
        .args(["serve", "--listen", "127.0.0.1:0"])
        .current_dir(site.path(""))
        .env("WASMUX_LOG", "debug")
        .env("XDG_CACHE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"));
    let server = Server::start(command, site);
    assert_eq!(server.get("/sleep/1").status, 200);
    beside_a_neighbour(&server, || {
        let mut held = Vec::new();
        // Each is at work on something, so that none is idle and could make room.
        for _ in 0..2 * DESCRIPTORS {
            let mut conn = Conn::tcp(server.address());
            conn.request("GET", "/sleep/60000", &[], b"");
            held.push(conn);
        }
        server.log.wait_for(&["Too many open files"]);
    });
    // Their clients have gone, and their descriptors are free.
    assert_eq!(server.get("/fixed").text(), "fixed");
}

#[test]
fn connection_floods() {
    let server = site("max_connections = 200\nread_header_timeout = \"60s\"").serve();
    beside_a_neighbour(&server, || {
        // Silent ones, ones in the middle of a head, and ones with a body that does not come.
        for round in 0..600 {
            let mut conn = server.connect();
            match round % 3 {
                0 => {}
                1 => conn.send("GET /fixed HTTP/1.1\r\nHost: x\r\nX-"),
                _ => conn.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc"),
            }
        }
    });
}

#[test]
fn slow_heads_and_bodies() {
    let server = site("").serve();
    beside_a_neighbour(&server, || {
        let mut slow: Vec<Conn> = (0..50).map(|_| server.connect()).collect();
        for (index, conn) in slow.iter_mut().enumerate() {
            conn.send(match index % 2 {
                0 => "GET /fixed HTTP/1.1\r\nHost: x\r\n",
                _ => "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
            });
        }
        for _ in 0..10 {
            for (index, conn) in slow.iter_mut().enumerate() {
                conn.try_send(if index % 2 == 0 { "X-A: b\r\n" } else { "1\r\nx\r\n" });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
}

/// Requests without end, whose responses nobody reads.
#[test]
fn pipelines_that_nobody_reads() {
    let server = site("").serve();
    let before = server.resident_bytes();
    beside_a_neighbour(&server, || {
        let mut sockets = Vec::new();
        for _ in 0..8 {
            let mut socket = TcpStream::connect(server.address()).unwrap();
            socket.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
            let requests = "GET /fixed HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
            // Until the server has no room for more of them.
            while socket.write_all(requests.as_bytes()).is_ok() {}
            sockets.push(socket);
        }
    });
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "grown by {grown} bytes");
}

#[test]
fn chunks_with_extensions_without_end() {
    let server = site("").log_level("debug").serve();
    beside_a_neighbour(&server, || {
        let mut conn = server.connect();
        conn.send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        // One that never ends, and many that do.
        conn.send("1;x=");
        for _ in 0..1000 {
            if !conn.try_send([b'a'; 4096]) {
                break;
            }
        }
        let rest = String::from_utf8_lossy(&conn.rest()).into_owned();
        assert!(!rest.contains("aaaa"), "it is no part of the body: {rest}");
        let mut conn = server.connect();
        conn.send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        let chunk = format!("1;{}\r\nx\r\n", "e".repeat(4000));
        for _ in 0..1000 {
            if !conn.try_send(&chunk) {
                break;
            }
        }
        drop(conn);
    });
}

#[test]
fn rapid_resets() {
    const CANCEL: u32 = 8;
    const ENHANCE_YOUR_CALM: u32 = 11;
    let server = site("").serve();
    beside_a_neighbour(&server, || {
        for _ in 0..3 {
            let mut client = Client::connect(server.address(), 65_535, true);
            let mut bytes = Vec::new();
            for stream in (1..4000).step_by(2) {
                let flags = END_STREAM | END_HEADERS;
                bytes.extend(Client::frame_bytes(HEADERS, flags, stream, &head(GET, "/sleep/9999")));
                bytes.extend(Client::frame_bytes(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
            }
            client.send_bytes(&bytes);
            assert_eq!(client.read_goaway(), ENHANCE_YOUR_CALM);
        }
    });
}

/// What is no TLS, in front of a server that speaks nothing else.
#[test]
fn garbage_before_tls() {
    let authority = tls::Authority::new("root");
    let identity = authority.sign(&["a.test"]);
    let keys = "[server.tls]\n[[server.tls.certificates]]\ncert = \"cert.pem\"\nkey = \"key.pem\"";
    let site = site(keys).file("cert.pem", &identity.cert).file("key.pem", &identity.key);
    let server = site.serve();
    let neighbour = tls::Client::new(&authority).connect(server.address(), "a.test");
    beside(neighbour, || {
        let hello = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00";
        for garbage in [&b"\x16\x03\x01\xff\xff"[..], b"\x80\x2e\x01", &[0; 5000], hello] {
            for _ in 0..20 {
                let mut conn = server.connect();
                conn.try_send(garbage);
                drop(conn);
            }
        }
    });
    assert!(server.log.all().iter().all(|line| !line.contains("panicked")));
}
