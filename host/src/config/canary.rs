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
fn parse_percent(text: &str) -> Option<f64> {
    let number = text.strip_suffix('%')?.trim();
    number.parse().ok().filter(|percent: &f64| (0.0..=PERCENT_MAX).contains(percent))
}

/// A canary's part of the requests, in hundredths of a percent: from `0.01%` to `100%`.
///
/// # Errors
/// What is wanted, for another text.
pub fn parse_share(text: &str) -> Result<u32, &'static str> {
    const WANTED: &str = "a percentage from 0.01% up to 100% is wanted, such as 5%";
    let share = parse_percent(text).map(|percent| (percent * 100.0).round()).ok_or(WANTED)?;
    if (1.0..=10_000.0).contains(&share) { Ok(share as u32) } else { Err(WANTED) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_at_least_one() {
        assert_eq!(
            [parse_share("0.01%"), parse_share("5%"), parse_share("100%")],
            [Ok(1), Ok(500), Ok(10_000)]
        );
        for bad in ["0%", "0.001%", "101%", "5"] {
            assert!(parse_share(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn percentages() {
        assert_eq!(parse_percent("5%"), Some(5.0));
        assert_eq!(parse_percent("0.25 %"), Some(0.25));
        for bad in ["5", "-1%", "x%", "NaN%", "inf%", "1e300%", "%"] {
            assert_eq!(parse_percent(bad), None, "{bad}");
        }
    }
}
