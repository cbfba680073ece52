//! HTTP/2 on one connection: hyper's settings, the clocks that HTTP/1.1 has elsewhere, and the way down.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;

use super::socket::Socket;
use crate::config::ServerConfig;
use crate::dispatch::Dispatcher;
use crate::drain::{Guard, Phase};
use crate::guest::{NetworkBody, Peer};
use crate::listener::Stream;
use crate::stall::StallLimit;

/// What an HTTP/2 client sends first (RFC 9113 section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Streams that one client may have open.
const STREAMS_MAX: u32 = 100;

/// A client without requests has twice this long to take its leave.
const GOODBYE: Duration = Duration::from_millis(500);

/// Serves a connection of which `first` was read already.
pub(super) async fn serve(
    stream: Stream,
    first: Bytes,
    config: &ServerConfig,
    dispatcher: &Arc<Dispatcher>,
    peer: Peer,
    guard: Guard,
) {
    let io = TokioIo::new(Socket::new(first, stream, config.stall_timeout));
    let stall = StallLimit::new(config.stall_timeout);
    let peer = Arc::new(Peer { guard: Some(guard.clone()), stall: Some(stall.clone()), ..peer });
    let service = {
        let (dispatcher, peer) = (Arc::clone(dispatcher), Arc::clone(&peer));
        service_fn(move |request: Request<Incoming>| {
            let (dispatcher, peer) = (Arc::clone(&dispatcher), Arc::clone(&peer));
            let request = request.map(NetworkBody::new);
            let begun = dispatcher.begin(&peer, &request);
            async move { Ok::<_, Infallible>(dispatcher.call(&peer, request, begun).await) }
        })
    };
    let connection = builder(config).serve_connection(io, service);
    if let Err(error) = drive(connection, config.read_header_timeout, guard, peer, stall).await {
        // Resets and broken-off responses: the request's own line says what matters.
        tracing::debug!("connection ended: {}", crate::error::chain(&error));
    }
}

/// How hyper speaks HTTP/2 with the clients of a server.
fn builder(config: &ServerConfig) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(config.read_header_timeout)
        .keep_alive_timeout(config.read_header_timeout)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(config.max_header_bytes).unwrap_or(u32::MAX));
    builder
}

/// Runs a connection, which needs clocks: for being idle, for the goodbye of a client that does not answer, and for
/// streams that it does not let us send.
async fn drive<C>(
    connection: C,
    idle_timeout: Duration,
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
        () = guard.reached(Phase::Draining) => {}
        () = idle(&peer, idle_timeout) => {}
        () = stall.reached() => {
            tracing::debug!(remote = peer.remote, "closed: a stream was not read for `stall_timeout`");
            return Ok(());
        }
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = guard.reached(Phase::Closing) => Ok(()),
        () = idle(&peer, GOODBYE) => Ok(()),
        () = stall.reached() => Ok(()),
    }
}

/// Ends when a connection has no request under way at two looks, `limit` apart. Everything that serves one holds the
/// peer; beside that only the service does, and we.
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
