//! One table of exchanges, played on every ABI over HTTP/1.1 and HTTP/2: what a handler sees and what its client gets do
//! not depend on the contract that the handler's guest keeps.
//!
//! A case is a request whose query is the guest's part (`tests/guests/script`), and what must come of it. Where an ABI
//! has to differ, the case says so in a column of its own, with the reason.

mod bodies;
mod exchange;
mod host;
mod requests;
mod responses;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use self::exchange::Reply;
use crate::support::guests::{component, puppet_folder};
use crate::support::{Server, Site};

/// Whose contract a guest keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Abi {
    ServeHttp,
    P2,
    P3,
}

impl Abi {
    const ALL: [Self; 3] = [Self::P2, Self::P3, Self::ServeHttp];

    const fn name(self) -> &'static str {
        match self {
            Self::ServeHttp => "serve_http",
            Self::P2 => "p2",
            Self::P3 => "p3",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Http1,
    Http2,
}

/// How an HTTP/1.1 response says where its body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// Content-Length.
    Length,
    Chunked,
    /// Neither of them.
    None,
}

/// A row of the table.
#[derive(Clone)]
struct Case {
    name: &'static str,
    method: &'static str,
    path: &'static str,
    script: String,
    /// Header lines of the request, in order.
    fields: Vec<&'static str>,
    body: Vec<u8>,
    /// Instead of all that: the bytes that an HTTP/1 client sends.
    bytes: Option<&'static [u8]>,
    versions: &'static [Version],
    expected: Expected,
    differences: Vec<Difference>,
}

/// What an ABI does otherwise, and why it has to.
#[derive(Clone)]
struct Difference {
    abi: Abi,
    #[expect(dead_code, reason = "for who reads the table")]
    reason: &'static str,
    change: fn(&mut Expected),
}

/// What must come.
#[derive(Clone)]
struct Expected {
    status: u16,
    /// All fields whose names begin with `x-`, sorted by name, in the order of their values.
    fields: Vec<(&'static str, &'static [u8])>,
    /// Some of the others.
    others: Vec<(&'static str, &'static str)>,
    absent: Vec<&'static str>,
    /// `{address}` stands for the server's own.
    body: Option<Vec<u8>>,
    trailers: Vec<(&'static str, &'static [u8])>,
    framing: Option<Framing>,
    complete: bool,
    /// No response at all, or one that breaks off: which of them is a matter of time.
    fails: bool,
    interim: Vec<u16>,
    /// Lines with all of these; each has the handler's name and the request's id too.
    log: Vec<Vec<&'static str>>,
}

/// A request for which the guest does what `script` says, and a status of 200 with no fields.
fn case(name: &'static str, script: impl Into<String>) -> Case {
    let expected = Expected {
        status: 200,
        fields: Vec::new(),
        others: Vec::new(),
        absent: Vec::new(),
        body: None,
        trailers: Vec::new(),
        framing: None,
        complete: true,
        fails: false,
        interim: Vec::new(),
        log: Vec::new(),
    };
    Case {
        name,
        method: "GET",
        path: "/",
        script: script.into(),
        fields: Vec::new(),
        body: Vec::new(),
        bytes: None,
        versions: &[Version::Http1, Version::Http2],
        expected,
        differences: Vec::new(),
    }
}

/// The request.
impl Case {
    fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    fn path(mut self, path: &'static str) -> Self {
        self.path = path;
        self
    }

    fn field(mut self, line: &'static str) -> Self {
        self.fields.push(line);
        self
    }

    fn sends(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.method = "POST";
        self.body = body.into();
        self
    }

    /// An HTTP/1 request as it stands on the wire.
    fn wire(mut self, bytes: &'static [u8]) -> Self {
        self.bytes = Some(bytes);
        self.http1()
    }

    fn http1(mut self) -> Self {
        self.versions = &[Version::Http1];
        self
    }

    fn http2(mut self) -> Self {
        self.versions = &[Version::Http2];
        self
    }
}

/// The response.
impl Case {
    fn status(mut self, status: u16) -> Self {
        self.expected.status = status;
        self
    }

    fn has(mut self, name: &'static str, value: &'static str) -> Self {
        match name.starts_with("x-") {
            true => self.expected.fields.push((name, value.as_bytes())),
            false => self.expected.others.push((name, value)),
        }
        self
    }

    fn lacks(mut self, name: &'static str) -> Self {
        self.expected.absent.push(name);
        self
    }

    fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.expected.body = Some(body.into());
        self
    }

    fn trailer(mut self, name: &'static str, value: &'static str) -> Self {
        self.expected.trailers.push((name, value.as_bytes()));
        self
    }

    fn has_bytes(mut self, name: &'static str, value: &'static [u8]) -> Self {
        self.expected.fields.push((name, value));
        self
    }

    fn trailer_bytes(mut self, name: &'static str, value: &'static [u8]) -> Self {
        self.expected.trailers.push((name, value));
        self
    }

    fn framing(mut self, framing: Framing) -> Self {
        self.expected.framing = Some(framing);
        self
    }

    fn breaks_off(mut self) -> Self {
        self.expected.complete = false;
        self
    }

    fn logs(mut self, parts: &[&'static str]) -> Self {
        self.expected.log.push(parts.to_vec());
        self
    }

    /// Where an ABI has to differ, and why.
    fn but(mut self, abi: Abi, reason: &'static str, change: fn(&mut Expected)) -> Self {
        self.differences.push(Difference { abi, reason, change });
        self
    }

    fn expected(&self, abi: Abi) -> Expected {
        let mut expected = self.expected.clone();
        self.differences
            .iter()
            .filter(|difference| difference.abi == abi)
            .for_each(|difference| (difference.change)(&mut expected));
        expected
    }

    fn target(&self) -> String {
        format!("{}?ops={}", self.path, self.script)
    }
}

