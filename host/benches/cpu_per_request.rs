//! CPU time of the server process per request, as a ratio to a native hyper handler measured in the same run.
//!
//! Run with: cargo bench -p wasmux --bench cpu_per_request
//! (`-- --rounds 7 --seconds 3` for less spread). Needs two cores: the server is pinned to core 0, the load to core 1.
//!
//! Machines and their neighbours are noisy, so requests per second say little here; CPU time of one process in
//! interleaved rounds says more, and only the ratios are worth quoting.

use std::convert::Infallible;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use http::{HeaderValue, Response, header};
use http_body_util::Full;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Keep-alive connections, each with one request at a time.
const CONNECTIONS: usize = 64;

#[derive(Parser)]
struct Options {
    /// Rounds; each measures every row once
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of one measurement, in seconds
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
    /// Be the native server
    #[arg(long, hide = true)]
    native: bool,
}

/// What is measured: a name, the request path, and the routes.toml of the server, or none for native hyper.
struct Row {
    name: &'static str,
    path: &'static str,
    routes: Option<&'static str>,
}

const ROWS: [Row; 3] = [
    Row { name: "native hyper", path: "/hello/x", routes: None },
    Row {
        name: "wasmux respond",
        path: "/healthz",
        routes: Some("\"/healthz\" = { respond = \"Hello, World!\\n\" }"),
    },
    Row {
        name: "wasmux hello, fresh instance",
        path: "/hello/World",
        routes: Some("\"GET /hello/{name}\" = \"hello\""),
    },
];

fn main() {
    let options = Options::parse();
    if options.native {
        return native_server();
    }
    let hello = build_hello();
    pin(std::process::id(), 1);
    let mut samples = vec![Vec::new(); ROWS.len()];
    for round in 1..=options.rounds {
        for (row, samples) in ROWS.iter().zip(&mut samples) {
            eprint!("\rround {round} of {}: {:<40}", options.rounds, row.name);
            samples.push(measure(row, &hello, Duration::from_secs(options.seconds)));
        }
    }
    eprintln!();
    report(&samples);
}

/// One measurement: µs of CPU per request, and requests per second.
#[derive(Clone, Copy)]
struct Sample {
    cpu_us: f64,
    per_second: f64,
}

fn report(samples: &[Vec<Sample>]) {
    let median = |samples: &[Sample], of: fn(&Sample) -> f64| {
        let mut values: Vec<_> = samples.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        (values[values.len() / 2], values[0], values[values.len() - 1])
    };
    let (native, ..) = median(&samples[0], |sample| sample.cpu_us);
    println!("| server | CPU µs/request (min–max) | × native | requests/s |\n|---|---|---|---|");
    for (row, samples) in ROWS.iter().zip(samples) {
        let (cpu, low, high) = median(samples, |sample| sample.cpu_us);
        let (rate, ..) = median(samples, |sample| sample.per_second);
        println!("| {} | {cpu:.2} ({low:.2}–{high:.2}) | {:.2} | {rate:.0} |", row.name, cpu / native);
    }
}

fn measure(row: &Row, hello: &Path, length: Duration) -> Sample {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut server = start(row, hello, folder.path());
    let address = listening_address(&mut server);
    pin(server.id(), 0);
    run_load(address, row.path, Duration::from_millis(300));
    let (before, started) = (cpu_time(server.id()), Instant::now());
    let requests = run_load(address, row.path, length);
    let (cpu, elapsed) = (cpu_time(server.id()) - before, started.elapsed());
    server.kill().and_then(|()| server.wait()).expect("the server ends");
    Sample {
        cpu_us: cpu.as_secs_f64() * 1e6 / requests as f64,
        per_second: requests as f64 / elapsed.as_secs_f64(),
    }
}

fn start(row: &Row, hello: &Path, folder: &Path) -> Child {
    let mut command = match row.routes {
        None => {
            let mut command = Command::new(std::env::current_exe().expect("our own path"));
            command.arg("--native");
            command
        }
        Some(routes) => {
            let text = format!(
                "[server]\nlisten = [\"127.0.0.1:0\"]\nthreads = 1\naccess_log = \"off\"\n\
                 [handlers.hello]\nwasm = {:?}\n[routes]\n{routes}\n",
                hello.display().to_string()
            );
            std::fs::write(folder.join("routes.toml"), text).expect("routes.toml is written");
            let mut command = Command::new(env!("CARGO_BIN_EXE_wasmux"));
            command.arg("serve").current_dir(folder);
            command
        }
    };
    command.stdout(Stdio::piped()).spawn().expect("the server starts")
}

fn listening_address(server: &mut Child) -> SocketAddr {
    let stdout = server.stdout.as_mut().expect("standard output is piped");
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).expect("the server says where it listens");
    line.trim().rsplit_once('/').and_then(|(_, address)| address.parse().ok()).expect("an address at the end")
}

fn build_hello() -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/hello");
    let built = wasmux::builder::build(&[folder.into()]).pop().expect("one crate, one result");
    built.1.expect("examples/hello builds")
}

fn pin(pid: u32, core: usize) {
    let pinned =
        Command::new("taskset").args(["-a", "-p", "-c", &core.to_string(), &pid.to_string()]).output();
    assert!(
        pinned.is_ok_and(|output| output.status.success()),
        "taskset (util-linux) pins process {pid} to core {core}"
    );
}

/// User and system time of all threads of a process.
fn cpu_time(pid: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the server runs");
    let run_time = |task: std::fs::DirEntry| -> Option<u64> {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    Duration::from_nanos(tasks.filter_map(|task| run_time(task.ok()?)).sum())
}

/// Sends requests on all connections, one in flight on each, and counts the answers.
fn run_load(address: SocketAddr, path: &str, length: Duration) -> u64 {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let connect = |_| {
        let stream = TcpStream::connect(address).expect("the server accepts");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        stream
    };
    let mut connections: Vec<_> = (0..CONNECTIONS).map(connect).collect();
    let deadline = Instant::now() + length;
    let mut buffer = [0; 4096];
    let mut answered = 0;
    for stream in &mut connections {
        stream.write_all(request.as_bytes()).expect("a request is sent");
    }
    // Round and round: while one answer is read, the server works on the other 63.
    while Instant::now() < deadline {
        for stream in &mut connections {
            let mut read = 0;
            while !is_complete(&buffer[..read]) {
                let count = stream.read(&mut buffer[read..]).expect("an answer comes");
                assert!(count > 0, "the server closed a connection");
                read += count;
            }
            assert!(buffer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&buffer[..read]));
            answered += 1;
            stream.write_all(request.as_bytes()).expect("a request is sent");
        }
    }
    answered
}

/// Every row answers with a text that ends in a line feed behind the blank line.
fn is_complete(answer: &[u8]) -> bool {
    answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .is_some_and(|at| answer.len() > at + 4 && answer.ends_with(b"\n"))
}

/// The yardstick: hyper as its documentation shows it, on one thread.
fn native_server() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        println!("listening on http://{}", listener.local_addr().expect("an address"));
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("TCP_NODELAY");
            let service = hyper::service::service_fn(async |_| {
                let mut response = Response::new(Full::new(Bytes::from_static(b"Hello, World!\n")));
                let text = HeaderValue::from_static("text/plain; charset=utf-8");
                response.headers_mut().insert(header::CONTENT_TYPE, text);
                Ok::<_, Infallible>(response)
            });
            let connection = hyper::server::conn::http1::Builder::new();
            let connection = connection.serve_connection(hyper_util::rt::TokioIo::new(stream), service);
            tokio::task::spawn_local(connection);
        }
    });
}
