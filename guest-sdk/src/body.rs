//! The request body: reading, limits, and the trailers behind it.

use std::{
    cell::OnceCell,
    io::{self, Read},
    sync::LazyLock,
};

use http::HeaderMap;

use crate::{
    BodyError, Error, Request, Result,
    exchange::{Exchange, Link},
    fields,
};

/// Bytes that [`Request::bytes`] reserves on the client's word alone.
const RESERVE_BYTES_MAX: u64 = 64 * 1024;
/// Bytes that [`Request::bytes`] makes room for when it does not know how many there are.
const READ_BYTES: usize = 8 * 1024;

/// How far the body was read.
pub(crate) struct Body {
    /// Set by `max_bytes`: the limit, and how much of it is left.
    limit: Option<(u64, u64)>,
    state: State,
    trailers: OnceCell<HeaderMap>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading,
    Ended,
    Failed(BodyError),
}

impl Body {
    pub(crate) const fn new() -> Self {
        Self { limit: None, state: State::Reading, trailers: OnceCell::new() }
    }

    /// Whether the handler has set its own limit.
    pub(crate) fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    fn read(&mut self, link: &Link, into: &mut [u8]) -> Result<usize, BodyError> {
        match self.state {
            State::Failed(error) => return Err(error),
            State::Ended => return Ok(0),
            State::Reading if into.is_empty() => return Ok(0),
            State::Reading => {}
        }
        // One byte more than the limit allows tells a body that ends there from one that does not.
        let left = self.limit.map_or(u64::MAX, |(_, left)| left);
        let room = usize::try_from(left.saturating_add(1)).unwrap_or(usize::MAX).min(into.len());
        match link.request_read(&mut into[..room]) {
            Ok(0) => {
                self.state = State::Ended;
                Ok(0)
            }
            Ok(count) => self.count(count),
            Err(errno) => Err(self.fail(BodyError::reading(errno))),
        }
    }

    /// Takes `count` bytes off the limit; the bytes up to it are given out, then the error.
    fn count(&mut self, count: usize) -> Result<usize, BodyError> {
        let Some((limit, left)) = &mut self.limit else { return Ok(count) };
        match left.checked_sub(count as u64) {
            Some(rest) => {
                *left = rest;
                Ok(count)
            }
            None => {
                let allowed = std::mem::take(left) as usize; // less than `count`
                let error = BodyError::TooLarge { limit: Some(*limit) };
                self.fail(error);
                if allowed > 0 { Ok(allowed) } else { Err(error) }
            }
        }
    }

    /// Whether reading has met the end of what is allowed.
    pub(crate) fn is_too_large(&self) -> bool {
        matches!(self.state, State::Failed(BodyError::TooLarge { .. }))
    }

    fn fail(&mut self, error: BodyError) -> BodyError {
        self.state = State::Failed(error);
        error
    }
}

/// The body.
impl Request {
    /// Limits the body to `limit` bytes from here on; net/http's `MaxBytesReader`.
    ///
    /// Reading beyond it fails with [`BodyError::TooLarge`], now and ever after; returned from the handler by `?`,
    /// that is a `413`. Whatever the handler answers then, the connection is closed behind it, unless the response was
    /// streaming before. An earlier limit that leaves less stays, and the host's own limit holds besides.
    pub fn max_bytes(&mut self, limit: u64) -> &mut Self {
        if self.body.limit.is_none_or(|(_, left)| limit < left) {
            self.body.limit = Some((limit, limit));
        }
        self
    }

    /// The whole rest of the body; `io.ReadAll(r.Body)`. Use [`Read`] for bodies that may be large.
    ///
    /// # Errors
    /// `413` for a body over a limit, `400` for a broken one.
    pub fn bytes(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The whole rest of the body as text.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), and `400` for text that is not UTF-8.
    pub fn text(&mut self) -> Result<String> {
        String::from_utf8(self.bytes()?)
            .map_err(|error| Error::bad_request("the request body is not UTF-8").caused_by(error))
    }

    /// The whole rest of the body, read as JSON.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), and `400` for a body that is not JSON or not a `T`; the client is told where.
    #[cfg(feature = "json")]
    pub fn json<T: serde::de::DeserializeOwned>(&mut self) -> Result<T> {
        let bytes = self.bytes()?;
        serde_json::from_slice(&bytes).map_err(|error| Error::bad_request(format!("invalid JSON: {error}")))
    }

    /// The trailer fields of the request, once the body was read to its end; empty before, and when there are none.
    #[must_use]
    pub fn trailers(&self) -> &HeaderMap {
        static NONE: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);
        if self.body.state != State::Ended {
            return &NONE;
        }
        self.body.trailers.get_or_init(|| {
            self.link.request_trailers().map(|block| fields::parse(&block)).unwrap_or_default()
        })
    }

    /// Whether the client has gone away, or has ended its own side of an HTTP/1 connection; then it may still wait for the
    /// response. With the default `on_disconnect = "cancel"` a handler rarely lives to see the former.
    #[must_use]
    pub fn client_gone(&self) -> bool {
        self.link.client_gone()
    }
}

impl Read for Request {
    /// Reads the next bytes of the body, waiting for them if need be; 0 at the end.
    ///
    /// Fails with a [`BodyError`] inside the [`io::Error`]. The first read makes the host answer
    /// `Expect: 100-continue`.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Ok(self.body.read(&self.link, into)?)
    }

    fn read_to_end(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        let before = into.len();
        let mut filled = before;
        // One byte more than declared: the read that finds the end needs room, too.
        let expected =
            self.content_length().map_or(READ_BYTES, |length| length.min(RESERVE_BYTES_MAX) as usize + 1);
        into.reserve(expected);
        let end = loop {
            if filled == into.len() {
                if into.capacity() == into.len() {
                    into.reserve(READ_BYTES);
                }
                into.resize(into.capacity(), 0);
            }
            match self.read(&mut into[filled..]) {
                Ok(0) => break Ok(filled - before),
                Ok(count) => filled += count,
                Err(error) => break Err(error),
            }
        };
        into.truncate(filled);
        end
    }
}
