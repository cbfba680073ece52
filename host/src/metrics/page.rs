//! A page of metrics, family by family.

use std::fmt::{Display, Write as _};

use crate::stats::{Histogram, Operations};

/// What sort of numbers a family has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// It only grows; its name ends in `_total`.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Times in buckets.
    Histogram,
}

/// Names and values of labels.
pub(super) type Labels<'l> = &'l [(&'l str, &'l str)];

/// A page that is being written.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    family: &'static str,
}

impl Page {
    /// All of it.
    pub(super) fn text(self) -> String {
        self.text
    }

    /// Begins with another metric.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        self.family = name;
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// One number of it.
    pub(super) fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        self.line("", labels, None, value);
    }

    /// All numbers of a histogram.
    pub(super) fn histogram(&mut self, labels: Labels<'_>, histogram: &Histogram) {
        let mut count = 0;
        for (bound, below) in histogram.cumulative() {
            self.line("_bucket", labels, Some(("le", bound)), below);
            count = below;
        }
        self.line("_sum", labels, None, histogram.seconds());
        self.line("_count", labels, None, count);
    }

    /// A family of operations by their outcome. `who` and each name of `all` label them.
    pub(super) fn operations<'o>(
        &mut self,
        name: &'static str,
        help: &str,
        all: impl IntoIterator<Item = (Vec<(&'o str, &'o str)>, &'o Operations)>,
    ) {
        self.family(name, Kind::Counter, help);
        for (labels, operations) in all {
            for (outcome, count) in operations.outcomes() {
                self.line("", &labels, Some(("outcome", outcome)), count);
            }
        }
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, last: Option<(&str, &str)>, value: impl Display) {
        let _ = write!(self.text, "{}{suffix}", self.family);
        let mut open = '{';
        for (name, value) in labels.iter().copied().chain(last) {
            let _ = write!(self.text, "{open}{name}=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
            open = ',';
        }
        let close = if open == ',' { "}" } else { "" };
        let _ = writeln!(self.text, "{close} {value}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn samples_are_written_as_prometheus_reads_them() {
        let mut page = Page::default();
        page.family("a_total", Kind::Counter, "What it is.");
        page.sample(&[("handler", "x\"\\\ny"), ("reason", "cpu")], 3);
        page.sample(&[], 4);
        let expected = "# HELP a_total What it is.\n# TYPE a_total counter\na_total{handler=\"x\\\"\\\\\\ny\",reason=\"cpu\"} 3\na_total 4\n";
        assert_eq!(page.text, expected);
    }

    #[test]
    fn a_histogram_has_its_sum_and_count() {
        let (mut page, histogram) = (Page::default(), Histogram::default());
        histogram.observe(Duration::from_millis(2));
        histogram.observe(Duration::from_secs(100));
        page.family("a_seconds", Kind::Histogram, "What it is.");
        page.histogram(&[("handler", "x")], &histogram);
        let text = page.text();
        for line in [
            "a_seconds_bucket{handler=\"x\",le=\"0.001\"} 0\n",
            "a_seconds_bucket{handler=\"x\",le=\"0.0025\"} 1\n",
            "a_seconds_bucket{handler=\"x\",le=\"+Inf\"} 2\n",
            "a_seconds_sum{handler=\"x\"} 100.002\n",
            "a_seconds_count{handler=\"x\"} 2\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
