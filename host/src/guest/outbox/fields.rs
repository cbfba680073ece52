//! Header and trailer fields of a guest's response: what is the guest's to say, and what is the connection's.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::{Broken, Inner, Outbox, SendError};
use crate::hop_by_hop::HOP_BY_HOP;
use crate::limit::Limit;

/// Framing and routing cannot be changed after the fact (RFC 9110 section 6.5.1).
const NOT_IN_TRAILERS: [HeaderName; 7] = [
    header::TE,
    header::TRANSFER_ENCODING,
    header::CONTENT_LENGTH,
    header::CONNECTION,
    header::UPGRADE,
    header::TRAILER,
    header::HOST,
];

/// Whether a field of this name may be a trailer.
pub(super) fn is_trailer(name: &HeaderName) -> bool {
    !NOT_IN_TRAILERS.contains(name)
}

impl Outbox {
    /// The request has hit a limit, which its guest may yet make something of.
    pub(in super::super) fn note_limit(&self, limit: Limit) {
        self.lock().limit_hit = Some(limit);
    }

    /// Why the response cannot be completed, if it cannot, and the limit that the request has hit, if it has.
    pub(in super::super) fn trouble(&self) -> (Option<Broken>, Option<Limit>) {
        let inner = self.lock();
        (inner.broken, inner.limit_hit)
    }
}

impl Inner {
    /// Whether a section may have these fields; without another response, the client gets an error.
    pub(super) fn check_fields(&mut self, fields: &HeaderMap) -> Result<(), SendError> {
        self.fields.check(fields).map_err(|limit| {
            self.broken = Some(Broken::Limit(limit));
            self.limit_hit = Some(limit);
            SendError::Limit
        })
    }
}

/// Takes out what belongs to the connection and not to the guest, and reads the declared length.
pub(super) fn normalise(headers: &mut HeaderMap) -> Result<Option<u64>, SendError> {
    // Mostly there is none of them, which is quicker to see than to make so.
    if headers.keys().any(|name| HOP_BY_HOP.contains(name)) {
        normalise_connection(headers);
    }
    declared_length(headers)
}

fn normalise_connection(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP.iter().filter(|name| **name != header::CONNECTION) {
        headers.remove(name);
    }
    let is_close = |value: &HeaderValue| {
        value
            .as_bytes()
            .split(|&byte| byte == b',')
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
    };
    if headers.contains_key(header::CONNECTION) {
        let close = headers.get_all(header::CONNECTION).iter().any(is_close);
        headers.remove(header::CONNECTION);
        if close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

fn declared_length(headers: &mut HeaderMap) -> Result<Option<u64>, SendError> {
    let (mut declared, mut is_plain) = (None, true);
    for value in headers.get_all(header::CONTENT_LENGTH) {
        is_plain = declared.is_none() && (value.len() == 1 || !value.as_bytes().starts_with(b"0"));
        let digits = value.to_str().ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        let length: u64 = digits.and_then(|text| text.parse().ok()).ok_or(SendError::Invalid)?;
        if declared.is_some_and(|other| other != length) {
            return Err(SendError::Invalid);
        }
        declared = Some(length);
    }
    if let Some(length) = declared.filter(|_| !is_plain) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(declared)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = fields.iter();
        pairs.map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_framing_is_not_the_guests() {
        let mut given = headers(&[
            ("transfer-encoding", "chunked"),
            ("keep-alive", "timeout=5"),
            ("connection", "x-a, Close"),
            ("x-a", "stays"),
        ]);
        assert_eq!(normalise(&mut given), Ok(None));
        assert_eq!(given, headers(&[("x-a", "stays"), ("connection", "close")]));
        let mut kept_alive = headers(&[("connection", "keep-alive")]);
        assert_eq!(normalise(&mut kept_alive), Ok(None));
        assert_eq!(kept_alive, HeaderMap::new());
    }

    #[test]
    fn a_length_is_one_number() {
        let lengths = |values: &[&'static str]| {
            let mut given: HeaderMap = HeaderMap::new();
            for value in values {
                given.append(header::CONTENT_LENGTH, HeaderValue::from_static(value));
            }
            normalise(&mut given).map(|length| (length, given.get_all(header::CONTENT_LENGTH).iter().count()))
        };
        assert_eq!(lengths(&[]), Ok((None, 0)));
        assert_eq!(lengths(&["7"]), Ok((Some(7), 1)));
        assert_eq!(lengths(&["7", "07"]), Ok((Some(7), 1)));
        for bad in [&["7", "8"][..], &["+7"], &["-1"], &[""], &["7, 7"], &["99999999999999999999"]] {
            assert_eq!(lengths(bad), Err(SendError::Invalid), "{bad:?}");
        }
    }

    #[test]
    fn trailers_do_not_frame() {
        assert!(is_trailer(&HeaderName::from_static("x-checksum")));
        assert!(!is_trailer(&header::CONTENT_LENGTH));
    }
}
