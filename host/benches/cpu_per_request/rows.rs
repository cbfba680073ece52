//! What is measured: servers, each with how it is set up and started. All of them send the same bytes.

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

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

/// A line of the table.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) path: &'static str,
    pub(crate) server: Server,
}

pub(crate) enum Server {
    /// Hyper without wasm, in this program.
    Native,
    /// Handlers and routes of routes.toml.
    Wasmux(String),
    /// The program, and what follows `serve`.
    Wasmtime(PathBuf, Vec<String>),
}

/// Built for the guest profile.
pub(crate) struct Guests {
    /// A core module on our SDK.
    hello: PathBuf,
    /// Components on the raw bindings: wasi:http 0.2, 0.3.
    p2: PathBuf,
    p3: PathBuf,
}

impl Guests {
    pub(crate) fn build() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let built =
            wasmux::builder::build(&[root.join("examples/hello")]).pop().expect("one crate, one result");
        let hello = built.1.expect("examples/hello builds");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(&root).args(["build", "--quiet", "--profile=guest", "--target=wasm32-wasip2"]);
        cargo.args(["--package=hello_p2", "--package=hello_p3", "--message-format=json"]);
        let output = cargo.stderr(Stdio::inherit()).output().expect("cargo runs");
        assert!(output.status.success(), "the components build (rustup target add wasm32-wasip2)");
        let component = |name: &str| {
            let messages = output.stdout.split(|byte| *byte == b'\n');
            let mut messages =
                messages.filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok());
            let artifact = messages.find(|message| message["target"]["name"] == name).expect("it is built");
            PathBuf::from(artifact["filenames"][0].as_str().expect("its file is named"))
        };
        Self { hello, p2: component("hello_p2"), p3: component("hello_p3") }
    }
}

/// Every row; native hyper, which the others are compared with, is the first.
pub(crate) fn all(guests: &Guests, wasmtime: Option<&Path>) -> Vec<Row> {
    let row = |name: &str, path, server| Row { name: name.to_owned(), path, server };
    let respond = "[routes]\n\"/healthz\" = { respond = \"Hello, World!\\n\" }\n";
    let mut rows = vec![
        row("native hyper", "/hello/x", Server::Native),
        row("wasmux, respond", "/healthz", Server::Wasmux(respond.to_owned())),
    ];
    let reused = "isolation = \"reuse\"\nmax_requests = 128\n";
    let concurrent = "isolation = \"concurrent\"\nmax_requests = 128\nmax_concurrent = 16\n";
    for (name, wasm, keys) in [
        ("wasmux, serve_http, fresh", &guests.hello, ""),
        ("wasmux, serve_http, reused 128 times", &guests.hello, reused),
        ("wasmux, 0.2, fresh", &guests.p2, ""),
        ("wasmux, 0.2, reused 128 times", &guests.p2, reused),
        ("wasmux, 0.3, fresh", &guests.p3, ""),
        ("wasmux, 0.3, reused 128 times", &guests.p3, reused),
        ("wasmux, 0.3, 16 at once, reused 128 times", &guests.p3, concurrent),
    ] {
        let wasm = wasm.display().to_string();
        let text = format!(
            "[handlers.hello]\nwasm = {wasm:?}\n{keys}[routes]\n\"GET /hello/{{name}}\" = \"hello\"\n"
        );
        rows.push(row(name, "/hello/World", Server::Wasmux(text)));
    }
    let Some(wasmtime) = wasmtime else { return rows };
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
        rows.push(row(name, "/hello/World", Server::Wasmtime(wasmtime.to_owned(), options.collect())));
    }
    rows
}

impl Row {
    /// Starts the server on core 0, where all of its threads stay, and waits until it listens.
    pub(crate) fn start(&self, folder: &Path) -> (Child, SocketAddr) {
        // From the beginning, so that a server that counts cores finds one.
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).stdout(Stdio::piped());
        match &self.server {
            Server::Native => {
                command.arg(std::env::current_exe().expect("our own path")).arg("--native");
            }
            Server::Wasmux(handlers) => {
                let server = "[server]\nlisten = [\"127.0.0.1:0\"]\nthreads = 1\naccess_log = \"off\"\n";
                std::fs::write(folder.join("routes.toml"), format!("{server}{handlers}"))
                    .expect("routes.toml is written");
                command
                    .arg(env!("CARGO_BIN_EXE_wasmux"))
                    .arg("serve")
                    .current_dir(folder)
                    .env("WASMUX_LOG", "warn");
            }
            Server::Wasmtime(program, options) => {
                command.arg(program).args(["serve", "--addr=127.0.0.1:0", "-Scli"]).args(options);
                // That is where it says where it listens.
                command.stderr(Stdio::piped());
            }
        }
        let mut server = command.spawn().expect("taskset (util-linux) starts the server");
        let address = match server.stderr.as_mut() {
            Some(stderr) => listening_address(stderr),
            None => listening_address(server.stdout.as_mut().expect("standard output is piped")),
        };
        (server, address)
    }
}

/// The first line that a server prints ends in its address.
fn listening_address(output: impl Read) -> SocketAddr {
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).expect("the server says where it listens");
    let address = line.trim().trim_end_matches('/').rsplit_once('/');
    address.and_then(|(_, address)| address.parse().ok()).unwrap_or_else(|| panic!("no address in {line:?}"))
}
