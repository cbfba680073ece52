//! What a guest may reach beyond its own request: everything goes through one trait, and nothing is granted yet.
//!
//! Standard interfaces are always linked, so that every component loads; using what was not granted fails with the
//! error that the interface has for that, and says so in the log once for each kind of thing and request.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};

use http::HeaderName;
use tracing::Level;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi_http::{
    Error as HttpError, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks,
};

use super::log::GuestLog;
use super::outbox::BUFFER_BYTES;

/// A response to a guest's request, and the rest of the work of receiving it.
pub(super) type Received =
    Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), HttpError>> + Send>), HttpError>;

/// A request of a guest on its way out.
pub(super) type Sending = Pin<Box<dyn Future<Output = Received> + Send>>;

/// It was not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Denied;

/// What a handler may reach. One for each handler, made at deploy time.
pub(super) trait Capabilities: fmt::Debug + Send + Sync {
    /// Sends a request to another server (`wasi:http/outgoing-handler`, `wasi:http/client`).
    fn send(
        &self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        asker: &Asker,
    ) -> Result<Sending, Denied>;

    /// Whether a socket may be bound or connected to this address (`wasi:sockets`).
    fn socket(&self, address: SocketAddr, asker: &Asker) -> Result<(), Denied>;
}

/// Nothing is granted.
#[derive(Debug)]
pub(super) struct Nothing;

impl Capabilities for Nothing {
    fn send(
        &self,
        request: http::Request<WasiBody>,
        _: Option<RequestOptions>,
        asker: &Asker,
    ) -> Result<Sending, Denied> {
        Err(asker.deny(&format!("a request to {}", request.uri())))
    }

    fn socket(&self, address: SocketAddr, asker: &Asker) -> Result<(), Denied> {
        Err(asker.deny(&format!("a socket for {address}")))
    }
}

/// On whose behalf something is asked for.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    log: GuestLog,
}

impl Asker {
    pub(super) fn new(log: GuestLog) -> Self {
        Self { log }
    }

    /// Says in the log what was refused.
    pub(super) fn deny(&self, what: &str) -> Denied {
        let text = format!("{what} was refused: nothing is granted to this handler");
        self.log.line(Level::WARN, text.as_bytes());
        Denied
    }
}

/// What wasmtime-wasi-http asks when a guest does something with HTTP.
#[derive(Debug)]
pub(super) struct Hooks {
    capabilities: Arc<dyn Capabilities>,
    pub(super) asker: Asker,
}

impl Hooks {
    pub(super) fn new(capabilities: Arc<dyn Capabilities>, asker: Asker) -> Self {
        Self { capabilities, asker }
    }

    /// Asks for each address a guest wants a socket for.
    pub(super) fn allow_sockets(&self, builder: &mut WasiCtxBuilder) {
        let (capabilities, asker) = (Arc::clone(&self.capabilities), self.asker.clone());
        builder.socket_addr_check(move |address, _| {
            let allowed = capabilities.socket(address, &asker).is_ok();
            Box::pin(async move { allowed })
        });
    }
}

impl WasiHttpHooks for Hooks {
    /// Guests may name any field: what belongs to the connection is taken out where the response leaves, silently, so
    /// that a guest which passes headers on does not fail over one of them.
    fn is_forbidden_header(&mut self, _: &HeaderName) -> bool {
        false
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        static NONE: LazyLock<ForbiddenHeaderFilter> = LazyLock::new(|| Arc::new(|_| false));
        NONE.clone()
    }

    /// A guest's body moves in pieces of at most so many bytes, of which one waits beside what is in the outbox.
    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        BUFFER_BYTES
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), HttpError>> + Send>,
    ) -> Box<dyn Future<Output = Received> + Send> {
        match self.capabilities.send(request, options, &self.asker) {
            Ok(sending) => Box::new(sending),
            Err(Denied) => Box::new(std::future::ready(Err(HttpError::HttpRequestDenied))),
        }
    }
}
