//! One request and its response, as every ABI sees them: no word here belongs to one of the ABIs.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, StatusCode, Uri, request};

use super::next::Reply;
use super::outbox::Outbox;
use super::outgoing::Via;
use super::pulse::Pulse;
use super::request_body::RequestBody;
use super::spans::Spans;
use crate::activity::Activity;
use crate::drain::Guard;
use crate::hop_by_hop::HOP_BY_HOP;
use crate::notes::Notes;
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
    /// The way to the client beside the response; none without a server and on HTTP/2.
    pub link: Option<Arc<dyn ClientLink>>,
    /// How busy the connection is.
    pub activity: Arc<Activity>,
}

/// What a connection can do for a handler beside carrying its response.
pub trait ClientLink: fmt::Debug + Send + Sync {
    /// The client has ended its side of the stream. It may be gone, or may wait for its response.
    fn has_stopped_sending(&self) -> bool;

    /// Sends an interim response (RFC 9110 section 15.2), if this client may get one.
    fn send_interim(&self, status: StatusCode, headers: &HeaderMap);
}

/// The request target as it came, for requests whose URI could not hold it. An extension of the request.
#[derive(Clone, Debug)]
pub struct RawTarget(pub Bytes);

/// The text of a pattern and the names of its wildcards, in order.
#[derive(Clone, Debug, Default)]
pub struct RouteInfo {
    /// The pattern as registered.
    pub pattern: String,
    /// Names of its wildcards.
    pub names: Vec<String>,
    /// What stands for it in a [`crate::tag::Tag`]; 0 is none.
    pub number: u32,
}

impl RouteInfo {
    /// The pattern without its method and host.
    #[must_use]
    pub fn path(&self) -> &str {
        self.pattern.find('/').map_or("", |at| &self.pattern[at..])
    }
}

/// A request on its way to a guest.
#[derive(Debug)]
pub struct Incoming {
    /// Method, target, version and header fields, as received. Boxed: they go through many hands.
    pub parts: Box<request::Parts>,
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
    /// The handlers that have called for it; none when it has come from a client.
    pub via: Option<Arc<Via>>,
    /// What is to be known of it in the end, if somebody wants to.
    pub notes: Option<Arc<Notes>>,
}

impl Incoming {
    /// The request as wasi:http has it: scheme and authority are always there, so is `Host`, and fields that belong to
    /// the connection (RFC 9110 section 7.6.1) are not.
    pub(super) fn into_http(self) -> http::Request<RequestBody> {
        let Self { mut parts, authority, body, peer, .. } = self;
        let is_named = !authority.is_empty();
        let authority = match &*authority {
            // HTTP/1.0 may leave it out: then it is the address that the client has reached.
            "" if peer.local.contains(':') => peer.local.clone(),
            "" => "localhost".to_owned(),
            _ => authority,
        };
        // Mostly there is none of them, which is quicker to see than to make so.
        if parts.headers.keys().any(|name| HOP_BY_HOP.contains(name)) {
            HOP_BY_HOP.iter().for_each(|name| drop(parts.headers.remove(name)));
        }
        let is_told = |host: &HeaderValue| !is_named || host == authority.as_str();
        if !parts.headers.get(HOST).is_some_and(is_told)
            && let Ok(host) = HeaderValue::from_str(&authority)
        {
            // Where the target names a host, that one counts (RFC 9112 section 3.2.2).
            parts.headers.insert(HOST, host);
        }
        let mut uri = std::mem::take(&mut parts.uri).into_parts();
        uri.scheme = Some(if peer.scheme == "https" { Scheme::HTTPS } else { Scheme::HTTP });
        uri.authority = Authority::try_from(authority).ok();
        if let Some(RawTarget(raw)) = parts.extensions.remove::<RawTarget>()
            && let Ok(target) = PathAndQuery::from_maybe_shared(raw)
        {
            uri.path_and_query = Some(target);
        }
        uri.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
        // Only an authority that is none could stand in the way, and the server has refused those.
        parts.uri = Uri::from_parts(uri).unwrap_or_default();
        http::Request::from_parts(*parts, body)
    }
}

/// An exchange in the hands of a guest.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) request: Incoming,
    /// Milliseconds since the Unix epoch at which the request's time is up.
    pub(super) deadline_ms: u64,
    pub(super) outbox: Arc<Outbox>,
    pub(super) pulse: Arc<Pulse>,
    /// The response of the handler behind this one, when a core module has called it.
    pub(super) reply: Option<Box<Reply>>,
    /// Its spans, if it is traced.
    pub(super) spans: Option<Arc<Spans>>,
}

impl Exchange {
    /// There is an instance for it: the guest begins.
    pub(super) fn instantiated(&self) {
        self.spans.iter().for_each(|spans| spans.instantiated());
    }
}
