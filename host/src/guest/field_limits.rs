//! How many fields a header or trailer section may have, and how large they may be.

use http::HeaderMap;

use super::limits::Limits;
use crate::limit::Limit;

/// Sets of fields are not kept below this many bytes: a component also makes them for what it asks of others.
const SET_BYTES_MIN: usize = 128 << 10;

/// What a field in a set counts beside its name and value (wasmtime-wasi-http counts their structs), in bytes.
const SET_FIELD_BYTES: usize = 64;

/// The limits of one direction, and their names.
#[derive(Clone, Copy, Debug)]
pub(super) struct FieldLimits {
    count_max: u32,
    bytes_max: u64,
    count: Limit,
    bytes: Limit,
}

impl FieldLimits {
    /// Those of a request.
    pub(super) fn request(limits: &Limits) -> Self {
        Self {
            count_max: limits.request_headers_max,
            bytes_max: limits.request_header_bytes_max,
            count: Limit::RequestHeaders,
            bytes: Limit::RequestHeaderBytes,
        }
    }

    /// Those of a response; each of its interim responses and its trailers have them for themselves.
    pub(super) fn response(limits: &Limits) -> Self {
        Self {
            count_max: limits.response_headers_max,
            bytes_max: limits.response_header_bytes_max,
            count: Limit::ResponseHeaders,
            bytes: Limit::ResponseHeaderBytes,
        }
    }

    /// No limit.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        let (count, bytes) = (Limit::ResponseHeaders, Limit::ResponseHeaderBytes);
        Self { count_max: u32::MAX, bytes_max: u64::MAX, count, bytes }
    }

    /// Names the limit that these fields are beyond.
    pub(super) fn check(&self, fields: &HeaderMap) -> Result<(), Limit> {
        if fields.len() as u64 > u64::from(self.count_max) {
            return Err(self.count);
        }
        let bytes =
            fields.iter().map(|(name, value)| (name.as_str().len() + value.len()) as u64).sum::<u64>();
        if bytes > self.bytes_max { Err(self.bytes) } else { Ok(()) }
    }

    /// What a component's set of fields may take, in bytes. Twice of what a response may have: so a guest that goes beyond
    /// that hears of it when it sends the response, under the limit's name.
    pub(super) fn set_bytes_max(&self) -> usize {
        let bytes = usize::try_from(self.bytes_max).unwrap_or(usize::MAX);
        let structs = (self.count_max as usize).saturating_mul(SET_FIELD_BYTES);
        bytes.saturating_mul(2).saturating_add(structs).max(SET_BYTES_MIN)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn both_limits_are_inclusive() {
        let field = |name: &'static str| (HeaderName::from_static(name), HeaderValue::from_static("123"));
        let fields: HeaderMap = [field("a"), field("b")].into_iter().collect();
        let limits = |count_max, bytes_max| FieldLimits { count_max, bytes_max, ..FieldLimits::none() };
        assert_eq!(limits(2, 8).check(&fields), Ok(()));
        assert_eq!(limits(1, 8).check(&fields), Err(Limit::ResponseHeaders));
        assert_eq!(limits(2, 7).check(&fields), Err(Limit::ResponseHeaderBytes));
        assert_eq!(limits(2, 7).set_bytes_max(), SET_BYTES_MIN);
    }
}
