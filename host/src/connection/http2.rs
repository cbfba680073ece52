//! HTTP/2 on one connection: hyper's settings, the clocks that HTTP/1.1 has elsewhere, and the way down.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;

use crate::config::ServerConfig;
use crate::drain::{Guard, Phase};
use crate::guest::Peer;
use crate::stall::StallLimit;

/// What an HTTP/2 client sends first (RFC 9113 section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Streams that one client may have open.
const STREAMS_MAX: u32 = 100;

/// A client without requests has twice this long to take its leave.
const GOODBYE: Duration = Duration::from_millis(500);

/// How hyper speaks HTTP/2 with the clients of a server.
pub(super) fn builder(config: &ServerConfig) -> http2::Builder<TokioExecutor> {
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
pub(super) async fn drive<C>(
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
