//! One HTTP/1 connection (Go: net/http.conn): request, response, request, until one side has had enough.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Response, StatusCode, Version};
use http_body::{Body as _, Frame};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;

use super::clock::Clocks;
use super::head::{Framing as RequestFraming, Head};
use super::inbound::{Inbound, Part};
use super::link::Link;
use super::outbound::{Awaited, Outbound};
use super::response::{CONTINUE, Framing, push_head, push_last_chunk};
use super::sentry::{Descriptor, Sentry, Sign};
use super::settle::{Answer, DISCARD_BYTES_MAX, Facts, Settled, settle};
use super::switch::switch;
use super::upload::{self, Source};
use crate::connection::Connections;
use crate::drain::{Guard, LEAVING_GRACE, Phase};
use crate::guest::{BodyError, NetworkBody, Peer};
use crate::recorded::Recorded;

/// What a request whose head has begun to arrive has, once a drain has begun, to be there.
const DRAIN_HEAD_WAIT: Duration = Duration::from_secs(2);

/// For so long a client that may still be sending is read from before the connection is closed: closing at once would
/// make its kernel throw away the response (Go: net/http.rstAvoidanceDelay).
const LINGER: Duration = Duration::from_millis(500);

/// A connection, and where in its requests it is.
pub(super) struct Conn<S> {
    stream: S,
    inbound: Inbound,
    outbound: Outbound,
    clocks: Clocks,
    link: Link,
    guard: Guard,
    /// When the drain was noticed.
    draining: Option<Instant>,
    /// The body of the request, for as long as it is read for its handler.
    source: Option<Source>,
    /// Beyond this time it is not.
    read_deadline: Option<Instant>,
    /// The client waits to be asked for it.
    owes_continue: bool,
    /// The stream is being read, which shows when the client goes.
    is_reading: bool,
    awaited: Awaited,
    /// Watches the client where no read does.
    sentry: Sentry,
}

/// How far the body of a response has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Filled {
    /// All of it was put out.
    Whole,
    /// There is no room for more.
    Full,
    /// The handler has no more yet.
    Waits,
    /// There will be no more, though there ought to be.
    Broken,
}

impl<S: AsyncRead + AsyncWrite + Descriptor + Unpin> Conn<S> {
    /// A connection that was ready for HTTP at `ready`, and of which `first` was read already.
    pub(super) fn new(
        stream: S,
        (first, ready): (BytesMut, Instant),
        server: &Connections,
        peer: &Peer,
        (link, guard): (Link, Guard),
    ) -> Self {
        let clocks = Clocks::new(&server.config);
        Self {
            stream,
            inbound: Inbound::new(first, ready, server.config.max_header_bytes as usize),
            outbound: Outbound::new(clocks.stall, Arc::clone(&peer.activity)),
            clocks,
            link,
            guard,
            draining: None,
            source: None,
            read_deadline: None,
            owes_continue: false,
            is_reading: false,
            awaited: Awaited::Nothing,
            sentry: Sentry::default(),
        }
    }

    /// Serves requests until there are no more. Says whether the connection is worth closing in peace.
    pub(super) async fn serve(&mut self, server: &Connections, peer: &Arc<Peer>) -> bool {
        loop {
            let exchanged = match poll_fn(|cx| self.poll_request(cx)).await {
                // Boxed: a connection without a request has no room for one.
                Ok(true) => Box::pin(self.exchange(server, peer)).await,
                Ok(false) => return true,
                Err(error) => Err(error),
            };
            match exchanged {
                Ok(true) => self.inbound.await_next(),
                Ok(false) => return true,
                Err(error) => {
                    // Broken-off requests and responses: the request's own line says what matters.
                    tracing::debug!("connection ended: {error}");
                    return error.kind() != io::ErrorKind::ConnectionReset;
                }
            }
        }
    }

