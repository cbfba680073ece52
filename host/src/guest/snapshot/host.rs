//! What a guest gets of the host while it starts for a snapshot: all that is the same for each of its instances. The rest is
//! refused, since every request would have what it got.
//!
//! | | |
//! |---|---|
//! | its environment, arguments and the names of its folders | as in a request; they are part of what a snapshot is found by |
//! | output | kept for the log |
//! | the monotonic clock | stands still at 1 ns: each instance's begins at zero, and never goes back |
//! | the time of day | refused, unless `freeze` has `"clock"`: many a generator is seeded with it |
//! | randomness | refused, unless `freeze` has `"random"` |
//! | files, waiting, the end of the program, a request | refused |

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use wasmtime::{Caller, ExternType, Linker, Module, Result};
use wasmux_abi::{CLIENT_MODULE, CONFIG_MODULE, KEYVALUE_MODULE, LOG_MODULE, SQL_MODULE, WASI_MODULE};

use super::super::memory::{self, Region};
use super::super::state::ModuleState;
use super::super::wasi::{self, ERRNO_BADF, ERRNO_INVAL, ERRNO_SUCCESS};
use super::Snapshot;

/// What is kept of a guest's output, in bytes.
const SAID_BYTES_MAX: usize = 2_000;

/// Clocks of WASI preview 1.
const REALTIME: u32 = 0;
const MONOTONIC: u32 = 1;
const PROCESS_CPU_TIME: u32 = 2;
const THREAD_CPU_TIME: u32 = 3;

/// WASI functions whose outcome is the same in every instance.
const ALLOWED: [&str; 12] = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_fdstat_get",
    "fd_fdstat_set_flags", // fails for all but files, and there are none
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_write",
    "sched_yield",
];

/// Why a call is refused, as the operator reads it.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) String);

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// What a guest has printed and logged; what does not fit is left out.
#[derive(Clone, Default)]
pub(super) struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    fn push(&self, bytes: &[u8]) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = SAID_BYTES_MAX.saturating_sub(said.len());
        said.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    pub(super) fn taken(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Defines everything that the module imports.
pub(super) fn add_to_linker(
    linker: &mut Linker<ModuleState>,
    module: &Module,
    snapshot: Snapshot,
    said: &Said,
) -> Result<()> {
    wasmtime_wasi::p1::add_to_linker_sync(linker, ModuleState::wasi)?;
    wasi::add_own_to_linker(linker)?;
    linker.allow_shadowing(true);
    let (printed, logged) = (said.clone(), said.clone());
    linker
        .func_wrap(WASI_MODULE, "clock_time_get", move |caller: Caller<'_, _>, id, _: u64, at| {
            clock_time_get(caller, snapshot, id, at)
        })?
        .func_wrap(WASI_MODULE, "fd_write", move |caller: Caller<'_, _>, file, at, count, size_at| {
            fd_write(caller, &printed, file, at, count, size_at)
        })?
        .func_wrap(LOG_MODULE, "log", move |mut caller: Caller<'_, _>, _: i32, ptr, len| -> Result<()> {
            let (data, _) = memory::split(&mut caller)?;
            let text = Region::new("log", ptr, len).within(data)?;
            logged.push(text);
            logged.push(b"\n");
            Ok(())
        })?
        // It may remember the answer, and later there may be somebody who reads every line.
        .func_wrap(LOG_MODULE, "enabled", |_: i32| 1_i32)?;
    for import in module.imports() {
        let ExternType::Func(ty) = import.ty() else { continue }; // refused by those who look for such
        if let Some(reason) = refused(import.module(), import.name(), snapshot) {
            linker.func_new(import.module(), import.name(), ty, move |_, _, _| {
                Err(Refusal(reason.clone()).into())
            })?;
        }
    }
    Ok(())
}

