//! The socket of an HTTP/1 connection as hyper gets to see it: one checked request at a time.
//!
//! hyper reads from the gate, and gets a head only when it is complete and acceptable, then exactly the bytes of its
//! body, then nothing until its response is out. So there is one place that knows where a request begins and ends:
//! the clocks of net/http hang on it, and nothing behind a broken body is ever taken for a request.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use hyper::rt::ReadBufCursor;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

use super::chunks::Chunks;
use super::clock::{Clocks, Timer, timed_out};
use super::head::{self, Framing};
use super::link::{Expected, Link};
use super::outbound::Outbound;
use super::refusal::Refusal;

/// What is read ahead of a body, at most.
const READ_BYTES: usize = 16 * 1024;

/// What is read while a response is under way, to see whether the client is still there.
const WATCH_BYTES: usize = 4096;

/// Room beyond `max_header_bytes` (Go: net/http.Server.initialReadLimitSize).
const HEAD_SLACK_BYTES: usize = 4096;

/// Empty lines that are skipped behind a POST, in bytes (Go: net/http.conn.readRequest).
const BLANK_BYTES_MAX: usize = 4;

/// The next request has begun when this much of it is there (net/http peeks as much).
const BEGUN_BYTES: usize = 4;

/// For so long a client that may still be sending is read from before the connection is closed: closing at once would
/// make its kernel throw away the response (Go: net/http.rstAvoidanceDelay).
const LINGER: Duration = Duration::from_millis(500);

/// Where in the stream of requests the gate is.
#[derive(Debug)]
enum Place {
    /// Waiting for a head.
    Head,
    /// A head on its way to hyper.
    Forward(Bytes, Framing),
    /// In a body, so many bytes before its end. With none, the response is awaited.
    Length(u64),
    /// In a chunked body; so many bytes of what was received are checked.
    Chunked(Chunks, usize),
    /// Nothing more is read.
    Ended,
}

/// The gate of one connection.
#[derive(Debug)]
pub(super) struct Gate<S> {
    stream: S,
    link: Link,
    clocks: Clocks,
    head_bytes_max: usize,
    /// Received, not passed on.
    received: BytesMut,
    place: Place,
    /// Bytes of `received` that hold no end of a head.
    searched: usize,
    /// Since when a request is awaited.
    idle_since: Instant,
    /// Since when a head is being read.
    begun: Option<Instant>,
    /// Bytes of empty lines that may still be skipped.
    blanks: usize,
    /// The client has ended its side of the stream.
    has_ended: bool,
    /// The client may still be sending when the connection closes.
    lingers: bool,
    timer: Timer,
    outbound: Outbound,
    refusal: Option<Refusal>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Gate<S> {
    /// A gate for a connection that was ready for HTTP at `ready`, and of which `first` was read already.
    pub(super) fn new(
        stream: S,
        first: BytesMut,
        ready: Instant,
        link: Link,
        clocks: Clocks,
        max_header_bytes: usize,
        outbound: Outbound,
    ) -> Self {
        Self {
            stream,
            outbound,
            link,
            clocks,
            head_bytes_max: max_header_bytes + HEAD_SLACK_BYTES,
            received: first,
            place: Place::Head,
            searched: 0,
            idle_since: ready,
            begun: Some(ready),
            blanks: 0,
            has_ended: false,
            lingers: false,
            timer: Timer::default(),
            refusal: None,
        }
    }

    /// Whether the next request has begun to arrive, but hyper does not know of it.
    pub(super) fn is_mid_head(&self) -> bool {
        matches!(self.place, Place::Head) && !self.received.is_empty()
    }

    /// For how long no request has been under way; `None` when one is.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        let is_idle = matches!(self.place, Place::Head) && self.received.is_empty();
        is_idle.then(|| self.idle_since.elapsed())
    }

