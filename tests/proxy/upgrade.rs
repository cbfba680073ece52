//! Connections that become another protocol's: WebSocket through the proxy, with a real client and a real server.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use tokio_tungstenite::tungstenite::{self, Message};

use super::{line, proxy, to};
use crate::support::DEADLINE;
use crate::support::upstream::{Upstream, read_head};

/// A WebSocket server that sends back what it gets.
fn echo() -> Upstream {
    Upstream::start(|_, stream| {
        let Ok(mut socket) = tungstenite::accept(stream) else { return };
        while let Ok(message) = socket.read() {
            if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
                return;
            }
        }
    })
}

#[test]
fn websocket_passes_through() {
    let upstream = echo();
    let server = to(&upstream);
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let url = format!("ws://{}/chat", server.address());
    let (mut socket, response) = tungstenite::client(url, stream).unwrap();
    assert_eq!(response.status(), 101);
    for text in ["one", "two"] {
        socket.send(Message::text(text)).unwrap();
        assert_eq!(socket.read().unwrap(), Message::text(text));
    }
    let large = Message::binary(vec![7; 1 << 20]);
    socket.send(large.clone()).unwrap();
    assert_eq!(socket.read().unwrap(), large);
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    // The connection was one of its own, and the next request needs another.
    let (mut second, _) = tungstenite::client(
        format!("ws://{}/", server.address()),
        TcpStream::connect(server.address()).unwrap(),
    )
    .unwrap();
    second.send(Message::text("again")).unwrap();
    assert_eq!(second.read().unwrap(), Message::text("again"));
    assert_eq!(upstream.connections(), 2);
}

/// A server that switches to a protocol in which everything comes back.
fn switching() -> Upstream {
    Upstream::start(|_, mut stream| {
        let head = read_head(&mut stream).unwrap();
        if line(&head, "upgrade").is_none() {
            let _ = stream.write_all(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n");
            return;
        }
        let _ = stream.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello",
        );
        let mut buffer = [0; 1000];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..count]).is_err() {
                return;
            }
        }
    })
}

const ASK: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";

#[test]
fn what_is_sent_at_once_is_not_lost() {
    let server = to(&switching());
    let mut conn = server.connect();
    conn.send(format!("{ASK}early"));
    let head = conn.head();
    assert_eq!(
        (head.status, head.header("upgrade"), head.header("connection")),
        (101, Some("echo"), Some("Upgrade"))
    );
    conn.finish();
    let mut all = String::from_utf8(conn.rest()).unwrap();
    all.retain(|c| c.is_ascii_lowercase());
    assert_eq!(all, "helloearly");
}

#[test]
fn upgrades_can_be_off_and_silent_ones_end() {
    let upstream = switching();
    let server = proxy(&format!(r#"{{ to = "{}", upgrade = false }}"#, upstream.url()));
    let mut conn = server.connect();
    conn.send(ASK);
    assert_eq!(conn.response().status, 426);
    let server = proxy(&format!(r#"{{ to = "{}", upgrade_idle_timeout = "200ms" }}"#, upstream.url()));
    let mut conn = server.connect();
    conn.send(ASK);
    assert_eq!(conn.head().status, 101);
    assert_eq!(conn.rest(), b"hello", "and then its end");
    server.log.wait_for(&["upgrade_idle_timeout"]);
}

#[test]
fn a_shutdown_lets_them_end_and_then_cuts_them() {
    let upstream = switching();
    let routes = format!(
        "[server]\nshutdown_timeout = \"300ms\"\n[routes]\n\"/\" = {{ proxy = {:?} }}\n",
        upstream.url()
    );
    let mut server = crate::support::Site::new(&routes).serve();
    let mut conn = server.connect();
    conn.send(ASK);
    assert_eq!(conn.head().status, 101);
    server.signal("TERM");
    conn.send("still here");
    let rest = String::from_utf8(conn.rest()).unwrap();
    assert!(rest.starts_with("hellostill here"), "{rest}");
    server.wait();
}
