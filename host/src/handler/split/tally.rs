//! How a version does: counters that only grow. What has happened in a while is the difference between two looks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Upper bounds of the latency classes, in units of 0.25 ms: each is twice the one before, up to 2 minutes; the last has none.
const CLASSES: usize = 20;

/// What is counted of a version.
#[derive(Debug, Default)]
pub(super) struct Tally {
    requests: AtomicU64,
    failures: AtomicU64,
    given_up: AtomicU64,
    latency: [AtomicU64; CLASSES],
}

/// What was counted of a version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Requests that were answered, have failed or were given up.
    pub requests: u64,
    /// Those that failed by the handler's fault: traps, limits of its own, and statuses from 500.
    pub failures: u64,
    /// Those whose client went away before the head of the response.
    pub given_up: u64,
    /// How long they took until then, in classes.
    latency: [u64; CLASSES],
}

/// A request that has not been answered yet. Dropped before, it was given up.
#[derive(Debug)]
pub(super) struct Asked<'t> {
    tally: &'t Tally,
    begun: Instant,
    is_over: bool,
}

impl Tally {
    pub(super) fn asked(&self) -> Asked<'_> {
        Asked { tally: self, begun: Instant::now(), is_over: false }
    }

    fn note(&self, took: Duration) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let quarters = took.as_micros() / 250;
        let class = (u128::BITS - quarters.leading_zeros()) as usize;
        self.latency[class.min(CLASSES - 1)].fetch_add(1, Ordering::Relaxed);
    }

    /// A request has failed, maybe after the head of its response.
    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted until now.
    pub(super) fn counted(&self) -> Counted {
        Counted {
            requests: self.requests.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            given_up: self.given_up.load(Ordering::Relaxed),
            latency: std::array::from_fn(|class| self.latency[class].load(Ordering::Relaxed)),
        }
    }
}

impl Asked<'_> {
    /// It was answered, or has failed by the version's own fault.
    pub(super) fn answered(mut self, has_failed: bool) {
        self.is_over = true;
        self.tally.note(self.begun.elapsed());
        if has_failed {
            self.tally.failed();
        }
    }

    /// What has become of it says nothing about the version.
    pub(super) fn forget(mut self) {
        self.is_over = true;
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            // It would have taken at least as long.
            self.tally.note(self.begun.elapsed());
            self.tally.given_up.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Counted {
    /// Until the head of the response 95 % took at most this long, within a factor of two.
    #[must_use]
    pub fn p95(&self) -> Duration {
        let wanted = (self.latency.iter().sum::<u64>() * 95).div_ceil(100);
        let mut sum = 0;
        let class = self.latency.iter().position(|count| {
            sum += count;
            sum >= wanted
        });
        Duration::from_micros(250 << class.unwrap_or(0))
    }

    /// What has come since an earlier look.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            failures: self.failures.saturating_sub(earlier.failures),
            given_up: self.given_up.saturating_sub(earlier.given_up),
            latency: std::array::from_fn(|class| self.latency[class].saturating_sub(earlier.latency[class])),
        }
    }

    /// So many requests that all took so long.
    #[cfg(test)]
    pub(crate) fn of(requests: u64, failures: u64, given_up: u64, took: Duration) -> Self {
        let tally = Tally::default();
        (0..requests).for_each(|_| tally.note(took));
        Self { failures, given_up, ..tally.counted() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_is_counted_in_classes() {
        let tally = Tally::default();
        assert_eq!(tally.counted(), Counted::default());
        assert_eq!(tally.counted().p95(), Duration::from_micros(250));
        (0..95).for_each(|_| tally.note(Duration::from_micros(900)));
        (0..5).for_each(|_| tally.note(Duration::from_secs(1_000)));
        let counted = tally.counted();
        assert_eq!((counted.requests, counted.p95()), (100, Duration::from_millis(1)));
        tally.note(Duration::from_secs(1_000));
        assert!(tally.counted().p95() > Duration::from_secs(60));
        assert!(tally.counted().since(&counted).p95() > Duration::from_secs(60));
        assert_eq!(tally.counted().since(&counted).requests, 1);
    }

    #[test]
    fn every_end_is_counted_once() {
        let tally = Tally::default();
        tally.asked().answered(false);
        tally.asked().answered(true);
        tally.asked().forget();
        drop(tally.asked());
        let Counted { requests, failures, given_up, .. } = tally.counted();
        assert_eq!((requests, failures, given_up), (3, 1, 1));
    }
}
