//! `[canary]`: when a version on trial is worse than the one before.

use super::problem::Problems;
use super::table::Table;

/// The largest percentage: what is a hundred times as slow is worse by any measure.
const PERCENT_MAX: f64 = 10_000.0;

/// Margins.
#[derive(Clone, Debug, PartialEq)]
pub struct CanaryConfig {
    /// Requests that a version has to have had before it is judged.
    pub min_requests: u64,
    /// Failed requests that it may have more, in percent of all.
    pub errors_percent: f64,
    /// How much longer the slowest twentieth may take, in percent.
    pub latency_percent: f64,
}

impl Default for CanaryConfig {
    fn default() -> Self {
        Self { min_requests: 20, errors_percent: 2.0, latency_percent: 100.0 }
    }
}

/// Reads `[canary]`, as far as the file has it.
pub(super) fn read(root: &Table<'_>, problems: &Problems) -> CanaryConfig {
    let defaults = CanaryConfig::default();
    let Some(entries) = root.table("canary") else { return defaults };
    let table = Table::new("[canary]", entries.value, problems);
    let config = CanaryConfig {
        min_requests: table.integer("min_requests", 1..=1_000_000).unwrap_or(defaults.min_requests),
        errors_percent: percent(&table, "errors").unwrap_or(defaults.errors_percent),
        latency_percent: percent(&table, "latency").unwrap_or(defaults.latency_percent),
    };
    table.finish();
    config
}

fn percent(table: &Table<'_>, key: &'static str) -> Option<f64> {
    let text = table.string(key)?;
    match parse_percent(text.value) {
        Some(percent) => Some(percent),
        None => {
            table.bad_value(
                &text.span,
                format!(
                    "`{key}`: \"{}\" is not a percentage up to {PERCENT_MAX}% such as \"2%\"",
                    text.value
                ),
            );
            None
        }
    }
}

/// `5%` or `0.5%`, from 0 to 10,000.
#[must_use]
pub fn parse_percent(text: &str) -> Option<f64> {
    let number = text.strip_suffix('%')?.trim();
    number.parse().ok().filter(|percent: &f64| (0.0..=PERCENT_MAX).contains(percent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages() {
        assert_eq!(parse_percent("5%"), Some(5.0));
        assert_eq!(parse_percent("0.25 %"), Some(0.25));
        for bad in ["5", "-1%", "x%", "NaN%", "inf%", "1e300%", "%"] {
            assert_eq!(parse_percent(bad), None, "{bad}");
        }
    }
}