/// Why this function must not be called, unless it may be.
fn refused(module: &str, name: &str, snapshot: Snapshot) -> Option<String> {
    let is_allowed = match module {
        LOG_MODULE => true,
        WASI_MODULE => ALLOWED.contains(&name) || name == "random_get" && snapshot.freeze_random,
        _ => false,
    };
    if is_allowed {
        return None;
    }
    Some(match (module, name) {
        (WASI_MODULE, "random_get") => random_is_refused(),
        (WASI_MODULE, "poll_oneoff") => {
            "it waits while it starts (`poll_oneoff`), and a snapshot has nothing to wait for: wait when a request is served"
                .to_owned()
        }
        (WASI_MODULE, "proc_exit") => {
            "it ends itself while it starts (`proc_exit`): a snapshot is taken of what goes on".to_owned()
        }
        (WASI_MODULE, _) => format!(
            "it opens or reads files while it starts (`{name}`), which no snapshot can hold: do that when a request is \
             served, or build the contents in"
        ),
        (CLIENT_MODULE, _) => format!(
            "it calls others while it starts (`{name}`), and all requests would share what it learns: call when a request is \
             served"
        ),
        (CONFIG_MODULE, _) => {
            "it reads its configuration while it starts, which may change without a new snapshot: read it when a request is \
             served"
                .to_owned()
        }
        (KEYVALUE_MODULE, _) => {
            "it uses a key-value store while it starts, which changes without a new snapshot: use it when a request is served"
                .to_owned()
        }
        (SQL_MODULE, _) => {
            "it asks a database while it starts, and all requests would share the answer: do that when a request is served"
                .to_owned()
        }
        _ => format!(
            "it asks for the request while it starts (`{module}` `{name}`), and there is none yet: do that in `serve_http`"
        ),
    })
}

fn random_is_refused() -> String {
    "it draws random numbers while it starts (`random_get`), and all requests would share what it makes of them, such as \
     the seeds of its hash tables and generators: draw them when a request is served, or accept that with \
     `snapshot = { freeze = [\"random\"] }`"
        .to_owned()
}

fn clock_time_get(mut caller: Caller<'_, ModuleState>, snapshot: Snapshot, id: u32, at: u32) -> Result<i32> {
    let now = match id {
        REALTIME if snapshot.freeze_clock => {
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
        }
        REALTIME => {
            return Err(Refusal(
                "it reads the time of day while it starts (`clock_time_get`), which would stay as it is, and with it what \
                 is made of it, such as the seeds of generators: read it when a request is served, or accept that \
                 with `snapshot = { freeze = [\"clock\"] }`"
                    .to_owned(),
            )
            .into());
        }
        MONOTONIC => 1, // there are runtimes that take 0 for a clock that does not work
        PROCESS_CPU_TIME | THREAD_CPU_TIME => return Ok(ERRNO_BADF),
        _ => return Ok(ERRNO_INVAL),
    };
    let (data, _) = memory::split(&mut caller)?;
    Region::new("clock_time_get", at, 8).within_mut(data)?.copy_from_slice(&now.to_le_bytes());
    Ok(ERRNO_SUCCESS)
}

/// Standard output and error; there is nothing else to write to.
fn fd_write(
    mut caller: Caller<'_, ModuleState>,
    said: &Said,
    file: u32,
    at: u32,
    count: u32,
    size_at: u32,
) -> Result<i32> {
    if !(1..=2).contains(&file) {
        return Ok(ERRNO_BADF);
    }
    let (data, _) = memory::split(&mut caller)?;
    let mut size = 0_u32;
    for pair in Region::new("fd_write", at, count.saturating_mul(8)).within(data)?.as_chunks::<8>().0 {
        let [a, b, c, d, e, f, g, h] = *pair;
        let (ptr, len) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        said.push(Region::new("fd_write", ptr, len).within(data)?);
        size = size.wrapping_add(len);
    }
    Region::new("fd_write", size_at, 4).within_mut(data)?.copy_from_slice(&size.to_le_bytes());
    Ok(ERRNO_SUCCESS)
}
