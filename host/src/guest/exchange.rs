//! One request and its response, as every ABI sees them: no word here belongs to one of the ABIs.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, request};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Either, Full};

use super::outbox::Outbox;
use crate::drain::Guard;
use crate::request_id::RequestId;
use crate::stall::StallLimit;

/// What TLS says about a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerTls {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The name that the client asked for (SNI), if it did.
    pub server_name: Option<String>,
    /// The subject of the client's certificate, which was verified: a string of RFC 4514, such as `CN=Alice,O=Example`.
    /// `None` without a certificate.
    pub client_subject: Option<String>,
}

/// Two addresses of a connection, as text, and its scheme.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Address of the other side: `192.0.2.1:52044`, or `unix`.
    pub remote: String,
    /// Our own address on this connection, in the same form.
    pub local: String,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// With the scheme `https`, what is known from the handshake.
    pub tls: Option<PeerTls>,
    /// Keeps a drain waiting for guests that outlive their connection; none without a server.
    pub guard: Option<Guard>,
    /// On HTTP/2, the clock for streams that the client does not let us send.
    pub stall: Option<StallLimit>,
}

/// The text of a pattern and the names of its wildcards, in order.
#[derive(Clone, Debug, Default)]
pub struct RouteInfo {
    /// The pattern as registered.
    pub pattern: String,
    /// Names of its wildcards.
    pub names: Vec<String>,
}

/// A request on its way to a guest.
#[derive(Debug)]
pub struct Incoming {
    /// Method, target, version and header fields, as received.
    pub parts: request::Parts,
    /// Host and optional port; may be empty.
    pub authority: String,
    /// The body, not yet read.
    pub body: RequestBody,
    /// The route that matched.
    pub route: Arc<RouteInfo>,
    /// What its wildcards matched, percent-decoded, in the same order as `route.names`.
    pub values: Vec<Vec<u8>>,
    /// The id used in logs.
    pub id: RequestId,
    /// The connection.
    pub peer: Arc<Peer>,
}

/// An exchange in the hands of a guest.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) request: Incoming,
    /// Milliseconds since the Unix epoch at which the request's time is up.
    pub(super) deadline_ms: u64,
    pub(super) outbox: Arc<Outbox>,
}

/// Why a request body could not be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadError {
    /// The client went away.
    Gone,
    /// The body ended early or was malformed.
    Broken,
    /// It is longer than the handler's limit.
    Limit,
}

/// The request body: read piece by piece, never collected.
#[derive(Debug)]
pub struct RequestBody {
    source: Either<hyper::body::Incoming, Full<Bytes>>,
    /// Received, not yet handed out.
    rest: Bytes,
    trailers: Option<HeaderMap>,
    /// What the client declared; the source forgets it as it is read.
    declared: Option<u64>,
    /// Bytes the handler may still receive.
    allowance: u64,
    end: Option<Result<(), ReadError>>,
}

impl RequestBody {
    /// A body from the network.
    #[must_use]
    pub fn incoming(body: hyper::body::Incoming) -> Self {
        Self::new(Either::Left(body))
    }

    /// A body that is all there.
    #[must_use]
    pub fn full(body: Bytes) -> Self {
        Self::new(Either::Right(Full::new(body)))
    }

    fn new(source: Either<hyper::body::Incoming, Full<Bytes>>) -> Self {
        let declared = if source.is_end_stream() { Some(0) } else { source.size_hint().exact() };
        Self { source, rest: Bytes::new(), trailers: None, declared, allowance: u64::MAX, end: None }
    }

    /// Reading beyond `bytes` fails from now on.
    pub(super) fn limit(&mut self, bytes: u64) {
        self.allowance = bytes;
    }

    /// The declared length, 0 when there is no body, or `None` when it is to be read to its end.
    #[must_use]
    pub fn declared_length(&self) -> Option<u64> {
        self.declared
    }

    /// At most `len_max` further bytes; empty at the end of the body, from then on always. Cancel safe.
    pub(super) async fn read(&mut self, len_max: usize) -> Result<Bytes, ReadError> {
        while self.rest.is_empty() {
            if let Some(end) = self.end {
                return end.map(|()| Bytes::new());
            }
            match self.source.frame().await {
                None => self.end = Some(Ok(())),
                Some(Err(error)) => self.end = Some(Err(classify(&*error))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.len() as u64 > self.allowance => self.end = Some(Err(ReadError::Limit)),
                    Ok(data) => {
                        self.allowance -= data.len() as u64;
                        self.rest = data;
                    }
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
            }
        }
        Ok(self.rest.split_to(len_max.min(self.rest.len())))
    }

    /// Whether reading has come to an end, good or bad: every further read says the same.
    pub(super) fn has_ended(&self) -> bool {
        self.rest.is_empty() && self.end.is_some()
    }

    /// The trailer fields, once the body was read to its end.
    pub(super) fn trailers(&self) -> Option<&HeaderMap> {
        static NONE: std::sync::LazyLock<HeaderMap> = std::sync::LazyLock::new(HeaderMap::new);
        (self.rest.is_empty() && self.end == Some(Ok(()))).then(|| self.trailers.as_ref().unwrap_or(&NONE))
    }
}

fn classify(error: &(dyn std::error::Error + 'static)) -> ReadError {
    let hyper_error = error.downcast_ref::<hyper::Error>();
    match hyper_error {
        Some(error) if error.is_canceled() || error.is_closed() => ReadError::Gone,
        _ => ReadError::Broken,
    }
}
