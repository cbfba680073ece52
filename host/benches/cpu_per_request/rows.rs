//! What is measured: servers with the requests that they get, and what each is compared with.

use std::path::{Path, PathBuf};

use crate::Options;
use crate::guests::{Guests, root};
use crate::installed;
use crate::native::Yardstick;

/// How `wasmtime serve` can be told to do what is fastest on this workload: pool memories, keep their pages, and reset only
/// those that were written to (PAGEMAP_SCAN, Linux 6.7). Without the scan, keeping pages is slower than not keeping them.
const TUNED: [&str; 5] = [
    "-Opooling-allocator=y",
    "-Opooling-memory-keep-resident=2097152",
    "-Opooling-table-keep-resident=65536",
    "-Opooling-async-stack-keep-resident=65536",
    "-Opooling-pagemap-scan=y",
];
const REUSE_128: &str = "--max-instance-reuse-count=128";
const FRESH: &str = "--max-instance-reuse-count=1";

const SNAPSHOT: &str = "snapshot = true\n";
const REUSED: &str = "isolation = \"reuse\"\nmax_requests = 128\n";
const CONCURRENT: &str = "isolation = \"concurrent\"\nmax_requests = 128\nmax_concurrent = 16\n";

/// The body that `echo` gets, in bytes.
const ECHO_BYTES: usize = 64 << 10;

/// Keep-alive connections, each with one request at a time.
pub(crate) const CONNECTIONS: usize = 64;

/// The same where a request computes for milliseconds: wasmux begins two of these at a time on one core, and turns some of those
/// away that wait.
const FEW_CONNECTIONS: usize = 2;

/// A line of the table.
pub(crate) struct Row {
    pub(crate) name: String,
    /// As it is sent.
    pub(crate) request: Vec<u8>,
    pub(crate) connections: usize,
    pub(crate) yardstick: Yardstick,
    pub(crate) server: Server,
}

pub(crate) enum Server {
    /// Hyper without wasm, in this program.
    Native,
    /// Handlers and routes of routes.toml.
    Wasmux(String),
    /// The program, and what follows `serve`.
    Wasmtime(PathBuf, Vec<String>),
    /// A program that serves without being told what.
    Program(PathBuf),
}

impl Row {
    fn new(name: &str, request: &[u8], yardstick: Yardstick, server: Server) -> Self {
        Self {
            name: name.to_owned(),
            request: request.to_owned(),
            connections: CONNECTIONS,
            yardstick,
            server,
        }
    }

    /// One that is compared with a short text.
    fn hello(name: &str, path: &str, server: Server) -> Self {
        Self::new(name, &get(path), Yardstick::Hello, server)
    }

    pub(crate) fn is_native(&self) -> bool {
        matches!(self.server, Server::Native)
    }
}

/// Every row that can be measured here and is asked for. Each comes behind the native one that it is compared with.
pub(crate) fn all(guests: &Guests, options: &Options) -> Vec<Row> {
    let mut rows = wasmux(guests);
    match installed::go() {
        Some(folder) => rows.extend(go(&folder)),
        None => eprintln!("without rows in Go: `tests/peers/guests/build go` builds what they need"),
    }
    match options.wasmtime.clone().or_else(installed::wasmtime) {
        Some(program) => rows.extend(wasmtime(&program, guests)),
        None => {
            eprintln!("without `wasmtime serve`: there is no wasmtime on the path; name one with --wasmtime")
        }
    }
    if let Some(only) = &options.only {
        rows.retain(|row| row.name.contains(only));
    }
    let natives = [
        ("native hyper", &get("/hello/x"), Yardstick::Hello),
        ("native hyper, file of tower-http", &get("/lib.rs"), Yardstick::Files),
        ("native hyper, echo 64 KiB", &echo(), Yardstick::Echo),
    ];
    let mut all = Vec::new();
    for (name, request, yardstick) in natives {
        let (compared, others) = rows.into_iter().partition::<Vec<_>, _>(|row| row.yardstick == yardstick);
        if yardstick == Yardstick::Hello || !compared.is_empty() {
            all.push(Row::new(name, request, yardstick, Server::Native));
        }
        all.extend(compared);
        rows = others;
    }
    all
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into()
}

fn echo() -> Vec<u8> {
    let head = format!("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: {ECHO_BYTES}\r\n\r\n");
    [head.as_bytes(), &[b'x'; ECHO_BYTES]].concat()
}

