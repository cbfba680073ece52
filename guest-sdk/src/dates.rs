//! Times as HTTP writes and reads them (RFC 9110 section 5.6.7).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last second that a four-digit year can name: 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;

/// The time as HTTP writes it, to the second; times before 1970 as 1970. `None` beyond the year 9999.
pub(crate) fn http_date(time: SystemTime) -> Option<String> {
    let seconds = unix_seconds(time);
    (seconds <= LAST_SECOND)
        .then(|| httpdate::HttpDate::from(UNIX_EPOCH + Duration::from_secs(seconds)).to_string())
}

/// Seconds of the time since 1970, as Unix counts them; 0 for times before.
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A time in one of the three forms: of RFC 1123, RFC 850, and C's `asctime`.
pub(crate) fn parse_http_date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_forms_are_read_and_one_is_written() {
        let time = UNIX_EPOCH + Duration::from_secs(784_111_777);
        for text in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(parse_http_date(text), Some(time), "{text}");
        }
        for text in ["", "yesterday", "1994-11-06T08:49:37Z", "Sun, 06 Nov 1994 08:49:37 CET"] {
            assert_eq!(parse_http_date(text), None, "{text}");
        }
        let table = [
            (time, Some("Sun, 06 Nov 1994 08:49:37 GMT")),
            (time + Duration::from_millis(999), Some("Sun, 06 Nov 1994 08:49:37 GMT")),
            (UNIX_EPOCH - Duration::from_secs(1), Some("Thu, 01 Jan 1970 00:00:00 GMT")),
            (UNIX_EPOCH + Duration::from_secs(LAST_SECOND), Some("Fri, 31 Dec 9999 23:59:59 GMT")),
            (UNIX_EPOCH + Duration::from_secs(LAST_SECOND + 1), None),
        ];
        for (time, want) in table {
            assert_eq!(http_date(time).as_deref(), want);
        }
    }
}
