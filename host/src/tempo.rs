//! How slowly somebody may send or take bytes: not silent for too long, and not below a rate on average.
//!
//! Only time spent waiting counts, and nothing is set up until somebody has to.

use std::time::Duration;

use tokio::time::Instant;

/// The rate is looked at when this much was waited, or a quarter of the idle time if that is less: what a network does in
/// its first moments says little.
const RATE_GRACE: Duration = Duration::from_secs(5);

/// Longer than any limit: stands for times that do not fit into an `Instant`.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// What is demanded of the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tempo {
    /// How long nothing may come or go.
    pub(crate) idle: Duration,
    /// Bytes per second of waiting, at least, on average; 0: any.
    pub(crate) rate: u64,
}

/// Which of the two was not met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slow {
    Idle,
    Rate,
}

/// Bytes of one body, and the time that was spent waiting for the other side.
#[derive(Debug, Default)]
pub(crate) struct Wait {
    bytes: u64,
    waited: Duration,
    since: Option<Instant>,
}

impl Wait {
    /// The other side has moved so many bytes, or it is not the one that is waited for.
    pub(crate) fn went_on(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if let Some(since) = self.since.take() {
            self.waited = self.waited.saturating_add(since.elapsed());
        }
    }

    /// Since when the other side is waited for, which begins now if it has not yet.
    pub(crate) fn since(&mut self) -> Instant {
        *self.since.get_or_insert_with(Instant::now)
    }

    /// Until when it may be waited for, and what is not met then.
    pub(crate) fn until(&mut self, tempo: &Tempo) -> (Instant, Slow) {
        let since = self.since();
        let Some(whole) = self.bytes.checked_div(tempo.rate) else {
            return (after(since, tempo.idle), Slow::Idle);
        };
        let rest = Duration::from_secs_f64((self.bytes % tempo.rate) as f64 / tempo.rate as f64);
        let paid = Duration::from_secs(whole).saturating_add(rest).max(RATE_GRACE.min(tempo.idle / 4));
        let left = paid.saturating_sub(self.waited);
        match left < tempo.idle {
            true => (after(since, left), Slow::Rate),
            false => (after(since, tempo.idle), Slow::Idle),
        }
    }
}

/// As `+`, for any duration.
pub(crate) fn after(since: Instant, time: Duration) -> Instant {
    since + time.min(NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// What is left of the time, and what for, of somebody who has moved `bytes` in `waited`.
    fn left(bytes: u64, waited: Duration, tempo: Tempo) -> (Duration, Slow) {
        let since = Instant::now();
        let (until, slow) = Wait { bytes, waited, since: Some(since) }.until(&tempo);
        (until - since, slow)
    }

    #[test]
    fn who_is_fast_enough_may_be_silent_for_the_idle_time() {
        let tempo = Tempo { idle: secs(60), rate: 100 };
        assert_eq!(left(0, secs(0), tempo), (secs(5), Slow::Rate), "nothing for as long as the rate's grace");
        assert_eq!(left(1000, secs(0), tempo), (secs(10), Slow::Rate));
        assert_eq!(left(1050, secs(8), tempo), (Duration::from_millis(2500), Slow::Rate));
        assert_eq!(left(6000, secs(0), tempo), (secs(60), Slow::Idle));
        assert_eq!(left(100, secs(30), tempo), (secs(0), Slow::Rate));
        assert_eq!(left(0, secs(1000), Tempo { rate: 0, ..tempo }), (secs(60), Slow::Idle));
        let short = Tempo { idle: secs(4), rate: 100 };
        assert_eq!(left(0, secs(0), short), (secs(1), Slow::Rate), "a quarter of it");
    }

    #[test]
    fn nothing_overflows() {
        let tempo = Tempo { idle: Duration::MAX, rate: 1 };
        assert_eq!(left(u64::MAX, Duration::MAX, tempo), (secs(0), Slow::Rate));
        assert_eq!(left(u64::MAX, secs(0), tempo).0, NEVER);
        let mut wait = Wait { bytes: u64::MAX, waited: Duration::MAX, since: Some(Instant::now()) };
        wait.went_on(usize::MAX);
        assert_eq!(wait.bytes, u64::MAX);
    }
}
