//! WASI preview 1: wasmtime-wasi's, except for the calls that most guests make.
//!
//! Its context (clocks, tables, three random generators) costs microseconds, so it is made at the first call that
//! needs it, and a guest that only reads its environment or seeds a hash map never does.

use rand::Rng as _;
use wasmtime::{Caller, Linker, Result};
use wasmux_abi::WASI_MODULE;

use super::memory::{self, Region};
use super::state::ModuleState;

/// Longest answer to one `random_get`, in bytes: more than any key, and too little to keep a thread busy.
pub(super) const RANDOM_BYTES_MAX: u32 = 64 * 1024;

/// Success, "bad file descriptor" and "invalid argument", as `errno` in WASI preview 1 has them.
pub(super) const ERRNO_SUCCESS: i32 = 0;
pub(super) const ERRNO_BADF: i32 = 8;
pub(super) const ERRNO_INVAL: i32 = 28;

/// Defines `wasi_snapshot_preview1`.
pub(super) fn add_to_linker(linker: &mut Linker<ModuleState>) -> Result<()> {
    wasmtime_wasi::p1::add_to_linker_async(linker, ModuleState::wasi)?;
    add_own_to_linker(linker)
}

/// Defines those functions that are not wasmtime-wasi's, in place of its own.
pub(super) fn add_own_to_linker(linker: &mut Linker<ModuleState>) -> Result<()> {
    linker.allow_shadowing(true);
    linker
        .func_wrap(WASI_MODULE, "environ_sizes_get", environ_sizes_get)?
        .func_wrap(WASI_MODULE, "environ_get", environ_get)?
        .func_wrap(WASI_MODULE, "random_get", random_get)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Bytes of `NAME=VALUE` and its NUL.
fn environ_size(name: &str, value: &str) -> u32 {
    (name.len() + value.len() + 2) as u32
}

fn environ_sizes_get(mut caller: Caller<'_, ModuleState>, count_at: u32, size_at: u32) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    let size: u32 = state.core.common.env.iter().map(|(name, value)| environ_size(name, value)).sum();
    let count = state.core.common.env.len() as u32;
    Region::new("environ_sizes_get", count_at, 4).within_mut(data)?.copy_from_slice(&count.to_le_bytes());
    Region::new("environ_sizes_get", size_at, 4).within_mut(data)?.copy_from_slice(&size.to_le_bytes());
    Ok(ERRNO_SUCCESS)
}

fn environ_get(mut caller: Caller<'_, ModuleState>, mut pointer_at: u32, mut text_at: u32) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    for (name, value) in state.core.common.env.iter() {
        let pointer = Region::new("environ_get", pointer_at, 4).within_mut(data)?;
        pointer.copy_from_slice(&text_at.to_le_bytes());
        let text = Region::new("environ_get", text_at, environ_size(name, value)).within_mut(data)?;
        for (byte, of) in text.iter_mut().zip([name, "=", value, "\0"].into_iter().flat_map(str::bytes)) {
            *byte = of;
        }
        // At the very end of a memory of 4 GiB these wrap around; what follows is checked like everything else.
        pointer_at = pointer_at.wrapping_add(4);
        text_at = text_at.wrapping_add(environ_size(name, value));
    }
    Ok(ERRNO_SUCCESS)
}

fn random_get(mut caller: Caller<'_, ModuleState>, ptr: u32, len: u32) -> Result<i32> {
    let (data, _) = memory::split(&mut caller)?;
    let buffer = Region::new("random_get", ptr, len).within_mut(data)?;
    if len > RANDOM_BYTES_MAX {
        return Ok(ERRNO_INVAL);
    }
    rand::rng().fill_bytes(buffer);
    Ok(ERRNO_SUCCESS)
}
