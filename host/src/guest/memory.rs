//! The guest's memory, as the host calls reach it: no pointer is used before it was checked.

use wasmtime::{Caller, Result};

use super::state::ModuleState;

/// The guest's memory and the store's data, both at once.
pub(super) fn split<'c>(
    caller: &'c mut Caller<'_, ModuleState>,
) -> Result<(&'c mut [u8], &'c mut ModuleState)> {
    let Some(memory) = caller.data().memory else {
        // Only a start function can come here: the memory is looked up right after instantiation.
        wasmtime::bail!("host calls that take memory are not available in the module's start function");
    };
    Ok(memory.data_and_store_mut(caller))
}

/// A buffer that a guest has named and nobody has checked.
#[derive(Clone, Copy)]
pub(super) struct Region {
    call: &'static str,
    ptr: u32,
    len: u32,
}

impl Region {
    pub(super) fn new(call: &'static str, ptr: u32, len: u32) -> Self {
        Self { call, ptr, len }
    }

    /// The bytes it names; traps when any of them is outside the memory.
    pub(super) fn within(self, memory: &[u8]) -> Result<&[u8]> {
        let size = memory.len();
        memory.get(self.range()).ok_or_else(|| self.outside(size))
    }

    /// As [`Self::within`], to be written to.
    pub(super) fn within_mut(self, memory: &mut [u8]) -> Result<&mut [u8]> {
        let size = memory.len();
        memory.get_mut(self.range()).ok_or_else(|| self.outside(size))
    }

    fn range(self) -> std::ops::Range<usize> {
        // Two u32 add up to no more than 2^33: no overflow in usize.
        self.ptr as usize..self.ptr as usize + self.len as usize
    }

    fn outside(self, size: usize) -> wasmtime::Error {
        let Self { call, ptr, len } = self;
        wasmtime::format_err!(
            "{call}: the buffer at {ptr:#x} of {len} bytes is outside the memory of {size} bytes"
        )
    }
}
