//! [`Error`]: what a handler returns when it gives up, and the errors of bodies that one may want to tell apart.

use std::{
    any::{Any, TypeId},
    borrow::Cow,
    error::Error as StdError,
    fmt, io,
};

use http::StatusCode;
use wasmux_abi::Errno;

use crate::client::CallError;

/// A `Result` whose error is [`Error`] unless told otherwise.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type AnyError = Box<dyn StdError + Send + Sync>;

/// Why a handler gave up: the status and the sentence the client sees, and the cause, which only the log sees.
///
/// `?` turns any `std::error::Error` into one. The status is then `500`, except for the errors of this crate: a
/// body over its limit is `413`, a broken or unreadable one `400`. The client gets the status's own words, never
/// the cause.
///
/// ```
/// use wasmux_sdk::{Error, StatusCode};
///
/// let hidden = Error::from(std::io::Error::other("disk sda1 is full"));
/// assert_eq!(hidden.status(), StatusCode::INTERNAL_SERVER_ERROR);
/// assert_eq!(hidden.message(), "internal server error");
///
/// let shown = Error::new(StatusCode::CONFLICT, "this name is taken");
/// assert_eq!(shown.message(), "this name is taken");
/// ```
pub struct Error(Box<Inner>); // boxed: a Result<()> stays one word

struct Inner {
    status: StatusCode,
    message: Cow<'static, str>,
    cause: Option<Cause>,
}

/// I/O errors, which every handler can meet, are kept apart: boxed as a `dyn Error` they would link their `Debug` code
/// into every guest, which makes the smallest ones a tenth larger.
enum Cause {
    Io(io::Error),
    Other(AnyError),
}

impl Error {
    /// An error with a status and a sentence for the client.
    #[must_use]
    pub fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner { status, message: message.into(), cause: None }))
    }

    /// `400` with a sentence for the client.
    #[must_use]
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// `500`, with a cause that only the log sees. Takes what `?` does not: strings, `anyhow::Error` and other boxes.
    #[must_use]
    pub fn internal(cause: impl Into<AnyError>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL).caused_by(cause)
    }

    /// Adds what was the matter, for the log.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<AnyError>) -> Self {
        self.0.cause = Some(Cause::Other(cause.into()));
        self
    }

    /// The status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The sentence the client sees.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What was the matter.
    #[must_use]
    pub fn cause(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        Some(match self.0.cause.as_ref()? {
            Cause::Io(cause) => cause,
            Cause::Other(cause) => cause.as_ref(),
        })
    }

    /// Whether the cause is that the client has gone away. There is nobody left to answer then.
    #[must_use]
    pub fn is_client_gone(&self) -> bool {
        let io = match &self.0.cause {
            Some(Cause::Io(cause)) => Some(cause),
            Some(Cause::Other(cause)) => cause.downcast_ref(),
            None => None,
        };
        io.and_then(BodyError::of) == Some(BodyError::ClientGone)
    }
}

/// The message, then the chain of causes: this is for logs.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        let mut next = match &self.0.cause {
            Some(Cause::Io(cause)) => return write_io(f, cause),
            Some(Cause::Other(cause)) => Some(cause.as_ref() as &dyn StdError),
            None => None,
        };
        while let Some(cause) = next {
            write!(f, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}

/// As `Display` of an [`io::Error`], less the system's text for its code: that, too, is much code for a small guest.
fn write_io(f: &mut fmt::Formatter<'_>, error: &io::Error) -> fmt::Result {
    match (error.get_ref(), error.raw_os_error()) {
        (Some(inner), _) => write!(f, ": {inner}"),
        (None, Some(code)) => write!(f, ": {} (os error {code})", error.kind()),
        (None, None) => write!(f, ": {}", error.kind()),
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self, self.0.status.as_u16())
    }
}

// `Error` does not implement `std::error::Error` itself: the two would overlap, and `?` is worth more.
impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(cause: E) -> Self {
        // The compiler knows the answers, and leaves out what they lead to elsewhere.
        let is_io = TypeId::of::<E>() == TypeId::of::<io::Error>();
        let is_call = TypeId::of::<E>() == TypeId::of::<CallError>();
        let unknown = || Self::new(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL);
        if is_io {
            taken::<E, io::Error>(cause).map_or_else(unknown, Self::from_io)
        } else if is_call {
            taken::<E, CallError>(cause).map_or_else(unknown, CallError::into_error)
        } else {
            Self::internal(cause)
        }
    }
}

/// A value as the type that it is known to have.
fn taken<E: 'static, T: 'static>(value: E) -> Option<T> {
    let mut value = Some(value);
    (&mut value as &mut dyn Any).downcast_mut::<Option<T>>().and_then(Option::take)
}

