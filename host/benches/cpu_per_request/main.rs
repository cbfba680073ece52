//! CPU time of the server process per request, as a ratio to a native hyper handler measured in the same run.
//!
//! Run with: cargo bench -p wasmux --bench cpu_per_request
//!
//! After `--`: `--rounds 7 --seconds 3` for less spread, `--only 0.2` for the rows with that in their name,
//! `--wasmtime PATH` for the same components on `wasmtime serve`. Needs two cores: the server has core 0, the load core 1.
//!
//! Machines and their neighbours are noisy, so requests per second say little here; CPU time of one process in
//! interleaved rounds says more, and only the ratios are worth quoting.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;

use self::load::{cpu_time, pin, run_load};
use self::rows::{Guests, Row, Server};

mod load;
mod native;
mod rows;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Options {
    /// Rounds; each measures every row once
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of one measurement, in seconds
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Measure only the rows with this in their name, and native hyper
    #[arg(long)]
    only: Option<String>,
    /// A wasmtime program, to measure `wasmtime serve` as well
    #[arg(long)]
    wasmtime: Option<PathBuf>,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
    /// Be the native server
    #[arg(long, hide = true)]
    native: bool,
}

fn main() {
    let options = Options::parse();
    if options.native {
        return native::serve();
    }
    let guests = Guests::build();
    let mut rows = rows::all(&guests, options.wasmtime.as_deref());
    if let Some(only) = &options.only {
        rows.retain(|row| row.name.contains(only) || matches!(row.server, Server::Native));
    }
    pin(std::process::id(), 1);
    let mut samples = vec![Vec::new(); rows.len()];
    for round in 1..=options.rounds {
        for (row, samples) in rows.iter().zip(&mut samples) {
            eprint!("\rround {round} of {}: {:<60}", options.rounds, row.name);
            samples.push(measure(row, Duration::from_secs(options.seconds)));
        }
    }
    eprintln!();
    report(&rows, &samples);
}

/// One measurement: µs of CPU per request, and requests per second.
#[derive(Clone, Copy)]
struct Sample {
    cpu_us: f64,
    per_second: f64,
}

fn report(rows: &[Row], samples: &[Vec<Sample>]) {
    let median = |samples: &[Sample], of: fn(&Sample) -> f64| {
        let mut values: Vec<_> = samples.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        (values[values.len() / 2], values[0], values[values.len() - 1])
    };
    let (native, ..) = median(&samples[0], |sample| sample.cpu_us);
    println!("| server | CPU µs/request (min–max) | × native | requests/s |\n|---|---|---|---|");
    for (row, samples) in rows.iter().zip(samples) {
        let (cpu, low, high) = median(samples, |sample| sample.cpu_us);
        let (rate, ..) = median(samples, |sample| sample.per_second);
        println!("| {} | {cpu:.2} ({low:.2}–{high:.2}) | {:.2} | {rate:.0} |", row.name, cpu / native);
    }
}

fn measure(row: &Row, length: Duration) -> Sample {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut server, address) = row.start(folder.path());
    // Long enough for every pool to be warm.
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
