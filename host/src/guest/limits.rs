//! What one request may use up, and how a guest's memory is held to it.

use std::time::Duration;

use wasmtime::ResourceLimiter;

use super::budget::Account;
use crate::error::Error;

/// What requests of one handler may use up. The README's reference table says what happens at each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Wall clock from the head of the request to the last byte of the response.
    pub timeout: Duration,
    /// Time that the guest computes; waiting does not count.
    pub cpu: Duration,
    /// Memory of an instance, in bytes: all its linear memories and tables, and what the host holds for it.
    pub memory_bytes_max: u64,
    /// Requests at work at one time; `None`: as many as there may be instances.
    pub concurrency: Option<u32>,
    /// Requests that wait for one of those to end.
    pub queue: u32,
    /// How long they wait.
    pub queue_timeout: Duration,
    /// Body of the request, in bytes.
    pub request_body_bytes_max: u64,
    /// Body of the response, in bytes.
    pub response_body_bytes_max: u64,
    /// Header lines of the request.
    pub request_headers_max: u32,
    /// Names and values of these, in bytes.
    pub request_header_bytes_max: u64,
    /// Header lines of the response.
    pub response_headers_max: u32,
    /// Names and values of these, in bytes.
    pub response_header_bytes_max: u64,
    /// How long the client may send nothing of a body that the guest waits for.
    pub request_body_idle: Duration,
    /// Bytes per second of it, on average, at least; 0: any.
    pub request_body_rate: u64,
    /// How long the client may take nothing of a response that waits for it.
    pub response_body_idle: Duration,
    /// Bytes per second of it, on average, at least; 0: any.
    pub response_body_rate: u64,
    /// What the guest may log for a request, in bytes.
    pub log_bytes_max: u64,
    /// Streams, bodies, files and the like that an instance holds at a time.
    pub handles_max: u32,
    /// Calls to others at a time, over all of its requests: more fail.
    pub outbound_concurrency: u32,
    /// Calls to others in a second on average, so many of which may come at once: more fail.
    pub outbound_rate: u32,
    /// When a handler that fails rests; `None`: never.
    pub breaker: Option<Breaker>,
}

/// A handler that has gone over its limits so often gets no requests for a while, then one to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Requests that were ended at `cpu` or `memory`, or computed until their `timeout`,
    pub errors: u32,
    /// in so long a time
    pub window: Duration,
    /// turn all requests away for so long.
    pub open: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { errors: 20, window: Duration::from_secs(10), open: Duration::from_secs(5) }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            cpu: Duration::from_secs(10),
            memory_bytes_max: 64 << 20,
            concurrency: None,
            queue: 1_000,
            queue_timeout: Duration::from_secs(1),
            request_body_bytes_max: 128 << 20,
            response_body_bytes_max: 1 << 30,
            request_headers_max: 500,
            request_header_bytes_max: 1 << 20,
            response_headers_max: 500,
            response_header_bytes_max: 128 << 10,
            request_body_idle: Duration::from_secs(60),
            request_body_rate: 240,
            response_body_idle: Duration::from_secs(60),
            response_body_rate: 240,
            log_bytes_max: 1 << 20,
            handles_max: 1_000,
            outbound_concurrency: 256,
            outbound_rate: 10_000,
            breaker: Some(Breaker::default()),
        }
    }
}

/// Elements a guest's tables may have. Function tables of large Go and Python guests have a few thousand.
pub(super) const TABLE_ELEMENTS_MAX: usize = 20_000;

/// What a table takes for each of its elements, in bytes: references are pointers.
const TABLE_ELEMENT_BYTES: u64 = size_of::<usize>() as u64;

/// Holds one instance to its memory limit: all its memories and tables, and what the host holds for it.
#[derive(Debug)]
pub(super) struct MemoryLimiter {
    bytes_max: u64,
    bytes: u64,
    /// How much of that the host holds.
    held: u64,
    /// The latest growth, which may yet fail.
    latest: u64,
    /// What the host has for all instances; none where nothing runs.
    account: Option<Account>,
    /// Set when a growth was refused, so that the log can name the limit that made the guest trap.
    pub(super) refused: bool,
}

impl MemoryLimiter {
    pub(super) fn new(bytes_max: u64, account: Option<Account>) -> Self {
        Self { bytes_max, bytes: 0, held: 0, latest: 0, account, refused: false }
    }

    /// A request begins.
    pub(super) fn begin(&mut self) {
        self.refused = false;
        self.account.iter_mut().for_each(Account::begin);
    }

    /// What made a guest fail: the memory for all, if that was refused.
    pub(super) fn blame(&self, error: Error) -> Error {
        match &self.account {
            Some(account) => account.blame(error),
            None => error,
        }
    }

    /// Takes so much more, if there is so much.
    fn take(&mut self, bytes: u64) -> bool {
        if bytes == 0 {
            return true;
        }
        let sum = self.bytes.saturating_add(bytes);
        let fits = sum <= self.bytes_max;
        self.refused |= !fits;
        let allowed = fits && self.account.as_mut().is_none_or(|account| account.take(bytes));
        if allowed {
            self.bytes = sum;
            self.account.iter().for_each(|account| account.note_peak(sum));
        }
        allowed
    }

    fn give_back(&mut self, bytes: u64) {
        self.bytes -= bytes;
        self.account.iter_mut().for_each(|account| account.give_back(bytes));
    }

    /// Notes what the host holds for the instance now; says whether that is within the limit.
    pub(super) fn hold(&mut self, held: u64) -> bool {
        // Only the difference: what it has, nobody else may take meanwhile.
        let more = held.saturating_sub(self.held);
        if !self.take(more) {
            return false;
        }
        self.give_back(self.held.saturating_sub(held));
        self.held = held;
        true
    }

    fn grow(&mut self, bytes: u64) -> bool {
        let allowed = self.take(bytes);
        if allowed {
            self.latest = bytes;
        }
        allowed
    }

    fn grow_failed(&mut self, error: &wasmtime::Error) {
        tracing::debug!("a memory or table could not grow: {error:#}");
        let latest = std::mem::take(&mut self.latest);
        self.give_back(latest);
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
        Ok(self.grow(desired.saturating_sub(current) as u64))
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.grow_failed(&error);
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _max: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current) as u64;
        Ok(desired <= TABLE_ELEMENTS_MAX && self.grow(growth * TABLE_ELEMENT_BYTES))
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.grow_failed(&error);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_counts_together_and_is_given_back() {
        let mut limiter = MemoryLimiter::new(1_000, None);
        assert!(limiter.memory_growing(0, 500, None).unwrap());
        assert!(limiter.table_growing(0, 25, None).unwrap());
        assert!(limiter.hold(300) && limiter.hold(100) && limiter.hold(300));
        assert!(!limiter.refused);
        assert!(!limiter.memory_growing(500, 501, None).unwrap());
        assert!(limiter.refused);
        assert!(limiter.hold(0) && limiter.memory_growing(500, 800, None).unwrap());
        limiter.memory_grow_failed(wasmtime::format_err!("no memory")).unwrap();
        assert!(limiter.table_growing(25, 62, None).unwrap());
        assert!(!limiter.hold(5));
    }

    #[test]
    fn tables_have_a_limit_of_their_own() {
        let mut limiter = MemoryLimiter::new(1 << 30, None);
        assert!(!limiter.table_growing(0, TABLE_ELEMENTS_MAX + 1, None).unwrap());
        assert!(!limiter.refused, "that was not `memory`");
        assert!(limiter.table_growing(0, TABLE_ELEMENTS_MAX, None).unwrap());
    }
}
