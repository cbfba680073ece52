//! What several rounds have come to.

use std::fmt;

use crate::rows::Row;

/// The median of some values, the smallest and the largest.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        Self { median, min: values[0], max: values[values.len() - 1] }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        write!(f, "{:.digits$} ({:.digits$}–{:.digits$})", self.median, self.min, self.max)
    }
}

/// How often the native row's value is in that of the row at `index`: round by round, so that what slows a whole round
/// down does not count.
pub(crate) fn times_native<T>(
    rows: &[Row],
    samples: &[Vec<T>],
    index: usize,
    value: impl Fn(&T) -> f64,
) -> Spread {
    let is_compared = |row: &Row| row.is_native() && row.yardstick == rows[index].yardstick;
    let native = rows.iter().position(is_compared).expect("each row comes with its yardstick");
    let rounds = samples[index].iter().zip(&samples[native]);
    Spread::of(rounds.map(|(sample, native)| value(sample) / value(native)))
}
