//! Turns WebAssembly into native code, where that can do no harm: in a process of its own, with little priority, limited
//! time and limited memory. Compilers take whatever a module makes them take, and modules may be anybody's.
//!
//! The process is this program again (`wasmux compile`, see `child`): WebAssembly in on standard input, code out on
//! standard output. It ends with the one that started it. Guests are started there too, for their snapshots.

use std::io::{Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use wasmtime::Engine;

use super::imports::advice::printable;
use super::snapshot::{self, Start, Started};

mod child;
mod frame;

pub use child::{Task, run};

/// Compiled code or the snapshot of one module, in bytes. What is compiled from 256 MiB is smaller, unless it was made to
/// be large.
const OUTPUT_BYTES_MAX: u64 = 1 << 30;

/// What the compiling process may say about why it failed, in bytes.
const REASON_BYTES_MAX: u64 = 4_000;

/// From this size on a compilation takes long enough to be announced.
const ANNOUNCED_BYTES: usize = 1 << 20;

/// Where modules are compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompileIn {
    /// In this process, without limits: for other programs than `wasmux`, which cannot be started as `wasmux compile`.
    Process,
    /// In a process of its own.
    Child {
        /// How long compiling one module may take.
        timeout: Duration,
        /// The memory it may take, in bytes.
        memory_bytes_max: u64,
    },
}

/// Compiles for one engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compiler {
    pub(super) place: CompileIn,
    /// What the engine is made with, which the other process has to know.
    pub(super) concurrent: bool,
    pub(super) stack_bytes_max: u64,
}

impl Compiler {
    /// Compiles a checked binary to code for `engine`.
    ///
    /// # Errors
    /// A sentence: it cannot be compiled, not within the limits, or the compiler failed.
    pub(super) fn compile(self, engine: &Engine, wasm: &[u8]) -> Result<Vec<u8>, String> {
        if wasm.len() > ANNOUNCED_BYTES {
            tracing::info!("compiling {} KiB of WebAssembly", wasm.len() >> 10);
        }
        match self.place {
            CompileIn::Process => {
                precompile(engine, wasm).map_err(|error| format!("it cannot be compiled: {error:#}"))
            }
            CompileIn::Child { timeout, memory_bytes_max } => {
                let outcome = self.in_child(Purpose::Code, wasm, timeout, memory_bytes_max);
                outcome.map_err(|failure| failure.sentence(Purpose::Code, timeout, memory_bytes_max))
            }
        }
    }

    /// Starts a checked module and takes its snapshot.
    ///
    /// # Errors
    /// A sentence, which may be followed by lines with a backtrace: there is none, or not within the limits.
    pub(super) fn snapshot(self, wasm: &[u8], start: &Start) -> Result<Started, String> {
        match self.place {
            CompileIn::Process => {
                let taken = snapshot::take(wasm, start, self.stack_bytes_max);
                taken.map_err(|error| format!("no snapshot of it can be taken: {error:#}"))
            }
            CompileIn::Child { timeout, memory_bytes_max } => {
                let input = frame::of_start(start, wasm)?;
                let outcome = self.in_child(Purpose::Snapshot, &input, timeout, memory_bytes_max);
                let outcome = outcome.and_then(|output| frame::started(&output).map_err(Failure::Broken));
                outcome.map_err(|failure| failure.sentence(Purpose::Snapshot, timeout, memory_bytes_max))
            }
        }
    }

    /// Has another process do it.
    fn in_child(
        self,
        purpose: Purpose,
        input: &[u8],
        timeout: Duration,
        memory_bytes_max: u64,
    ) -> Result<Vec<u8>, Failure> {
        let task = Task {
            snapshot: purpose == Purpose::Snapshot,
            concurrent: self.concurrent,
            stack_bytes_max: self.stack_bytes_max,
            memory_bytes_max,
            parent: std::process::id(),
        };
        supervise(start(&task).map_err(Failure::NotStarted)?, input, timeout)
    }
}

