//! HTTP/1.1 and HTTP/1.0 on one connection: hyper speaks it, the gate below and `settle` above make it net/http's.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use http::header::{CACHE_CONTROL, HeaderValue, PRAGMA};
use http::{Method, Request, Response, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use self::clock::Clocks;
use self::gate::Gate;
pub(crate) use self::head::HEADERS_MAX;
use self::link::Link;
use self::outbound::Outbound;
use self::sentry::Descriptor;
use self::settle::{Facts, SettledBody, settle};
use self::shared::Shared;
use super::Connections;
use crate::drain::{Guard, LEAVING_GRACE, Phase};
use crate::guest::{ClientLink, NetworkBody, Peer, RawTarget};

mod arrival;
mod chunks;
mod clock;
mod gate;
mod head;
mod link;
mod outbound;
#[cfg(test)]
mod properties;
mod refusal;
mod sentry;
mod settle;
mod shared;

/// What hyper may hold of a head: more than the gate lets through.
const HEAD_BYTES_BEYOND: usize = 8 * 1024;

/// What a request whose head has begun to arrive has, once a drain has begun, to be there.
const DRAIN_HEAD_WAIT: Duration = Duration::from_secs(2);

/// Serves a connection that was ready for HTTP at `ready`, and of which `first` was read already.
pub(super) async fn serve<S>(
    server: Arc<Connections>,
    stream: S,
    first: BytesMut,
    ready: Instant,
    peer: Peer,
    guard: Guard,
) where
    S: AsyncRead + AsyncWrite + Descriptor + Unpin + 'static,
{
    let link = Link::default();
    let link_of_peer = Some(Arc::new(link.clone()) as Arc<dyn ClientLink>);
    // Its guard keeps a drain waiting for guests that outlive the connection, and for the connection's own end.
    let peer = Arc::new(Peer { guard: Some(guard.clone()), link: link_of_peer, ..peer });
    let header_bytes = server.config.max_header_bytes as usize;
    let clocks = Clocks::new(&server.config);
    let outbound = Outbound::new(link.clone(), clocks.stall, Arc::clone(&peer.activity));
    let gate = Gate::new(stream, first, ready, link.clone(), clocks, header_bytes, outbound);
    let gate = Shared::new(gate);
    let service = service_fn(|request| answer(request, &link, &server, &peer));
    let connection = builder(header_bytes).serve_connection(gate.clone(), service);
    if drive(connection, &gate, &link, guard).await
        && let Some(gate) = gate.into_inner()
    {
        gate.close().await;
    }
}

fn builder(header_bytes: usize) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // The gate notices who has gone, and knows whom a response still reaches.
        .half_close(true)
        .max_headers(HEADERS_MAX + 1)
        .max_buf_size(header_bytes + HEAD_BYTES_BEYOND)
        .title_case_headers(true);
    builder
}

/// Passes one request on, as it was before the gate.
fn answer<'c>(
    request: Request<Incoming>,
    link: &'c Link,
    server: &'c Connections,
    peer: &'c Arc<Peer>,
) -> impl Future<Output = Result<Response<SettledBody>, Infallible>> + use<'c> {
    let expected = link.take_expected();
    let (mut parts, body) = request.into_parts();
    if let Some(restored) = expected.restored {
        (parts.method, parts.uri) = (restored.method, restored.uri);
        parts.extensions.insert(RawTarget(restored.raw));
    }
    // HTTP/1.0 caches know no Cache-Control (Go: net/http.fixPragmaCacheControl).
    if parts.headers.get(PRAGMA).is_some_and(|value| value == "no-cache")
        && !parts.headers.contains_key(CACHE_CONTROL)
    {
        parts.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    link.set_takes_interim(parts.version == Version::HTTP_11);
    let facts = Facts {
        version: parts.version,
        is_head: parts.method == Method::HEAD,
        expects_continue: expected.expects_continue,
        keep_alive: expected.keep_alive,
    };
    let body = NetworkBody::new(body);
    let request = Request::from_parts(parts, body.clone());
    let begun = server.dispatcher.begin(peer, &request);
    async move {
        let response = server.dispatcher.call(&server.config.name, peer, request, begun).await;
        Ok(settle(response, body, facts, link.clone()).await)
    }
}

/// Runs a connection to its end; says whether it is worth closing in peace. When the drain begins it is closed as soon
/// as it is idle, when time is up at once.
async fn drive<S, C>(connection: C, gate: &Shared<S>, link: &Link, mut guard: Guard) -> bool
where
    S: AsyncRead + AsyncWrite + Descriptor + Unpin + 'static,
    C: GracefulConnection,
    C::Error: std::error::Error + 'static,
{
    let mut connection = pin!(connection);
    tokio::select! {
        // First, so that no request that came after the drain began is answered as if there was none.
        biased;
        () = guard.reached(Phase::Leaving) => {}
        is_open = watched(connection.as_mut(), gate) => return is_open,
    }
    // A client that reuses the connection may be sending a request at this very moment, and would take the end for a
    // failure. So its next response says that it is the last one; closing by ourselves is for clients that send nothing.
    link.set_closing();
    tokio::select! {
        is_open = watched(connection.as_mut(), gate) => return is_open,
        () = guard.reached(Phase::Draining) => {}
        () = idle(gate, LEAVING_GRACE) => {}
    }
    // What has come by now counts, also if nobody has looked yet.
    tokio::select! {
        biased;
        is_open = watched(connection.as_mut(), gate) => return is_open,
        () = std::future::ready(()) => {}
    }
    // hyper would take a connection for idle on which a request is just arriving; that one is answered, as the last.
    if !gate.lock().is_mid_head() {
        connection.as_mut().graceful_shutdown();
    }
    tokio::select! {
        is_open = watched(connection, gate) => is_open,
        () = stuck_in_head(gate) => true,
        () = guard.reached(Phase::Closing) => false,
    }
}

/// Ends when a connection has been without a request for this long.
async fn idle<S: AsyncRead + AsyncWrite + Unpin>(gate: &Shared<S>, limit: Duration) {
    loop {
        let left = gate.lock().idle_for().map_or(limit, |idle| limit.saturating_sub(idle));
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left).await;
    }
}

/// Ends when a request is still arriving that should have been there long since; a drain does not wait for such clients
/// as long as `read_header_timeout` would.
async fn stuck_in_head<S: AsyncRead + AsyncWrite + Unpin>(gate: &Shared<S>) {
    tokio::time::sleep(DRAIN_HEAD_WAIT).await;
    if !gate.lock().is_mid_head() {
        std::future::pending().await
    }
}

/// Polls a connection, and keeps an eye on its client while that has nothing to send.
async fn watched<S, C>(mut connection: Pin<&mut C>, gate: &Shared<S>) -> bool
where
    S: AsyncRead + AsyncWrite + Descriptor + Unpin + 'static,
    C: GracefulConnection,
    C::Error: std::error::Error + 'static,
{
    std::future::poll_fn(|cx| {
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            if let Err(error) = ended {
                // Broken-off requests and responses: the request's own line says what matters.
                tracing::debug!("connection ended: {}", crate::error::chain(&error));
            }
            return Poll::Ready(true);
        }
        gate.lock().poll_watch(cx).map(|error| {
            tracing::debug!("connection lost: {error}");
            false
        })
    })
    .await
}
