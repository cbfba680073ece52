//! What a handler that computes does under more load than it can take, and what its neighbours notice: `cargo bench
//! --bench overload`, with the seconds for each step and the microseconds a request computes as arguments (5 and 5000).
//!
//! Open loop: requests are sent when the clock says so, on as many connections as that takes, and latency counts from
//! that time. The sustainable rate is what a closed loop gets through with two connections for each core.
#![expect(clippy::unwrap_used, reason = "a bench may panic")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Connections that share the requests of a step; a request that finds none free is sent late, which its latency shows.
const CONNECTIONS: usize = 256;

/// Requests a second to each neighbour.
const NEIGHBOUR_RATE: f64 = 100.0;

/// Loops as often as the number in its memory says, then answers.
fn guest(turns: u64) -> String {
    format!(
        r#"(module
          (import "wasmux:http/1" "respond" (func $respond (param i32 i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (func (export "serve_http") (local $left i64)
            (local.set $left (i64.const {turns}))
            (loop $next
              (i64.store (i32.const 8) (i64.add (i64.load (i32.const 8)) (local.get $left)))
              (br_if $next (i64.ne (local.tee $left (i64.sub (local.get $left) (i64.const 1))) (i64.const 0))))
            (drop (call $respond (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))))"#
    )
}

/// A running server, killed in the end.
struct Server {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start(turns: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let routes = "[handlers]\nbusy = { wasm = \"busy.wat\" }\nquick = { wasm = \"quick.wat\" }\n[routes]\n\
                      \"/busy\" = \"busy\"\n\"/quick\" = \"quick\"\n\"/fixed\" = { respond = \"fixed\" }\n";
        std::fs::write(folder.path().join("routes.toml"), routes).unwrap();
        std::fs::write(folder.path().join("busy.wat"), guest(turns)).unwrap();
        std::fs::write(folder.path().join("quick.wat"), guest(1)).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_wasmux"))
            .current_dir(folder.path())
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("WASMUX_LOG", "off")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit('/').next().unwrap().parse().unwrap();
        Self { child, address, _folder: folder }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection that is kept.
struct Client(BufReader<TcpStream>);

impl Client {
    fn new(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        Self(BufReader::new(socket))
    }

    /// The status of the response.
    fn get(&mut self, path: &str) -> u16 {
        write!(self.0.get_mut(), "GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").unwrap();
        let (mut status, mut length, mut line) = (0, 0, String::new());
        loop {
            line.clear();
            self.0.read_line(&mut line).unwrap();
            let text = line.trim_end().to_ascii_lowercase();
            if let Some(rest) = text.strip_prefix("http/1.1 ") {
                status = rest[..3].parse().unwrap();
            } else if let Some(rest) = text.strip_prefix("content-length: ") {
                length = rest.parse().unwrap();
            } else if text.is_empty() {
                break;
            }
        }
        self.0.read_exact(&mut vec![0; length]).unwrap();
        status
    }
}

/// What became of the requests to one path.
#[derive(Default)]
struct Outcome {
    answered: Vec<Duration>,
    turned_away: usize,
    other: usize,
}

impl Outcome {
    fn percentile(&mut self, part: f64) -> f64 {
        self.answered.sort_unstable();
        let index = (self.answered.len() as f64 * part) as usize;
        self.answered
            .get(index.min(self.answered.len().saturating_sub(1)))
            .map_or(f64::NAN, |d| d.as_secs_f64() * 1e3)
    }
}

/// Sends `rate` requests a second for so long.
fn open_loop(
    address: SocketAddr,
    path: &'static str,
    rate: f64,
    time: Duration,
    connections: usize,
) -> Outcome {
    let (next, start) = (Arc::new(AtomicUsize::new(0)), Instant::now() + Duration::from_millis(50));
    let outcome = Arc::new(Mutex::new(Outcome::default()));
    let threads: Vec<_> = (0..connections)
        .map(|_| {
            let (next, outcome) = (Arc::clone(&next), Arc::clone(&outcome));
            std::thread::spawn(move || {
                let mut client = Client::new(address);
                loop {
                    let due = Duration::from_secs_f64(next.fetch_add(1, Ordering::Relaxed) as f64 / rate);
                    if due >= time {
                        return;
                    }
                    std::thread::sleep((start + due).saturating_duration_since(Instant::now()));
                    let status = client.get(path);
                    let took = Instant::now() - (start + due);
                    let mut outcome = outcome.lock().unwrap();
                    match status {
                        200 => outcome.answered.push(took),
                        503 => outcome.turned_away += 1,
                        _ => outcome.other += 1,
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    std::mem::take(&mut *outcome.lock().unwrap())
}

/// Requests a second that so many connections get through, one after the other on each.
fn closed_loop(address: SocketAddr, path: &'static str, connections: usize, time: Duration) -> f64 {
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let threads: Vec<_> = (0..connections)
        .map(|_| {
            let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
            std::thread::spawn(move || {
                let mut client = Client::new(address);
                while !stop.load(Ordering::Relaxed) {
                    if client.get(path) == 200 {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    std::thread::sleep(time);
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    count.load(Ordering::Relaxed) as f64 / time.as_secs_f64()
}

/// Turns of the guest's loop that take so long here, alone.
fn turns_for(cpu: Duration) -> u64 {
    const TRIAL: u64 = 10_000_000;
    let server = Server::start(TRIAL);
    let mut client = Client::new(server.address);
    let took = (0..5).map(|_| {
        let begin = Instant::now();
        client.get("/busy");
        begin.elapsed()
    });
    let took = took.min().unwrap();
    (TRIAL as f64 * cpu.as_secs_f64() / took.as_secs_f64()) as u64
}

fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let time = Duration::from_secs(numbers.first().copied().unwrap_or(5));
    let cpu = Duration::from_micros(numbers.get(1).copied().unwrap_or(5_000));
    let server = Server::start(turns_for(cpu));
    let address = server.address;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut alone = open_loop(address, "/busy", 10.0, time, 4);
    let unloaded = alone.percentile(0.99);
    let rate = closed_loop(address, "/busy", 2 * cores, time);
    println!("{cpu:?} a request, {cores} cores: alone p99 {unloaded:.1} ms, sustainable {rate:.0}/s");
    for factor in [1.0, 2.0, 4.0] {
        let neighbours = ["/fixed", "/quick"]
            .map(|path| std::thread::spawn(move || open_loop(address, path, NEIGHBOUR_RATE, time, 16)));
        let mut busy = open_loop(address, "/busy", rate * factor, time, CONNECTIONS);
        let [mut fixed, mut quick] = neighbours.map(|neighbour| neighbour.join().unwrap());
        let (p50, p99, turned_away) = (busy.percentile(0.5), busy.percentile(0.99), busy.turned_away);
        let goodput = busy.answered.len() as f64 / time.as_secs_f64();
        println!(
            "{factor}×: goodput {goodput:.0}/s ({:.0} %), 503 {}, other {}; admitted p50 {:.1} ms, p99 {:.1} ms ({:.1}×); \
             neighbours p99: fixed {:.1} ms, guest {:.1} ms",
            goodput / rate * 100.0,
            turned_away,
            busy.other,
            p50,
            p99,
            p99 / unloaded,
            fixed.percentile(0.99),
            quick.percentile(0.99),
        );
    }
}
