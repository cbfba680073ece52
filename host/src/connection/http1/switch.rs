//! What follows a `101 Switching Protocols` (RFC 9110 section 7.8): the connection belongs to the server behind the proxy,
//! byte for byte both ways, until either has had enough.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use http::{Response, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf, copy_bidirectional};

use super::outbound::Outbound;
use super::response::{Framing, Persistence, push_head};
use crate::recorded::Recorded;
use crate::stats::ServerStats;
use crate::upstream::TunnelIdle;

/// Sends the response and hands the connection over; says that there is no further request. `ahead` is what the client has sent behind its request.
pub(super) async fn switch<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    outbound: &mut Outbound,
    ahead: BytesMut,
    mut response: Response<Recorded>,
    stats: &ServerStats,
) -> io::Result<bool> {
    let upgraded = hyper::upgrade::on(&mut response);
    let idle = response.extensions().get::<TunnelIdle>().and_then(|idle| idle.0);
    // The body has nothing to give, but keeps the request on record and its connection busy.
    let (head, mut body) = response.into_parts();
    // The time for a response is none for what comes after it.
    outbound.begin(None);
    outbound.push_head(|out| {
        push_head(
            out,
            (Version::HTTP_11, head.status),
            &head.headers,
            Framing::Bodiless,
            Persistence::Upgrade,
        );
    });
    poll_fn(|cx| outbound.poll_flush(stream, cx)).await?;
    body.switched();
    stats.upgraded.increment();
    let _open = Open(stats);
    let ended = tunnel(stream, upgraded, ahead, &mut body, idle).await;
    if ended.is_err() {
        body.broken();
    }
    ended.map(|()| false)
}

/// Copies both ways until either side ends, or nothing moves for too long.
async fn tunnel<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    upgraded: OnUpgrade,
    ahead: BytesMut,
    body: &mut Recorded,
    idle: Option<Duration>,
) -> io::Result<()> {
    let upgraded = upgraded.await.map_err(io::Error::other)?;
    let mut upstream = TokioIo::new(upgraded);
    upstream.write_all(&ahead).await?;
    upstream.flush().await?;
    body.received(ahead.len());
    drop(ahead);
    let moved = Arc::new(AtomicU64::new(0));
    let mut client = Watched { stream, moved: Arc::clone(&moved), body };
    tokio::select! {
        copied = copy_bidirectional(&mut client, &mut upstream) => copied.map(drop),
        () = silence(&moved, idle) => {
            tracing::debug!(reason = "upgrade_idle_timeout", "connection closed");
            Ok(())
        }
    }
}

/// One of the connections that are tunnels.
struct Open<'s>(&'s ServerStats);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.upgraded.decrement();
    }
}

/// Ends when nothing has moved for so long, or up to twice as long.
async fn silence(moved: &AtomicU64, limit: Option<Duration>) {
    let Some(limit) = limit else { return std::future::pending().await };
    let mut before = moved.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(limit).await;
        let now = moved.load(Ordering::Relaxed);
        if now == before {
            return;
        }
        before = now;
    }
}

/// A client's stream that counts what moves on it.
struct Watched<'s, S> {
    stream: &'s mut S,
    moved: Arc<AtomicU64>,
    body: &'s mut Recorded,
}

impl<S> Watched<'_, S> {
    fn note<T>(&self, done: Poll<T>) -> Poll<T> {
        if done.is_ready() {
            self.moved.fetch_add(1, Ordering::Relaxed);
        }
        done
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut *self.stream).poll_read(cx, buf);
        self.body.received(buf.filled().len() - before);
        self.note(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(count)) = written {
            self.body.sent(count);
        }
        self.note(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }
}