    /// Waits for a request, as long as the clocks and the drain allow.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let end = self.end_of_patience();
        self.inbound.poll_head(&mut self.stream, cx, &self.clocks, end)
    }

    /// When a drain ends the wait for a request. A client that reuses the connection may be sending one at this very
    /// moment, and would take the end for a failure: it has a while, and its response says that it is the last.
    fn end_of_patience(&mut self) -> Option<Instant> {
        if !self.guard.drain_has_begun() {
            return None;
        }
        let is_idle = self.inbound.is_idle();
        match self.guard.phase() {
            Phase::Running => None,
            Phase::Leaving => is_idle.then(|| self.inbound.idle_since() + LEAVING_GRACE),
            Phase::Draining | Phase::Closing => {
                let since = *self.draining.get_or_insert_with(Instant::now);
                Some(if is_idle { since } else { since + DRAIN_HEAD_WAIT })
            }
        }
    }

    /// Answers one request; says whether there may be another.
    async fn exchange(&mut self, server: &Connections, peer: &Arc<Peer>) -> io::Result<bool> {
        let Some((head, began)) = self.inbound.take_head() else { return Ok(false) };
        let (now, Head { parts, framing, expects_continue, keep_alive }) = (Instant::now(), head);
        let facts = Facts {
            version: parts.version,
            is_head: parts.method == Method::HEAD,
            expects_continue,
            keep_alive,
        };
        self.link.begin(facts.version == Version::HTTP_11, expects_continue);
        self.outbound.begin(self.clocks.write.map(|limit| now + limit));
        self.read_deadline = self.clocks.read.map(|limit| began.unwrap_or(now) + limit);
        (self.owes_continue, self.awaited) = (expects_continue, Awaited::Head);
        self.sentry = Sentry::default();
        let body = match framing {
            RequestFraming::Length(0) => NetworkBody::none(),
            _ => {
                let (source, upload) = upload::pair(framing);
                self.source = Some(source);
                NetworkBody::new(upload)
            }
        };
        let begun = server.dispatcher.begin(peer, &parts, now.into_std());
        let (drain, mut answer) = (self.guard.begun(), None);
        {
            let answered = pin!(async {
                let request = body.clone();
                let response = server.dispatcher.call(&server.stats, peer, parts, request, begun).await;
                let settled = settle(Answer::of(&response, &facts), &body, facts, drain.get()).await;
                // Not the result of the future, which would move it several times.
                answer = Some((response, settled));
            });
            self.wait_for(answered).await?;
        }
        let Some((response, settled)) = answer else { return Ok(false) };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let (stream, ahead) = (&mut self.stream, self.inbound.take_ahead());
            return switch(stream, &mut self.outbound, ahead, response, &server.stats).await;
        }
        self.send(response, settled).await?;
        self.awaited = Awaited::Nothing;
        Ok(!settled.closes && self.skip_rest().await)
    }

    /// Runs the handler until it has a response.
    async fn wait_for(&mut self, mut answered: Pin<&mut impl Future<Output = ()>>) -> io::Result<()> {
        poll_fn(|cx| {
            loop {
                if answered.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Ok(()));
                }
                ready!(self.poll_between(cx))?;
            }
        })
        .await
    }

    /// Sends a response, running its handler as far as there is room for what it writes.
    async fn send(&mut self, response: Response<Recorded>, settled: Settled) -> io::Result<()> {
        if let Some(interim) = self.link.answered() {
            self.outbound.push_head(|out| out.extend_from_slice(&interim));
        }
        let (head, body) = response.into_parts();
        let first_line = (settled.version, head.status);
        self.outbound.set_take(body.take());
        self.outbound.push_head(|out| {
            push_head(out, first_line, &head.headers, settled.framing, settled.persistence);
        });
        self.awaited = if settled.framing == Framing::Chunked { Awaited::Chunk } else { Awaited::Nothing };
        let (mut body, mut framing, mut filled) = (Some(body), settled.framing, Filled::Full);
        let sent = poll_fn(|cx| {
            loop {
                if let Filled::Full | Filled::Waits = filled {
                    filled = self.poll_fill(cx, &mut body, &mut framing);
                }
                let flushed = self.outbound.poll_flush(&mut self.stream, cx)?;
                match filled {
                    Filled::Whole if flushed.is_ready() => return Poll::Ready(Ok(())),
                    Filled::Broken if flushed.is_ready() => {
                        return Poll::Ready(Err(io::Error::other("a response broke off")));
                    }
                    Filled::Full if flushed.is_ready() => continue,
                    _ => ready!(self.poll_between(cx))?,
                }
            }
        })
        .await;
        if self.outbound.is_too_slow()
            && let Some(body) = &mut body
        {
            body.break_off();
        }
        sent
    }

    /// Puts out of a body what there is room for, and drops it with its end. The framing's length is what is left.
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        slot: &mut Option<Recorded>,
        framing: &mut Framing,
    ) -> Filled {
        loop {
            let Some(body) = slot else { return Filled::Whole };
            if matches!(framing, Framing::Bodiless | Framing::Length(0)) {
                *slot = None;
                return Filled::Whole;
            }
            if !self.outbound.has_room() {
                return Filled::Full;
            }
            let (frame, is_chunked) = (Pin::new(body).poll_frame(cx), *framing == Framing::Chunked);
            let trailers = match frame {
                Poll::Pending => return Filled::Waits,
                Poll::Ready(Some(Err(_))) => {
                    *slot = None;
                    // Without an end, the client knows; where the connection's end is the end, nothing helps.
                    return Filled::Broken;
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(content) => {
                        self.push(content, framing);
                        continue;
                    }
                    Err(frame) => frame.into_trailers().ok(),
                },
                Poll::Ready(None) => None,
            };
            *slot = None;
            if is_chunked {
                push_last_chunk(self.outbound.buffer(), trailers.as_ref());
            }
            return if let Framing::Length(1..) = framing { Filled::Broken } else { Filled::Whole };
        }
    }

    fn push(&mut self, mut content: Bytes, framing: &mut Framing) {
        if let Framing::Length(left) = framing {
            content.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= content.len() as u64;
        }
        if !content.is_empty() {
            self.outbound.push_content(content, *framing == Framing::Chunked);
        }
    }

    /// What a connection does while a handler is at work. Ready when that may go on because of it.
    fn poll_between(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.outbound.is_flushed()
                && let Some(interim) = self.link.take_interim()
            {
                self.outbound.push_head(|out| out.extend_from_slice(&interim));
            }
            self.is_reading = false;
            if let Poll::Ready(()) = self.poll_upload(cx) {
                return Poll::Ready(Ok(()));
            }
            if !self.outbound.is_flushed() {
                ready!(self.outbound.poll_flush(&mut self.stream, cx))?;
                // A handler may be waiting for just that.
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_watch(cx))?;
        }
    }

    /// Reads a part of the request's body, if the handler waits for one.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(source) = &self.source else { return Poll::Pending };
        ready!(source.poll_wanted(cx));
        if std::mem::take(&mut self.owes_continue) && self.awaited == Awaited::Head {
            self.outbound.push_head(|out| out.extend_from_slice(CONTINUE));
        }
        self.is_reading = true;
        match ready!(self.inbound.poll_part(&mut self.stream, cx, self.read_deadline)) {
            Ok(Part::Content(content)) => source.give(Frame::data(content)),
            Ok(Part::End(Some(trailers))) => source.give(Frame::trailers(trailers)),
            Ok(Part::End(None)) => source.end(Ok(())),
            Err(_) => source.end(Err(BodyError::Broken)),
        }
        if self.inbound.is_read() {
            source.end(Ok(()));
            self.source = None;
        }
        Poll::Ready(())
    }

    /// Looks after the client while a response is awaited: ready with an error when it has gone. One that has only ended
    /// its own side still gets its response. Ready without when there is something to be sent to it.
    fn poll_watch(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inbound.poll_ahead(&mut self.stream, cx)?;
        let has_ended = self.inbound.has_ended();
        if has_ended {
            self.link.set_stopped_sending();
        }
        if self.is_reading && !has_ended {
            self.sentry.rest();
            return Poll::Pending;
        }
        let sign = self.sentry.poll(cx, &self.stream, has_ended);
        if self.sentry.has_seen_end() {
            self.link.set_stopped_sending();
        }
        match ready!(sign) {
            Sign::Gone => {
                let gone = io::Error::new(io::ErrorKind::ConnectionReset, "the client has gone");
                Poll::Ready(Err(gone))
            }
            Sign::Silent if self.outbound.probe(self.awaited) => Poll::Ready(Ok(())),
            Sign::Silent => Poll::Pending,
        }
    }

    /// The response is out: what its handler has not read of the request is in the next one's way. Says whether it is gone.
    async fn skip_rest(&mut self) -> bool {
        self.source = None;
        if self.inbound.is_read() {
            return true;
        }
        // Without a limit on reading, a client that sends nothing more is one that is idle.
        let deadline = self.read_deadline.or_else(|| self.clocks.idle.map(|limit| Instant::now() + limit));
        let mut left = DISCARD_BYTES_MAX;
        while !self.inbound.is_read() {
            let part = poll_fn(|cx| self.inbound.poll_part(&mut self.stream, cx, deadline)).await;
            let content = match part {
                Ok(Part::Content(content)) => content.len() as u64,
                Ok(Part::End(_)) => 0,
                Err(_) => return false,
            };
            let Some(rest) = left.checked_sub(content) else { return false };
            left = rest;
        }
        true
    }

    /// Closes the connection so that the client gets all that was written, and the refusal if there is one.
    pub(super) async fn close(mut self, server: &Connections) {
        let is_sending = self.inbound.is_sending();
        let farewell = async {
            if let Some(refusal) = self.inbound.refusal() {
                server.stats.unrouted.refused(refusal.status());
                self.stream.write_all(refusal.response().as_bytes()).await?;
            }
            self.stream.shutdown().await?;
            self.inbound.clear();
            let mut ignored = [0; 4096];
            while is_sending && self.stream.read(&mut ignored).await? > 0 {}
            Ok::<_, io::Error>(())
        };
        // The client has had its time; what goes wrong now changes nothing.
        let _ = tokio::time::timeout(LINGER, farewell).await;
    }
}
