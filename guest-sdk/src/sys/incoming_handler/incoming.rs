//! A body that comes in, of the request or of the response to a call: its bytes, then its trailers.

use wasip2::{
    clocks::monotonic_clock::{self, Instant},
    http::types::{ErrorCode, IncomingBody, http_error_code},
    io::{
        poll::{Pollable, poll},
        streams::{InputStream, StreamError},
    },
};
use wasmux_abi::Errno;

use crate::sys::incoming_head::Field;

/// How far a body was read.
pub(super) enum Body {
    Unread,
    Open {
        stream: InputStream, // before the body, whose child it is
        body: IncomingBody,
    },
    /// Read to its end; the trailers behind it are still to come.
    Ended(IncomingBody),
    /// Nothing is to come.
    Done,
    /// It stays so.
    Failed(Errno),
}

impl Body {
    /// Begins to read it, the first time: `consume` takes it out of its message.
    pub(super) fn open(&mut self, consume: impl FnOnce() -> Result<IncomingBody, ()>) {
        if let Self::Unread = self {
            let opened = consume().and_then(|body| Ok((body.stream()?, body)));
            *self = match opened {
                Ok((stream, body)) => Self::Open { stream, body },
                Err(()) => Self::Failed(Errno::State),
            };
        }
    }

    /// Reads bytes, waiting for them; 0 at the end.
    ///
    /// # Errors
    /// [`Errno::Timeout`] when there are none at `until`; then, as behind any failure, it is the answer from then on.
    pub(super) fn read(&mut self, into: &mut [u8], until: Option<Instant>) -> Result<usize, Errno> {
        let stream = match self {
            Self::Open { stream, .. } => stream,
            Self::Failed(errno) => return Err(*errno),
            Self::Unread | Self::Ended(_) | Self::Done => return Ok(0),
        };
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            // Without a time `blocking_read` does the waiting, in one call instead of four.
            if until.is_some() && !is_ready_by(&stream.subscribe(), until) {
                return Err(self.fail(Errno::Timeout));
            }
            match stream.blocking_read(into.len() as u64) {
                Ok(bytes) if bytes.is_empty() => {} // woken too early
                Ok(bytes) => {
                    let count = bytes.len().min(into.len());
                    into[..count].copy_from_slice(&bytes[..count]);
                    return Ok(count);
                }
                Err(StreamError::Closed) => {
                    self.end();
                    return Ok(0);
                }
                Err(StreamError::LastOperationFailed(error)) => {
                    return Err(self.fail(errno_of(http_error_code(&error).as_ref())));
                }
            }
        }
    }

    /// Waits until there is something to read, the end included; false when it is `at` before that.
    pub(super) fn wait_until(&self, at: Instant) -> bool {
        let Self::Open { stream, .. } = self else { return true };
        is_ready_by(&stream.subscribe(), Some(at))
    }

    /// The trailers, behind a body that was read to its end; once.
    ///
    /// # Errors
    /// [`Errno::State`] before that; and where the trailers break, the body has failed.
    pub(super) fn trailers(&mut self, until: Option<Instant>) -> Result<Vec<Field>, Errno> {
        let body = match std::mem::replace(self, Self::Done) {
            Self::Ended(body) => body,
            Self::Done => return Ok(Vec::new()),
            other => {
                let errno = if let Self::Failed(errno) = other { errno } else { Errno::State };
                *self = other;
                return Err(errno);
            }
        };
        let future = IncomingBody::finish(body);
        loop {
            match future.get() {
                None if is_ready_by(&future.subscribe(), until) => {}
                None => return Err(self.fail(Errno::Timeout)),
                Some(Ok(Ok(fields))) => {
                    return Ok(fields.map(|fields| fields.entries()).unwrap_or_default());
                }
                Some(Ok(Err(code))) => return Err(self.fail(errno_of(Some(&code)))),
                Some(Err(())) => return Err(self.fail(Errno::Broken)),
            }
        }
    }

    fn fail(&mut self, errno: Errno) -> Errno {
        *self = Self::Failed(errno);
        errno
    }

    fn end(&mut self) {
        if let Self::Open { stream, body } = std::mem::replace(self, Self::Done) {
            drop(stream); // the body cannot end before its stream
            *self = Self::Ended(body);
        }
    }
}

/// Waits; false when it is `until` before it is ready.
pub(super) fn is_ready_by(pollable: &Pollable, until: Option<Instant>) -> bool {
    match until {
        None => {
            pollable.block();
            true
        }
        Some(at) => poll(&[pollable, &monotonic_clock::subscribe_instant(at)]).contains(&0),
    }
}

/// What it means that a body did not come to its end.
fn errno_of(code: Option<&ErrorCode>) -> Errno {
    match code {
        Some(ErrorCode::HttpRequestBodySize(_) | ErrorCode::HttpResponseBodySize(_)) => Errno::Limit,
        Some(ErrorCode::ConnectionReadTimeout | ErrorCode::HttpResponseTimeout) => Errno::Timeout,
        _ => Errno::Broken,
    }
}
