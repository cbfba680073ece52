//! The `wasmux` command: parse, run, one exit code.

use std::process::ExitCode;

use clap::Parser as _;

// Requests allocate and free small things from many threads; measured in RATIONALE.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = wasmux::cli::Cli::parse();
    if let Err(message) = wasmux::telemetry::start() {
        eprintln!("wasmux: {message}");
        return ExitCode::from(2);
    }
    cli.run()
}
