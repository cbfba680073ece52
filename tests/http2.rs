//! The limits of HTTP/2, each against a client that goes beyond it; then the server serves others as before.

use crate::support::frames::{
    CONTINUATION, Client, DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, PING, POST, RST_STREAM,
    SETTINGS, head,
};
use crate::support::{Server, Site, http2};

/// Error codes (RFC 9113 section 7).
const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const FRAME_SIZE_ERROR: u32 = 6;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const COMPRESSION_ERROR: u32 = 9;
const ENHANCE_YOUR_CALM: u32 = 11;

fn serve() -> Server {
    serve_with("max_header_bytes = \"16KiB\"")
}

/// A server with this key in `[server]`.
fn serve_with(key: &str) -> Server {
    let routes = "[handlers.sleep]\nwasm = \"sleep.wat\"\n[routes]\n\"/\" = { respond = \"ok\\n\" }\n\"/sleep/{ms}\" = \"sleep\"\n";
    Site::new(&format!("[server]\n{key}\n{routes}")).guest("sleep").serve()
}

fn client(server: &Server) -> Client {
    Client::connect(server.address(), 65_535, true)
}

fn assert_serves_others(server: &Server) {
    http2::run(async {
        let (client, _) = http2::connect(server.address()).await;
        assert_eq!(http2::get(&client, "/").await, (200, "ok\n".to_owned()));
    });
}

