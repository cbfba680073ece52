//! [`CallError`]: why a call has no response, or no more of one.

use std::fmt;

use http::StatusCode;
use wasmux_abi::Errno;

use crate::Error;

/// Why a call has no response, or no more of one. As an [`Error`](crate::Error) it is what a gateway answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError {
    kind: CallErrorKind,
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
    /// The handler calls too much: `outbound_concurrency`, `outbound_rate`, or 64 calls for one request.
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
        Self { kind, text }
    }

    pub(crate) fn of(errno: Errno, what: &str) -> Self {
        let (kind, text) = match errno {
            Errno::Denied => (CallErrorKind::Denied, "the call was refused"),
            Errno::Timeout => (CallErrorKind::Timeout, "the call took too long"),
            Errno::Limit => (CallErrorKind::Limit, "there are too many calls, or one is too large"),
            Errno::Length => (CallErrorKind::Invalid, "a GET or HEAD with a body needs a Content-Length"),
            Errno::Invalid => (CallErrorKind::Invalid, "the call cannot be made as it is"),
            Errno::Broken => (CallErrorKind::Broken, "the response broke off"),
            _ => (CallErrorKind::Failed, "the call failed"),
        };
        let text = if what.is_empty() { text.to_owned() } else { format!("{text}: {what}") };
        Self { kind, text }
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
        f.write_str(&self.text)
    }
}
