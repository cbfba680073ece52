//! How much a handler calls: how many calls at a time, and how many in a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use crate::limit::Limit;

const SECOND_NS: u64 = 1_000_000_000;

/// Counts calls. The rate is kept by a clock that runs ahead of the time by what the calls so far are worth (GCRA).
#[derive(Debug)]
pub(super) struct Caps {
    concurrency: u32,
    rate: u32,
    under_way: AtomicU32,
    start: Instant,
    /// When all that was called would have been called at an even pace, in nanoseconds since `start`.
    even_ns: AtomicU64,
}

/// A call under way.
#[derive(Debug)]
pub(super) struct Permit(Arc<Caps>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Caps {
    /// `concurrency` calls at a time; `rate` in a second on average, so many of which may come at once.
    pub(super) fn new(concurrency: u32, rate: u32) -> Self {
        let (under_way, even_ns) = (AtomicU32::new(0), AtomicU64::new(0));
        Self { concurrency, rate, under_way, start: Instant::now(), even_ns }
    }

    /// One more call.
    ///
    /// # Errors
    /// When that would be one too many.
    pub(super) fn take(self: &Arc<Self>) -> Result<Permit, Limit> {
        let one_more = |count: u32| (count < self.concurrency).then_some(count + 1);
        let under_way = self.under_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        under_way.map_err(|_| Limit::OutboundConcurrency)?;
        let permit = Permit(Arc::clone(self));
        if self.charge() { Ok(permit) } else { Err(Limit::OutboundRate) }
    }

    /// One more request of a call that is under way: whether there is room for it in this second.
    pub(super) fn charge(&self) -> bool {
        let now = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        !self.is_too_fast(now)
    }

    fn is_too_fast(&self, now: u64) -> bool {
        let pace = SECOND_NS / u64::from(self.rate.max(1));
        let next = |even: u64| {
            let even = even.max(now);
            (even - now <= SECOND_NS - pace).then_some(even + pace)
        };
        self.even_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_at_a_time_are_counted() {
        let caps = Arc::new(Caps::new(2, 1000));
        let first = caps.take().unwrap();
        let _second = caps.take().unwrap();
        assert_eq!(caps.take().unwrap_err(), Limit::OutboundConcurrency);
        drop(first);
        caps.take().unwrap();
    }

    #[test]
    fn so_many_in_a_second() {
        let caps = Caps::new(1, 4);
        let at = |tenths: u64| !caps.is_too_fast(tenths * SECOND_NS / 10);
        assert_eq!([0; 5].map(at), [true, true, true, true, false], "a second's worth at once");
        assert_eq!([2, 3, 3].map(at), [false, true, false], "then one in a quarter of a second");
        assert_eq!([100, 100, 100, 100, 100].map(at), [true, true, true, true, false]);
    }
}
