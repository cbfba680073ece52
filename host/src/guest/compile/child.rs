//! The compiling process: takes as little of the machine as it can, and never more than it was given.

use std::ffi::OsString;
use std::io::{ErrorKind, Read as _, Write as _};
use std::process::ExitCode;

use rlimit::Resource;
use rustix::process::{Signal, getppid, nice, set_parent_process_death_signal};
use wasmtime::Engine;

use super::{frame, precompile};
use crate::guest::engine::compiler;
use crate::guest::snapshot;

/// The subcommand of this program that ends up in [`run`].
const COMMAND: &str = "compile";

/// Exit code: standard error says why there is no code.
pub(super) const REFUSED: u8 = 10;
/// Exit code: the memory it was given is not enough.
pub(super) const OUT_OF_MEMORY: u8 = 11;

/// How much less of the processors it gets than those who serve, if both want them: about a tenth.
const NICENESS: i32 = 10;

/// What a compiling process has to know, beside the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub struct Task {
    /// Start the module and take its snapshot, instead of compiling it
    #[arg(long)]
    pub snapshot: bool,
    /// For the engine that has concurrency inside instances
    #[arg(long)]
    pub concurrent: bool,
    /// Native stack of guests, in bytes
    #[arg(long, value_name = "BYTES")]
    pub stack_bytes_max: u64,
    /// Memory that compiling may take, in bytes
    #[arg(long, value_name = "BYTES")]
    pub memory_bytes_max: u64,
    /// The process that waits for the code; it has none to wait for when that one is gone
    #[arg(long, value_name = "PID")]
    pub parent: u32,
}

impl Task {
    /// The arguments that make this program [`run`] it.
    pub(super) fn args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec![COMMAND.into()];
        for (name, is_set) in [("--snapshot", self.snapshot), ("--concurrent", self.concurrent)] {
            args.extend(is_set.then(|| name.into()));
        }
        let numbers = [
            ("--stack-bytes-max", self.stack_bytes_max),
            ("--memory-bytes-max", self.memory_bytes_max),
            ("--parent", self.parent.into()),
        ];
        for (name, number) in numbers {
            args.extend([name.into(), number.to_string().into()]);
        }
        args
    }
}

/// Compiles what comes on standard input, a whole binary module or component, to standard output; or starts it, as the
/// frame says that comes instead.
///
/// To be the only thing this process does: its limits are set for good.
#[must_use]
pub fn run(task: &Task) -> ExitCode {
    let outcome = confine(task).map_err(wasmtime::Error::from).and_then(|()| {
        let mut input = Vec::new();
        std::io::stdin().read_to_end(&mut input)?;
        let output = if task.snapshot {
            let (start, wasm) = frame::start(&input)?;
            frame::of_started(&snapshot::take(wasm, &start, task.stack_bytes_max)?)
        } else {
            let engine = Engine::new(&compiler(task.stack_bytes_max, task.concurrent))?;
            precompile(&engine, &input)?
        };
        Ok(std::io::stdout().write_all(&output)?)
    });
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    if is_out_of_memory(&error) {
        return OUT_OF_MEMORY.into();
    }
    // When nobody reads it, nobody wants to know.
    let _ = write!(std::io::stderr(), "{error:#}");
    REFUSED.into()
}

/// Ends with its parent, yields to everybody, and takes no more memory than it may.
fn confine(task: &Task) -> std::io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid().is_none_or(|parent| parent.as_raw_pid().cast_unsigned() != task.parent) {
        return Err(std::io::Error::other("the process that asked for it has ended"));
    }
    nice(NICENESS)?;
    // Memory that is written to, not address space: the allocator and the engine reserve far more of that than they use.
    let memory = task.memory_bytes_max;
    Resource::DATA.set(memory, memory)?;
    // An abort is one of the ways to end, and need not leave gigabytes behind.
    Resource::CORE.set(0, 0)
}

fn is_out_of_memory(error: &wasmtime::Error) -> bool {
    error.is::<wasmtime::error::OutOfMemory>()
        || error.chain().any(|cause| {
            let cause = cause.downcast_ref::<std::io::Error>();
            cause.is_some_and(|cause| cause.kind() == ErrorKind::OutOfMemory)
        })
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};

    use super::*;
    use crate::guest::{EngineSettings, GuestEngine};

    fn hash(engine: &Engine) -> u64 {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn code_is_made_for_the_engines_that_run_it() {
        let settings = EngineSettings::with_instances(2);
        let running = GuestEngine::new(settings).unwrap();
        for (concurrent, lane) in [(false, running.plain()), (true, &running.concurrent().unwrap())] {
            let compiling = Engine::new(&compiler(settings.stack_bytes_max, concurrent)).unwrap();
            assert_eq!(hash(&compiling), hash(&lane.engine), "concurrent: {concurrent}");
        }
    }
}
