//! The writing half of an HTTP/1 connection: what waits to be written, and the clocks on it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::clock::{Timer, timed_out};
use super::response::push_chunk_size;
use crate::activity::{Activity, Busy};
use crate::guest::Take;
use crate::tempo::{Slow, Wait, after};

/// What every response, final or interim, begins with.
const HEAD_AHEAD: &[u8] = b"HTTP/1.";

/// What every chunk may begin with, the last one too (RFC 9112 section 7.1: `1*HEXDIG`, `1*("0")`).
const CHUNK_AHEAD: &[u8] = b"0";

/// Content up to this is copied behind its head, so that one write of one buffer sends both. With more, a write of several
/// parts costs less than the copy.
const COPIED_BYTES_MAX: usize = 4 * 1024;

/// A chunk's size and the ends of its two lines: 16 hexadecimal digits at most.
const CHUNK_LINES_BYTES: usize = 20;

/// With so much waiting, a handler that writes waits too.
const BUFFER_BYTES: usize = 16 * 1024;

/// What a buffer may keep while its connection waits for a request.
const KEPT_BYTES_MAX: usize = 1024;

/// What the client is to get next, as far as it is known before it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// Nobody knows.
    Nothing,
    /// The head of a response.
    Head,
    /// A chunk of its body, or the last one.
    Chunk,
}

/// What a client is to get.
#[derive(Debug)]
pub(super) struct Outbound {
    stall: Duration,
    buffer: Vec<u8>,
    /// Bytes of it that are written.
    written: usize,
    /// Goes behind the buffer, and the tail behind that.
    content: Bytes,
    tail: &'static [u8],
    /// Bytes of the next head that the client has already.
    ahead: usize,
    /// Everything has left, TLS included.
    is_flushed: bool,
    activity: Arc<Activity>,
    /// Since when the client takes nothing. It has not got all of its response, so the connection is busy.
    stalled: Option<(Instant, Busy)>,
    /// What it has taken of this response, and how slowly.
    wait: Wait,
    timer: Timer,
    /// Writing beyond this time fails.
    deadline: Option<Instant>,
    /// How slowly the client may take the response, if its handler says so.
    take: Option<Take>,
    is_too_slow: bool,
}

impl Outbound {
    pub(super) fn new(stall: Duration, activity: Arc<Activity>) -> Self {
        Self {
            stall,
            buffer: Vec::new(),
            written: 0,
            content: Bytes::new(),
            tail: b"",
            ahead: 0,
            is_flushed: true,
            activity,
            stalled: None,
            wait: Wait::default(),
            timer: Timer::default(),
            deadline: None,
            take: None,
            is_too_slow: false,
        }
    }

    /// Another response begins, for which there is time until `deadline`.
    pub(super) fn begin(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
        self.wait = Wait::default();
        self.take = None;
    }

    /// What follows is the final response, of which the client must take as much as this demands.
    pub(super) fn set_take(&mut self, take: Option<Take>) {
        self.take = take;
    }

    /// Whether the response was broken off because of its client.
    pub(super) fn is_too_slow(&self) -> bool {
        self.is_too_slow
    }

    /// Whether the client has got all there is.
    pub(super) fn is_flushed(&self) -> bool {
        self.is_flushed
    }

    /// Whether more may be put behind what waits.
    pub(super) fn has_room(&self) -> bool {
        self.content.is_empty() && self.tail.is_empty() && self.buffer.len() - self.written < BUFFER_BYTES
    }

