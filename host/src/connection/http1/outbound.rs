//! The way out of the gate: what hyper writes, the few things that it cannot write, and the clocks on both.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::clock::{Timer, timed_out};
use super::link::{Awaited, Link};
use crate::activity::{Activity, Busy};
use crate::tempo::{Slow, Wait, after};

/// What every response, final or interim, begins with.
const HEAD_AHEAD: &[u8] = b"HTTP/1.";

/// What every chunk may begin with, the last one too (RFC 9112 section 7.1: `1*HEXDIG`, `1*("0")`).
const CHUNK_AHEAD: &[u8] = b"0";

/// How hyper ends a chunked body.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The writing half of one connection's gate.
#[derive(Debug)]
pub(super) struct Outbound {
    link: Link,
    stall: Duration,
    /// To be written before anything that hyper has.
    ours: BytesMut,
    /// hyper's end of a chunked body, kept back until trailers are put into it.
    held: BytesMut,
    /// Bytes of the next head that the client has already.
    ahead: usize,
    /// hyper has nothing that it has not written.
    is_flushed: bool,
    activity: Arc<Activity>,
    /// Since when the client takes nothing. It has not got all of its response, so the connection is busy.
    stalled: Option<(Instant, Busy)>,
    /// What it has taken of this response, and how slowly.
    wait: Wait,
    timer: Timer,
    /// The next head waits for the flush.
    is_awaited: bool,
}

impl Outbound {
    pub(super) fn new(link: Link, stall: Duration, activity: Arc<Activity>) -> Self {
        Self {
            link,
            stall,
            ours: BytesMut::new(),
            held: BytesMut::new(),
            ahead: 0,
            is_flushed: true,
            activity,
            stalled: None,
            wait: Wait::default(),
            timer: Timer::default(),
            is_awaited: false,
        }
    }

