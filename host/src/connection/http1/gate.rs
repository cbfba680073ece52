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

use super::arrival::{Arrival, Stop};
use super::chunks::Chunks;
use super::clock::{Clocks, Timer, timed_out};
use super::head::{self, Framing};
use super::link::{Expected, Link};
use super::outbound::Outbound;
use super::refusal::Refusal;
use super::sentry::{Descriptor, Sentry, Sign};

/// What is read of a head at a time, and of a body. An idle connection holds neither.
const HEAD_READ_BYTES: usize = 4096;
const BODY_READ_BYTES: usize = 64 * 1024;

/// What is read while a response is under way, to see whether the client is still there.
const WATCH_BYTES: usize = 4096;

/// Room beyond `max_header_bytes` (Go: net/http.Server.initialReadLimitSize).
const HEAD_SLACK_BYTES: usize = 4096;

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
    arrival: Arrival,
    /// The client has ended its side of the stream.
    has_ended: bool,
    /// The client may still be sending when the connection closes.
    lingers: bool,
    timer: Timer,
    outbound: Outbound,
    /// Watches the client where no read does.
    sentry: Sentry,
    /// hyper has asked for more since the client was last looked at.
    is_read: bool,
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
            arrival: Arrival::new(ready),
            has_ended: false,
            lingers: false,
            timer: Timer::default(),
            sentry: Sentry::default(),
            is_read: false,
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
        is_idle.then(|| self.arrival.awaited_for())
    }

    // --- hyper's side

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, to: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        self.is_read = true;
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
                    self.sentry = Sentry::default();
                    self.arrival.await_next();
                }
                Place::Length(left) => {
                    if !self.received.is_empty() {
                        let count = pass(&mut self.received, &mut to, *left);
                        *left -= count;
                        return Poll::Ready(Ok(()));
                    }
                    let room = BODY_READ_BYTES.min(usize::try_from(*left).unwrap_or(BODY_READ_BYTES));
                    if ready!(self.poll_body_fill(cx, room))? == 0 {
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
                    if ready!(self.poll_body_fill(cx, BODY_READ_BYTES))? == 0 {
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

    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
        deadline: Option<Instant>,
    ) -> Poll<io::Result<usize>> {
        self.received.reserve(room);
        match poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.received) {
            Poll::Ready(Ok(0)) => {
                self.has_ended = true;
                self.link.set_stopped_sending();
                Poll::Ready(Ok(0))
            }
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => {
                if self.received.is_empty() {
                    self.received = BytesMut::new();
                }
                ready!(self.timer.poll(cx, deadline));
                Poll::Ready(Err(timed_out("the request took too long")))
            }
        }
    }

    fn poll_body_fill(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        if self.has_ended {
            return Poll::Ready(Ok(0));
        }
        let deadline = self.link.read_deadline();
        self.poll_fill(cx, room, deadline)
    }

    /// Reads until a head is complete, and moves on to its place; or to the end.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(len) = self.arrival.look(&mut self.received) {
                // Interim responses must not get between the pieces of the response before.
                ready!(self.outbound.poll_flushed());
                self.take_head(len);
                return Poll::Ready(Ok(()));
            }
            if self.received.len() > self.head_bytes_max {
                self.refuse(Refusal::HeadTooLarge);
                return Poll::Ready(Ok(()));
            }
            if self.has_ended {
                self.end(self.arrival.stopped(&self.received, Stop::End));
                return Poll::Ready(Ok(()));
            }
            let (deadline, reason) = self.arrival.deadline(&self.clocks);
            match ready!(self.poll_fill(cx, HEAD_READ_BYTES.max(self.received.len()), deadline)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    tracing::debug!(reason, "connection closed");
                    self.end(self.arrival.stopped(&self.received, Stop::Timeout));
                    return Poll::Ready(Ok(()));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn take_head(&mut self, len: usize) {
        let begun = self.arrival.take();
        if len > self.head_bytes_max {
            return self.refuse(Refusal::HeadTooLarge);
        }
        match head::check(self.received.split_to(len)) {
            Err(refusal) => self.refuse(refusal),
            Ok(head) => {
                if head.is_post {
                    self.arrival.expect_blanks();
                }
                let expected = Expected {
                    restored: head.restored,
                    expects_continue: head.expects_continue,
                    keep_alive: head.keep_alive,
                };
                let read_deadline = self.clocks.read.map(|limit| begun + limit);
                let write_deadline = self.clocks.write.map(|limit| Instant::now() + limit);
                self.link.begin(expected, read_deadline, write_deadline);
                self.outbound.begin();
                self.place = Place::Forward(head.bytes, head.framing);
            }
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

impl<S: AsyncRead + AsyncWrite + Unpin + Descriptor> Gate<S> {
    /// Looks after the client while a response is awaited: ready with the error when it has gone. One that has only
    /// ended its own side still gets its response.
    pub(super) fn poll_watch(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if matches!(self.place, Place::Head | Place::Forward(..)) {
            return Poll::Pending;
        }
        // With the request read to its end, what comes is little, and can be read ahead.
        while matches!(self.place, Place::Length(0)) && !self.has_ended && self.received.len() < WATCH_BYTES {
            match self.poll_fill(cx, WATCH_BYTES, None) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(error),
                Poll::Pending => return Poll::Pending,
            }
        }
        if std::mem::take(&mut self.is_read) && !self.has_ended {
            self.sentry.rest();
            return Poll::Pending;
        }
        let sign = self.sentry.poll(cx, &self.stream, self.has_ended);
        if self.sentry.has_seen_end() {
            self.link.set_stopped_sending();
        }
        match ready!(sign) {
            Sign::Gone => Poll::Ready(io::Error::new(io::ErrorKind::ConnectionReset, "the client has gone")),
            Sign::Silent => {
                if self.outbound.probe() {
                    // hyper flushes whenever it is polled, and that is what sends it.
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
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