    /// The buffer, for lines of the response's framing. To be asked for only when there is room.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        self.is_flushed = false;
        &mut self.buffer
    }

    /// Puts a head, which `push` writes, behind what waits.
    pub(super) fn push_head(&mut self, push: impl FnOnce(&mut Vec<u8>)) {
        let start = self.buffer.len();
        push(self.buffer());
        let ahead = self.ahead.min(self.buffer.len() - start);
        if ahead > 0 {
            self.buffer.drain(start..start + ahead);
            self.ahead -= ahead;
        }
    }

    /// Puts content behind what waits, as it is or as a chunk. To be called only when there is room.
    pub(super) fn push_content(&mut self, content: Bytes, is_chunked: bool) {
        self.is_flushed = false;
        let tail: &[u8] = if is_chunked { b"\r\n" } else { b"" };
        let is_copied = content.len() <= COPIED_BYTES_MAX;
        self.buffer.reserve(CHUNK_LINES_BYTES + if is_copied { content.len() } else { 0 });
        if is_chunked {
            push_chunk_size(&mut self.buffer, content.len());
        }
        if is_copied {
            self.buffer.extend_from_slice(&content);
            self.buffer.extend_from_slice(tail);
        } else {
            (self.content, self.tail) = (content, tail);
        }
    }

    /// Sends the beginning of what will be sent anyway, so that a client that has gone says so: its kernel answers with a
    /// reset. Who waits for its response gets it byte for byte as it would have been, or with a zero in front of the size
    /// of a chunk. Says whether there is anything that can be sent: not in the middle of a body of a known length.
    pub(super) fn probe(&mut self, awaited: Awaited) -> bool {
        if !self.is_flushed {
            // Something is on its way, and does as well.
            return false;
        }
        match awaited {
            Awaited::Head => {
                self.ahead = HEAD_AHEAD.len();
                self.buffer().extend_from_slice(HEAD_AHEAD);
            }
            Awaited::Chunk => self.buffer().extend_from_slice(CHUNK_AHEAD),
            Awaited::Nothing => return false,
        }
        true
    }

    /// Writes what waits, under the clocks: `write_timeout` for the response as a whole, `stall_timeout` for a client that
    /// takes nothing, and those of its handler.
    pub(super) fn poll_flush<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_flushed {
            return Poll::Ready(Ok(()));
        }
        if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Poll::Ready(Err(late("write_timeout")));
        }
        while self.waiting() > 0 {
            let stream = Pin::new(&mut *stream);
            let polled = if self.content.is_empty() && self.tail.is_empty() {
                stream.poll_write(cx, &self.buffer[self.written..])
            } else {
                let parts = [&self.buffer[self.written..], &self.content, self.tail];
                stream.poll_write_vectored(cx, &parts.map(io::IoSlice::new))
            };
            let count = ready!(self.poll_clocked(cx, polled, |&count| count))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(count);
        }
        // TLS keeps what the client does not take, and says so here only.
        let flushed = Pin::new(stream).poll_flush(cx);
        ready!(self.poll_clocked(cx, flushed, |()| 0))?;
        self.is_flushed = true;
        Poll::Ready(Ok(()))
    }

    fn waiting(&self) -> usize {
        self.buffer.len() - self.written + self.content.len() + self.tail.len()
    }

    fn advance(&mut self, mut count: usize) {
        let of_buffer = count.min(self.buffer.len() - self.written);
        self.written += of_buffer;
        count -= of_buffer;
        let of_content = count.min(self.content.len());
        self.content.advance(of_content);
        self.tail = &self.tail[(count - of_content).min(self.tail.len())..];
        if self.written == self.buffer.len() {
            self.written = 0;
            self.buffer.clear();
            self.buffer.shrink_to(KEPT_BYTES_MAX);
        }
        if self.content.is_empty() {
            self.content = Bytes::new();
        }
    }

    /// Passes on what became of a write or a flush, which has moved so many bytes, or `TimedOut` when a clock has run out
    /// over it.
    fn poll_clocked<T>(
        &mut self,
        cx: &mut Context<'_>,
        done: Poll<io::Result<T>>,
        count: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = done {
            self.stalled = None;
            self.wait.went_on(done.as_ref().map_or(0, count));
            return Poll::Ready(done);
        }
        let (since, _) = self.stalled.get_or_insert_with(|| (Instant::now(), self.activity.begin()));
        let stalled = after(*since, self.stall);
        let (mut deadline, mut reason) = match self.deadline {
            Some(deadline) if deadline < stalled => (deadline, Reason::Clock("write_timeout")),
            _ => (stalled, Reason::Clock("stall_timeout")),
        };
        if let Some((until, slow)) = self.take.as_ref().map(|take| self.wait.until(&take.tempo()))
            && until <= deadline
        {
            (deadline, reason) = (until, Reason::Handler(slow));
        }
        ready!(self.timer.poll(cx, Some(deadline)));
        Poll::Ready(Err(match reason {
            Reason::Clock(reason) => late(reason),
            Reason::Handler(slow) => {
                self.is_too_slow = true;
                if let Some(take) = &self.take {
                    take.hit(slow);
                }
                timed_out(TOO_SLOW)
            }
        }))
    }
}

/// Why a client has no more time.
enum Reason {
    /// A clock of the server.
    Clock(&'static str),
    /// A limit of the handler.
    Handler(Slow),
}

const TOO_SLOW: &str = "the client took too long to take its response";

fn late(reason: &'static str) -> io::Error {
    tracing::debug!(reason, "connection closed");
    timed_out(TOO_SLOW)
}

#[cfg(test)]
mod tests;
