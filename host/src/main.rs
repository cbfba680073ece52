//! The `wasmux` command: parse, run, one exit code.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use wasmux::handover::{Environment, VARIABLES};

// Requests allocate and free small things on many threads, which is what mimalloc is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let handed_over = match handed_over() {
        Ok(handed_over) => handed_over,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "wasmux: /proc does not show what was handed over: {error}");
            return ExitCode::FAILURE;
        }
    };
    let cli = wasmux::cli::Cli::parse();
    let (_log, logs) = match wasmux::telemetry::start() {
        Ok(started) => started,
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "wasmux: {message}");
            return ExitCode::from(2);
        }
    };
    // Each connection is a file; the soft limit is for programs that use select(2). A hard one that is low stays, and the
    // listeners wait when it is reached.
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::debug!("the limit on open files stays as it is: {error}");
    }
    cli.run(&handed_over, logs)
}

/// What this process was started with, beside arguments: file descriptors, and variables that speak of them. Both are
/// claimed at once, so that no process that is started later has them too.
#[expect(
    unsafe_code,
    reason = "a descriptor is a number: who owns it, only this first moment of the program can tell"
)]
fn handed_over() -> std::io::Result<Environment> {
    let environment = Environment::read();
    if !environment.is_empty() {
        // SAFETY: `main` calls this before anything else. There is no other thread that could read the environment
        // meanwhile, and whatever descriptors are open beside the standard three, nothing in this program owns yet.
        unsafe {
            VARIABLES.iter().for_each(|name| std::env::remove_var(name));
            command_fds::inherited::init_inherited_fds()?;
        }
    }
    Ok(environment)
}
