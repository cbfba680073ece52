//! The `wasmux` command: parse, run, one exit code.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

// Requests allocate and free small things on many threads, which is what mimalloc is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = wasmux::cli::Cli::parse();
    let _log = match wasmux::telemetry::start() {
        Ok(guard) => guard,
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "wasmux: {message}");
            return ExitCode::from(2);
        }
    };
    cli.run()
}
