//! Turns WebAssembly into native code, where that can do no harm: in a process of its own, with little priority, limited
//! time and limited memory. Compilers take whatever a module makes them take, and modules may be anybody's.
//!
//! The process is this program again (`wasmux compile`, see `child`): WebAssembly in on standard input, code out on
//! standard output. It ends with the one that started it.

use std::io::{Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use wasmtime::Engine;

use super::imports::advice::printable;

mod child;

pub use child::{Task, run};

/// Compiled code of one module, in bytes. What is compiled from 256 MiB is smaller, unless it was made to be large.
const CODE_BYTES_MAX: u64 = 1 << 30;

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
                let task = Task {
                    concurrent: self.concurrent,
                    stack_bytes_max: self.stack_bytes_max,
                    memory_bytes_max,
                    parent: std::process::id(),
                };
                let child = start(&task).map_err(|error| {
                    format!("it cannot be compiled: no process for it can be started ({error})")
                })?;
                let outcome = supervise(child, wasm, timeout);
                outcome.map_err(|failure| failure.sentence(timeout, memory_bytes_max))
            }
        }
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

/// Why there is no code.
enum Failure {
    Timeout,
    Memory,
    TooMuchCode,
    /// The compiler says why.
    Refused(String),
    /// It ended as no program should.
    Crashed(ExitStatus, String),
    /// The process could not be talked to.
    Broken(std::io::Error),
}

impl Failure {
    fn sentence(&self, timeout: Duration, memory_bytes_max: u64) -> String {
        match self {
            Self::Timeout => format!(
                "compiling it takes longer than `compile_timeout` ({}) in [server]; raise it, or make the module smaller",
                humantime::format_duration(timeout)
            ),
            Self::Memory => format!(
                "compiling it takes more memory than `compile_memory` ({} MiB) in [server]; raise it, or make the module \
                 smaller",
                memory_bytes_max >> 20
            ),
            Self::TooMuchCode => format!(
                "it compiles to more than {} MiB of code, which is as much as there may be; make the module smaller",
                CODE_BYTES_MAX >> 20
            ),
            Self::Refused(reason) => format!("it cannot be compiled: {reason}"),
            Self::Crashed(status, reason) => {
                let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                format!("it cannot be compiled: the compiler failed ({status}){reason}")
            }
            Self::Broken(error) => format!("it cannot be compiled: the compiler cannot be reached ({error})"),
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
        scope.spawn(move || sender.send(read(output, CODE_BYTES_MAX + 1)));
        let code = receiver.recv_timeout(timeout);
        if code.is_err() {
            // Whatever comes of it, there is nobody else to wait for it.
            let _ = child.kill();
        }
        let status = child.wait().map_err(Failure::Broken)?;
        let reason = reason.join().ok().and_then(Result::ok).unwrap_or_default();
        let Ok(code) = code else { return Err(Failure::Timeout) };
        let code = code.map_err(Failure::Broken)?;
        if code.len() as u64 > CODE_BYTES_MAX {
            return Err(Failure::TooMuchCode);
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
    let text = printable(text.trim());
    if status.code() == Some(child::REFUSED.into()) {
        Failure::Refused(text)
    } else {
        Failure::Crashed(status, text)
    }
}
