//! Dates and times, which travel as days or microseconds since 2000-01-01, as the text that PostgreSQL writes (`DateStyle` ISO).

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// Days from the year 0 of the calendar below, which begins in March, to 2000-01-01.
const DAYS_TO_2000: i64 = 730_425;

/// Days of 400 years.
const ERA_DAYS: i64 = 146_097;

/// `2024-02-29`, `0044-03-15 BC`, `infinity`.
pub(super) fn date(days: i32) -> String {
    match days {
        i32::MAX => "infinity".to_owned(),
        i32::MIN => "-infinity".to_owned(),
        _ => {
            let (date, suffix) = calendar(days.into());
            date + suffix
        }
    }
}

/// `12:34:56.789`
pub(super) fn time(micros: i64) -> String {
    let (seconds, fraction) = (micros / MICROS_PER_SECOND, micros % MICROS_PER_SECOND);
    let text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction == 0 {
        return text;
    }
    let fraction = format!("{fraction:06}");
    format!("{text}.{}", fraction.trim_end_matches('0'))
}

/// `2024-02-29 12:34:56.789`, with `zone` behind it.
pub(super) fn timestamp(micros: i64, zone: &str) -> String {
    match micros {
        i64::MAX => "infinity".to_owned(),
        i64::MIN => "-infinity".to_owned(),
        _ => {
            let (date, suffix) = calendar(micros.div_euclid(MICROS_PER_DAY));
            format!("{date} {}{zone}{suffix}", time(micros.rem_euclid(MICROS_PER_DAY)))
        }
    }
}

/// The date, and what stands behind it and the time of day: nothing, or ` BC`.
fn calendar(days: i64) -> (String, &'static str) {
    // Years that begin in March have their leap day at the end (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
    let days = days + DAYS_TO_2000;
    let (era, day) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day + 2) / 153;
    let day = day - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (year, suffix) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    (format!("{year:04}-{month:02}-{day:02}"), suffix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (days, wanted) in [
            (0, "2000-01-01"),
            (-1, "1999-12-31"),
            (59, "2000-02-29"),
            (60, "2000-03-01"),
            (-10_957, "1970-01-01"),
            (8_825, "2024-02-29"),
            (36_583, "2100-02-28"),
            (36_584, "2100-03-01"),
            (-730_119, "0001-01-01"),
            (-730_120, "0001-12-31 BC"),
            (i32::MAX, "infinity"),
            (i32::MIN, "-infinity"),
        ] {
            assert_eq!(date(days), wanted, "{days}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(time(0), "00:00:00");
        assert_eq!(time(MICROS_PER_DAY), "24:00:00");
        assert_eq!(time(45_296_789_000), "12:34:56.789");
        assert_eq!(time(1), "00:00:00.000001");
        assert_eq!(timestamp(0, ""), "2000-01-01 00:00:00");
        assert_eq!(timestamp(-1, "+00"), "1999-12-31 23:59:59.999999+00");
        assert_eq!(timestamp(-730_120 * MICROS_PER_DAY, ""), "0001-12-31 00:00:00 BC");
        assert_eq!(
            (timestamp(i64::MAX, ""), timestamp(i64::MIN, "")),
            ("infinity".into(), "-infinity".into())
        );
    }
}
