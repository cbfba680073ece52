//! The host that a request is for.

use http::header::HOST;
use http::request::Parts;
use http::{Method, Version};

/// Host and port as the client named them: of the target if it has them, else of the Host field, which HTTP/1.1
/// requires in any case but CONNECT (RFC 9112 section 3.2). `None` when there is no telling.
pub(crate) fn authority(parts: &Parts) -> Option<&str> {
    // A look at the few names that most requests have is cheaper than the hash of this one.
    let mut fields = parts.headers.iter().filter(|(name, _)| **name == HOST).map(|(_, value)| value);
    let host = match (fields.next(), fields.next()) {
        (_, Some(_)) => return None,
        (Some(host), None) => Some(host.to_str().ok().filter(|host| host.bytes().all(is_host_byte))?),
        (None, None) if parts.version == Version::HTTP_11 && parts.method != Method::CONNECT => return None,
        (None, None) => None,
    };
    match parts.uri.authority() {
        // Without user and password, which are not part of the host.
        Some(authority) => authority.as_str().rsplit('@').next(),
        None => Some(host.unwrap_or_default()),
    }
}

/// What a Host field may hold (Go: golang.org/x/net/http/httpguts.ValidHostHeader).
pub(crate) fn is_host_byte(byte: u8) -> bool {
    // `matches!` and not a search: this looks at every byte of every request's host.
    matches!(byte, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'!' | b'$' | b'%' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+'
        | b',' | b'-' | b'.' | b':' | b';' | b'=' | b'[' | b']' | b'_' | b'~')
}
