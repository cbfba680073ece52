//! The circuit breaker of a handler: requests that go over their limits again and again slow it down, then give it a
//! rest.
//!
//! Closed → (as many failures in a window as `errors`) → open → (after `open`) → half-open, where one request is let in
//! to try → closed, or open again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::limits::Breaker as Settings;

/// What a request hears that comes while another one tries.
const RETRY_WHILE_TRYING: Duration = Duration::from_secs(1);

/// One handler's.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// There is nothing in `inner`: mostly, and then nobody needs to look.
    is_troubled: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// When requests have failed lately; at most as many as `errors`.
    failures: VecDeque<Instant>,
    state: State,
    /// Of the latest request that was let in to try.
    latest_try: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    Open {
        until: Instant,
    },
    HalfOpen {
        is_trying: bool,
    },
}

/// What a request may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is in its way.
    Pass,
    /// It tries on behalf of all others; this is its number.
    Try(u64),
    /// It is turned away; there is something to hope for after so long.
    Rest(Duration),
}

/// What a failure, or an end that is none, has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    Opened,
    Closed,
}

impl Breaker {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a request may go on.
    pub(super) fn ask(&self, settings: Option<Settings>, now: Instant) -> Verdict {
        if settings.is_none() || !self.is_troubled.load(Ordering::Relaxed) {
            return Verdict::Pass;
        }
        let mut inner = self.lock();
        match inner.state {
            State::Closed => Verdict::Pass,
            State::Open { until } if now < until => Verdict::Rest(until - now),
            State::HalfOpen { is_trying: true } => Verdict::Rest(RETRY_WHILE_TRYING),
            State::Open { .. } | State::HalfOpen { .. } => {
                inner.state = State::HalfOpen { is_trying: true };
                inner.latest_try += 1;
                Verdict::Try(inner.latest_try)
            }
        }
    }

    /// A request has gone over a limit: that which was to try, or another one.
    pub(super) fn fail(&self, settings: Option<Settings>, now: Instant, is_attempt: bool) -> Change {
        let Some(settings) = settings else { return Change::None };
        let mut inner = self.lock();
        self.is_troubled.store(true, Ordering::Relaxed);
        let opens = match inner.state {
            State::Closed => {
                inner.failures.push_back(now);
                inner.forget(settings, now);
                inner.failures.len() >= settings.errors as usize
            }
            // Those that were at work before.
            State::Open { .. } => false,
            State::HalfOpen { .. } => is_attempt,
        };
        if !opens {
            return Change::None;
        }
        inner.failures.clear();
        inner.state = State::Open { until: now + settings.open };
        Change::Opened
    }

    /// The request that was to try has ended, well or in a way that says nothing. If it has failed, that was, or will be,
    /// told to [`Self::fail`].
    pub(super) fn tried(&self, number: u64, is_well: bool) -> Change {
        let mut inner = self.lock();
        if inner.state != (State::HalfOpen { is_trying: true }) || inner.latest_try != number {
            return Change::None;
        }
        if !is_well {
            inner.state = State::HalfOpen { is_trying: false };
            return Change::None;
        }
        inner.state = State::Closed;
        self.is_troubled.store(false, Ordering::Relaxed);
        Change::Closed
    }

    /// Whether the handler is halfway to a rest, or on its way back: its guests are better kept apart from others.
    pub(super) fn is_slowed(&self, settings: Option<Settings>, now: Instant) -> bool {
        let Some(settings) = settings else { return false };
        if !self.is_troubled.load(Ordering::Relaxed) {
            return false;
        }
        let mut inner = self.lock();
        inner.forget(settings, now);
        if inner.state == State::Closed && inner.failures.is_empty() {
            self.is_troubled.store(false, Ordering::Relaxed);
        }
        inner.state != State::Closed || inner.failures.len() >= (settings.errors as usize).div_ceil(2)
    }
}

