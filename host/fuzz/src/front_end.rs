//! Any bytes from a client, in any pieces: the connection ends, what comes back is a sequence of whole responses of which
//! there are no more than requests, and another client is served all the same.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use wasmux::config::Config;
use wasmux::deployment::{Deployment, Modules};
use wasmux::dispatch::Dispatcher;
use wasmux::drain::Drain;
use wasmux::handover::Handover;
use wasmux::resources::Resources;
use wasmux::server::Server;

use self::responses::{count_http1, count_http2};
use crate::world::{RUNTIME, engine, panics, run};

mod responses;

/// The beginning of every HTTP/2 connection (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Far more than any connection takes whose client has ended its side, on the slowest machine.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// Most pieces of one input; the last one has all that is left.
const PIECES_MAX: usize = 50;

const ROUTES: &str = r#"
[server]
listen = ["127.0.0.1:0"]
read_header_timeout = "2s"
read_timeout = "2s"
write_timeout = "2s"
idle_timeout = "2s"
max_header_bytes = "4KiB"
[defaults]
timeout = "2s"
request_body = "64KiB"
[handlers]
echo = { wasm = "echo.wat" }
[routes]
"/" = { respond = "root\n" }
"POST /echo" = "echo"
"GET /old/{x}" = { redirect = "/new", status = 308 }
"/files/" = { files = ".", strip_prefix = "/files" }
"#;

/// Where the server listens.
static SERVER: LazyLock<SocketAddr> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let echo = include_bytes!("../../../tests/guests/echo.wat");
    std::fs::write(folder.path().join("echo.wat"), echo).expect("there is room in it");
    start(folder.path())
});

fn start(folder: &Path) -> SocketAddr {
    let (mut config, problems) = Config::parse(&folder.join("routes.toml"), ROUTES);
    config.process.cache = None;
    let deployment =
        Deployment::build(&config, (&engine(8), &Resources::default()), &Modules::default(), &problems);
    let deployment = deployment.unwrap_or_else(|| panic!("{:?}", problems.into_sorted()));
    let server = run(async move {
        let servers = config.servers.iter().map(|server| (server.clone(), None)).collect();
        Server::bind(config.process, servers, &mut Handover::default()).await
    });
    let server = server.expect("there is a port");
    let url = server.urls().next().expect("it listens");
    let address = url.trim_start_matches("http://").trim_end_matches('/').parse().expect("an address");
    RUNTIME.spawn(async move {
        let dispatcher = Dispatcher::new(Arc::new(ArcSwap::from_pointee(deployment)), None);
        server.run(dispatcher, &Drain::new()).await;
    });
    address
}

/// Input: one byte, the length of the pieces (0: one piece), then what the client sends before it ends its side.
pub fn front_end(input: &[u8]) {
    let Some((&step, bytes)) = input.split_first() else { return };
    let panics_before = panics();
    let answered = talk(bytes, usize::from(step));
    if bytes.starts_with(PREFACE) {
        let (requests, responses) = (count_http2(&bytes[PREFACE.len()..]), count_http2(&answered));
        assert!(responses <= requests, "{responses} responses to {requests} requests");
    } else {
        check_http1(bytes, &answered);
    }
    let sane = talk(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 0);
    assert!(sane.starts_with(b"HTTP/1.1 200 ") && sane.ends_with(b"root\n"), "{}", sane.escape_ascii());
    assert_eq!(panics(), panics_before, "something in the server panicked");
}

/// Sends these bytes, ends that side, and takes all that comes back.
fn talk(bytes: &[u8], step: usize) -> Vec<u8> {
    let mut stream = TcpStream::connect(*SERVER).expect("the server accepts");
    stream.set_nodelay(true).expect("it is a socket");
    for timeout in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
        timeout(&stream, Some(ENDS_WITHIN)).expect("it is a socket");
    }
    let step = if step == 0 { bytes.len() } else { step.max(bytes.len() / PIECES_MAX) };
    for piece in bytes.chunks(step.max(1)) {
        // Who is refused may not get rid of all.
        if stream.write_all(piece).is_err() {
            break;
        }
        if step < bytes.len() {
            std::thread::yield_now();
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
    let mut answered = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answered) {
        let is_late = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        assert!(
            !is_late,
            "the connection is still open after {ENDS_WITHIN:?}; sent: {}",
            bytes.escape_ascii()
        );
    }
    answered
}

fn check_http1(bytes: &[u8], answered: &[u8]) {
    // Whether a response has a body depends on its request; which one that is, only a server can tell.
    if bytes.windows(4).any(|word| word == b"HEAD") {
        return;
    }
    // Each request but the last ends its head with an empty line, and the last one may be refused before it does.
    let empty_lines = bytes.windows(2).filter(|two| two == b"\n\n").count()
        + bytes.windows(3).filter(|three| three == b"\n\r\n").count();
    let responses = count_http1(answered);
    let is_plausible = responses.is_some_and(|count| count <= empty_lines + 1);
    assert!(
        is_plausible,
        "{responses:?} responses to at most {} requests\nsent: {}\nanswered: {}",
        empty_lines + 1,
        bytes.escape_ascii(),
        answered.escape_ascii()
    );
}