    /// Another response begins.
    pub(super) fn begin(&mut self) {
        self.wait = Wait::default();
    }

    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_ours(stream, cx))?;
        self.is_flushed = false;
        if self.ahead > 0 {
            let count = bufs.iter().find(|buf| !buf.is_empty()).map_or(0, |buf| buf.len().min(self.ahead));
            self.ahead -= count;
            return Poll::Ready(Ok(count));
        }
        if self.link.has_trailers() {
            // At most what hyper had buffered when the body ended.
            bufs.iter().for_each(|buf| self.held.extend_from_slice(buf));
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        self.poll_stream(stream, cx, |stream, cx| stream.poll_write_vectored(cx, bufs))
    }

    pub(super) fn poll_flush<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(trailers) = self.link.take_trailers() {
            let end = self.held.len().saturating_sub(if self.held.ends_with(LAST_CHUNK) { 2 } else { 0 });
            self.ours.extend_from_slice(&self.held[..end]);
            if end < self.held.len() {
                self.ours.extend_from_slice(&trailers);
                self.ours.extend_from_slice(b"\r\n");
            }
            self.held.clear();
        }
        ready!(self.poll_ours(stream, cx))?;
        // TLS keeps what the client does not take, and says so here only.
        let flushed = Pin::new(stream).poll_flush(cx);
        ready!(self.poll_clocked(cx, flushed, |()| 0))?;
        self.is_flushed = true;
        self.link.flushed();
        if std::mem::take(&mut self.is_awaited) {
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    /// Sends the beginning of what will be sent anyway, so that a client that has gone says so: its kernel answers with a
    /// reset. Who waits for its response gets it byte for byte as it would have been, or with a zero in front of the size
    /// of a chunk. Says whether there is anything that can be sent: not in the middle of a body of a known length.
    pub(super) fn probe(&mut self) -> bool {
        if !self.is_flushed || !self.ours.is_empty() || self.link.has_trailers() {
            // Something is on its way, and does as well.
            return false;
        }
        match self.link.awaited() {
            Awaited::Head => {
                self.ours.extend_from_slice(HEAD_AHEAD);
                self.ahead = HEAD_AHEAD.len();
            }
            Awaited::Chunk => self.ours.extend_from_slice(CHUNK_AHEAD),
            Awaited::Nothing => return false,
        }
        true
    }

    /// Ready when the response before is written. The waker of a pending poll is woken by the flush, which happens in
    /// the same task.
    pub(super) fn poll_flushed(&mut self) -> Poll<()> {
        self.is_awaited = !self.is_flushed;
        if self.is_flushed { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Interim responses go out in front of the response: hyper has written nothing of it if all is flushed. They are
    /// taken when those before are out, so that a handler cannot pile them up here.
    fn poll_ours<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.ours.is_empty() && self.is_flushed {
                self.ours = self.link.take_interim();
                let count = self.ahead.min(self.ours.len());
                self.ours.advance(count);
                self.ahead -= count;
            }
            if self.ours.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let ours = self.ours.split();
            let written = self.poll_stream(stream, cx, |stream, cx| stream.poll_write(cx, &ours));
            self.ours.unsplit(ours);
            self.ours.advance(ready!(written)?);
        }
    }

    /// Writes under the clocks: `write_timeout` for the response as a whole, `stall_timeout` for a client that takes
    /// nothing.
    fn poll_stream<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.link.write_deadline().is_some_and(|deadline| deadline <= Instant::now()) {
            return Poll::Ready(Err(late("write_timeout")));
        }
        let written = write(Pin::new(stream), cx);
        self.poll_clocked(cx, written, |&count| count)
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
        let (mut deadline, mut reason) = match self.link.write_deadline() {
            Some(deadline) if deadline < stalled => (deadline, Reason::Clock("write_timeout")),
            _ => (stalled, Reason::Clock("stall_timeout")),
        };
        if let Some((until, slow)) = self.link.tempo().map(|tempo| self.wait.until(&tempo))
            && until <= deadline
        {
            (deadline, reason) = (until, Reason::Handler(slow));
        }
        ready!(self.timer.poll(cx, Some(deadline)));
        Poll::Ready(Err(match reason {
            Reason::Clock(reason) => late(reason),
            Reason::Handler(slow) => {
                self.link.set_too_slow(slow);
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
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::super::link::Expected;
    use super::*;
    use crate::guest::ClientLink as _;

    const LONG: Duration = Duration::from_secs(3600);
    const STALL: Duration = Duration::from_millis(20);

    /// A client that takes so many bytes; TLS keeps what is beyond, or the kernel does not take it.
    #[derive(Default)]
    struct Client {
        taken: Vec<u8>,
        room: usize,
        is_tls: bool,
    }

    impl AsyncWrite for Client {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let count = if self.is_tls { buf.len() } else { buf.len().min(self.room) };
            self.taken.extend_from_slice(&buf[..count]);
            self.room = self.room.saturating_sub(count);
            if count == 0 { Poll::Pending } else { Poll::Ready(Ok(count)) }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.is_tls && self.room == 0 { Poll::Pending } else { Poll::Ready(Ok(())) }
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn write(outbound: &mut Outbound, client: &mut Client, text: &str) -> Poll<io::Result<usize>> {
        let mut cx = Context::from_waker(Waker::noop());
        outbound.poll_write(client, &mut cx, &[io::IoSlice::new(text.as_bytes())])
    }

    fn flush(outbound: &mut Outbound, client: &mut Client) -> Poll<io::Result<()>> {
        outbound.poll_flush(client, &mut Context::from_waker(Waker::noop()))
    }

    fn fields() -> HeaderMap {
        [(http::header::ETAG, HeaderValue::from_static("\"1\""))].into_iter().collect()
    }

    #[tokio::test]
    async fn interim_responses_never_get_into_a_response() {
        let link = Link::default();
        link.set_takes_interim(true);
        let (mut outbound, mut client) =
            (Outbound::new(link.clone(), LONG, Activity::new()), Client::default());
        let interim = "HTTP/1.1 103 Early Hints\r\netag: \"1\"\r\n\r\n";
        link.send_interim(StatusCode::EARLY_HINTS, &fields());
        client.room = 10;
        assert!(write(&mut outbound, &mut client, "final").is_pending(), "the interim one is in front");
        client.room = 1000;
        assert!(write(&mut outbound, &mut client, "final").is_ready());
        link.send_interim(StatusCode::EARLY_HINTS, &fields());
        assert!(write(&mut outbound, &mut client, " body").is_ready());
        assert!(flush(&mut outbound, &mut client).is_ready());
        assert_eq!(client.taken, format!("{interim}final body").as_bytes());
        assert!(flush(&mut outbound, &mut client).is_ready());
        assert_eq!(client.taken, format!("{interim}final body{interim}").as_bytes());
    }

    #[tokio::test]
    async fn trailers_are_put_into_the_empty_section() {
        let link = Link::default();
        let (mut outbound, mut client) =
            (Outbound::new(link.clone(), LONG, Activity::new()), Client::default());
        client.room = 1000;
        assert!(write(&mut outbound, &mut client, "2\r\nhi\r\n").is_ready());
        link.send_trailers(&fields());
        assert!(write(&mut outbound, &mut client, "0\r\n\r\n").is_ready());
        assert!(flush(&mut outbound, &mut client).is_ready());
        assert_eq!(client.taken, b"2\r\nhi\r\n0\r\netag: \"1\"\r\n\r\n");
    }

    #[tokio::test]
    async fn both_clocks_end_a_write() {
        let is_late = |written: &io::Result<usize>| {
            written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut)
        };
        let link = Link::default();
        let (mut stalling, mut client) =
            (Outbound::new(link.clone(), Duration::ZERO, Activity::new()), Client::default());
        let buf = [io::IoSlice::new(b"response")];
        assert!(is_late(&poll_fn(|cx| stalling.poll_write(&mut client, cx, &buf)).await));

        link.begin(Expected::default(), None, Some(Instant::now()));
        let (mut outbound, mut client) =
            (Outbound::new(link, LONG, Activity::new()), Client { room: 9, ..Client::default() });
        let written = write(&mut outbound, &mut client, "response");
        assert!(matches!(written, Poll::Ready(written) if is_late(&written)));
    }

    #[tokio::test]
    async fn what_tls_keeps_is_under_the_clocks() {
        let mut outbound = Outbound::new(Link::default(), STALL, Activity::new());
        let mut client = Client { is_tls: true, ..Client::default() };
        let bufs = [io::IoSlice::new(b"response")];
        assert_eq!(poll_fn(|cx| outbound.poll_write(&mut client, cx, &bufs)).await.unwrap(), 8);
        assert!(outbound.activity.idle_for().is_some());
        assert!(poll_fn(|cx| Poll::Ready(outbound.poll_flush(&mut client, cx))).await.is_pending());
        assert!(outbound.activity.idle_for().is_none(), "busy while the client has not got all");
        let flushed = poll_fn(|cx| outbound.poll_flush(&mut client, cx)).await;
        assert_eq!(flushed.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_flood_of_interim_responses_waits_for_the_client() {
        let link = Link::default();
        link.set_takes_interim(true);
        let mut outbound = Outbound::new(link.clone(), Duration::from_secs(600), Activity::new());
        let mut client = Client { room: 1, ..Client::default() };
        let mut headers = HeaderMap::new();
        headers.insert("x", HeaderValue::from_str(&"v".repeat(30_000)).unwrap());
        for _ in 0..1000 {
            link.send_interim(StatusCode::EARLY_HINTS, &headers);
            assert!(poll_fn(|cx| Poll::Ready(outbound.poll_flush(&mut client, cx))).await.is_pending());
            assert!(outbound.ours.len() < 128 * 1024, "{} bytes wait", outbound.ours.len());
        }
        client.room = usize::MAX;
        let bufs = [io::IoSlice::new(b"HTTP/1.1 200 OK\r\n\r\n")];
        poll_fn(|cx| outbound.poll_write(&mut client, cx, &bufs)).await.unwrap();
        let text = String::from_utf8(client.taken).unwrap();
        assert!(text.matches("HTTP/1.1 103 ").count() >= 2, "those that there was room for");
        assert!(text.ends_with("v\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), "in front of the response, and whole");
    }
}
