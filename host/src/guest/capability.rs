//! What a component asks for beyond its own request, and what it was granted of it.
//!
//! Standard interfaces are always linked, so that every component loads; using what was not granted fails with the
//! error that the interface has for that, and says so in the log once for each kind of thing and request.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, LazyLock};

use http::HeaderName;
use tracing::Level;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi_http::{
    Error as HttpError, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks,
};

use super::grants::Grants;
use super::log::GuestLog;
use super::outbox::BUFFER_BYTES;

/// A response to a guest's request, and the rest of the work of receiving it.
pub(super) type Received =
    Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), HttpError>> + Send>), HttpError>;

/// Why something is refused: for the log, and for guests where an interface has words for it.
pub(super) const NOT_GRANTED: &str = "nothing is granted to this handler";

/// It was not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Denied;

/// An open key-value store. There is none yet.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "generated code exports it again")]
pub enum Bucket {}

/// What a socket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Tcp,
    Udp,
}

/// The kinds of things whose refusal is logged, each once for a request.
#[derive(Clone, Copy, Debug)]
enum Sort {
    Request,
    Socket,
    Name,
    Store,
    Setting,
}

/// On whose behalf something is asked for. Clones are the same one: they go over to the next request together.
#[derive(Clone, Debug)]
pub(super) struct Asker(Arc<Asking>);

#[derive(Debug)]
struct Asking {
    log: GuestLog,
    /// A bit for each [`Sort`] that was refused.
    refused: AtomicU8,
}

impl Asker {
    fn new(log: GuestLog) -> Self {
        Self(Arc::new(Asking { log, refused: AtomicU8::new(0) }))
    }

    /// Says in the log what was refused, if it is the first of its sort for the request.
    fn deny(&self, sort: Sort, what: fmt::Arguments<'_>) -> Denied {
        let bit = 1 << sort as u8;
        if self.0.refused.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            self.0.log.line(Level::WARN, format!("{what} was refused: {NOT_GRANTED}").as_bytes());
        }
        Denied
    }
}

/// What a handler was granted, and on whose behalf it asks; what wasmtime-wasi-http asks when a guest does something
/// with HTTP.
#[derive(Clone, Debug)]
pub(super) struct Hooks {
    grants: Arc<Grants>,
    asker: Asker,
}

impl Hooks {
    pub(super) fn new(grants: Arc<Grants>, log: GuestLog) -> Self {
        Self { grants, asker: Asker::new(log) }
    }

    /// From now on it is asked for another request.
    pub(super) fn begin(&self) {
        self.asker.0.refused.store(0, Ordering::Relaxed);
    }

    /// Refuses each address that a guest wants a socket for: sockets are not granted. Whether there may be any, and names
    /// looked up, is asked in front of wasmtime (`sockets`).
    pub(super) fn allow_sockets(&self, builder: &mut WasiCtxBuilder) {
        let asker = self.asker.clone();
        builder.allow_ip_name_lookup(true).socket_addr_check(move |address, _| {
            asker.deny(Sort::Socket, format_args!("a socket for {address}"));
            Box::pin(async move { false })
        });
    }

    pub(super) fn make_socket(&self, protocol: Protocol) -> Result<(), Denied> {
        let protocol = match protocol {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
        };
        Err(self.asker.deny(Sort::Socket, format_args!("a {protocol} socket")))
    }

    pub(super) fn look_up(&self, name: &str) -> Result<(), Denied> {
        Err(self.asker.deny(Sort::Name, format_args!("the lookup of the name `{name}`")))
    }

    /// Opens a key-value store (`wasi:keyvalue/store`).
    pub(super) fn open_store(&self, name: &str) -> Result<Bucket, Denied> {
        Err(self.asker.deny(Sort::Store, format_args!("the key-value store `{name}`")))
    }

    /// One value of the handler's configuration, if it is there (`wasi:config/store`).
    pub(super) fn setting(&self, key: &str) -> Result<Option<String>, Denied> {
        match &self.grants.settings {
            Some(settings) => Ok(settings.get(key).map(str::to_owned)),
            None => Err(self.asker.deny(Sort::Setting, format_args!("the configuration `{key}`"))),
        }
    }

    /// All of the handler's configuration.
    pub(super) fn settings(&self) -> Result<Vec<(String, String)>, Denied> {
        match &self.grants.settings {
            Some(settings) => {
                Ok(settings.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
            }
            None => Err(self.asker.deny(Sort::Setting, format_args!("the configuration"))),
        }
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
        _: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), HttpError>> + Send>,
    ) -> Box<dyn Future<Output = Received> + Send> {
        self.asker.deny(Sort::Request, format_args!("a request to {}", request.uri()));
        Box::new(std::future::ready(Err(HttpError::HttpRequestDenied)))
    }
}
