//! HTTP/2 on one connection: hyper's settings, the clocks that HTTP/1.1 has elsewhere, and the way down.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;

use super::Connections;
use super::socket::Socket;
use crate::config::ServerConfig;
use crate::drain::{Guard, Phase};
use crate::guest::{BodyError, NetworkBody, Peer};
use crate::listener::Stream;
use crate::stall::{StallLimit, Streams};

/// What an HTTP/2 client sends first (RFC 9113 section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Streams that one client may have open (Go: http2.Server.MaxConcurrentStreams); beyond it a stream is refused.
const STREAMS_MAX: u32 = 250;

/// Streams that a client has reset before we have looked at them; beyond it the connection ends with ENHANCE_YOUR_CALM,
/// which is what a rapid reset (CVE-2023-44487) comes to.
const PENDING_RESETS_MAX: usize = 32;

/// Streams that we have reset because of the client's mistakes; beyond it the connection ends with ENHANCE_YOUR_CALM.
const ERROR_RESETS_MAX: usize = 128;

/// Bytes of request bodies that a client may send before anybody has read them: on a stream, and on a connection (Go:
/// http2.Server.MaxUploadBufferPerStream and …PerConnection). What exceeds them is an error of the client.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;

/// Largest frame that we take, the smallest limit there may be (RFC 9113 section 4.2). With `max_header_bytes` it also
/// limits how many CONTINUATION frames a header may have; beyond it the connection ends.
const FRAME_BYTES_MAX: u32 = 16 * 1024;

/// Memory for compressed header fields of a connection (RFC 7541 section 4.2); its default.
const HEADER_TABLE_BYTES: u32 = 4096;

/// Bytes of a response that wait in a stream for the client to make room; beyond it its handler waits.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// What a client has to answer a PING; beyond it the connection ends (Go: http2.Server.PingTimeout).
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// A client without requests has twice this long to take its leave.
const GOODBYE: Duration = Duration::from_millis(500);

/// Serves a connection of which `first` was read already.
pub(super) async fn serve(server: Arc<Connections>, stream: Stream, first: Bytes, peer: Peer, guard: Guard) {
    let config = &server.config;
    let io = TokioIo::new(Socket::new(first, stream, config.stall_timeout, Arc::clone(&peer.activity)));
    let stall = StallLimit::new(config.stall_timeout);
    let peer = Arc::new(Peer { guard: Some(guard.clone()), stall: Some(stall.clone()), ..peer });
    let service = {
        let (server, peer) = (Arc::clone(&server), Arc::clone(&peer));
        service_fn(move |request: Request<Incoming>| {
            let (server, peer) = (Arc::clone(&server), Arc::clone(&peer));
            let (parts, body) = request.into_parts();
            let (parts, body) = (Box::new(parts), NetworkBody::new(body.map_err(classify)));
            let begun = server.dispatcher.begin(&peer, &parts, Instant::now());
            async move {
                let Connections { dispatcher, stats, .. } = &*server;
                Ok::<_, Infallible>(dispatcher.call(stats, &peer, parts, body, begun).await)
            }
        })
    };
    let connection = builder(config, &stall).serve_connection(io, service);
    if let Err(error) = drive(connection, config.idle_timeout, guard, peer, stall).await {
        if is_protocol_error(&error) {
            server.stats.http2_errors.increment();
        }
        // Resets and broken-off responses: the request's own line says what matters.
        tracing::debug!("connection ended: {}", crate::error::chain(&error));
    }
}

/// Whether it is we who have ended a connection, because of what its client has sent.
fn is_protocol_error(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| cause.is_library() && cause.reason() != Some(h2::Reason::NO_ERROR))
}

/// How hyper speaks HTTP/2 with the clients of a server.
fn builder(config: &ServerConfig, stall: &StallLimit) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(Streams(stall.clone()));
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(config.idle_timeout)
        .keep_alive_timeout(config.idle_timeout.map_or(PING_TIMEOUT, |idle| idle.min(PING_TIMEOUT)))
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(ERROR_RESETS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .header_table_size(HEADER_TABLE_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_header_list_size(header_list_bytes(config.max_header_bytes));
    builder
}

/// What a header may take as HTTP/2 counts it, with 32 bytes more for each field: room for ten of them (Go:
/// http2.serverConn.maxHeaderListSize).
fn header_list_bytes(max_header_bytes: u64) -> u32 {
    u32::try_from(max_header_bytes + 10 * 32).unwrap_or(u32::MAX)
}

/// Runs a connection, which needs clocks: for being idle, for the goodbye of a client that does not answer, and for
/// streams that it does not let us send.
async fn drive<C>(
    connection: C,
    idle_timeout: Option<Duration>,
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
        () = idle(&peer, idle_timeout) => {
            tracing::debug!(remote = peer.remote, "connection closed: no request for `idle_timeout`");
        }
        () = stall.reached() => {
            tracing::debug!(remote = peer.remote, "connection closed: a stream was not read for `stall_timeout`");
            return Ok(());
        }
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = guard.reached(Phase::Closing) => Ok(()),
        () = idle(&peer, Some(GOODBYE)) => Ok(()),
        () = stall.reached() => Ok(()),
    }
}

/// Ends when a connection has no request under way at two looks, `limit` apart. Everything that serves one holds the
/// peer; beside that only the service does, and we.
async fn idle(peer: &Arc<Peer>, limit: Option<Duration>) {
    let Some(limit) = limit else { return std::future::pending().await };
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

fn classify(error: hyper::Error) -> BodyError {
    if error.is_canceled() || error.is_closed() { BodyError::Gone } else { BodyError::Broken }
}
