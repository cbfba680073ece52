//! What each handler uses of the host, by name and over all its deployments: what admission goes by, and what is counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::limit::Limit;

/// Requests that averages are made of, about.
const LATEST: u64 = 16;

/// The whole of which `Share::long` is a part.
const ALL: u32 = 1 << 16;

/// One handler's part.
#[derive(Debug, Default)]
pub struct Share {
    /// How often each limit was hit, in the order of [`Limit::ALL`].
    hits: [AtomicU64; Limit::ALL.len()],
    /// Requests whose client went away.
    disconnects: AtomicU64,
    /// Guests that compute for longer than their first ticks, at the moment.
    computing: AtomicU32,
    /// Time that a request computes, in nanoseconds, averaged over the latest.
    typical_cpu_ns: AtomicU64,
    /// How many of the latest requests have computed for long, of [`ALL`].
    long: AtomicU32,
}

impl Share {
    /// Counts a request that has hit a limit.
    pub(crate) fn hit(&self, limit: Limit) {
        self.hits[limit as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request whose client went away before it had all of its response.
    pub(crate) fn disconnected(&self) {
        self.disconnects.fetch_add(1, Ordering::Relaxed);
    }

    /// How often requests have hit `limit`.
    #[must_use]
    pub fn hits(&self, limit: Limit) -> u64 {
        self.hits[limit as usize].load(Ordering::Relaxed)
    }

    /// Requests whose client went away.
    #[must_use]
    pub fn disconnects(&self) -> u64 {
        self.disconnects.load(Ordering::Relaxed)
    }

    /// Guests that compute for longer than their first ticks.
    pub(super) fn computing(&self) -> u32 {
        self.computing.load(Ordering::Relaxed)
    }

    pub(super) fn begin_computing(&self) {
        self.computing.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end_computing(&self) {
        self.computing.fetch_sub(1, Ordering::Relaxed);
    }

    /// Takes note of what a request has computed, and whether that was for long.
    pub(super) fn note_cpu(&self, cpu: Duration, is_long: bool) {
        // Two at a time may lose one of them, which does no harm to an average.
        let cpu = u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX) / LATEST;
        let typical = self.typical_cpu_ns.load(Ordering::Relaxed);
        self.typical_cpu_ns.store(typical - typical / LATEST + cpu, Ordering::Relaxed);
        let long = self.long.load(Ordering::Relaxed);
        let more = if is_long { ALL / LATEST as u32 } else { 0 };
        self.long.store(long - long / LATEST as u32 + more, Ordering::Relaxed);
    }

    /// Whether most of the latest requests have computed for long.
    pub(super) fn is_slow(&self) -> bool {
        self.long.load(Ordering::Relaxed) > ALL / 2
    }

    /// What a request computes, averaged over the latest.
    pub(super) fn typical_cpu(&self) -> Duration {
        Duration::from_nanos(self.typical_cpu_ns.load(Ordering::Relaxed))
    }
}

/// The shares of all handlers. A name keeps its share for as long as the process lives.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<BTreeMap<Arc<str>, Arc<Share>>>);

impl Ledger {
    /// The share of the handler of this name.
    pub(super) fn share(&self, name: &Arc<str>) -> Arc<Share> {
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(shares.entry(Arc::clone(name)).or_default())
    }

    /// All of them, by name.
    #[must_use]
    pub fn shares(&self) -> Vec<(Arc<str>, Arc<Share>)> {
        let shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shares.iter().map(|(name, share)| (Arc::clone(name), Arc::clone(share))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_is_slow_when_most_requests_are() {
        let share = Share::default();
        let note = |count: u32, cpu: Duration, is_long| (0..count).for_each(|_| share.note_cpu(cpu, is_long));
        note(4, Duration::from_secs(10), true);
        assert!(!share.is_slow(), "a few that are very long say little about the others");
        note(100, Duration::from_millis(5), true);
        assert!(share.is_slow());
        let typical = share.typical_cpu().as_micros();
        assert!((4_900..10_000).contains(&typical), "{typical} µs");
        note(100, Duration::from_micros(20), false);
        assert!(!share.is_slow());
        assert!(share.typical_cpu() < Duration::from_millis(1));
    }
}
