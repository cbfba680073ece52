//! Why there is no response, or no more of one.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use super::{BoxError, Refused};
use crate::stats::Outcome;

/// The phase that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutboundErrorKind {
    /// The policy refuses the target, or every address of its name.
    Denied,
    /// The request cannot be sent as it is: its URI names no host, or a scheme that is not known.
    BadRequest,
    /// The name does not resolve.
    Dns,
    /// It was not resolved in time.
    DnsTimeout,
    /// No address accepts a connection.
    Connect,
    /// None has in time.
    ConnectTimeout,
    /// A proxy of the environment does not connect us.
    Proxy,
    /// The TLS handshake failed.
    TlsHandshake,
    /// It was not done in time.
    TlsTimeout,
    /// All connections that its host may have were taken, and none came free in time.
    Busy,
    /// The server took nothing of the request's body for too long.
    RequestTimeout,
    /// The response's head was not there in time.
    HeaderTimeout,
    /// The response's body paused for too long.
    BodyTimeout,
    /// The call took too long.
    Deadline,
    /// The body of the request failed; its error is the source.
    RequestBody,
    /// It is longer than the call may send.
    RequestTooLarge,
    /// The server gave the request back unseen (HTTP/2).
    Refused,
    /// The server closed the connection before it responded.
    Closed,
    /// It did so amidst its response.
    Incomplete,
    /// The response's header is too large.
    HeaderTooLarge,
    /// The response's body is longer than the call may receive.
    BodyTooLarge,
    /// The server does not keep to HTTP.
    Protocol,
    /// The body is not the gzip that it is said to be.
    Encoding,
    /// There were more redirects than the call follows.
    TooManyRedirects,
    /// The caller may not send so many requests in a second.
    TooFast,
}

impl OutboundErrorKind {
    /// A stable word for logs and metrics, such as `connect-timeout`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::BadRequest => "bad-request",
            Self::Dns => "dns",
            Self::DnsTimeout => "dns-timeout",
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect-timeout",
            Self::Proxy => "proxy",
            Self::TlsHandshake => "tls-handshake",
            Self::TlsTimeout => "tls-timeout",
            Self::Busy => "busy",
            Self::RequestTimeout => "request-timeout",
            Self::HeaderTimeout => "header-timeout",
            Self::BodyTimeout => "body-timeout",
            Self::Deadline => "deadline",
            Self::RequestBody => "request-body",
            Self::RequestTooLarge => "request-too-large",
            Self::Refused => "refused",
            Self::Closed => "closed",
            Self::Incomplete => "incomplete",
            Self::HeaderTooLarge => "header-too-large",
            Self::BodyTooLarge => "body-too-large",
            Self::Protocol => "protocol",
            Self::Encoding => "encoding",
            Self::TooManyRedirects => "too-many-redirects",
            Self::TooFast => "too-fast",
        }
    }

    /// What is counted.
    #[must_use]
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Denied => Outcome::Refused,
            kind if kind.is_timeout() => Outcome::Timeout,
            _ => Outcome::Error,
        }
    }

    /// Whether a clock has ended it.
    #[must_use]
    pub const fn is_timeout(self) -> bool {
        matches!(
            self,
            Self::DnsTimeout
                | Self::ConnectTimeout
                | Self::TlsTimeout
                | Self::Busy
                | Self::RequestTimeout
                | Self::HeaderTimeout
                | Self::BodyTimeout
                | Self::Deadline
        )
    }

    /// What has happened, before the words "to HOST" or "of HOST".
    const fn sentence(self) -> &'static str {
        match self {
            Self::Denied => "calling it is not allowed",
            Self::BadRequest => "the request cannot be sent",
            Self::Dns => "the name does not resolve",
            Self::DnsTimeout => "the name was not resolved in time",
            Self::Connect => "cannot connect",
            Self::ConnectTimeout => "no connection in time",
            Self::Proxy => "the proxy does not connect",
            Self::TlsHandshake => "the TLS handshake failed",
            Self::TlsTimeout => "the TLS handshake took too long",
            Self::Busy => "no connection came free in time (`max_per_host`)",
            Self::RequestTimeout => "the request's body was not taken in time (`body_idle_timeout`)",
            Self::HeaderTimeout => "no response in time",
            Self::BodyTimeout => "the response's body paused for too long",
            Self::Deadline => "the call took too long",
            Self::RequestBody => "the request's body failed",
            Self::RequestTooLarge => "the request's body is too large",
            Self::Refused => "the server refused the request before it looked at it",
            Self::Closed => "the connection closed before there was a response",
            Self::Incomplete => "the response broke off",
            Self::HeaderTooLarge => "the response's header is too large",
            Self::BodyTooLarge => "the response's body is too large",
            Self::Protocol => "the response is not HTTP",
            Self::Encoding => "the response's body is not the gzip that it claims to be",
            Self::TooManyRedirects => "too many redirects",
            Self::TooFast => "more requests in a second than its caller may send",
        }
    }
}

/// Why a call failed. Its text names the host and the phase, never a path, a query or a password.
#[derive(Debug)]
pub struct OutboundError {
    /// The phase.
    pub kind: OutboundErrorKind,
    authority: Arc<str>,
    is_unsent: bool,
    source: Option<BoxError>,
}

impl OutboundError {
    pub(super) fn new(kind: OutboundErrorKind, authority: &Arc<str>) -> Self {
        Self { kind, authority: Arc::clone(authority), is_unsent: false, source: None }
    }

    pub(super) fn because(self, source: impl Into<BoxError>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// Nothing of the request has left.
    pub(super) fn unsent(self) -> Self {
        Self { is_unsent: true, ..self }
    }

    pub(super) fn denied(authority: &Arc<str>, refused: Refused) -> Self {
        Self::new(OutboundErrorKind::Denied, authority).because(refused.0).unsent()
    }

    /// Whether nothing of the request can have reached the server: to send it again is safe.
    #[must_use]
    pub const fn is_unsent(&self) -> bool {
        self.is_unsent
    }

    /// Host and port that were called.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

impl fmt::Display for OutboundError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.authority, self.kind.sentence())
    }
}

impl StdError for OutboundError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}
