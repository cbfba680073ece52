//! HTTPS over real sockets: handshakes, certificates by name, what is said to those who do not speak TLS.

mod clients;
mod files;
mod servers;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, HandshakeKind, StreamOwned};

use crate::support::tls::{Authority, Client, Identity};
use crate::support::{Conn, DEADLINE, Server, Site, http2};

/// A server with one certificate, further keys of `[server]`, and a route that says where it is.
fn https(identity: &Identity, keys: &str) -> Site {
    let routes = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\naccess_log = \"json\"\n{keys}\n\
         [server.tls]\n[[server.tls.certificates]]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n\
         [handlers.echo]\nwasm = \"echo.wat\"\n[handlers.flood]\nwasm = \"flood.wat\"\n\
         [routes]\n\"/\" = {{ respond = \"secret\\n\" }}\n\"/echo\" = \"echo\"\n\"/flood\" = \"flood\"\n"
    );
    Site::new(&routes)
        .guest("echo")
        .guest("flood")
        .file("cert.pem", &identity.cert)
        .file("key.pem", &identity.key)
        .log_level("debug")
}

/// A plain connection to a server, which the test fills by hand.
fn plain(server: &Server) -> Conn {
    Conn::tcp(server.address())
}

#[test]
fn https_1_1_with_both_versions() {
    let authority = Authority::new("root");
    let server = https(&authority.sign(&["a.test"]), "").serve();
    assert!(server.urls()[0].starts_with("https://127.0.0.1:"), "{:?}", server.urls());
    for (version, name) in [(&rustls::version::TLS12, "TLSv1.2"), (&rustls::version::TLS13, "TLSv1.3")] {
        let client = Client::with(&authority, None, &["http/1.1"], &[version]);
        let (session, socket) = client.handshake(server.address(), "a.test").unwrap();
        assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
        let mut conn = Conn::tls(session, socket);
        let large = "x".repeat(1 << 20);
        for path in ["/", "/?2"] {
            conn.request("GET", path, &[], b"");
            let response = conn.response();
            assert_eq!((response.status, response.text().as_str()), (200, "secret\n"), "{name}");
        }
        conn.request("POST", "/echo", &["Connection: close"], large.as_bytes());
        assert_eq!(conn.response().text(), large, "{name}");
        assert!(conn.is_closed(), "with close_notify, or reading fails");
        let line = server.out.wait_for(&["\"POST\"", &format!("\"tls\":\"{name}\"")]);
        assert!(!line.contains("client_subject"), "{line}");
    }
}

#[test]
fn http_2_by_alpn() {
    let authority = Authority::new("root");
    let server = https(&authority.sign(&["a.test"]), "").serve();
    let client = Client::with(&authority, None, &["h2", "http/1.1"], rustls::ALL_VERSIONS);
    http2::run(async {
        let socket = tokio::net::TcpStream::connect(server.address()).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(client.config());
        let stream = connector.connect("a.test".try_into().unwrap(), socket).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        assert_eq!(http2::get(&client, "/").await, (200, "secret\n".to_owned()));
        assert_eq!(http2::get(&client, "/?2").await.0, 200);
    });
    // Nothing in common, or nothing asked for.
    let nothing = Client::with(&authority, None, &["spdy/3"], rustls::ALL_VERSIONS);
    assert!(nothing.handshake(server.address(), "a.test").is_err(), "RFC 7301: no_application_protocol");
    let silent = Client::with(&authority, None, &[], rustls::ALL_VERSIONS);
    assert!(silent.is_let_in(server.address(), "a.test"));
}

#[test]
fn sessions_are_resumed() {
    let authority = Authority::new("root");
    let server = https(&authority.sign(&["a.test"]), "").serve();
    for version in rustls::ALL_VERSIONS {
        let client = Client::with(&authority, None, &[], &[version]);
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let (session, socket) = client.handshake(server.address(), "a.test").unwrap();
            kinds.push(session.handshake_kind());
            // Tickets come with the first response.
            let mut conn = Conn::tls(session, socket);
            conn.request("GET", "/", &[], b"");
            assert_eq!(conn.response().status, 200);
        }
        assert_eq!(kinds, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)], "{version:?}");
    }
}

#[test]
fn certificates_by_name() {
    let authority = Authority::new("root");
    let [first, second] = [&["a.test", "*.wild.test"][..], &["b.test"]].map(|names| authority.sign(names));
    let routes = "[server]\nlisten = \"127.0.0.1:0\"\ntls = { certificates = [{ cert = \"1.pem\", key = \"1.key\" }, { cert = \"2.pem\", key = \"2.key\" }] }\n[routes]\n\"/\" = { respond = \"ok\" }\n";
    let site = Site::new(routes).file("1.pem", &first.cert).file("1.key", &first.key);
    let server = site.file("2.pem", &second.cert).file("2.key", &second.key).serve();
    let client = Client::new(&authority);
    for name in ["a.test", "b.test", "x.wild.test", "B.TEST"] {
        let mut conn = client.connect(server.address(), name);
        conn.request("GET", "/", &[&format!("Host: {name}")], b"");
        assert_eq!(conn.response().status, 200, "{name}");
    }
    // Others get the first, and may make of it what they like.
    for name in ["c.test", "x.y.wild.test", "127.0.0.1"] {
        let error = client.handshake(server.address(), name).unwrap_err().to_string();
        assert!(error.contains("a.test") && !error.contains("b.test"), "{name}: {error}");
    }
}

