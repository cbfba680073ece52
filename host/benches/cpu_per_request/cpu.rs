//! CPU time per request, with as many requests as the server can take.

use std::time::{Duration, Instant};

use crate::Options;
use crate::load::{WARM_UP, cpu_time, run_load};
use crate::rows::Row;
use crate::server::Running;
use crate::spread::{Spread, times_native};

/// One measurement: µs of CPU per request, and requests per second.
struct Sample {
    cpu_us: f64,
    per_second: f64,
}

/// Measures in rounds and prints the table.
pub(crate) fn run(rows: &[Row], options: &Options) {
    let mut samples: Vec<Vec<Sample>> = rows.iter().map(|_| Vec::new()).collect();
    for round in 1..=options.rounds {
        for (row, samples) in rows.iter().zip(&mut samples) {
            eprint!("\rround {round} of {}: {:<60}", options.rounds, row.name);
            samples.push(measure(row, Duration::from_secs(options.seconds)));
        }
    }
    eprintln!();
    println!("| server | CPU µs/request (min–max) | × native (min–max) | requests/s |\n|---|---|---|---|");
    for (index, (row, of_row)) in rows.iter().zip(&samples).enumerate() {
        let cpu = Spread::of(of_row.iter().map(|sample| sample.cpu_us));
        let ratio = times_native(rows, &samples, index, |sample| sample.cpu_us);
        let rate = Spread::of(of_row.iter().map(|sample| sample.per_second));
        println!("| {} | {cpu} | {ratio} | {:.0} |", row.name, rate.median);
    }
}

fn measure(row: &Row, length: Duration) -> Sample {
    let server = Running::start(row);
    run_load(server.address, row, WARM_UP);
    let (before, started) = (cpu_time(server.id()), Instant::now());
    let requests = run_load(server.address, row, length);
    let (cpu, elapsed) = (cpu_time(server.id()) - before, started.elapsed());
    Sample {
        cpu_us: cpu.as_secs_f64() * 1e6 / requests as f64,
        per_second: requests as f64 / elapsed.as_secs_f64(),
    }
}
