//! Guests that have started already: a module is started once, when it is loaded, and what that leaves in its memory and
//! globals becomes a module of its own, whose instances begin where the first one was.
//!
//! Started as a request would start it, under the same limits, with one difference: what would not be the same for
//! each request is refused, with a sentence (see `host`). Bytes in, bytes out, by wasmtime's own tool for it (Wizer); nothing of the
//! start lives on but those bytes. It is done where modules are compiled (`compile/child.rs`).

use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wasmtime::{Engine, Instance, Linker, Module, Store, Trap, Val};
use wasmtime_wizer::{InstanceState, ModuleContext, SnapshotVal, ValType, Wizer};

use self::compact::compact;
use self::host::{Refusal, Said};
use super::engine::{EPOCH_TICK, HOST_STACK_BYTES, rehearsal};
use super::failure::describe;
use super::grants::{Folder, Grants};
use super::share::Share;
use super::state::{Common, ModuleState};

mod compact;
mod file;
mod host;

/// What a snapshot may hold although it would be different for each request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Random numbers that are drawn at the start, and all that is made of them: all requests have the same.
    pub freeze_random: bool,
    /// The time of day at the start: it stays that of the snapshot.
    pub freeze_clock: bool,
}

/// How a handler is started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Its name, for the log.
    #[serde(skip)]
    pub(super) handler: String,
    pub(super) env: Vec<(String, String)>,
    /// As a request has them; what is in them is refused.
    pub(super) folders: Vec<Folder>,
    pub(super) memory_bytes_max: u64,
    /// How long it may take, by the clock on the wall.
    pub(super) timeout: Duration,
    pub(super) snapshot: Snapshot,
}

impl Start {
    /// The same for other processes, and for what its outcome is found by.
    ///
    /// # Errors
    /// A sentence, when the path of a folder is not Unicode.
    pub(super) fn to_json(&self) -> Result<Vec<u8>, String> {
        serde_json::to_vec(self).map_err(|error| format!("no snapshot of it can be taken: `files`: {error}"))
    }
}

/// What came of a start.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Started {
    /// The module, with the memory and globals that the start has left; it begins with `serve_http`.
    pub(super) wasm: Vec<u8>,
    /// What the guest has printed and logged meanwhile, or the beginning of it.
    pub(super) said: Vec<u8>,
}

/// Starts a checked module and takes its snapshot. `stack_bytes_max` is the native stack that its calls may use, in bytes.
///
/// # Errors
/// When the start fails, takes too much, or does what no snapshot can hold.
pub(super) fn take(wasm: &[u8], start: &Start, stack_bytes_max: u64) -> wasmtime::Result<Started> {
    let mut wizer = Wizer::new();
    wizer.init_func(wasmux_abi::WARM_UP);
    let (context, instrumented) = wizer.instrument(wasm)?;
    let engine = Engine::new(&rehearsal(stack_bytes_max))?;
    let module = Module::new(&engine, &instrumented)?;
    let said = Said::default();
    let (stop, stopped) = channel::<()>();
    std::thread::scope(|scope| {
        let clock = engine.weak();
        scope.spawn(move || {
            // The sender goes when the guest is done. Until then, again and again: it may not have begun.
            let mut wait = start.timeout;
            while let (Err(RecvTimeoutError::Timeout), Some(engine)) =
                (stopped.recv_timeout(wait), clock.upgrade())
            {
                engine.increment_epoch();
                wait = EPOCH_TICK;
            }
        });
        // A stack of the size that requests have, and no async runtime around it.
        let stack = stack_bytes_max as usize + 2 * HOST_STACK_BYTES;
        let guest = std::thread::Builder::new().stack_size(stack).spawn_scoped(scope, || {
            let mut store = Store::new(&engine, state(start));
            let started = run(&mut store, &module, start, &said);
            drop(stop);
            let instance = started.map_err(|error| refusal(&error, &mut store, start, &said))?;
            left_behind(&wizer, &context, Left { store, instance, is_odd: false })
        })?;
        guest.join().unwrap_or_else(|_| wasmtime::bail!("the host failed at it"))
    })
    .map(|wasm| Started { wasm, said: said.taken() })
}

