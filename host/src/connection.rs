//! One accepted socket and its requests: HTTP/1.1, or HTTP/2 with prior knowledge, told apart by the first bytes.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;

use crate::config::ServerConfig;
use crate::dispatch::Dispatcher;
use crate::drain::{Guard, Phase};
use crate::guest::Peer;
use crate::listener::Stream;

pub(crate) use self::http1::HEADERS_MAX;

mod http1;
mod http2;
mod socket;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Connections {
    dispatcher: Arc<Dispatcher>,
    config: ServerConfig,
}

impl Connections {
    pub(crate) fn new(dispatcher: Dispatcher, config: ServerConfig) -> Self {
        Self { dispatcher: Arc::new(dispatcher), config }
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve(self: Arc<Self>, mut stream: Stream, peer: Peer, mut guard: Guard) {
        let accepted = Instant::now();
        let Some(first) = self.first_bytes(&mut stream, &mut guard).await else { return };
        if first.starts_with(http2::PREFACE) {
            http2::serve(stream, first.freeze(), &self.config, &self.dispatcher, peer, guard).await;
        } else {
            let serving = http1::serve(stream, first, accepted, &self.config, &self.dispatcher, peer, guard);
            serving.await;
        }
    }

    /// Reads until it is clear which protocol the client speaks; `None` when it never says.
    async fn first_bytes(&self, stream: &mut Stream, guard: &mut Guard) -> Option<BytesMut> {
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
            read = tokio::time::timeout(self.config.read_header_timeout, read) => read.ok()??,
            () = guard.reached(Phase::Draining) => return None,
        }
        Some(first)
    }
}
