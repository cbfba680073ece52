//! What a response's headers mean for its framing, found in one pass when the head is fixed.

use http::{HeaderMap, StatusCode};

use crate::fields;

/// A fixed response head: the status, and what its headers say about the body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    length: Length,
    has_content_type: bool,
    has_content_encoding: bool,
    has_transfer_encoding: bool,
    announces_trailers: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Automatic,
    Declared(u64),
    /// The handler's `Content-Length` is not a number: it is left out, and so is an automatic one (net/http).
    Unusable,
}

impl Head {
    pub(crate) fn new(status: StatusCode, headers: &HeaderMap, has_trailers: bool) -> Self {
        let mut head = Self { status, announces_trailers: has_trailers, ..Self::implicit() };
        fields::visit(headers, &mut |name, value| match name {
            b"content-type" => head.has_content_type = true,
            b"content-length" if head.length == Length::Automatic => head.length = parse_length(value),
            b"content-encoding" => head.has_content_encoding |= !value.is_empty(),
            b"transfer-encoding" => head.has_transfer_encoding = true,
            b"trailer" => head.announces_trailers = true,
            _ => {}
        });
        head
    }

    /// The head of a handler that said nothing: `200`, no headers.
    pub(crate) fn implicit() -> Self {
        Self {
            status: StatusCode::OK,
            length: Length::Automatic,
            has_content_type: false,
            has_content_encoding: false,
            has_transfer_encoding: false,
            announces_trailers: false,
        }
    }

    /// Whether responses with this status have a body (RFC 9110 section 6.4.1).
    pub(crate) fn allows_body(&self) -> bool {
        !matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }

    /// The length the handler promised, where there can be one.
    pub(crate) fn declared_length(&self) -> Option<u64> {
        match self.length {
            Length::Declared(length) if self.allows_body() => Some(length),
            _ => None,
        }
    }

    /// Whether the length of the finished body may be added.
    pub(crate) fn allows_automatic_length(&self) -> bool {
        let is_framed = self.length == Length::Unusable || self.has_transfer_encoding;
        !self.allows_body() || !is_framed && !self.announces_trailers
    }

    /// Whether a guessed `Content-Type` is to be added.
    pub(crate) fn wants_content_type(&self) -> bool {
        let is_encoded = self.has_content_encoding || self.has_transfer_encoding;
        self.allows_body() && !self.has_content_type && !is_encoded
    }

    pub(crate) fn announces_trailers(&self) -> bool {
        self.announces_trailers
    }

    /// Whether this header of the handler is sent. Names are in lower case.
    pub(crate) fn sends(&self, name: &[u8]) -> bool {
        match name {
            b"content-length" => false, // in canonical form, see `declared_length`
            b"content-type" => self.status != StatusCode::NOT_MODIFIED,
            _ => true,
        }
    }
}

fn parse_length(value: &[u8]) -> Length {
    // net/http parses a signed 64-bit number, so `+4` is fine and 2^63 is not.
    let digits = value.strip_prefix(b"+").unwrap_or(value);
    let number = digits.iter().try_fold(0_i64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| i64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    });
    match number.filter(|_| !digits.is_empty()) {
        Some(length) => Length::Declared(length.unsigned_abs()),
        None => {
            log::error!("the Content-Length is not a number: it is not sent");
            Length::Unusable
        }
    }
}

/// Whether a field of this name may be a trailer (RFC 9110 section 6.5.1). Names are in lower case.
pub(crate) fn may_be_trailer(name: &[u8]) -> bool {
    const NEVER: &[u8] =
        b"authorization cache-control connection content-encoding content-length content-range \
        content-type expect host keep-alive max-forwards pragma proxy-authenticate proxy-authorization \
        proxy-connection range realm te trailer transfer-encoding www-authenticate";
    !name.starts_with(b"if-") && !NEVER.split(|byte| *byte == b' ').any(|never| never == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header;

    #[test]
    fn a_content_length_is_a_positive_number() {
        let table = [
            ("0", Length::Declared(0)),
            ("42", Length::Declared(42)),
            ("+4", Length::Declared(4)),
            ("9223372036854775807", Length::Declared(i64::MAX as u64)),
            ("9223372036854775808", Length::Unusable),
            ("", Length::Unusable),
            ("+", Length::Unusable),
            ("-1", Length::Unusable),
            ("0x3", Length::Unusable),
            ("3,3", Length::Unusable),
        ];
        for (text, want) in table {
            assert_eq!(parse_length(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn framing_is_no_trailer() {
        let never =
            [header::TE, header::WWW_AUTHENTICATE, header::AUTHORIZATION, header::IF_MATCH, header::HOST];
        for name in never {
            assert!(!may_be_trailer(name.as_str().as_bytes()), "{name}");
        }
        assert!(may_be_trailer(b"x-checksum") && may_be_trailer(b"etag"));
    }
}
