//! The HTTP client of handlers and of the proxy (Go: net/http.Client and Transport), for HTTP/1.1 and HTTP/2.
//!
//! Knows nothing of guests, configuration or handlers. A [`Client`] asks its [`Policy`] about each target, and about each
//! address that its name resolves to; it connects to an address that was asked about, and to no other. `send` follows
//! redirects, `exchange` does one of the requests, `pool` has the connections, and `dial` makes them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{Request, Response};

mod address;
mod body;
mod call;
mod dial;
mod error;
mod exchange;
mod gunzip;
mod pool;
mod progress;
mod redirect;
mod resolve;
mod route;
mod send;
mod settings;
mod stream;
mod tls;
mod tunnel;
mod wire;

pub use address::{is_localhost, is_public};
pub use body::InBody;
pub use call::{Call, MayGoOn, OnInterim, Rewind};
pub use error::{OutboundError, OutboundErrorKind};
pub use settings::{EnvironmentProxies, TransportSettings};

use self::dial::Dialer;
use self::pool::Pool;

/// A boxed cause.
pub type BoxError = crate::error::Cause;

/// The body of a request.
pub type OutBody = http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, BoxError>;

/// Who may be called.
pub trait Policy: fmt::Debug + Send + Sync {
    /// Asked for the target of each request, also for those that a redirect leads to, before anything is resolved.
    ///
    /// # Errors
    /// When it must not be called.
    fn target(&self, uri: &http::Uri) -> Result<(), Refused>;

    /// Asked for each address that a target's name resolved to; only those that are let through are connected to. Not asked
    /// for targets behind a proxy of the environment, which resolves names itself, nor for unix sockets.
    ///
    /// # Errors
    /// When it must not be connected to.
    fn address(&self, uri: &http::Uri, address: std::net::IpAddr) -> Result<(), Refused>;
}

/// Why a policy refuses, as a clause such as "it is a loopback address".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub String);

/// Lets everything through: for targets that the operator has named.
#[derive(Debug)]
pub struct AllowAll;

impl Policy for AllowAll {
    fn target(&self, _: &http::Uri) -> Result<(), Refused> {
        Ok(())
    }

    fn address(&self, _: &http::Uri, _: std::net::IpAddr) -> Result<(), Refused> {
        Ok(())
    }
}

/// What all clients of a process share: resolver, trusted roots, and the limit over all idle connections.
#[derive(Clone, Debug)]
pub struct Outbound {
    dialer: Arc<Dialer>,
    pool: Arc<Pool>,
    next_client: Arc<AtomicU64>,
}

impl Outbound {
    /// For `settings.resolver`, `roots`, `proxies` and `max_idle`; the rest is each client's.
    ///
    /// # Errors
    /// When the resolver cannot be made.
    pub fn new(settings: &TransportSettings) -> Result<Self, String> {
        Ok(Self {
            dialer: Arc::new(Dialer::new(settings)?),
            pool: Pool::new(settings.max_idle),
            next_client: Arc::default(),
        })
    }

    /// A client with connections of its own.
    #[must_use]
    pub fn client(&self, settings: TransportSettings, policy: Arc<dyn Policy>) -> Client {
        let id = self.next_client.fetch_add(1, Ordering::Relaxed);
        Client(Arc::new(Shared {
            id,
            dialer: Arc::clone(&self.dialer),
            pool: Arc::clone(&self.pool),
            settings: Arc::new(settings),
            policy,
        }))
    }

    /// Connections that wait for a request.
    #[must_use]
    pub fn idle_connections(&self) -> usize {
        self.pool.idle()
    }
}

/// Sends requests. Clones are the same client; the connections of one never serve another, and end with its last clone.
#[derive(Clone, Debug)]
pub struct Client(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    id: u64,
    dialer: Arc<Dialer>,
    pool: Arc<Pool>,
    settings: Arc<TransportSettings>,
    policy: Arc<dyn Policy>,
}

impl Client {
    /// Sends a request, whose URI is absolute (`http`, `https`, or `h2c`: HTTP/2 without TLS), and waits for the head of the
    /// response. `Host` is set from the URI unless it is there. To drop this future, or the body it gives, cancels the request
    /// and closes a connection that cannot be used again.
    ///
    /// # Errors
    /// When there is no response, with the phase that has failed.
    pub async fn send(
        &self,
        request: Request<OutBody>,
        call: Call,
    ) -> Result<Response<InBody>, OutboundError> {
        send::send(&self.0, request, call).await
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.pool.forget(self.id);
    }
}

#[cfg(test)]
mod tests;
