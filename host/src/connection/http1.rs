//! HTTP/1.1 on one connection: hyper's settings, and the way down.

use std::pin::pin;

use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use hyper_util::server::graceful::GracefulConnection;

use super::HEADERS_MAX;
use crate::config::ServerConfig;
use crate::drain::{Guard, Phase};

/// Smallest read buffer that hyper takes.
const BUFFER_BYTES_MIN: usize = 8192;

/// How hyper speaks HTTP/1.1 with the clients of a server.
pub(super) fn builder(config: &ServerConfig) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(config.read_header_timeout)
        .max_headers(HEADERS_MAX)
        .max_header_size(config.max_header_bytes as usize)
        // hyper takes no less; the header has its own limit above.
        .max_buf_size((config.max_header_bytes as usize).max(BUFFER_BYTES_MIN));
    builder
}

/// Runs a connection; when the drain begins it is closed as soon as it is idle, when time is up at once.
pub(super) async fn drive<C>(connection: C, mut guard: Guard) -> Result<(), C::Error>
where
    C: GracefulConnection,
{
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = guard.reached(Phase::Draining) => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = guard.reached(Phase::Closing) => Ok(()),
    }
}