const INTERNAL: &str = "internal server error";

impl Error {
    fn from_io(cause: io::Error) -> Self {
        let (status, message) = match BodyError::of(&cause) {
            Some(BodyError::TooLarge { .. }) => (StatusCode::PAYLOAD_TOO_LARGE, "request body too large"),
            Some(BodyError::Incomplete) => (StatusCode::BAD_REQUEST, "bad request body"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, INTERNAL),
        };
        let mut error = Self::new(status, message);
        error.0.cause = Some(Cause::Io(cause));
        error
    }
}

/// Why a body could not be read or written. It is inside the [`io::Error`]s of [`Request`](crate::Request) and
/// [`ResponseWriter`](crate::ResponseWriter); [`BodyError::of`] takes it out.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyError {
    /// The request body is longer than allowed; net/http's `MaxBytesError`. Its kind is `FileTooLarge`.
    TooLarge {
        /// The limit given to [`Request::max_bytes`](crate::Request::max_bytes); `None` when it was the host's.
        limit: Option<u64>,
    },
    /// The request body ended early, was malformed, or came too slowly. Its kind is `UnexpectedEof`.
    Incomplete,
    /// The client has gone away. Its kind is `BrokenPipe`.
    ClientGone,
    /// A response with this status has no body; net/http's `ErrBodyNotAllowed`.
    NotAllowed,
    /// More than the declared `Content-Length` was written; net/http's `ErrContentLength`.
    ContentLength,
    /// The host did not take the response: a limit was reached, or it was given out of turn.
    Refused,
}

impl BodyError {
    /// The body error that `error` was made from, if it was.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }

    /// What a failed host call on the request body means.
    pub(crate) fn reading(errno: Errno) -> Self {
        match errno {
            Errno::Gone => Self::ClientGone,
            Errno::Limit => Self::TooLarge { limit: None },
            _ => Self::Incomplete,
        }
    }

    /// What a failed host call on the response means.
    pub(crate) fn writing(errno: Errno) -> Self {
        match errno {
            Errno::Gone => Self::ClientGone,
            Errno::NoBody => Self::NotAllowed,
            Errno::Length => Self::ContentLength,
            _ => Self::Refused,
        }
    }
}

/// As `Display`: a derived one would be a kilobyte of code in every guest.
impl fmt::Debug for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge { limit: Some(limit) } => {
                return write!(f, "request body is longer than {limit} bytes");
            }
            Self::TooLarge { limit: None } => "request body is longer than the host's limit",
            Self::Incomplete => "request body is incomplete or malformed",
            Self::ClientGone => "the client has gone away",
            Self::NotAllowed => "request method or response status code does not allow body",
            Self::ContentLength => "wrote more than the declared Content-Length",
            Self::Refused => "the host refused the response",
        })
    }
}

impl StdError for BodyError {}

impl From<BodyError> for io::Error {
    fn from(error: BodyError) -> Self {
        let kind = match error {
            BodyError::TooLarge { .. } => io::ErrorKind::FileTooLarge,
            BodyError::Incomplete => io::ErrorKind::UnexpectedEof,
            BodyError::ClientGone => io::ErrorKind::BrokenPipe,
            BodyError::NotAllowed | BodyError::ContentLength => io::ErrorKind::InvalidInput,
            BodyError::Refused => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_follows_the_cause() {
        let table = [
            (Error::from(io::Error::from(BodyError::TooLarge { limit: Some(3) })), 413),
            (Error::from(io::Error::from(BodyError::Incomplete)), 400),
            (Error::from(io::Error::from(BodyError::ClientGone)), 500),
            (Error::from(io::Error::other("secret")), 500),
            (Error::from("x".parse::<u32>().expect_err("not a number")), 500),
            (Error::bad_request("no"), 400),
            (Error::internal("just a string"), 500),
        ];
        for (error, status) in table {
            assert_eq!(error.status().as_u16(), status, "{error}");
            assert!(!error.message().contains("secret"));
        }
    }

    #[test]
    fn only_the_client_leaving_is_the_client_leaving() {
        assert!(Error::from(io::Error::from(BodyError::ClientGone)).is_client_gone());
        assert!(!Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).is_client_gone());
    }

    #[test]
    fn display_is_the_whole_chain() {
        let inner = io::Error::other(BodyError::Incomplete);
        let error = Error::bad_request("no such colour").caused_by(inner);
        assert_eq!(error.to_string(), "no such colour: request body is incomplete or malformed");
        assert_eq!(format!("{error:?}"), "no such colour: request body is incomplete or malformed (400)");
    }
}
