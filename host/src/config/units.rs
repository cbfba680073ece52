//! Durations and sizes as people write them: a number and its unit, always.

use std::time::Duration;

/// Parses `250ms`, `30s`, `5m`, `1h`; whole numbers only.
///
/// # Errors
/// A sentence that says what to write.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let wanted = || {
        format!(
            "`{text}` is not a duration; write a number and a unit, such as \"250ms\", \"30s\", \"5m\" or \"1h\""
        )
    };
    let number: u64 = number.parse().map_err(|_| wanted())?;
    let factor: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wanted()),
    };
    let milliseconds = number.checked_mul(factor).filter(|&ms| ms <= DURATION_SECONDS_MAX * 1_000);
    milliseconds
        .map(Duration::from_millis)
        .ok_or_else(|| format!("`{text}` is too long; at most {} days", DURATION_SECONDS_MAX / 86_400))
}

/// A year: far enough, and clocks can still add it to now.
const DURATION_SECONDS_MAX: u64 = 365 * 86_400;

/// Parses `512B`, `64KiB`, `16MiB`, `2GiB`, and the decimal `kB`, `MB`, `GB`; whole numbers only. In bytes.
///
/// # Errors
/// A sentence that says what to write.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let wanted = || {
        format!("`{text}` is not a size; write a number and a unit, such as \"64KiB\", \"16MiB\" or \"1GB\"")
    };
    let number: u64 = number.parse().map_err(|_| wanted())?;
    let factor: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err(wanted()),
    };
    number.checked_mul(factor).ok_or_else(|| format!("`{text}` is too large"))
}

fn split(text: &str) -> (&str, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    (number, unit.trim_start_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("2 m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        for bad in ["", "30", "s", "1.5s", "-1s", "30 sec", "99999999999999999999s", "999999h"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("0B"), Ok(0));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("16 MiB"), Ok(16 << 20));
        assert_eq!(size("1GB"), Ok(1_000_000_000));
        for bad in ["", "16", "16M", "16mib", "1.5MiB", "-1B", "99999999999GiB"] {
            assert!(size(bad).is_err(), "{bad:?}");
        }
    }
}