fn state(start: &Start) -> ModuleState {
    ModuleState::new(&Arc::new(Common {
        env: start.env.clone(),
        memory_bytes_max: start.memory_bytes_max,
        budget: None,
        field_bytes_max: 0,
        handles_max: 100,
        log_bytes_max: 0,
        share: Arc::new(Share::new("".into(), 0, 1)),
        grants: Arc::new(Grants { folders: start.folders.clone(), ..Grants::default() }),
        masks: Arc::default(),
        next: None,
        version: Arc::default(),
    }))
}

/// Everything that is done before the first request, in the order of ABI.md section 1.
fn run(
    store: &mut Store<ModuleState>,
    module: &Module,
    start: &Start,
    said: &Said,
) -> wasmtime::Result<Instance> {
    store.limiter(|state| &mut state.core.limiter);
    store.set_epoch_deadline(1);
    let mut linker = Linker::new(store.engine());
    host::add_to_linker(&mut linker, module, start.snapshot, said)?;
    let instance = linker.instantiate(&mut *store, module)?;
    store.data_mut().memory = instance.get_memory(&mut *store, wasmux_abi::MEMORY);
    for name in [wasmux_abi::INITIALIZE, wasmux_abi::WARM_UP] {
        if let Some(function) = instance.get_func(&mut *store, name) {
            let Ok(function) = function.typed::<(), ()>(&*store) else {
                return Err(Refusal(format!("export `{name}` must be a function () -> ()")).into());
            };
            function.call(&mut *store, ())?;
        }
    }
    Ok(instance)
}

/// Why there is no snapshot, in words, with the guest's backtrace and what it has said.
fn refusal(
    error: &wasmtime::Error,
    store: &mut Store<ModuleState>,
    start: &Start,
    said: &Said,
) -> wasmtime::Error {
    /// Those further out say less and less.
    const BACKTRACE_LINES_MAX: usize = 12;
    let description = describe(error);
    let (cause, backtrace) = description.split_once('\n').unwrap_or((&description, ""));
    let is_late = error.downcast_ref::<Trap>() == Some(&Trap::Interrupt);
    let sentence = if is_late {
        let timeout = humantime::format_duration(start.timeout);
        format!("its start takes longer than its limit `timeout` ({timeout}); raise it, or do less")
    } else if store.data_mut().core.limiter.refused {
        let limit = start.memory_bytes_max >> 10;
        format!("its start fails at its limit `memory` ({limit} KiB); raise it, or do less: {cause}")
    } else if error.is::<Refusal>() {
        cause.to_owned()
    } else {
        format!("its start fails: {cause}")
    };
    let backtrace: Vec<_> = backtrace.lines().take(BACKTRACE_LINES_MAX).collect();
    let said = String::from_utf8_lossy(&said.taken()).trim_end().to_owned();
    let said = if said.is_empty() { said } else { format!("it said:\n{said}") };
    let parts = [sentence, backtrace.join("\n"), said];
    wasmtime::Error::msg(parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n"))
}

/// An instance whose start is over.
struct Left {
    store: Store<ModuleState>,
    instance: Instance,
    /// Something was not there, or not of the type, that the tool itself has put there.
    is_odd: bool,
}

impl InstanceState for Left {
    async fn global_get(&mut self, name: &str, _: ValType) -> SnapshotVal {
        let global = self.instance.get_global(&mut self.store, name);
        match global.map(|global| global.get(&mut self.store)) {
            Some(Val::I32(value)) => SnapshotVal::I32(value),
            Some(Val::I64(value)) => SnapshotVal::I64(value),
            Some(Val::F32(bits)) => SnapshotVal::F32(bits),
            Some(Val::F64(bits)) => SnapshotVal::F64(bits),
            Some(Val::V128(value)) => SnapshotVal::V128(value.as_u128()),
            _ => {
                self.is_odd = true;
                SnapshotVal::I32(0)
            }
        }
    }

    async fn memory_contents(&mut self, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        match self.instance.get_memory(&mut self.store, name) {
            Some(memory) => contents(memory.data(&self.store)),
            None => self.is_odd = true,
        }
    }
}

fn left_behind(wizer: &Wizer, context: &ModuleContext<'_>, mut left: Left) -> wasmtime::Result<Vec<u8>> {
    let wasm = {
        let taking = pin!(wizer.snapshot(context, &mut left));
        // Nothing of the above ever waits.
        match taking.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(wasm) => wasm?,
            Poll::Pending => wasmtime::bail!("the host failed at it"),
        }
    };
    wasmtime::ensure!(!left.is_odd, "the host failed at it");
    Ok(compact(wasm)?)
}
