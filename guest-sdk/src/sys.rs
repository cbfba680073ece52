//! The boundary to the host, one file for each kind of host, and every `unsafe` of this crate.
//!
//! The target chooses: a core module for wasmux (`wasm32-wasip1`) or a standard component (`wasm32-wasip2`). Both files
//! offer the same names, and nothing else knows which it is. Owns [`Bytes`] besides, an array that is not zeroed first.
//! Everything that leaves this module is safe to call with any arguments.
#![expect(
    unsafe_code,
    reason = "calling imported functions and using uninitialised memory have no safe form"
)]

use core::mem::MaybeUninit;

/// An array of up to `N` bytes that grows at its end. It costs nothing to make, wherever it lives.
///
/// Invariant: the first `len` bytes are initialised, and `len <= N`.
pub(crate) struct Bytes<const N: usize> {
    bytes: [MaybeUninit<u8>; N],
    len: usize,
}

impl<const N: usize> Bytes<N> {
    pub(crate) const fn new() -> Self {
        Self { bytes: [MaybeUninit::uninit(); N], len: 0 }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: the first `len` bytes are initialised (invariant of the type).
        unsafe { core::slice::from_raw_parts(self.bytes.as_ptr().cast(), self.len) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and `self` is borrowed mutably.
        unsafe { core::slice::from_raw_parts_mut(self.bytes.as_mut_ptr().cast(), self.len) }
    }

    /// Appends as much of `data` as there is room for, and returns how much that was.
    pub(crate) fn push(&mut self, data: &[u8]) -> usize {
        let room = &mut self.bytes[self.len..];
        let count = data.len().min(room.len());
        room[..count].write_copy_of_slice(&data[..count]);
        self.len += count;
        count
    }

    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }
}

#[cfg(all(target_family = "wasm", not(target_env = "p2")))]
mod serve_http;
#[cfg(all(target_family = "wasm", not(target_env = "p2")))]
pub use serve_http::serve;
#[cfg(all(target_family = "wasm", not(target_env = "p2")))]
pub(crate) use serve_http::{Host, client, config, kv, log, log_enabled, sql};

#[cfg(all(target_family = "wasm", target_env = "p2"))]
mod incoming_handler;
#[cfg(all(target_family = "wasm", target_env = "p2"))]
pub use incoming_handler::serve;
#[cfg(all(target_family = "wasm", target_env = "p2"))]
pub(crate) use incoming_handler::{Host, client, config, kv, log, log_enabled, sql};

#[cfg(any(test, all(target_family = "wasm", target_env = "p2")))]
mod incoming_head;
