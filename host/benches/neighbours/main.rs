//! What hostile guests cost those beside them: the latency of a fixed route and of a guest's, without and with four
//! requests of each kind at work, on a host with two threads.
//!
//! Run with: cargo bench -p wasmux --bench neighbours
//!
//! After `--`: `--seconds 5` for longer rows, `--only loop` for the rows with that in their name, `--program PATH` for
//! another wasmux, `--wedge` for guests that compute for ever alone: how their neighbours fare from the first probe on,
//! how soon the host is idle when their clients hang up, when their limits end them, and how they hold up SIGTERM.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;

use self::client::{Conn, Hostile};
use self::server::{ABIS, COMPUTING, MODULES, Server};

mod client;
mod server;
mod wedge;

/// Requests that misbehave at a time.
const HOSTILE: usize = 4;

#[derive(Parser)]
struct Options {
    /// Length of one row, in seconds
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Measure only the rows with this in their name
    #[arg(long, default_value = "")]
    only: String,
    /// The program to measure
    #[arg(long, default_value = env!("CARGO_BIN_EXE_wasmux"))]
    program: PathBuf,
    /// Guests that compute for ever, in more detail
    #[arg(long)]
    wedge: bool,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    let length = Duration::from_secs(options.seconds);
    if options.wedge {
        return wedge::run(&options.program, length);
    }
    println!(
        "| beside | fixed: p50 | p99 | max | guest: p50 | p99 | max | probes |\n|---|---|---|---|---|---|---|---|"
    );
    row(&options, "nothing", None, length);
    for abi in ABIS {
        let speaking = MODULES.iter().filter(|_| abi == "serve_http");
        for name in COMPUTING.iter().chain(speaking) {
            let label = format!("{name} ({abi})");
            if label.contains(&options.only) {
                row(&options, &label, Some((abi, name)), length);
            }
        }
    }
}

/// Latencies, sorted.
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(crate) fn new(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        Self(all)
    }

    /// The one that so much of the whole is below, in milliseconds.
    pub(crate) fn at(&self, part: f64) -> String {
        let index = ((self.0.len() as f64 * part) as usize).min(self.0.len().saturating_sub(1));
        self.0
            .get(index)
            .map_or_else(|| "–".to_owned(), |latency| format!("{:.2}", latency.as_secs_f64() * 1e3))
    }

    pub(crate) fn count_above(&self, bound: Duration) -> usize {
        self.0.iter().filter(|latency| **latency > bound).count()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Probes one route until it is over, in turn on an open connection and on a fresh one. Every answer must be right.
pub(crate) fn probe(server: &Server, targets: &[(&str, &str)], length: Duration) -> Vec<Vec<Duration>> {
    let mut open: Vec<_> = targets.iter().map(|_| Conn::open(server.address)).collect();
    let mut all = vec![Vec::new(); targets.len()];
    let until = Instant::now() + length;
    while Instant::now() < until {
        for ((conn, (target, answer)), latencies) in open.iter_mut().zip(targets).zip(&mut all) {
            let begun = Instant::now();
            assert_eq!(conn.get(target), (200, (*answer).to_owned()), "{target}, open connection");
            let between = Instant::now();
            assert_eq!(Conn::open(server.address).get(target), (200, (*answer).to_owned()), "{target}");
            latencies.extend([between - begun, between.elapsed()]);
        }
        // Those who ask one after the other do not ask all the time.
        std::thread::sleep(Duration::from_millis(1));
    }
    all
}

fn row(options: &Options, label: &str, hostile: Option<(&str, &str)>, length: Duration) {
    let server = Server::start(&options.program, hostile, "breaker = \"off\"");
    let hostile: Vec<_> =
        hostile.iter().flat_map(|_| (0..HOSTILE).map(|_| Hostile::begin(server.address))).collect();
    let all = probe(&server, &[("/", "fixed\n"), ("/good", "hello\n")], length);
    drop(hostile);
    let [fixed, guest] = [0, 1].map(|index| Latencies::new(all[index].clone()));
    println!(
        "| {label} | {} | {} | {} | {} | {} | {} | {} |",
        fixed.at(0.5),
        fixed.at(0.99),
        fixed.at(1.0),
        guest.at(0.5),
        guest.at(0.99),
        guest.at(1.0),
        fixed.len() + guest.len()
    );
}
