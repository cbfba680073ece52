//! The reading half of an HTTP/1 connection: it always knows where a request begins and ends.
//!
//! A head is read until it is complete, then exactly the bytes of its body, then nothing until the response is out; so the
//! clocks of net/http hang on one place, and nothing behind a broken body is ever taken for a request.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

use super::arrival::{Arrival, Stop};
use super::chunks::{Chunks, Piece};
use super::clock::{Clocks, Timer, timed_out};
use super::head::{self, Framing, Head};
use super::refusal::Refusal;

/// What is read at a time of a head, and to see whether the client is still there while a response is under way.
const FEW_BYTES: usize = 4096;

/// What is read of a body at a time. An idle connection holds no room for it.
const BODY_READ_BYTES: usize = 64 * 1024;

/// With less room than this, more is made for a body.
const BODY_ROOM_BYTES: usize = 8 * 1024;

/// Room beyond `max_header_bytes` (Go: net/http.Server.initialReadLimitSize).
const HEAD_SLACK_BYTES: usize = 4096;

/// Where in the stream of requests the connection is.
#[derive(Debug)]
enum Place {
    /// Waiting for a head.
    Head,
    /// In a body, so many bytes before its end. With none, the request is read.
    Length(u64),
    Chunked(Chunks),
    /// Nothing more is read.
    Ended,
}

/// A part of a request body.
#[derive(Debug)]
pub(super) enum Part {
    Content(Bytes),
    /// Its end, with trailers if there are any.
    End(Option<HeaderMap>),
}

/// What a client sends.
#[derive(Debug)]
pub(super) struct Inbound {
    head_bytes_max: usize,
    /// Received, not passed on.
    received: BytesMut,
    place: Place,
    arrival: Arrival,
    /// Complete, and when it began, if that was not just now. It stays where it is until it is used: it is large.
    head: Option<(Head, Option<Instant>)>,
    /// The client has ended its side of the stream.
    has_ended: bool,
    /// The client may still be sending when the connection closes.
    lingers: bool,
    /// What the client is told when no further request is taken from it.
    refusal: Option<Refusal>,
    timer: Timer,
}

impl Inbound {
    /// A connection that was ready for HTTP at `ready`, and of which `first` was read already.
    pub(super) fn new(first: BytesMut, ready: Instant, max_header_bytes: usize) -> Self {
        Self {
            head_bytes_max: max_header_bytes + HEAD_SLACK_BYTES,
            received: first,
            place: Place::Head,
            arrival: Arrival::new(ready),
            head: None,
            has_ended: false,
            lingers: false,
            refusal: None,
            timer: Timer::default(),
        }
    }

    /// Whether nothing of the next request is there.
    pub(super) fn is_idle(&self) -> bool {
        self.received.is_empty()
    }

    /// Since when a request is awaited.
    pub(super) fn idle_since(&self) -> Instant {
        self.arrival.awaited_since()
    }