/// The server of all tests here that run at the time.
fn server() -> Arc<Server> {
    static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(serve());
        *shared = Arc::downgrade(&server);
        server
    })
}

/// A server for each ABI in one process: the same routes, the same settings, another guest.
fn serve() -> Server {
    let puppet = puppet_folder();
    let mut routes = String::from("[server]\nthreads = 2\n");
    for abi in Abi::ALL {
        let wasm = match abi {
            Abi::ServeHttp => puppet.clone(),
            Abi::P2 => component("proxy"),
            Abi::P3 => component("service"),
        };
        let name = abi.name();
        write!(
            routes,
            r#"
            [servers.{name}]
            listen = "127.0.0.1:0"
            [servers.{name}.routes]
            "/" = "{name}"
            "/small" = "{name}_small"
            [handlers.{name}]
            wasm = {wasm:?}
            env = {{ GREETING = "Hello", EMPTY = "", UMLAUT = "ü" }}
            [handlers.{name}_small]
            wasm = {wasm:?}
            limits = {{ request_body = "10B", response_body = "10B" }}
            "#
        )
        .unwrap();
    }
    Site::new(&routes).listeners(Abi::ALL.len()).serve()
}

/// Plays the cases on every ABI; all of them, before it fails.
fn check(cases: &[Case]) {
    let server = server();
    let addresses = server.addresses();
    let mut failures = String::new();
    let mut played = 0;
    for (abi, &address) in Abi::ALL.into_iter().zip(&addresses) {
        for case in cases {
            for &version in case.versions {
                static COUNT: AtomicU32 = AtomicU32::new(0);
                let id = format!("{}-{}.", abi.name(), COUNT.fetch_add(1, Ordering::Relaxed));
                let reply = exchange::play(case, version, address, &id);
                let expected = case.expected(abi);
                let problems = differences(&expected, version, address, &reply);
                if !problems.is_empty() {
                    let name = case.name;
                    writeln!(failures, "{abi:?} {version:?} {name}: {}", problems.join("; ")).unwrap();
                } else {
                    wait_for_lines(&server, &expected, abi, &id);
                }
                played += 1;
            }
        }
    }
    assert!(failures.is_empty(), "of {played} exchanges some differ:\n{failures}");
}

fn wait_for_lines(server: &Server, expected: &Expected, abi: Abi, id: &str) {
    for parts in &expected.log {
        let handler = format!("handler=\"{}", abi.name());
        let id = format!("request_id=\"{id}\"");
        let mut parts = parts.clone();
        parts.extend([handler.as_str(), id.as_str()]);
        server.log.wait_for(&parts);
    }
}

/// What is not as it must be.
fn differences(expected: &Expected, version: Version, address: SocketAddr, reply: &Reply) -> Vec<String> {
    if expected.fails {
        let has_failed = reply.status == 500 || !reply.complete;
        return if has_failed { Vec::new() } else { vec![format!("{reply:?} is a whole response")] };
    }
    let mut problems = Vec::new();
    let mut compare = |what: &str, want: String, came: String| {
        if want != came {
            problems.push(format!("{what} is {came}, not {want}"));
        }
    };
    // What breaks off may do so before its head has left.
    if expected.complete || reply.status != 0 {
        compare("the status", expected.status.to_string(), reply.status.to_string());
    }
    compare("complete", expected.complete.to_string(), reply.complete.to_string());
    compare("interim", format!("{:?}", expected.interim), format!("{:?}", reply.interim));
    compare("the x- fields", shown(expected.fields.iter().copied()), shown(reply.own_fields()));
    compare(
        "the trailers",
        shown(expected.trailers.iter().copied()),
        shown(reply.trailers.iter().map(|(name, value)| (name.as_str(), value.as_slice()))),
    );
    for (name, value) in &expected.others {
        compare(name, format!("{:?}", Some(*value)), format!("{:?}", reply.field(name)));
    }
    for name in &expected.absent {
        compare(name, "None".to_owned(), format!("{:?}", reply.field(name)));
    }
    // A reset stream loses what was not read yet.
    if let Some(body) = &expected.body
        && (expected.complete || version == Version::Http1)
    {
        let want = String::from_utf8_lossy(body).replace("{address}", &address.to_string());
        compare("the body", want, String::from_utf8_lossy(&reply.body).into_owned());
    }
    if let (Some(framing), Version::Http1) = (expected.framing, version) {
        compare("the framing", format!("{framing:?}"), format!("{:?}", reply.framing()));
    }
    problems
}

/// Fields sorted by name; a client of HTTP/1 reads values as text, so both sides are.
fn shown<'a>(fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut fields: Vec<_> = fields.collect();
    fields.sort_by_key(|(name, _)| *name);
    let texts = fields.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)));
    format!("[{}]", texts.collect::<Vec<_>>().join(", "))
}
