//! The id that ties a request to its log lines and error responses.
//!
//! An inbound `X-Request-Id` is kept when it is well-formed, so that ids can span several services; otherwise one
//! is made. Ids are unique, not secret: a random prefix for the process and a counter.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName};

/// The field that carries the id, in requests and on error responses.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Longest inbound id that is kept, in bytes.
const LEN_MAX: usize = 128;

/// The id of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestId {
    /// Made by this process.
    Made([u8; 20]),
    /// Taken from the request.
    Given(Box<str>),
}

impl RequestId {
    /// The id as text: 1 to 128 bytes of ASCII.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Made(text) => std::str::from_utf8(text).unwrap_or_default(),
            Self::Given(text) => text,
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Makes ids: a random prefix of 8 characters and a counter in 12, both in hexadecimal.
#[derive(Debug)]
pub struct RequestIds {
    prefix: [u8; 8],
    next: AtomicU64,
}

impl RequestIds {
    /// A source of ids with a prefix of its own.
    #[must_use]
    pub fn new() -> Self {
        let random = RandomState::new().hash_one(std::process::id());
        let mut prefix = [0; 8];
        hex(random, &mut prefix);
        Self { prefix, next: AtomicU64::new(1) }
    }

    /// The id for a request with these header fields.
    #[must_use]
    pub fn assign(&self, headers: &HeaderMap) -> RequestId {
        // A look at the few names that most requests have is cheaper than the hash of this one.
        if headers.keys().any(|name| *name == HEADER)
            && let Some(given) = headers.get(&HEADER).and_then(|value| well_formed(value.as_bytes()))
        {
            return RequestId::Given(given.into());
        }
        let mut text = [0; 20];
        text[..8].copy_from_slice(&self.prefix);
        hex(self.next.fetch_add(1, Ordering::Relaxed), &mut text[8..]);
        RequestId::Made(text)
    }
}

impl Default for RequestIds {
    fn default() -> Self {
        Self::new()
    }
}

fn hex(mut number: u64, out: &mut [u8]) {
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

fn well_formed(value: &[u8]) -> Option<&str> {
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"-_.~+/=:".contains(b);
    let fits = (1..=LEN_MAX).contains(&value.len());
    (fits && value.iter().all(allowed)).then(|| std::str::from_utf8(value).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assign(value: &'static str) -> RequestId {
        let headers = HeaderMap::from_iter([(HEADER, http::HeaderValue::from_static(value))]);
        RequestIds::new().assign(&headers)
    }

    #[test]
    fn keeps_well_formed_ids_only() {
        assert_eq!(assign("abc-123_X.y~z+/=:").as_str(), "abc-123_X.y~z+/=:");
        for bad in ["", "has space", "quote\"", "semi;colon", "new\tline"] {
            assert!(matches!(assign(bad), RequestId::Made(_)), "{bad:?}");
        }
        let long: &'static str = "a".repeat(LEN_MAX + 1).leak();
        assert!(matches!(assign(long), RequestId::Made(_)));
        assert_eq!(assign(&long[..LEN_MAX]).as_str().len(), LEN_MAX);
    }

    #[test]
    fn made_ids_are_unique_and_readable() {
        let ids = RequestIds::new();
        let (a, b) = (ids.assign(&HeaderMap::new()), ids.assign(&HeaderMap::new()));
        assert_ne!(a, b);
        assert_eq!(a.as_str().len(), 20);
        assert!(a.as_str().ends_with("000000000001"));
    }
}
