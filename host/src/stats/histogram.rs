//! How long things have taken, in fixed buckets (Prometheus: histogram).

use std::array;
use std::time::Duration;

use super::{Counter, Time};

/// Upper bounds, in microseconds and as Prometheus writes them, in seconds. What takes longer is in a bucket of its own.
const BOUNDS: [(u64, &str); 16] = [
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
    (30_000_000, "30"),
    (60_000_000, "60"),
];

/// Times in buckets, and their sum.
#[derive(Debug)]
pub struct Histogram {
    /// Those of each bucket alone; the last is for all that is longer.
    buckets: [Counter; BOUNDS.len() + 1],
    sum: Time,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: array::from_fn(|_| Counter::default()), sum: Time::default() }
    }
}

impl Histogram {
    /// Counts one.
    pub fn observe(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        // Rounded up: what is beyond a bound by a nanosecond is beyond it.
        let micros = ns.div_ceil(1_000);
        self.buckets[BOUNDS.partition_point(|&(bound, _)| bound < micros)].increment();
        self.sum.0.add(ns);
    }

    /// Counts one that took no time worth measuring.
    pub fn observe_nothing(&self) {
        self.buckets[0].increment();
    }

    /// For each bound, `+Inf` last, how many took no longer.
    pub fn cumulative(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let bounds = BOUNDS.iter().map(|(_, text)| *text).chain(["+Inf"]);
        bounds.zip(&self.buckets).scan(0, |sum, (bound, bucket)| {
            *sum += bucket.get();
            Some((bound, *sum))
        })
    }

    /// All of them together, in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.sum.seconds()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::default();
        for micros in [0, 500, 501, 60_000_000, 60_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        histogram.observe_nothing();
        let counts: Vec<_> = histogram.cumulative().collect();
        assert_eq!(counts.len(), BOUNDS.len() + 1);
        assert_eq!(counts[0], ("0.0005", 3));
        assert_eq!(counts[1], ("0.001", 4));
        assert_eq!(counts[BOUNDS.len() - 1], ("60", 5));
        assert_eq!(counts[BOUNDS.len()], ("+Inf", 6));
        assert!((histogram.seconds() - 120.001_002).abs() < 1e-9);
    }

    #[test]
    fn bounds_rise_and_say_what_they_are() {
        assert!(BOUNDS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (micros, text) in BOUNDS {
            assert!((text.parse::<f64>().unwrap() - micros as f64 / 1e6).abs() < 1e-12, "{text}");
        }
    }
}
