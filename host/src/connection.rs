//! One accepted socket and its requests: TLS if the server has it, then HTTP/1.1 or HTTP/2, told apart by the first bytes.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;

use self::handshake::handshake;
pub(crate) use self::http1::HEADERS_MAX;
use crate::config::ServerConfig;
use crate::dispatch::Dispatcher;
use crate::drain::Guard;
use crate::guest::Peer;
use crate::listener::Stream;
use crate::stats::ServerStats;
use crate::tls::Tls;

mod handshake;
mod http1;
mod http2;
mod socket;

/// What all connections of one server share.
#[derive(Debug)]
pub(crate) struct Connections {
    dispatcher: Arc<Dispatcher>,
    config: ServerConfig,
    tls: Option<Arc<Tls>>,
    stats: Arc<ServerStats>,
}

impl Connections {
    pub(crate) fn new(dispatcher: Arc<Dispatcher>, config: ServerConfig, tls: Option<Arc<Tls>>) -> Self {
        let stats = dispatcher.server(&config.name);
        Self { dispatcher, config, tls, stats }
    }

    /// Serves one connection to its end, or until it is idle and has to make room for another.
    pub(crate) async fn serve(self: Arc<Self>, stream: Stream, peer: Peer, guard: Guard) {
        let (activity, remote) = (Arc::clone(&peer.activity), peer.remote.clone());
        let _counted = Counted::begin(&self.stats);
        let served = pin!(self.serve_requests(stream, peer, guard));
        if with_rare(served, pin!(activity.is_shed()), || activity.is_asked()).await.is_none() {
            tracing::debug!(
                remote,
                "connection closed: idle, and `max_connections` or `max_connections_per_peer` is reached"
            );
        }
    }

    async fn serve_requests(self: Arc<Self>, stream: Stream, peer: Peer, mut guard: Guard) {
        let connected = match &self.tls {
            None => Some((stream, peer)),
            Some(tls) => {
                let timeout = self.config.tls_handshake_timeout;
                Box::pin(handshake(tls, stream, peer, timeout, &mut guard)).await
            }
        };
        let Some((mut stream, peer)) = connected else { return };
        let ready = Instant::now();
        let Some(first) = self.first_bytes(&mut stream, &mut guard, &peer.remote).await else { return };
        if first.starts_with(http2::PREFACE) {
            // Boxed, so that connections that are none of these have no room for it.
            Box::pin(http2::serve(self, stream, first.freeze(), peer, guard)).await;
        } else {
            http1::serve(self, stream, first, ready, peer, guard).await;
        }
    }

    /// Reads until it is clear which protocol the client speaks; `None` when it never says.
    async fn first_bytes(&self, stream: &mut Stream, guard: &mut Guard, remote: &str) -> Option<BytesMut> {
        let mut first = BytesMut::with_capacity(4096);
        let read = async {
            loop {
                if stream.read_buf(&mut first).await.ok()? == 0 {
                    return (!first.is_empty()).then_some(());
                }
                let seen = first.len().min(http2::PREFACE.len());
                if first[..seen] != http2::PREFACE[..seen] || seen == http2::PREFACE.len() {
                    return Some(());
                }
            }
        };
        tokio::select! {
            read = within(self.config.read_header_timeout, read) => match read {
                Some(read) => read?,
                None => {
                    tracing::debug!(remote, "connection closed: no request for `read_header_timeout`");
                    return None;
                }
            },
            () = guard.silence_is_over() => return None,
        }
        Some(first)
    }
}

/// An open connection; it is counted until this is dropped.
struct Counted(Arc<ServerStats>);

impl Counted {
    fn begin(stats: &Arc<ServerStats>) -> Self {
        stats.accepted.increment();
        stats.connections.increment();
        Self(Arc::clone(stats))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.decrement();
    }
}

/// Runs `served` to its end, or until `event`; `None` then. The event is polled once, so that it can wake this task, and
/// then only when `has_come` says so: what hardly ever happens costs a request one load.
async fn with_rare<T>(
    // Pinned by the caller: as an argument, a future has its size twice.
    mut served: Pin<&mut impl Future<Output = T>>,
    mut event: Pin<&mut impl Future<Output = ()>>,
    has_come: impl Fn() -> bool,
) -> Option<T> {
    let mut is_awaited = false;
    poll_fn(|cx| {
        if let Poll::Ready(done) = served.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        if std::mem::replace(&mut is_awaited, true) && !has_come() {
            return Poll::Pending;
        }
        event.as_mut().poll(cx).map(|()| None)
    })
    .await
}

/// As tokio's `timeout`, with a clock that may be off; `None` when time is up.
async fn within<T>(limit: Option<Duration>, future: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, future).await.ok(),
        None => Some(future.await),
    }
}
