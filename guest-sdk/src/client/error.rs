//! [`CallError`]: why a call has no response, or no more of one.

use std::fmt;

use http::StatusCode;
use wasmux_abi::Errno;

use crate::Error;

/// Why a call has no response, or no more of one. As an [`Error`](crate::Error) it is what a gateway answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError {
    kind: CallErrorKind,
    /// Method and URL; empty where it is about none, or several calls.
    call: String,
    text: String,
}

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallErrorKind {
    /// It was not granted: see `outbound` in routes.toml.
    Denied,
    /// It took too long.
    Timeout,
    /// The handler calls too much (`outbound_concurrency`, `outbound_rate`, or 64 calls for one request), or a header or body is
    /// larger than `[outbound]` allows.
    Limit,
    /// The request cannot be sent as it is.
    Invalid,
    /// The server cannot be reached, or has no proper response.
    Failed,
    /// The response broke off.
    Broken,
}

impl CallError {
    pub(crate) fn new(kind: CallErrorKind, text: String) -> Self {
        Self { kind, call: String::new(), text }
    }

    pub(crate) fn of(errno: Errno) -> Self {
        let (kind, text) = match errno {
            Errno::Denied => (CallErrorKind::Denied, "the call was refused"),
            Errno::Timeout => (CallErrorKind::Timeout, "the call took too long"),
            Errno::Limit => (CallErrorKind::Limit, "there are too many calls, or one is too large"),
            Errno::Length => (CallErrorKind::Invalid, "a GET or HEAD with a body needs a Content-Length"),
            Errno::Invalid => (CallErrorKind::Invalid, "the call cannot be made as it is"),
            Errno::Broken => (CallErrorKind::Broken, "the response broke off"),
            _ => (CallErrorKind::Failed, "the call failed"),
        };
        Self::new(kind, text.to_owned())
    }

    /// The same, of the call that [`name_of`] has given a name.
    pub(crate) fn about(self, call: &str) -> Self {
        Self { call: call.to_owned(), ..self }
    }

    /// The same, with what the host says about it.
    pub(crate) fn with(self, text: String) -> Self {
        if text.is_empty() { self } else { Self { text, ..self } }
    }

    /// What a gateway answers: 504 when it took too long, 502 when the other side has failed.
    pub(crate) fn into_error(self) -> Error {
        let (status, message) = match self.kind {
            CallErrorKind::Timeout => {
                (StatusCode::GATEWAY_TIMEOUT, "a server that was asked did not answer in time")
            }
            CallErrorKind::Failed | CallErrorKind::Broken => {
                (StatusCode::BAD_GATEWAY, "a server that was asked has failed")
            }
            CallErrorKind::Denied | CallErrorKind::Limit | CallErrorKind::Invalid => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal server error")
            }
        };
        Error::new(status, message).caused_by(self)
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> CallErrorKind {
        self.kind
    }
}

impl std::error::Error for CallError {}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.call.is_empty() {
            write!(f, "{}: ", self.call)?;
        }
        f.write_str(&self.text)
    }
}

/// What a call is called in its errors, as in Go's `url.Error`: method and URL, less what may be secret: user, query and fragment.
pub(super) fn name_of(method: &str, url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return format!("{method} {url}") };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{method} {scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_secrets() {
        for (url, expected) in [
            ("http://a.test/x/y?key=secret#part", "GET http://a.test/x/y"),
            ("https://ann:secret@a.test:8443", "GET https://a.test:8443"),
            ("http://secret@a@b/p@q", "GET http://b/p@q"),
            ("a.test?secret", "GET a.test"),
        ] {
            assert_eq!(name_of("GET", url), expected);
        }
        let error = CallError::of(Errno::Timeout).about("GET http://a.test/");
        assert_eq!(error.to_string(), "GET http://a.test/: the call took too long");
    }
}