/// CVE-2023-44487: requests that are taken back at once cost the client nothing.
#[test]
fn rapid_resets_end_the_connection() {
    let server = serve();
    let mut client = client(&server);
    let mut bytes = Vec::new();
    for stream in (1..20_000).step_by(2) {
        bytes.extend(Client::frame_bytes(
            HEADERS,
            END_STREAM | END_HEADERS,
            stream,
            &head(GET, "/sleep/9999"),
        ));
        bytes.extend(Client::frame_bytes(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
    }
    client.send_bytes(&bytes);
    assert_eq!(client.read_goaway(), ENHANCE_YOUR_CALM);
    assert_serves_others(&server);
}

/// CVE-2023-45288 and its kind: a header that never ends.
#[test]
fn endless_continuations_end_the_connection() {
    let server = serve();
    // Small pieces, empty ones, and large ones.
    for piece in [1, 0, 16_000] {
        let mut client = client(&server);
        client.send(HEADERS, END_STREAM, 1, &head(GET, "/"));
        // A literal field without indexing, of a length that is never reached.
        client.send(CONTINUATION, 0, 1, &[0x00, 1, b'x', 0x7f, 0xff, 0xff, 0xff, 0x7f]);
        for _ in 0..200 {
            client.send(CONTINUATION, 0, 1, &vec![b'x'; piece]);
        }
        let code = client.read_goaway();
        let expected = [ENHANCE_YOUR_CALM, COMPRESSION_ERROR, PROTOCOL_ERROR];
        assert!(expected.contains(&code), "pieces of {piece}: {code}");
    }
    assert_serves_others(&server);
}

#[test]
fn header_lists_that_are_too_large_get_431() {
    let server = serve();
    http2::run(async {
        let (client, _) = http2::connect(server.address()).await;
        let ask = |length: usize, count: usize| {
            let client = client.clone();
            async move {
                let mut request = http2::request("GET", "/");
                for index in 0..count {
                    let name = http::HeaderName::try_from(format!("x-{index}")).unwrap();
                    request.headers_mut().insert(name, "a".repeat(length).parse().unwrap());
                }
                let (response, _) = client.ready().await.unwrap().send_request(request, true).unwrap();
                response.await.unwrap().status().as_u16()
            }
        };
        assert_eq!(ask(10_000, 1).await, 200);
        assert_eq!(ask(17_000, 1).await, 431);
        assert_eq!(ask(1, 600).await, 431, "many small ones are a large list as well");
        assert_eq!(ask(10_000, 1).await, 200, "the connection goes on");
    });
}

/// A field that is remembered once can be repeated with one byte each.
#[test]
fn header_bombs_are_not_unpacked() {
    let server = serve();
    let mut client = client(&server);
    let mut block = head(GET, "/");
    // A literal field with incremental indexing, 4000 bytes; then references to it.
    block.extend([0x40, 1, b'x', 0x7f, 0xa1, 0x1e]);
    block.extend(vec![b'a'; 4000]);
    block.extend(vec![0xbe; 10_000]);
    client.send(HEADERS, END_STREAM | END_HEADERS, 1, &block);
    let before = server.resident_bytes();
    let answered = client.read_until(|frame| frame.kind == GOAWAY || frame.stream == 1);
    assert!(answered.is_some(), "refused, not unpacked");
    assert!(server.resident_bytes() < before + (20 << 20));
    assert_serves_others(&server);
}

#[test]
fn streams_beyond_the_limit_are_refused() {
    const STREAMS: u32 = 250;
    let server = serve();
    let mut client = client(&server);
    let mut announced = None;
    client.read_until(|frame| {
        let settings = frame.payload.chunks_exact(6).filter(|_| frame.kind == SETTINGS && frame.flags == 0);
        for setting in settings {
            if setting[..2] == [0, 3] {
                announced = setting[2..].try_into().ok().map(u32::from_be_bytes);
            }
        }
        announced.is_some()
    });
    assert_eq!(announced, Some(STREAMS));
    for index in 0..=STREAMS {
        client.get(2 * index + 1, "/sleep/20000");
    }
    let mut refused = None;
    client.read_until(|frame| {
        if frame.kind == RST_STREAM {
            refused = Some((frame.stream, frame.payload.clone()));
        }
        refused.is_some()
    });
    assert_eq!(refused, Some((2 * STREAMS + 1, REFUSED_STREAM.to_be_bytes().to_vec())));
    assert_serves_others(&server);
}

#[test]
fn bodies_that_ignore_the_window_are_an_error() {
    let server = serve();
    let mut client = client(&server);
    client.send(HEADERS, END_HEADERS, 1, &head(POST, "/sleep/20000"));
    // 1 MiB fits, and nobody reads it.
    for _ in 0..80 {
        client.send(DATA, 0, 1, &[0; 16_384]);
    }
    assert_eq!(client.read_goaway(), FLOW_CONTROL_ERROR);
    assert_serves_others(&server);
}

#[test]
fn frames_that_are_too_large_are_an_error() {
    let server = serve();
    let mut client = client(&server);
    client.send(HEADERS, END_HEADERS, 1, &head(POST, "/sleep/20000"));
    client.send(DATA, 0, 1, &[0; 16_385]);
    assert_eq!(client.read_goaway(), FRAME_SIZE_ERROR);
    assert_serves_others(&server);
}

/// Each PING has to be answered; a client that does not read the answers must not make us keep them.
#[test]
fn pings_without_end_are_not_kept() {
    let server = serve_with("stall_timeout = \"300ms\"");
    let before = server.resident_bytes();
    let mut client = client(&server);
    let pings: Vec<u8> =
        (0..10_000u64).flat_map(|number| Client::frame_bytes(PING, 0, 0, &number.to_be_bytes())).collect();
    // Until the server has closed the connection, since it could not write for so long.
    let rounds = (0..1_000).take_while(|_| client.send_bytes(&pings)).count();
    assert!(rounds < 1_000, "170 MB of pings");
    assert!(server.resident_bytes() < before + (20 << 20));
    assert_serves_others(&server);
}

/// As with slow heads on HTTP/1.1, nobody waits for ever.
#[test]
fn headers_that_never_end_are_not_waited_for() {
    let server = serve_with("idle_timeout = \"200ms\"");
    let mut client = client(&server);
    client.send(HEADERS, END_STREAM, 1, &head(GET, "/"));
    client.read_to_end();
    assert_serves_others(&server);
}

/// Content behind a HEAD is an error to clients that look (RFC 9113 section 8.1.1); h2's own does not.
#[test]
fn head_has_no_content() {
    let routes = r#"
        [handlers]
        echo = { wasm = "echo.wat" }
        [routes]
        "/{$}" = { respond = "ok\n" }
        "/echo" = "echo"
    "#;
    let server = Site::new(routes).guest("echo").serve();
    http2::run(async {
        let (client, _) = http2::connect(server.address()).await;
        for (path, status, length) in [("/", 200, Some("3")), ("/nowhere", 404, None), ("/echo", 200, None)] {
            let mut client = client.clone().ready().await.unwrap();
            let (response, _) = client.send_request(http2::request("HEAD", path), true).unwrap();
            let response = response.await.unwrap();
            assert_eq!(response.status(), status, "{path}");
            if let Some(length) = length {
                assert_eq!(response.headers()["content-length"], length, "{path}");
            }
            let (body, trailers) = http2::whole(response).await.unwrap();
            assert_eq!((body.len(), trailers), (0, None), "{path}");
        }
    });
}

/// As many names as h2 takes: a `HeaderMap` that is full panics when anything is added.
#[test]
fn requests_with_too_many_fields_are_refused() {
    let server = serve_with("max_header_bytes = \"2MiB\"");
    for (count, status) in [(499, 200), (501, 431), (24_575, 431), (24_576, 431)] {
        for path in ["/", "/sleep/0"] {
            http2::run(async {
                let (mut client, _) = http2::connect(server.address()).await;
                let mut request = http2::request("GET", path);
                for number in 0..count {
                    let name = http::HeaderName::from_bytes(format!("x{number}").as_bytes()).unwrap();
                    request.headers_mut().insert(name, http::HeaderValue::from_static("1"));
                }
                let (response, _) = client.send_request(request, true).unwrap();
                assert_eq!(response.await.unwrap().status(), status, "{count} fields for {path}");
            });
        }
    }
    assert_serves_others(&server);
}