    // --- hyper's side

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, to: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let read = ready!(self.poll_pass(cx, to));
        if let Err(error) = &read {
            // Nobody knows where the next request would begin.
            self.place = Place::Ended;
            self.lingers = true;
            if error.kind() == io::ErrorKind::TimedOut {
                tracing::debug!(reason = "read_timeout", "a request body is given up");
            }
        }
        Poll::Ready(read)
    }

    fn poll_pass(&mut self, cx: &mut Context<'_>, mut to: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.place {
                Place::Ended => return Poll::Ready(Ok(())),
                Place::Head => ready!(self.poll_head(cx))?,
                Place::Forward(bytes, framing) => {
                    let count = bytes.len().min(to.remaining());
                    to.put_slice(&bytes[..count]);
                    bytes.advance(count);
                    if bytes.is_empty() {
                        self.place = match *framing {
                            Framing::Length(length) => Place::Length(length),
                            Framing::Chunked => Place::Chunked(Chunks::new(), 0),
                        };
                    }
                    return Poll::Ready(Ok(()));
                }
                // hyper asks for more than this request: its response is out.
                Place::Length(0) => {
                    self.place = Place::Head;
                    self.idle_since = Instant::now();
                }
                Place::Length(left) => {
                    if !self.received.is_empty() {
                        let count = pass(&mut self.received, &mut to, *left);
                        *left -= count;
                        return Poll::Ready(Ok(()));
                    }
                    if ready!(self.poll_body_fill(cx))? == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                Place::Chunked(chunks, checked) => {
                    if *checked == 0 {
                        *checked = chunks.advance(&self.received).map_err(|_| {
                            io::Error::new(io::ErrorKind::InvalidData, "malformed chunked body")
                        })?;
                    }
                    if *checked > 0 {
                        *checked -= pass(&mut self.received, &mut to, *checked as u64) as usize;
                        if *checked == 0 && chunks.is_done() {
                            self.place = Place::Length(0);
                        }
                        return Poll::Ready(Ok(()));
                    }
                    if ready!(self.poll_body_fill(cx))? == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.outbound.poll_write(&mut self.stream, cx, bufs)
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbound.poll_flush(&mut self.stream, cx)
    }

    // --- the driver's side

    /// Reads ahead while a response is awaited: ready with the error when the connection has broken off. A client that
    /// has only ended its own side is noted; it still gets its response.
    pub(super) fn poll_watch(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        while matches!(self.place, Place::Length(0)) && !self.has_ended && self.received.len() < WATCH_BYTES {
            if let Err(error) = ready!(self.poll_fill(cx, None)) {
                return Poll::Ready(error);
            }
        }
        Poll::Pending
    }

    /// Closes the connection so that the client gets all that was written, and the refusal if there is one.
    pub(super) async fn close(mut self) {
        let is_in_body = matches!(self.place, Place::Forward(..) | Place::Length(1..) | Place::Chunked(..));
        let is_sending = (self.lingers || is_in_body || !self.received.is_empty()) && !self.has_ended;
        let farewell = async {
            if let Some(refusal) = self.refusal {
                self.stream.write_all(refusal.response().as_bytes()).await?;
            }
            self.stream.shutdown().await?;
            self.received.clear();
            while is_sending && self.stream.read_buf(&mut self.received).await? > 0 {
                self.received.clear();
            }
            Ok::<_, io::Error>(())
        };
        // The client has had its time; what goes wrong now changes nothing.
        let _ = tokio::time::timeout(LINGER, farewell).await;
    }

    // --- reading

    fn poll_fill(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<io::Result<usize>> {
        self.received.reserve(READ_BYTES.min(self.received.len().max(READ_BYTES / 4)));
        match poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.received) {
            Poll::Ready(Ok(0)) => {
                self.has_ended = true;
                self.link.set_stopped_sending();
                Poll::Ready(Ok(0))
            }
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => {
                ready!(self.timer.poll(cx, deadline));
                Poll::Ready(Err(timed_out("the request took too long")))
            }
        }
    }

    fn poll_body_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.has_ended {
            return Poll::Ready(Ok(0));
        }
        let deadline = self.link.read_deadline();
        self.poll_fill(cx, deadline)
    }

    /// Reads until a head is complete, and moves on to its place; or to the end.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.skip_blanks();
            if self.begun.is_none() && self.received.len() >= BEGUN_BYTES {
                self.begun = Some(Instant::now());
            }
            if let Some(len) = self.head_end() {
                // Interim responses must not get between the pieces of the response before.
                ready!(self.outbound.poll_flushed(cx));
                self.take_head(len);
                return Poll::Ready(Ok(()));
            }
            if self.received.len() > self.head_bytes_max {
                self.refuse(Refusal::HeadTooLarge);
                return Poll::Ready(Ok(()));
            }
            if self.has_ended {
                self.end(self.torn(true));
                return Poll::Ready(Ok(()));
            }
            let (deadline, reason) = self.head_deadline();
            match ready!(self.poll_fill(cx, deadline)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    tracing::debug!(reason, "connection closed");
                    self.end(self.torn(false));
                    return Poll::Ready(Ok(()));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// What is answered to what stops before the end of a head; nothing while no request has begun.
    fn torn(&self, at_end: bool) -> Option<Refusal> {
        let has_begun = self.begun.is_some() && !self.received.is_empty();
        has_begun.then(|| torn(&self.received, at_end)).flatten()
    }

    /// Behind a POST, old clients send an empty line that they do not count (RFC 9112 section 2.2).
    fn skip_blanks(&mut self) {
        while self.blanks > 0 && matches!(self.received.first(), Some(b'\r' | b'\n')) {
            self.received.advance(1);
            self.blanks -= 1;
        }
        if !self.received.is_empty() {
            self.blanks = 0;
        }
    }

    /// The length of the head, if all of it is there. Looks at each byte once, in however small pieces they come.
    fn head_end(&mut self) -> Option<usize> {
        while let Some(line_len) = self.received[self.searched..].iter().position(|&byte| byte == b'\n') {
            let end = self.searched + line_len;
            self.searched = end + 1;
            let before = self.received[..end].strip_suffix(b"\r").unwrap_or(&self.received[..end]);
            if before.is_empty() || before.ends_with(b"\n") {
                self.searched = 0;
                return Some(end + 1);
            }
        }
        self.searched = self.received.len();
        None
    }

    fn take_head(&mut self, len: usize) {
        let begun = self.begun.take().unwrap_or_else(Instant::now);
        if len > self.head_bytes_max {
            return self.refuse(Refusal::HeadTooLarge);
        }
        match head::check(self.received.split_to(len)) {
            Err(refusal) => self.refuse(refusal),
            Ok(head) => {
                let expected = Expected {
                    restored: head.restored,
                    expects_continue: head.expects_continue,
                    keep_alive: head.keep_alive,
                };
                let read_deadline = self.clocks.read.map(|limit| begun + limit);
                let write_deadline = self.clocks.write.map(|limit| Instant::now() + limit);
                self.link.begin(expected, read_deadline, write_deadline);
                self.blanks = if head.is_post { BLANK_BYTES_MAX } else { 0 };
                self.place = Place::Forward(head.bytes, head.framing);
            }
        }
    }

    /// Until when the head has to be there, and the name of that limit.
    fn head_deadline(&self) -> (Option<Instant>, &'static str) {
        let Some(begun) = self.begun else {
            return (self.clocks.idle.map(|limit| self.idle_since + limit), "idle_timeout");
        };
        let limits = [(self.clocks.read_header, "read_header_timeout"), (self.clocks.read, "read_timeout")];
        let set = limits.into_iter().filter_map(|(limit, name)| Some((limit?, name)));
        match set.min_by_key(|(limit, _)| *limit) {
            Some((limit, name)) => (Some(begun + limit), name),
            None => (None, ""),
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        tracing::debug!("request refused: {refusal}");
        self.end(Some(refusal));
    }

    fn end(&mut self, refusal: Option<Refusal>) {
        self.lingers = refusal.is_some();
        self.refusal = refusal;
        self.place = Place::Ended;
    }
}

/// Passes on at most `limit` of the received bytes; says how many.
fn pass(received: &mut BytesMut, to: &mut ReadBufCursor<'_>, limit: u64) -> u64 {
    let room = received.len().min(to.remaining()) as u64;
    let count = room.min(limit) as usize;
    to.put_slice(&received[..count]);
    received.advance(count);
    count as u64
}

/// What is answered to a head that stops in the middle: nothing where nothing is wrong with what came, as net/http
/// does, which parses the line at which it stopped. `at_end` tells the end of the stream from the end of patience.
fn torn(received: &[u8], at_end: bool) -> Option<Refusal> {
    let (is_first, line) = match received.iter().rposition(|&byte| byte == b'\n') {
        Some(end) => (false, &received[end + 1..]),
        None => (true, received),
    };
    let is_fine = match is_first {
        true => line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0"),
        false => line.is_empty() || line.contains(&b':') && !line.ends_with(b"\r"),
    };
    if is_fine && !at_end { None } else { Some(Refusal::Malformed) }
}
