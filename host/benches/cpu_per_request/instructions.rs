//! Instructions per request in user space, counted by callgrind: the figure that does not depend on what else the machine
//! does. It says nothing of the kernel's part, of caches and of waiting.
//!
//! One connection, one request after the other. Everything is some fifty times slower, but clocks are not: a guest that
//! computes sees more epoch ticks than it would, and the figures of components have some instructions too many for that.

use std::path::Path;
use std::process::Command;

use crate::load::{connect, run_requests};
use crate::rows::{Row, Server};
use crate::server::Running;
use crate::spread::{Spread, times_native};

/// Requests before anything is counted: two lives of an instance that is reused.
const WARM_UP: u32 = 256;

/// Requests of one count: whole lives of such instances.
const REQUESTS: u32 = 512;

/// Counts of each row.
const COUNTS: usize = 3;

/// Threads with less than this part of what the busiest one does are clocks, not servers.
const AT_WORK: f64 = 0.05;

/// The file that counts go to, in the server's folder.
const FILE: &str = "counts";

/// What the server is started under. Only what is asked for is counted, thread by thread. Of `rep movsb` and `rep stosb` valgrind
/// counts every byte, so glibc is told to copy and fill by vectors, which comes closer to what it costs.
const CALLGRIND: [&str; 10] = [
    "env",
    "GLIBC_TUNABLES=glibc.cpu.hwcaps=-ERMS,-FSRM",
    "python3",
    concat!(env!("CARGO_MANIFEST_DIR"), "/benches/cpu_per_request/without_auxv.py"),
    "valgrind",
    "--quiet",
    "--tool=callgrind",
    "--instr-atstart=no",
    "--separate-threads=yes",
    "--callgrind-out-file=counts",
];

/// Whether the programs for it are here.
pub(crate) fn can_be_counted() -> bool {
    ["valgrind", "callgrind_control", "python3"].iter().all(|program| {
        Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
    })
}

/// Counts and prints the table.
pub(crate) fn run(mut rows: Vec<Row>) {
    // Other people's programs are not what it is for, and compiling a runtime takes valgrind a quarter of an hour.
    rows.retain(|row| match &row.server {
        Server::Native => true,
        Server::Wasmux(_) => !row.name.contains("guest in Go"),
        Server::Wasmtime(..) | Server::Program(_) => false,
    });
    let count_row = |row: &Row| {
        eprint!("\rcounting {:<60}", row.name);
        count(row)
    };
    let counts: Vec<_> = rows.iter().map(count_row).collect();
    eprintln!();
    println!("| server | instructions/request (min–max) | × native |\n|---|---|---|");
    for (index, (row, of_row)) in rows.iter().zip(&counts).enumerate() {
        let ratio = times_native(&rows, &counts, index, |count| *count);
        println!("| {} | {:.0} | {:.2} |", row.name, Spread::of(of_row.iter().copied()), ratio.median);
    }
}

fn count(row: &Row) -> Vec<f64> {
    let server = Running::start_under(row, &CALLGRIND);
    let mut stream = connect(server.address);
    run_requests(&mut stream, &row.request, WARM_UP);
    let count = |number| {
        control(&server, &["-i", "on"]);
        run_requests(&mut stream, &row.request, REQUESTS);
        control(&server, &["-i", "off"]);
        control(&server, &["-d"]);
        instructions(server.folder(), number) / f64::from(REQUESTS)
    };
    (1..=COUNTS).map(count).collect()
}

fn control(server: &Running, order: &[&str]) {
    let output = Command::new("callgrind_control").args(order).arg(server.id().to_string()).output();
    let output = output.expect("callgrind_control runs");
    assert!(output.status.success(), "{order:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The sum of a dump: a file for each thread, `counts.NUMBER-THREAD`, each with a line `totals: COUNT`.
fn instructions(folder: &Path, number: usize) -> f64 {
    let beginning = format!("{FILE}.{number}-");
    let files = std::fs::read_dir(folder).expect("the server's folder").filter_map(Result::ok);
    let files = files.filter(|file| file.file_name().to_string_lossy().starts_with(&beginning));
    let total = |file: std::fs::DirEntry| -> Option<f64> {
        let text = std::fs::read_to_string(file.path()).ok()?;
        text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok())
    };
    let totals: Vec<f64> = files.filter_map(total).collect();
    let busiest = totals.iter().copied().fold(0.0, f64::max);
    assert!(busiest > 0.0, "callgrind has counted nothing");
    totals.into_iter().filter(|total| *total >= busiest * AT_WORK).sum()
}
