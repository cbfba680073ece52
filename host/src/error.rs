//! Why a request could not be answered by its handler: a kind, who is at fault, and the cause.
//!
//! Only `rescue` turns an [`Error`] into a response; nothing in here knows about status codes.

use std::error::Error as StdError;
use std::fmt;

/// A boxed cause.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// What went wrong. Each kind belongs to one [`Origin`] and one row of `rescue`'s table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request body is longer than the handler's `request_body` limit.
    BodyTooLarge,
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
    /// The response body is longer than the handler's `response_body` limit, or than one call may make it.
    ResponseTooLarge,
    /// The handler's `timeout` has passed.
    Deadline,
    /// Every guest instance the host may have is in use.
    Overloaded,
    /// Something of ours failed.
    Internal,
}

/// Who is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Whoever sent the request.
    Client,
    /// The handler's wasm code.
    Guest,
    /// This program or the machine it runs on.
    Host,
}

impl Kind {
    /// Who is at fault for this kind.
    #[must_use]
    pub const fn origin(self) -> Origin {
        match self {
            Self::BodyTooLarge => Origin::Client,
            Self::Trapped
            | Self::Aborted
            | Self::BadResponse
            | Self::NoResponse
            | Self::GuestError
            | Self::ResponseTooLarge
            | Self::Deadline => Origin::Guest,
            Self::Overloaded | Self::Internal => Origin::Host,
        }
    }

    /// A stable word for logs, such as `trapped`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BodyTooLarge => "body-too-large",
            Self::Trapped => "trapped",
            Self::Aborted => "aborted",
            Self::BadResponse => "bad-response",
            Self::NoResponse => "no-response",
            Self::GuestError => "guest-error",
            Self::ResponseTooLarge => "response-too-large",
            Self::Deadline => "deadline",
            Self::Overloaded => "overloaded",
            Self::Internal => "internal",
        }
    }
}

/// Why a request failed.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    cause: Option<Cause>,
}

impl Error {
    /// An error with a cause.
    pub fn new(kind: Kind, cause: impl Into<Cause>) -> Self {
        Self { kind, cause: Some(cause.into()) }
    }

    /// What went wrong.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }
}

impl From<Kind> for Error {
    fn from(kind: Kind) -> Self {
        Self { kind, cause: None }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::BodyTooLarge => "the request body is larger than the handler's `request_body` limit",
            Kind::Trapped => "the guest trapped",
            Kind::Aborted => "the guest broke its response off",
            Kind::BadResponse => "the guest's response is incomplete",
            Kind::NoResponse => "the guest gave no response",
            Kind::GuestError => "the guest answered with an error",
            Kind::ResponseTooLarge => {
                "the response body is larger than the handler's `response_body` limit, or than 64 KiB in one call"
            }
            Kind::Deadline => "the handler's `timeout` has passed",
            Kind::Overloaded => "all guest instances are in use (`instances` in [server])",
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