/// One handler on one route.
fn handler(wasm: &Path, keys: &str, pattern: &str) -> Server {
    let wasm = wasm.display().to_string();
    Server::Wasmux(format!("[handlers.one]\nwasm = {wasm:?}\n{keys}[routes]\n{pattern:?} = \"one\"\n"))
}

fn wasmux(guests: &Guests) -> Vec<Row> {
    let respond = "[routes]\n\"/healthz\" = { respond = \"Hello, World!\\n\" }\n";
    let mut rows = vec![Row::hello("wasmux, respond", "/healthz", Server::Wasmux(respond.to_owned()))];
    for (name, wasm, keys) in [
        ("wasmux, serve_http, fresh", &guests.hello, ""),
        ("wasmux, serve_http, reused 128 times", &guests.hello, REUSED),
        ("wasmux, 0.2, fresh", &guests.p2, ""),
        ("wasmux, 0.2, reused 128 times", &guests.p2, REUSED),
        ("wasmux, 0.3, fresh", &guests.p3, ""),
        ("wasmux, 0.3, reused 128 times", &guests.p3, REUSED),
        ("wasmux, 0.3, 16 at once, reused 128 times", &guests.p3, CONCURRENT),
    ] {
        rows.push(Row::hello(name, "/hello/World", handler(wasm, keys, "GET /hello/{name}")));
    }
    for (name, keys) in [
        ("wasmux, users (JSON), fresh", ""),
        ("wasmux, users (JSON), snapshot, fresh", SNAPSHOT),
        ("wasmux, users (JSON), reused 128 times", REUSED),
    ] {
        rows.push(Row::hello(name, "/users/1", handler(&guests.users, keys, "/users/")));
    }
    let started = handler(&guests.tables, SNAPSHOT, "/is_prime/{what}");
    rows.push(Row::hello("wasmux, table of 2 MB, snapshot, fresh", "/is_prime/1999993", started));
    let folder = root().join("examples/hello/src").display().to_string();
    let files = Server::Wasmux(format!("[routes]\n\"/\" = {{ files = {folder:?} }}\n"));
    rows.push(Row::new("wasmux, files", &get("/lib.rs"), Yardstick::Files, files));
    for (name, keys) in
        [("wasmux, echo 64 KiB, fresh", ""), ("wasmux, echo 64 KiB, reused 128 times", REUSED)]
    {
        rows.push(Row::new(name, &echo(), Yardstick::Echo, handler(&guests.echo, keys, "/echo")));
    }
    rows
}

fn go(folder: &Path) -> Vec<Row> {
    let wasm = folder.join("go.wasm");
    let guest = |name: &str, keys| Row::hello(name, "/hello?name=World", handler(&wasm, keys, "/hello"));
    // These two start instances while others wait.
    let slow = |name: &str, keys| Row { connections: FEW_CONNECTIONS, ..guest(name, keys) };
    vec![
        Row::hello("Go's net/http", "/hello/World", Server::Program(folder.join("go-native"))),
        slow("wasmux, guest in Go, fresh", ""),
        slow("wasmux, guest in Go, reused 128 times", REUSED),
        guest("wasmux, guest in Go, snapshot, fresh", "snapshot = { freeze = [\"random\"] }\n"),
    ]
}

fn wasmtime(program: &Path, guests: &Guests) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, wasm, options) in [
        ("wasmtime serve, 0.2, fresh (defaults)", &guests.p2, vec![]),
        ("wasmtime serve, 0.2, fresh, tuned", &guests.p2, TUNED.to_vec()),
        ("wasmtime serve, 0.2, reused 128 times", &guests.p2, vec![REUSE_128]),
        ("wasmtime serve, 0.2, reused 128 times, tuned", &guests.p2, [&TUNED[..], &[REUSE_128]].concat()),
        ("wasmtime serve, 0.3, fresh", &guests.p3, vec![FRESH]),
        ("wasmtime serve, 0.3, fresh, tuned", &guests.p3, [&TUNED[..], &[FRESH]].concat()),
        ("wasmtime serve, 0.3, 16 at once, reused 128 times (defaults)", &guests.p3, vec![]),
        ("wasmtime serve, 0.3, 16 at once, reused 128 times, tuned", &guests.p3, TUNED.to_vec()),
    ] {
        let options = options.into_iter().map(str::to_owned).chain([wasm.display().to_string()]);
        let server = Server::Wasmtime(program.to_owned(), options.collect());
        rows.push(Row::hello(name, "/hello/World", server));
    }
    rows
}
