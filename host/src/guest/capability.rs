//! What a component asks for beyond its own request, and what it was granted of it.
//!
//! Standard interfaces are always linked, so that every component loads; using what was not granted fails with the
//! error that the interface has for that, and says so in the log once for each kind of thing and request.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, LazyLock};

use http::{HeaderName, Uri};
use http_body_util::BodyExt as _;
use tracing::Level;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi_http::{
    Error as HttpError, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks,
};

use super::exchange::Incoming;
use super::grants::Grants;
use super::log::GuestLog;
use super::outbox::BUFFER_BYTES;
use super::outgoing::{Cause, OutgoingError};
use crate::kv;
use crate::outbound::Call;

/// A response to a guest's request, and the rest of the work of receiving it.
pub(super) type Received =
    Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<(), HttpError>> + Send>), HttpError>;

/// Why something is refused: for the log, and for guests where an interface has words for it.
pub(super) const NOT_GRANTED: &str = "nothing is granted to this handler";

/// It was not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Denied;

/// An open key-value store.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "generated code exports it again")]
pub struct Bucket {
    grants: Arc<Grants>,
    /// Which of the granted stores it is.
    number: usize,
    /// Where lists go on, by the numbers that the guest has for that.
    pub(super) cursors: VecDeque<(u64, String)>,
    pub(super) cursors_given: u64,
}

impl Bucket {
    /// The store's name.
    pub(super) fn name(&self) -> &str {
        &self.grants.stores[self.number].0
    }

    pub(super) fn grant(&self) -> &kv::Grant {
        &self.grants.stores[self.number].1
    }
}

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

/// A target as the log may have it: without a password and a query, which may have keys in it.
pub(super) fn display(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("http");
    let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{scheme}://{}{port}{}", uri.host().unwrap_or_default(), uri.path())
}

impl Asker {
    pub(super) fn new(log: GuestLog) -> Self {
        Self(Arc::new(Asking { log, refused: AtomicU8::new(0) }))
    }

    /// Says in the log what was refused, if it is the first of its sort for the request.
    fn deny(&self, sort: Sort, what: fmt::Arguments<'_>) -> Denied {
        self.refuse(sort, format_args!("{what} was refused: {NOT_GRANTED}"));
        Denied
    }

    fn refuse(&self, sort: Sort, what: fmt::Arguments<'_>) {
        self.0.log.share().denied();
        let bit = 1 << sort as u8;
        if self.0.refused.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            self.0.log.line(Level::WARN, what.to_string().as_bytes());
        }
    }

    /// Says in the log why a call to `target` has failed; what is no refusal, only to those who want to know all.
    pub(super) fn report(&self, target: &str, error: &OutgoingError) {
        match error {
            OutgoingError::Denied(why) => {
                self.refuse(Sort::Request, format_args!("a request to {target} was refused: {why}"));
            }
            OutgoingError::Limit(_) | OutgoingError::Loop(_) => {
                self.refuse(Sort::Request, format_args!("a request to {target} was refused: {error}"));
            }
            OutgoingError::Length | OutgoingError::Inside | OutgoingError::Outside(_) => {
                self.0
                    .log
                    .line(Level::DEBUG, format!("a request to {target} has failed: {error}").as_bytes());
            }
        }
    }
}

/// What a handler was granted, and on whose behalf it asks; what wasmtime-wasi-http asks when a guest does something
/// with HTTP.
#[derive(Clone, Debug)]
pub(super) struct Hooks {
    grants: Arc<Grants>,
    asker: Asker,
    /// For which request it calls others; kept only by handlers that may.
    cause: Cause,
}

impl Hooks {
    pub(super) fn new(grants: Arc<Grants>, log: GuestLog) -> Self {
        Self { grants, asker: Asker::new(log), cause: Cause::default() }
    }

    /// From now on it is asked for this request.
    pub(super) fn begin(&mut self, request: &Incoming) {
        self.asker.0.refused.store(0, Ordering::Relaxed);
        if self.grants.outgoing.is_some() {
            self.cause = Cause::of(request);
        }
    }

    /// From now on it is asked for this request too, of several.
    pub(super) fn begin_another(&mut self, request: &Incoming) {
        if self.grants.outgoing.is_some() {
            self.cause = self.cause.with(request);
        }
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
        match self.grants.stores.iter().position(|(granted, _)| granted == name) {
            Some(number) => {
                let (grants, cursors) = (Arc::clone(&self.grants), VecDeque::new());
                Ok(Bucket { grants, number, cursors, cursors_given: 0 })
            }
            None => Err(self.asker.deny(Sort::Store, format_args!("the key-value store `{name}`"))),
        }
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
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), HttpError>> + Send>,
    ) -> Box<dyn Future<Output = Received> + Send> {
        let target = display(request.uri());
        let asker = self.asker.clone();
        let Some(outgoing) = self.grants.outgoing.clone() else {
            asker.deny(Sort::Request, format_args!("a request to {target}"));
            return Box::new(std::future::ready(Err(HttpError::HttpRequestDenied)));
        };
        let options = options.unwrap_or_default();
        let call = Call {
            connect_timeout: options.connect_timeout,
            first_byte_timeout: options.first_byte_timeout,
            between_bytes_timeout: options.between_bytes_timeout,
            ..Call::default()
        };
        let cause = self.cause.clone();
        Box::new(async move {
            match outgoing.send(request, call, &cause, asker.0.log.share()).await {
                Ok(response) => {
                    let response = response.map(|body| body.map_err(|error| error.standard()).boxed_unsync());
                    let sent: Box<dyn Future<Output = _> + Send> = Box::new(std::future::ready(Ok(())));
                    Ok((response, sent))
                }
                Err(error) => {
                    asker.report(&target, &error);
                    Err(error.standard())
                }
            }
        })
    }
}
