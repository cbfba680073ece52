//! What one call asks for, beside its request.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use super::OutBody;

/// Told of interim responses (RFC 9110 section 15.2) other than 101. HTTP/2 has none here: hyper does not show them.
pub type OnInterim = Arc<dyn Fn(StatusCode, &HeaderMap) + Send + Sync>;

/// Whether one more request may be sent now.
pub type MayGoOn = Arc<dyn Fn() -> bool + Send + Sync>;

/// Makes the body once more (Go: Request.GetBody).
pub type Rewind = Arc<dyn Fn() -> OutBody + Send + Sync>;

/// What one call asks for; what it leaves open is as its client's settings say. The stricter of two limits holds.
#[derive(Clone, Default)]
pub struct Call {
    /// When all of it must be done, the body of the response included.
    pub deadline: Option<Instant>,
    /// To connect, resolving the name and TLS included; and to wait for a connection while its host has as many as it may.
    pub connect_timeout: Option<Duration>,
    /// From the end of the request to the head of its response.
    pub first_byte_timeout: Option<Duration>,
    /// Between two pieces of the response's body.
    pub between_bytes_timeout: Option<Duration>,
    /// Bytes of the request's body.
    pub request_body_bytes: Option<u64>,
    /// Bytes of the response's body.
    pub response_body_bytes: Option<u64>,
    /// Redirects that are followed, 0: none, and the response that would redirect is the answer. Beyond it the call fails.
    pub redirects: u32,
    /// Asked before each redirect is followed; `false`: the call fails.
    pub may_go_on: Option<MayGoOn>,
    /// Makes the body once more, for redirects and retries that need it; without it those with a body are not done.
    pub rewind: Option<Rewind>,
    /// Ask for gzip if the request does not ask for an encoding itself, and undo it.
    pub decompress: bool,
    /// Told of interim responses.
    pub on_interim: Option<OnInterim>,
    /// The request asks for another protocol (`Upgrade`): it gets a connection of its own, with HTTP/1.1. The response to it
    /// has what `hyper::upgrade::on` wants.
    pub upgrade: bool,
    /// Where to connect, whatever host the URI names.
    pub unix_socket: Option<Arc<Path>>,
    /// Do not send again on another connection what the server cannot have seen, or may see twice (Go: Transport does).
    pub no_retry: bool,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("deadline", &self.deadline)
            .field("redirects", &self.redirects)
            .field("upgrade", &self.upgrade)
            .finish_non_exhaustive()
    }
}