fn precompile(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Vec<u8>> {
    if wasmparser::Parser::is_component(wasm) {
        engine.precompile_component(wasm)
    } else {
        engine.precompile_module(wasm)
    }
}

/// Starts this program again, whatever has become of its file meanwhile: another version would make other code.
fn start(task: &Task) -> std::io::Result<Child> {
    let program =
        if cfg!(target_os = "linux") { PathBuf::from("/proc/self/exe") } else { std::env::current_exe()? };
    let mut command = Command::new(program);
    // Nothing in the environment is meant for it. The allocator would take a gigabyte at once, whatever is needed of it.
    command.args(task.args()).env_clear().env("MIMALLOC_ARENA_EAGER_COMMIT", "0");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// Why there is no code, or no snapshot.
enum Failure {
    Timeout,
    Memory,
    TooMuch,
    /// The process says why.
    Refused(String),
    /// It ended as no program should.
    Crashed(ExitStatus, String),
    /// There is no process.
    NotStarted(std::io::Error),
    /// It could not be talked to.
    Broken(std::io::Error),
}

/// What a process is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Code,
    Snapshot,
}

impl Failure {
    fn sentence(&self, purpose: Purpose, timeout: Duration, memory_bytes_max: u64) -> String {
        let (doing, failed) = match purpose {
            Purpose::Code => ("compiling it", "it cannot be compiled"),
            Purpose::Snapshot => ("starting it for its snapshot", "no snapshot of it can be taken"),
        };
        match self {
            Self::Timeout => format!(
                "{doing} takes longer than `compile_timeout` ({}) in [server]; raise it, or make the module smaller",
                humantime::format_duration(timeout)
            ),
            Self::Memory => format!(
                "{doing} takes more memory than `compile_memory` ({} MiB) in [server]; raise it, or make the module \
                 smaller",
                memory_bytes_max >> 20
            ),
            Self::TooMuch => format!(
                "{failed}: it is more than {} MiB, which is as much as there may be; make the module smaller",
                OUTPUT_BYTES_MAX >> 20
            ),
            // Of a snapshot there are several lines to be said, and its own process has seen to what is in them.
            Self::Refused(reason) if purpose == Purpose::Snapshot => format!("{failed}: {}", reason.trim()),
            Self::Refused(reason) => format!("{failed}: {}", printable(reason.trim())),
            Self::Crashed(status, reason) => {
                let reason = printable(reason.trim());
                let reason = if reason.is_empty() { reason } else { format!(": {reason}") };
                format!("{failed}: the compiler failed ({status}){reason}")
            }
            Self::NotStarted(error) => format!("{failed}: no process for it can be started ({error})"),
            Self::Broken(error) => format!("{failed}: the compiler cannot be reached ({error})"),
        }
    }
}

/// Hands a compiling process its module and waits for the code. Whatever happens, the process is gone in the end.
fn supervise(mut child: Child, wasm: &[u8], timeout: Duration) -> Result<Vec<u8>, Failure> {
    let (Some(mut input), Some(output), Some(reason)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(Failure::Broken(std::io::ErrorKind::NotFound.into())); // all three were asked for
    };
    std::thread::scope(|scope| {
        // If that fails the process has ended, which says more.
        scope.spawn(move || drop(input.write_all(wasm)));
        let reason = scope.spawn(|| read(reason, REASON_BYTES_MAX));
        let (sender, receiver) = channel();
        scope.spawn(move || sender.send(read(output, OUTPUT_BYTES_MAX + 1)));
        let code = receiver.recv_timeout(timeout);
        if code.is_err() {
            // Whatever comes of it, there is nobody else to wait for it.
            let _ = child.kill();
        }
        let status = child.wait().map_err(Failure::Broken)?;
        let reason = reason.join().ok().and_then(Result::ok).unwrap_or_default();
        let Ok(code) = code else { return Err(Failure::Timeout) };
        let code = code.map_err(Failure::Broken)?;
        if code.len() as u64 > OUTPUT_BYTES_MAX {
            return Err(Failure::TooMuch);
        }
        if status.success() { Ok(code) } else { Err(failure(status, &reason)) }
    })
}

/// What there is to be read, or its beginning; the rest finds nobody who listens.
fn read(from: impl Read, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What the end of a process means that has made no code.
fn failure(status: ExitStatus, reason: &[u8]) -> Failure {
    let text = String::from_utf8_lossy(reason);
    // The words of Rust's standard library before it aborts.
    let is_out_of_memory = status.signal().is_some() && text.contains("memory allocation of");
    if is_out_of_memory || status.code() == Some(child::OUT_OF_MEMORY.into()) {
        return Failure::Memory;
    }
    if status.code() == Some(child::REFUSED.into()) {
        Failure::Refused(text.into_owned())
    } else {
        Failure::Crashed(status, text.into_owned())
    }
}
