//! One accepted socket and its requests: HTTP/1.1, or HTTP/2 with prior knowledge, told apart by the first bytes.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::AsyncReadExt as _;

use self::socket::Socket;
use crate::config::ServerConfig;
use crate::dispatch::Dispatcher;
use crate::drain::{Guard, LEAVING_GRACE, Phase};
use crate::guest::Peer;
use crate::listener::Stream;
use crate::stall::StallLimit;

mod socket;

/// What an HTTP/2 client sends first (RFC 9113 section 3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Streams that one HTTP/2 client may have open.
const H2_STREAMS_MAX: u32 = 100;

/// An HTTP/2 client without requests has twice this long to take its leave.
const H2_GOODBYE: Duration = Duration::from_millis(500);

/// Header lines of one request (Go: net/http.Server.MaxHeaderValueCount).
pub(crate) const HEADERS_MAX: usize = 500;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Connections {
    dispatcher: Dispatcher,
    config: ServerConfig,
}

impl Connections {
    pub(crate) fn new(dispatcher: Dispatcher, config: ServerConfig) -> Self {
        Self { dispatcher, config }
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve(self: Arc<Self>, mut stream: Stream, peer: Peer, mut guard: Guard) {
        let Some(first) = self.first_bytes(&mut stream, &mut guard).await else { return };
        let is_h2 = first.starts_with(H2_PREFACE);
        let io = TokioIo::new(Socket::new(first, stream, self.config.stall_timeout));
        let stall = is_h2.then(|| StallLimit::new(self.config.stall_timeout));
        let peer = Arc::new(Peer { guard: Some(guard.clone()), stall: stall.clone(), ..peer });
        let service = {
            let (this, peer) = (Arc::clone(&self), Arc::clone(&peer));
            service_fn(move |request| {
                let (this, peer) = (Arc::clone(&this), Arc::clone(&peer));
                let begun = this.dispatcher.begin(&peer, &request);
                async move {
                    let mut response = this.dispatcher.call(&peer, request, begun).await;
                    if !is_h2 && peer.guard.as_ref().is_some_and(Guard::drain_has_begun) {
                        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                    }
                    Ok::<_, Infallible>(response)
                }
            })
        };
        let ended = match stall {
            Some(stall) => {
                self.drive_h2(self.http2().serve_connection(io, service), guard, peer, stall).await
            }
            None => drive(self.http1().serve_connection(io, service), guard, peer).await,
        };
        if let Err(error) = ended {
            // Resets, broken requests and broken-off responses: the request's own line says what matters.
            tracing::debug!("connection ended: {}", crate::error::chain(&error));
        }
    }

    /// Runs an HTTP/2 connection, which needs clocks that HTTP/1.1 has elsewhere: for being idle, for the goodbye of a
    /// client that does not answer, and for streams that it does not let us send.
    async fn drive_h2<C>(
        &self,
        connection: C,
        mut guard: Guard,
        peer: Arc<Peer>,
        stall: StallLimit,
    ) -> Result<(), C::Error>
    where
        C: GracefulConnection,
    {
        let mut connection = pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = guard.reached(Phase::Leaving) => {}
            () = idle(&peer, self.config.read_header_timeout) => {}
            () = stall.reached() => {
                tracing::debug!(remote = peer.remote, "closed: a stream was not read for `stall_timeout`");
                return Ok(());
            }
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = guard.reached(Phase::Closing) => Ok(()),
            () = idle(&peer, H2_GOODBYE) => Ok(()),
            () = stall.reached() => Ok(()),
        }
    }

    /// Reads until it is clear which protocol the client speaks; `None` when it never says.
    async fn first_bytes(&self, stream: &mut Stream, guard: &mut Guard) -> Option<Bytes> {
        let mut first = BytesMut::with_capacity(4096);
        let read = async {
            loop {
                if stream.read_buf(&mut first).await.ok()? == 0 {
                    return None;
                }
                let seen = first.len().min(H2_PREFACE.len());
                if first[..seen] != H2_PREFACE[..seen] || seen == H2_PREFACE.len() {
                    return Some(());
                }
            }
        };
        tokio::select! {
            read = tokio::time::timeout(self.config.read_header_timeout, read) => read.ok()??,
            () = guard.silence_is_over() => return None,
        }
        Some(first.freeze())
    }

    fn http1(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.config.read_header_timeout)
            .max_headers(HEADERS_MAX)
            .max_header_size(self.config.max_header_bytes as usize)
            .max_buf_size(self.config.max_header_bytes as usize);
        builder
    }

    fn http2(&self) -> http2::Builder<TokioExecutor> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(self.config.read_header_timeout)
            .keep_alive_timeout(self.config.read_header_timeout)
            .max_concurrent_streams(H2_STREAMS_MAX)
            .max_header_list_size(u32::try_from(self.config.max_header_bytes).unwrap_or(u32::MAX));
        builder
    }
}

/// Ends when a connection has no request under way at two looks, `limit` apart. Everything that serves one
/// holds the peer; beside that only the service does, and we.
async fn idle(peer: &Arc<Peer>, limit: Duration) {
    const WITHOUT_REQUESTS: usize = 2;
    let mut was_idle = false;
    loop {
        tokio::time::sleep(limit).await;
        let is_idle = Arc::strong_count(peer) <= WITHOUT_REQUESTS;
        if is_idle && was_idle {
            return;
        }
        was_idle = is_idle;
    }
}

/// Runs an HTTP/1.1 connection; when the drain begins it is closed as soon as it is idle, when time is up at once.
async fn drive<C>(connection: C, mut guard: Guard, peer: Arc<Peer>) -> Result<(), C::Error>
where
    C: GracefulConnection,
{
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = guard.reached(Phase::Leaving) => {}
    }
    // A client that reuses the connection may be sending a request at this very moment, and would take the end for a
    // failure. So its next response says that it is the last one; closing by ourselves is for clients that send nothing.
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = guard.reached(Phase::Draining) => {}
        () = idle(&peer, LEAVING_GRACE / 2) => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = guard.reached(Phase::Closing) => Ok(()),
    }
}
