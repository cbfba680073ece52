//! One accepted socket and its requests: HTTP/1.1, or HTTP/2 with prior knowledge, told apart by the first bytes.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt as _;

use self::socket::Socket;
use crate::config::ServerConfig;
use crate::dispatch::Dispatcher;
use crate::drain::{Guard, Phase};
use crate::guest::Peer;
use crate::listener::Stream;
use crate::stall::StallLimit;

mod http1;
mod http2;
mod socket;

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
        let is_h2 = first.starts_with(http2::PREFACE);
        let io = TokioIo::new(Socket::new(first, stream, self.config.stall_timeout));
        let stall = is_h2.then(|| StallLimit::new(self.config.stall_timeout));
        let peer = Arc::new(Peer { guard: Some(guard.clone()), stall: stall.clone(), ..peer });
        let service = {
            let (this, peer) = (Arc::clone(&self), Arc::clone(&peer));
            service_fn(move |request| {
                let (this, peer) = (Arc::clone(&this), Arc::clone(&peer));
                let begun = this.dispatcher.begin(&peer, &request);
                async move { Ok::<_, Infallible>(this.dispatcher.call(&peer, request, begun).await) }
            })
        };
        let ended = match stall {
            Some(stall) => {
                let connection = http2::builder(&self.config).serve_connection(io, service);
                http2::drive(connection, self.config.read_header_timeout, guard, peer, stall).await
            }
            None => http1::drive(http1::builder(&self.config).serve_connection(io, service), guard).await,
        };
        if let Err(error) = ended {
            // Resets, broken requests and broken-off responses: the request's own line says what matters.
            tracing::debug!("connection ended: {}", crate::error::chain(&error));
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
                let seen = first.len().min(http2::PREFACE.len());
                if first[..seen] != http2::PREFACE[..seen] || seen == http2::PREFACE.len() {
                    return Some(());
                }
            }
        };
        tokio::select! {
            read = tokio::time::timeout(self.config.read_header_timeout, read) => read.ok()??,
            () = guard.reached(Phase::Draining) => return None,
        }
        Some(first.freeze())
    }
}
