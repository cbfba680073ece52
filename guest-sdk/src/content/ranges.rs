//! The `Range` field (RFC 9110 section 14).

/// A part of the content, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ByteRange {
    pub(super) start: u64,
    /// At least 1.
    pub(super) length: u64,
}

impl ByteRange {
    /// The value of `Content-Range`.
    pub(super) fn content_range(self, size: u64) -> String {
        format!("bytes {}-{}/{size}", self.start, self.start + self.length - 1)
    }
}

/// Why a `Range` field cannot be answered; the words are net/http's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RangeError {
    Invalid,
    NoOverlap,
}

impl RangeError {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Invalid => "invalid range",
            Self::NoOverlap => "invalid range: failed to overlap",
        }
    }
}

/// The ranges that the field asks for, cut to the content's `size`; none for an empty field. Ranges behind the end are
/// left out, and are an error only when there is no other.
pub(super) fn parse(field: &str, size: u64) -> Result<Vec<ByteRange>, RangeError> {
    if field.is_empty() {
        return Ok(Vec::new());
    }
    let list = field.strip_prefix("bytes=").ok_or(RangeError::Invalid)?;
    let mut ranges = Vec::new();
    let mut is_beyond = false;
    for text in list.split(',').map(trim).filter(|text| !text.is_empty()) {
        let (first, last) = text.split_once('-').ok_or(RangeError::Invalid)?;
        match parse_one(trim(first), trim(last), size).ok_or(RangeError::Invalid)? {
            Some(range) => ranges.push(range),
            None => is_beyond = true,
        }
    }
    if is_beyond && ranges.is_empty() { Err(RangeError::NoOverlap) } else { Ok(ranges) }
}

/// `None` when it is not valid, `Some(None)` when it is not in the content.
fn parse_one(first: &str, last: &str, size: u64) -> Option<Option<ByteRange>> {
    let (start, end) = if first.is_empty() {
        // The last bytes, as many as there are; "the last none" is no range (RFC 9110 section 14.1.2).
        (size.saturating_sub(number(last)?), size)
    } else {
        let start = number(first)?;
        if start >= size {
            return Some(None); // whatever comes behind
        }
        let end = if last.is_empty() { size } else { number(last)?.saturating_add(1) };
        if end <= start {
            return None;
        }
        (start, end.min(size))
    };
    Some((start < end).then(|| ByteRange { start, length: end - start }))
}

/// A number of the size that net/http reads, a signed 64-bit one.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_number && *number <= i64::MAX as u64)
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_net_http() {
        use RangeError::{Invalid, NoOverlap};
        type Row = (&'static str, u64, Result<&'static [(u64, u64)], RangeError>);
        let table: [Row; 44] = [
            ("", 0, Ok(&[])),
            ("", 1000, Ok(&[])),
            ("foo", 0, Err(Invalid)),
            ("bytes=", 0, Ok(&[])),
            ("bytes=7", 10, Err(Invalid)),
            ("bytes= 7 ", 10, Err(Invalid)),
            ("bytes=1-", 0, Err(NoOverlap)),
            ("bytes=5-4", 10, Err(Invalid)),
            ("bytes=0-2,5-4", 10, Err(Invalid)),
            ("bytes=2-5,4-3", 10, Err(Invalid)),
            ("bytes=--5,4--3", 10, Err(Invalid)),
            ("bytes=A-", 10, Err(Invalid)),
            ("bytes=A- ", 10, Err(Invalid)),
            ("bytes=A-Z", 10, Err(Invalid)),
            ("bytes= -Z", 10, Err(Invalid)),
            ("bytes=5-Z", 10, Err(Invalid)),
            ("bytes=Ran-dom, garbage", 10, Err(Invalid)),
            ("bytes=0x01-0x02", 10, Err(Invalid)),
            ("bytes=         ", 10, Ok(&[])),
            ("bytes= , , ,   ", 10, Ok(&[])),
            ("bytes=-", 10, Err(Invalid)),
            ("Bytes=0-1", 10, Err(Invalid)),
            ("bytes=9223372036854775808-", 10, Err(Invalid)),
            ("bytes=0-9", 10, Ok(&[(0, 10)])),
            ("bytes=0-", 10, Ok(&[(0, 10)])),
            ("bytes=5-", 10, Ok(&[(5, 5)])),
            ("bytes=9-9", 10, Ok(&[(9, 1)])),
            ("bytes=0-20", 10, Ok(&[(0, 10)])),
            ("bytes=0-9223372036854775807", 10, Ok(&[(0, 10)])),
            ("bytes=15-,0-5", 10, Ok(&[(0, 6)])),
            ("bytes=1-2,5-", 10, Ok(&[(1, 2), (5, 5)])),
            ("bytes=-2 , 7-", 11, Ok(&[(9, 2), (7, 4)])),
            ("bytes=0-0 ,2-2, 7-", 11, Ok(&[(0, 1), (2, 1), (7, 4)])),
            ("bytes=-5", 10, Ok(&[(5, 5)])),
            ("bytes=-15", 10, Ok(&[(0, 10)])),
            ("bytes=0-499", 10_000, Ok(&[(0, 500)])),
            ("bytes=-500", 10_000, Ok(&[(9500, 500)])),
            ("bytes=0-0,-1", 10_000, Ok(&[(0, 1), (9999, 1)])),
            ("bytes=500-700,601-999", 10_000, Ok(&[(500, 201), (601, 399)])),
            ("bytes=10-,12-20", 10, Err(NoOverlap)),
            ("bytes=12-Z", 10, Err(NoOverlap)),
            ("bytes=12-4", 10, Err(NoOverlap)),
            ("bytes=-0", 10, Err(NoOverlap)),
            ("bytes=-5", 0, Err(NoOverlap)),
        ];
        for (field, size, want) in table {
            let want = want.map(<[_]>::to_vec);
            let got = parse(field, size);
            let got = got.map(|list| list.iter().map(|r| (r.start, r.length)).collect::<Vec<_>>());
            assert_eq!(got, want, "{field:?} of {size}");
        }
    }
}