impl Inner {
    fn forget(&mut self, settings: Settings, now: Instant) {
        let is_old = |at: &Instant| now.duration_since(*at) >= settings.window;
        while self.failures.front().is_some_and(is_old) {
            self.failures.pop_front();
        }
        // A reload may have lowered it.
        while self.failures.len() > settings.errors as usize {
            self.failures.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings =
        Settings { errors: 4, window: Duration::from_secs(10), open: Duration::from_secs(5) };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Asks and fails at times of its own.
    struct Case {
        breaker: Breaker,
        start: Instant,
    }

    impl Case {
        fn new() -> Self {
            Self { breaker: Breaker::default(), start: Instant::now() }
        }

        fn ask(&self, at: u64) -> Verdict {
            self.breaker.ask(Some(SETTINGS), self.start + seconds(at))
        }

        fn fail(&self, at: u64) -> Change {
            self.breaker.fail(Some(SETTINGS), self.start + seconds(at), false)
        }

        fn fail_to_try(&self, at: u64) -> Change {
            self.breaker.fail(Some(SETTINGS), self.start + seconds(at), true)
        }

        fn is_slowed(&self, at: u64) -> bool {
            self.breaker.is_slowed(Some(SETTINGS), self.start + seconds(at))
        }

        fn open(&self) {
            assert_eq!([0, 1, 2].map(|at| self.fail(at)), [Change::None; 3]);
            assert_eq!(self.fail(3), Change::Opened);
        }
    }

    #[test]
    fn it_slows_at_half_and_opens_at_all() {
        let case = Case::new();
        assert_eq!(case.fail(0), Change::None);
        assert!(!case.is_slowed(0));
        assert_eq!(case.fail(1), Change::None);
        assert!(case.is_slowed(1) && case.ask(1) == Verdict::Pass);
        assert_eq!(case.fail(2), Change::None);
        assert_eq!(case.fail(3), Change::Opened);
        assert_eq!(case.ask(3), Verdict::Rest(seconds(5)));
        assert_eq!(case.ask(7), Verdict::Rest(seconds(1)));
        assert!(case.is_slowed(7));
    }

    #[test]
    fn failures_that_are_old_are_forgotten() {
        let case = Case::new();
        for at in 0..100 {
            assert_eq!(case.fail(at * 4), Change::None, "three in each window");
        }
        assert!(case.is_slowed(400));
        assert!(!case.is_slowed(420));
        assert!(!case.breaker.is_troubled.load(Ordering::Relaxed));
    }

    #[test]
    fn one_request_tries_and_its_success_closes() {
        let case = Case::new();
        case.open();
        assert_eq!(case.ask(8), Verdict::Try(1));
        assert_eq!(case.ask(8), Verdict::Rest(RETRY_WHILE_TRYING));
        assert_eq!(case.breaker.tried(1, true), Change::Closed);
        assert_eq!(case.ask(8), Verdict::Pass);
        assert!(!case.is_slowed(8));
        // And it takes as many as before.
        assert_eq!([9, 9, 9].map(|at| case.fail(at)), [Change::None; 3]);
        assert_eq!(case.fail(9), Change::Opened);
    }

    #[test]
    fn a_failure_opens_it_again() {
        let case = Case::new();
        case.open();
        assert_eq!(case.ask(8), Verdict::Try(1));
        assert_eq!(case.fail(8), Change::None, "one that was at work before says nothing");
        assert_eq!(case.fail_to_try(9), Change::Opened);
        assert_eq!(case.breaker.tried(1, false), Change::None);
        assert_eq!(case.ask(9), Verdict::Rest(seconds(5)));
        assert_eq!(case.ask(14), Verdict::Try(2));
        // The other order: its end is heard of before its failure.
        assert_eq!(case.breaker.tried(2, false), Change::None);
        assert_eq!(case.fail_to_try(15), Change::Opened);
        assert_eq!(case.ask(19), Verdict::Rest(seconds(1)));
    }

    #[test]
    fn a_try_that_says_nothing_leaves_it_to_the_next() {
        let case = Case::new();
        case.open();
        assert_eq!(case.ask(8), Verdict::Try(1));
        assert_eq!(case.breaker.tried(1, false), Change::None);
        assert_eq!(case.ask(8), Verdict::Try(2));
        // Whoever tried before has nothing to say any more.
        assert_eq!(case.breaker.tried(1, true), Change::None);
        assert_eq!(case.breaker.tried(2, true), Change::Closed);
    }

    #[test]
    fn what_was_at_work_when_it_opened_changes_nothing() {
        let case = Case::new();
        case.open();
        assert_eq!([4, 5, 6].map(|at| case.fail(at)), [Change::None; 3]);
        assert_eq!(case.ask(8), Verdict::Try(1), "as soon as it would have been");
    }

    #[test]
    fn without_settings_there_is_none() {
        let breaker = Breaker::default();
        let now = Instant::now();
        assert!((0..100).all(|_| breaker.fail(None, now, false) == Change::None));
        assert_eq!(breaker.ask(None, now), Verdict::Pass);
        assert!(!breaker.is_slowed(None, now));
    }
}
