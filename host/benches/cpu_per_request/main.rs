//! CPU time of the server process per request, as a ratio to a native hyper handler measured in the same run.
//!
//! Run with: cargo bench --workspace --profile dist --bench cpu_per_request
//!
//! After `--`: `--rounds 7 --seconds 3` for less spread, `--only 0.2` for the rows with that in their name. `--p99` measures
//! latency under an open load instead, `--instructions` counts instructions under valgrind. Needs two cores: the server
//! has core 0, the load core 1.
//!
//! Machines and their neighbours are noisy, so requests per second say little here; CPU time of one process in
//! interleaved rounds says more, and only the ratios are worth quoting. Instructions are the same on every run.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use self::guests::Guests;
use self::native::Yardstick;

mod cpu;
mod guests;
mod installed;
mod instructions;
mod latency;
mod load;
mod machine;
mod native;
mod reply;
mod rows;
mod served;
mod server;
mod spread;

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
    /// Measure only the rows with this in their name, and what they are compared with
    #[arg(long)]
    only: Option<String>,
    /// A wasmtime program, if another one than on the path is to be compared with
    #[arg(long)]
    wasmtime: Option<PathBuf>,
    /// Measure latency at 70 % of what each server reaches
    #[arg(long, conflicts_with = "instructions")]
    p99: bool,
    /// Count instructions per request in user space; needs valgrind
    #[arg(long)]
    instructions: bool,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
    /// Be a native server
    #[arg(long, hide = true)]
    native: Option<Yardstick>,
    /// Be wasmux, with the routes.toml of this folder
    #[arg(long, hide = true)]
    serve: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(yardstick) = options.native {
        native::serve(yardstick);
        return ExitCode::SUCCESS;
    }
    if let Some(folder) = &options.serve {
        served::serve(folder);
        return ExitCode::SUCCESS;
    }
    if options.instructions && !instructions::can_be_counted() {
        eprintln!("--instructions needs valgrind and python3, one of which cannot be run; install both");
        return ExitCode::FAILURE;
    }
    println!("{}", machine::describe());
    let rows = rows::all(&Guests::build(), &options);
    load::pin(std::process::id(), 1);
    if options.instructions {
        instructions::run(rows);
    } else if options.p99 {
        latency::run(rows, &options);
    } else {
        cpu::run(&rows, &options);
    }
    ExitCode::SUCCESS
}
