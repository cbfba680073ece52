//! What is asked of others: how it went, and how long it took.

use std::array;
use std::time::{Duration, Instant};

use super::{Counter, Time};

/// How many, and how long together.
#[derive(Debug, Default)]
pub struct Timed {
    count: Counter,
    time: Time,
}

impl Timed {
    /// Counts one.
    pub fn add(&self, time: Duration) {
        self.count.increment();
        self.time.add(time);
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.get()
    }

    /// In seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.time.seconds()
    }
}

/// How an operation can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has done what it should.
    Ok,
    /// It was not granted, or is beyond a limit of who asks.
    Refused,
    /// It has taken too long.
    Timeout,
    /// It has failed in any other way.
    Error,
    /// Who wanted it has not waited.
    Cancelled,
}

impl Outcome {
    const ALL: [Self; 5] = [Self::Ok, Self::Refused, Self::Timeout, Self::Error, Self::Cancelled];

    /// The label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Operations by their outcome.
#[derive(Debug)]
pub struct Operations {
    outcomes: [Counter; Outcome::ALL.len()],
    time: Time,
}

impl Default for Operations {
    fn default() -> Self {
        Self { outcomes: array::from_fn(|_| Counter::default()), time: Time::default() }
    }
}

impl Operations {
    /// One begins. Unless it is told how it went, it was cancelled.
    pub fn begin(&self) -> Operation<'_> {
        Operation { of: self, begin: Instant::now(), outcome: Outcome::Cancelled }
    }

    /// How many have gone in each way.
    pub fn outcomes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Outcome::ALL.iter().zip(&self.outcomes).map(|(outcome, count)| (outcome.name(), count.get()))
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.outcomes.iter().map(Counter::get).sum()
    }

    /// How long they took together, in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.time.seconds()
    }
}

/// One under way; counted when it is dropped.
#[derive(Debug)]
pub struct Operation<'o> {
    of: &'o Operations,
    begin: Instant,
    outcome: Outcome,
}

impl Operation<'_> {
    /// It is over.
    pub fn ended(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        self.of.outcomes[self.outcome as usize].increment();
        self.of.time.add(self.begin.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_waits_for_is_cancelled() {
        let operations = Operations::default();
        operations.begin().ended(Outcome::Timeout);
        drop(operations.begin());
        let counts: Vec<_> = operations.outcomes().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counts, [("timeout", 1), ("cancelled", 1)]);
        assert_eq!(operations.count(), 2);
        assert!(Outcome::ALL.iter().enumerate().all(|(index, outcome)| *outcome as usize == index));
    }
}