    /// Whether the request is read to its end.
    pub(super) fn is_read(&self) -> bool {
        matches!(self.place, Place::Length(0))
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// What the client is to be told at the end, if anything.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// Whether the client may be sending something that nobody will read.
    pub(super) fn is_sending(&self) -> bool {
        let is_in_body = matches!(self.place, Place::Length(1..) | Place::Chunked(_));
        (self.lingers || is_in_body || !self.received.is_empty()) && !self.has_ended
    }

    /// The response is out: from now on the next request is awaited.
    pub(super) fn await_next(&mut self) {
        self.place = Place::Head;
        self.arrival.await_next();
    }

    /// Reads until a head is complete, which is then to be taken; says `false` when there will be none: at `end`, or when a
    /// clock says so.
    pub(super) fn poll_head<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        clocks: &Clocks,
        end: Option<Instant>,
    ) -> Poll<io::Result<bool>> {
        loop {
            if let Some(len) = self.arrival.look(&mut self.received) {
                return Poll::Ready(Ok(self.accept(len)));
            }
            if self.received.len() > self.head_bytes_max {
                return Poll::Ready(Ok(self.refuse(Refusal::HeadTooLarge)));
            }
            if self.has_ended {
                return Poll::Ready(Ok(self.end(self.arrival.stopped(&self.received, Stop::End))));
            }
            let (limit, reason) = self.arrival.deadline(clocks);
            let is_ours = end.is_some_and(|end| limit.is_none_or(|limit| end <= limit));
            let deadline = if is_ours { end } else { limit };
            match ready!(self.poll_few(stream, cx, deadline)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    let refusal = self.arrival.stopped(&self.received, Stop::Timeout);
                    if is_ours {
                        return Poll::Ready(Ok(self.end(None)));
                    }
                    tracing::debug!(reason, "connection closed");
                    return Poll::Ready(Ok(self.end(refusal)));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// The head that has been read, and when it began to arrive; `None` when all of it came just now.
    pub(super) fn take_head(&mut self) -> Option<(Head, Option<Instant>)> {
        self.head.take()
    }

    fn accept(&mut self, len: usize) -> bool {
        let began = self.arrival.take();
        if len > self.head_bytes_max {
            return self.refuse(Refusal::HeadTooLarge);
        }
        // Mostly it is all there is, and need not be shared with what follows.
        let is_all = len == self.received.len();
        let head =
            if is_all { std::mem::take(&mut self.received) } else { self.received.split_to(len) }.freeze();
        match head::parse(&head) {
            Err(refusal) => self.refuse(refusal),
            Ok(head) => {
                if head.parts.method == http::Method::POST {
                    self.arrival.expect_blanks();
                }
                self.place = match head.framing {
                    Framing::Length(length) => Place::Length(length),
                    Framing::Chunked => Place::Chunked(Chunks::new()),
                };
                self.head = Some((head, began));
                true
            }
        }
    }

    fn refuse(&mut self, refusal: Refusal) -> bool {
        tracing::debug!("request refused: {refusal}");
        self.end(Some(refusal))
    }

    fn end(&mut self, refusal: Option<Refusal>) -> bool {
        self.lingers = refusal.is_some();
        self.refusal = refusal;
        self.place = Place::Ended;
        false
    }

    /// Reads on in the body. After an error nobody knows where the next request would begin, and none is looked for.
    pub(super) fn poll_part<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        deadline: Option<Instant>,
    ) -> Poll<io::Result<Part>> {
        let part = ready!(self.poll_body(stream, cx, deadline));
        if let Err(error) = &part {
            self.place = Place::Ended;
            self.lingers = true;
            if error.kind() == io::ErrorKind::TimedOut {
                tracing::debug!(reason = "read_timeout", "a request body is given up");
            }
        }
        Poll::Ready(part)
    }

    fn poll_body<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        deadline: Option<Instant>,
    ) -> Poll<io::Result<Part>> {
        loop {
            let room = match &mut self.place {
                Place::Length(0) => return Poll::Ready(Ok(Part::End(None))),
                Place::Length(left) if !self.received.is_empty() => {
                    let count = self.received.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= count as u64;
                    return Poll::Ready(Ok(Part::Content(self.received.split_to(count).freeze())));
                }
                Place::Length(left) => usize::try_from(*left).unwrap_or(usize::MAX).min(BODY_READ_BYTES),
                Place::Chunked(chunks) => match chunks.next(&self.received) {
                    Ok(Some(Piece::Framing(count))) => {
                        self.received.advance(count);
                        continue;
                    }
                    Ok(Some(Piece::Content(count))) => {
                        return Poll::Ready(Ok(Part::Content(self.received.split_to(count).freeze())));
                    }
                    Ok(Some(Piece::Trailers(count))) => {
                        let section = self.received.split_to(count).freeze();
                        self.place = Place::Length(0);
                        let fields = head::trailers(&section);
                        return Poll::Ready(Ok(Part::End(Some(fields).filter(|fields| !fields.is_empty()))));
                    }
                    Ok(None) => BODY_READ_BYTES,
                    Err(_) => return Poll::Ready(Err(broken("malformed chunked body"))),
                },
                Place::Head | Place::Ended => return Poll::Ready(Err(broken("there is no body"))),
            };
            let few = room.min(BODY_ROOM_BYTES);
            if self.has_ended || ready!(self.poll_fill(stream, cx, (few, room), deadline))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// With the request read to its end, what comes is little, and can be read ahead: that is how an end is noticed.
    pub(super) fn poll_ahead<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        while self.is_read() && !self.has_ended && self.received.len() < FEW_BYTES {
            match self.poll_few(stream, cx, None) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// Reads once what is a few bytes as a rule. They come by way of the stack: a buffer for all that could come would be made
    /// and dropped for each request.
    fn poll_few<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        deadline: Option<Instant>,
    ) -> Poll<io::Result<usize>> {
        let mut room = [MaybeUninit::uninit(); FEW_BYTES];
        let mut read = ReadBuf::uninit(&mut room);
        let polled = Pin::new(stream).poll_read(cx, &mut read);
        self.received.extend_from_slice(read.filled());
        self.after_read(polled.map_ok(|()| read.filled().len()), cx, deadline)
    }

    /// Reads once. With room for less than `few` bytes, it is made for `many`.
    fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        (few, many): (usize, usize),
        deadline: Option<Instant>,
    ) -> Poll<io::Result<usize>> {
        if self.received.capacity() - self.received.len() < few {
            self.received.reserve(many);
        }
        let polled = poll_read_buf(Pin::new(stream), cx, &mut self.received);
        self.after_read(polled, cx, deadline)
    }

    /// Passes on what became of a read, or `TimedOut` when there is nothing to read at the deadline.
    fn after_read(
        &mut self,
        polled: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
        deadline: Option<Instant>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(read) = polled {
            self.has_ended |= matches!(read, Ok(0));
            return Poll::Ready(read);
        }
        if self.received.is_empty() {
            self.received = BytesMut::new();
        }
        ready!(self.timer.poll(cx, deadline));
        Poll::Ready(Err(timed_out("the request took too long")))
    }

    /// What was received behind the request; nothing more is read here.
    pub(super) fn take_ahead(&mut self) -> BytesMut {
        self.place = Place::Ended;
        std::mem::take(&mut self.received)
    }

    /// Forgets what was received.
    pub(super) fn clear(&mut self) {
        self.received.clear();
    }
}

fn broken(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
