//! What one request may use up, and how a guest's memory is held to it.

use std::time::Duration;

use wasmtime::ResourceLimiter;

/// Limits of a handler; every request starts with them. `[defaults]` and `[handlers.NAME.limits]` in routes.toml.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Wall clock from the head of the request to the last byte of the response. Beyond it: 504, or the response is broken off.
    pub timeout: Duration,
    /// Linear memory of the guest, in bytes; of a component, that of all its modules together. Beyond it `memory.grow` fails, which most guests turn into a trap.
    pub memory_bytes_max: u64,
    /// Body of the request, in bytes. Beyond it: 413 when declared, else reading fails with `LIMIT`.
    pub request_body_bytes_max: u64,
    /// Body of the response, in bytes. Beyond it the response is broken off.
    pub response_body_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            memory_bytes_max: 64 << 20,
            request_body_bytes_max: 128 << 20,
            response_body_bytes_max: 1 << 30,
        }
    }
}

/// Elements a guest's tables may have. Function tables of large Go and Python guests have a few thousand.
pub(super) const TABLE_ELEMENTS_MAX: usize = 20_000;

/// Holds one instance to its memory limit: all its memories together.
#[derive(Debug)]
pub(super) struct MemoryLimiter {
    bytes_max: u64,
    bytes: u64,
    /// The latest growth, which may yet fail.
    latest: u64,
    /// Set when a growth was refused, so that the log can name the limit that made the guest trap.
    pub(super) refused: bool,
}

impl MemoryLimiter {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, bytes: 0, latest: 0, refused: false }
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _max: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // A new memory grows from nothing.
        let growth = desired.saturating_sub(current) as u64;
        let bytes = self.bytes.saturating_add(growth);
        let allowed = bytes <= self.bytes_max;
        if allowed {
            (self.bytes, self.latest) = (bytes, growth);
        }
        self.refused |= !allowed;
        Ok(allowed)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        tracing::debug!("a memory could not grow: {error:#}");
        self.bytes -= std::mem::take(&mut self.latest);
        Ok(())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _max: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }
}
