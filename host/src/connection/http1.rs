//! HTTP/1.1 and HTTP/1.0 on one connection, with net/http's manners.
//!
//! `conn` is the loop; `inbound` reads and `outbound` writes. The bytes are understood by `head` and `chunks` and written
//! by `response`, which know nothing else.

use std::pin::pin;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use self::conn::Conn;
pub(crate) use self::head::HEADERS_MAX;
use self::link::Link;
use self::sentry::Descriptor;
use super::{Connections, with_rare};
use crate::drain::{Guard, Phase};
use crate::guest::{ClientLink, Peer};

mod arrival;
mod chunks;
mod clock;
mod conn;
mod head;
mod inbound;
mod link;
mod outbound;
#[cfg(test)]
mod properties;
mod refusal;
mod response;
mod sentry;
mod settle;
mod switch;
mod upload;

/// Serves a connection that was ready for HTTP at `ready`, and of which `first` was read already.
pub(super) async fn serve<S>(
    server: Arc<Connections>,
    stream: S,
    first: BytesMut,
    ready: Instant,
    peer: Peer,
    mut guard: Guard,
) where
    S: AsyncRead + AsyncWrite + Descriptor + Unpin + 'static,
{
    let link = Link::default();
    let link_of_peer = Some(Arc::new(link.clone()) as Arc<dyn ClientLink>);
    // Its guard keeps a drain waiting for guests that outlive the connection, and for the connection's own end.
    let peer = Arc::new(Peer { guard: Some(guard.clone()), link: link_of_peer, ..peer });
    let mut conn = Conn::new(stream, (first, ready), &server, &peer, (link, guard.clone()));
    let begun = guard.begun();
    let closing = pin!(async {
        for phase in [Phase::Leaving, Phase::Draining] {
            guard.reached(phase).await;
            // The connection is polled before this is, and so hears of it.
            tokio::task::yield_now().await;
        }
        guard.reached(Phase::Closing).await;
    });
    let served = with_rare(pin!(conn.serve(&server, &peer)), closing, || begun.get()).await;
    if served == Some(true) {
        // Boxed, as the connection is in it again.
        Box::pin(conn.close(&server)).await;
    }
}