/// Answers with the scheme that its request came by.
const SCHEME: &str = r#"(module
  (import "wasmux:http/1" "request_head" (func $request_head (param i32 i32) (result i32)))
  (import "wasmux:http/1" "respond" (func $respond (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "serve_http")
    (drop (call $request_head (i32.const 0) (i32.const 65536)))
    (drop (call $respond (i32.const 200) (i32.const 0) (i32.const 0)
      (i32.load (i32.const 40)) (i32.load (i32.const 44))))))"#;

#[test]
fn guests_see_the_scheme() {
    let authority = Authority::new("root");
    let site = https(&authority.sign(&["a.test"]), "").file("scheme.wat", SCHEME);
    let more = "\"/scheme\" = \"scheme\"\n[handlers.scheme]\nwasm = \"scheme.wat\"\n[servers.plain]\nlisten = \"127.0.0.1:0\"\n";
    let routes = std::fs::read_to_string(site.path("routes.toml")).unwrap() + more;
    let server = site.file("routes.toml", routes).listeners(2).serve();
    let [secure, plain] = server.addresses()[..] else { panic!("{:?}", server.urls()) };
    let mut conns =
        [(Client::new(&authority).connect(secure, "a.test"), "https"), (Conn::tcp(plain), "http")];
    for (conn, scheme) in &mut conns {
        conn.request("GET", "/scheme", &[], b"");
        assert_eq!(conn.response().text(), *scheme);
    }
}

#[test]
fn unix_sockets_can_have_it() {
    let authority = Authority::new("root");
    let identity = authority.sign(&["a.test"]);
    let site = https(&identity, "");
    let routes = std::fs::read_to_string(site.path("routes.toml")).unwrap();
    let routes = routes.replace("\"127.0.0.1:0\"", "\"unix:tls.sock\"");
    let server = site.file("routes.toml", routes).serve();
    assert!(server.urls()[0].starts_with("https+unix://"), "{:?}", server.urls());
    let socket = UnixStream::connect(server.site.path("tls.sock")).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let session =
        ClientConnection::new(Client::new(&authority).config(), "a.test".try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(session, socket);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("secret\n"), "{answer}");
}

/// Word for word what Go's server says.
#[test]
fn plain_http_is_told() {
    const ANSWER: &[u8] =
        b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    let server = https(&Authority::new("root").sign(&["a.test"]), "").serve();
    for request in ["GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "x", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut conn = plain(&server);
        conn.send(request);
        assert_eq!(conn.rest(), ANSWER, "{request:?}");
    }
    // What is left unread must not cost the answer.
    let mut conn = plain(&server);
    conn.send("P".repeat(100_000));
    assert_eq!(conn.rest(), ANSWER);
    server.log.wait_for(&["does not speak TLS"]);
}

#[test]
fn handshakes_that_take_too_long() {
    let identity = Authority::new("root").sign(&["a.test"]);
    let server = https(&identity, "tls_handshake_timeout = \"300ms\"").serve();
    for (count, beginning) in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01"].into_iter().enumerate() {
        let started = Instant::now();
        let mut conn = plain(&server);
        conn.send(beginning);
        assert!(conn.rest().is_empty(), "{beginning:?}");
        let elapsed = started.elapsed();
        assert!(
            elapsed >= Duration::from_millis(300) && elapsed < DEADLINE / 2,
            "{beginning:?}: {elapsed:?}"
        );
        server.log.wait_for_many("tls_handshake_timeout", count + 1);
    }
}

#[test]
fn handshakes_that_fail() {
    let authority = Authority::new("root");
    let server = https(&authority.sign(&["a.test"]), "tls_handshake_timeout = \"off\"").serve();
    let mut conn = plain(&server);
    conn.send(b"\x16nonsense that is no handshake at all");
    let alert = conn.rest();
    assert_eq!(alert.first(), Some(&21), "an alert: {alert:?}");
    server.log.wait_for(&["TLS handshake: "]);
    // One that waits in its handshake holds up neither others nor the end.
    let mut waiting = plain(&server);
    waiting.send(b"\x16");
    assert!(Client::new(&authority).is_let_in(server.address(), "a.test"));
    let mut server = server;
    let started = Instant::now();
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(started.elapsed() < DEADLINE / 2, "{:?}", started.elapsed());
    assert!(waiting.rest().is_empty());
}

#[test]
fn a_client_that_never_reads_is_cut_off() {
    let authority = Authority::new("root");
    let server = https(&authority.sign(&["a.test"]), "stall_timeout = \"300ms\"").serve();
    let mut conn = Client::new(&authority).connect(server.address(), "a.test");
    conn.request("GET", "/flood", &[], b"");
    server.out.wait_for(&["/flood", "\"complete\":false"]);
    server.log.wait_for(&["stall_timeout"]);
}
