//! Why a request could not be answered by its handler: a kind, who is at fault, and the cause.
//!
//! Only `rescue` turns an [`Error`] into a response; nothing in here knows about status codes.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::limit::Limit;

/// A boxed cause.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// What went wrong. Each kind belongs to one [`Origin`] and one row of `rescue`'s table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A limit was hit.
    Limit(Limit),
    /// The guest trapped.
    Trapped,
    /// The guest broke its response off on purpose.
    Aborted,
    /// The guest's response does not keep its own promises, such as a Content-Length.
    BadResponse,
    /// The guest returned without a response: `response-outparam.set` of wasi:http 0.2 was never called.
    NoResponse,
    /// The guest answered with an error (`error-code` of `wasi:http/types`) instead of a response.
    GuestError,
    /// The server that a proxy passes requests on to gives no response, or breaks it off.
    Upstream,
    /// It takes too long.
    UpstreamTimeout,
    /// The request's body is broken off or malformed, which came to light when it was passed on.
    RequestBroken,
    /// The request's path is not one of the handler's.
    NotFound,
    /// The handler does not compile or is no module that can be served, in watch mode; the cause is a [`Broken`].
    Broken,
    /// Something of ours failed.
    Internal,
}

/// What is wrong with a handler, for whoever develops it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its name.
    pub handler: String,
    /// In a sentence or a few.
    pub why: String,
    /// What the compiler says, in lines; empty if it was not asked.
    pub details: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is broken: {}", self.handler, self.why)
    }
}

impl StdError for Broken {}

/// Who is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Whoever sent the request.
    Client,
    /// The handler's wasm code.
    Guest,
    /// A server behind a proxy.
    Upstream,
    /// This program or the machine it runs on.
    Host,
}

impl Kind {
    /// All but the limits, which are counted apart.
    pub const NOT_LIMITS: [Self; 10] = [
        Self::Trapped,
        Self::Aborted,
        Self::BadResponse,
        Self::NoResponse,
        Self::GuestError,
        Self::Upstream,
        Self::UpstreamTimeout,
        Self::RequestBroken,
        Self::Broken,
        Self::Internal,
    ];

    /// Who is at fault for this kind.
    #[must_use]
    pub const fn origin(self) -> Origin {
        match self {
            Self::Limit(limit) => match limit {
                Limit::RequestBody
                | Limit::RequestHeaders
                | Limit::RequestHeaderBytes
                | Limit::RequestBodyIdle
                | Limit::RequestBodyRate
                | Limit::ResponseBodyIdle
                | Limit::ResponseBodyRate => Origin::Client,
                Limit::Timeout
                | Limit::Cpu
                | Limit::Memory
                | Limit::Stack
                | Limit::Handles
                | Limit::ResponseBody
                | Limit::ResponseHeaders
                | Limit::ResponseHeaderBytes
                | Limit::Log
                | Limit::Sql
                | Limit::OutboundConcurrency
                | Limit::OutboundRate => Origin::Guest,
                Limit::Queue
                | Limit::QueueTimeout
                | Limit::Overload
                | Limit::Breaker
                | Limit::Instances
                | Limit::GuestMemory => Origin::Host,
            },
            Self::Trapped
            | Self::Aborted
            | Self::BadResponse
            | Self::NoResponse
            | Self::GuestError
            | Self::Broken => Origin::Guest,
            Self::Upstream | Self::UpstreamTimeout => Origin::Upstream,
            Self::RequestBroken | Self::NotFound => Origin::Client,
            Self::Internal => Origin::Host,
        }
    }

    /// A stable word for logs, such as `trapped`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Limit(limit) => limit.name(),
            Self::Trapped => "trapped",
            Self::Aborted => "aborted",
            Self::BadResponse => "bad-response",
            Self::NoResponse => "no-response",
            Self::GuestError => "guest-error",
            Self::Upstream => "upstream",
            Self::UpstreamTimeout => "upstream-timeout",
            Self::RequestBroken => "request-broken",
            Self::NotFound => "not-found",
            Self::Broken => "broken",
            Self::Internal => "internal",
        }
    }
}

/// Why a request failed.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    cause: Option<Cause>,
    retry_after: Option<Duration>,
    is_old_news: bool,
}

impl Error {
    /// An error with a cause.
    pub fn new(kind: Kind, cause: impl Into<Cause>) -> Self {
        Self { kind, cause: Some(cause.into()), retry_after: None, is_old_news: false }
    }

    /// The same, with the time after which another try may fare better.
    #[must_use]
    pub fn retry_after(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }

    /// The same, as one of many that the log need not have all of.
    #[must_use]
    pub(crate) fn old_news(self) -> Self {
        Self { is_old_news: true, ..self }
    }

    /// Whether the log has one like it from just before.
    pub(crate) const fn is_old_news(&self) -> bool {
        self.is_old_news
    }

    /// What is wrong with the handler, if that is what has failed the request.
    pub(crate) fn broken(&self) -> Option<&Broken> {
        self.cause.as_ref()?.downcast_ref()
    }

    /// After what time another try may fare better, if that is known.
    #[must_use]
    pub const fn retries_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// What went wrong.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }
}

impl From<Kind> for Error {
    fn from(kind: Kind) -> Self {
        Self { kind, cause: None, retry_after: None, is_old_news: false }
    }
}

/// Of a request to a broken handler. The log has it from when the handler broke.
impl From<&Broken> for Error {
    fn from(broken: &Broken) -> Self {
        Self::new(Kind::Broken, broken.clone()).old_news()
    }
}

impl From<Limit> for Error {
    fn from(limit: Limit) -> Self {
        Kind::Limit(limit).into()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Limit(limit) => limit.sentence(),
            Kind::Trapped => "the guest trapped",
            Kind::Aborted => "the guest broke its response off",
            Kind::BadResponse => "the guest's response is incomplete",
            Kind::NoResponse => "the guest gave no response",
            Kind::GuestError => "the guest answered with an error",
            Kind::Upstream => "the upstream failed",
            Kind::UpstreamTimeout => "the upstream took too long",
            Kind::RequestBroken => "the request body is broken off or malformed",
            Kind::NotFound => "the path is not one of the handler's",
            Kind::Broken => "the handler is broken",
            Kind::Internal => "internal error",
        })
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_ref().map(|cause| &**cause as &(dyn StdError + 'static))
    }
}

/// An error and its causes in one line, for the log.
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
