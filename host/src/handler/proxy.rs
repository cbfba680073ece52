//! Passes requests on to other servers (Go: net/http/httputil.ReverseProxy).

use std::sync::Arc;

use bytes::Bytes;
use http::header::{EXPECT, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, request};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use self::balance::{Turn, Upstreams};
use self::fields::Client as From;
use self::replay::Replay;
use crate::body::Body;
use crate::chain::{Answered, Callee};
use crate::error::{Error, Kind};
use crate::guest::{Incoming, RawTarget};
use crate::limit::Limit;
use crate::outbound::{
    AllowAll, BoxError, Call, InBody, OutBody, Outbound, OutboundError, OutboundErrorKind, TransportSettings,
};
use crate::stats::Registry;
use crate::strip::strip;
use crate::upstream::{ProxySettings, TunnelIdle};

mod balance;
mod fields;
mod health;
mod replay;

/// Passes requests on to one of its upstreams.
#[derive(Debug)]
pub struct Proxy {
    settings: ProxySettings,
    upstreams: Arc<Upstreams>,
}

impl Proxy {
    /// A proxy of this name, with connections of its own.
    #[must_use]
    pub fn new(name: &Arc<str>, settings: ProxySettings, outbound: &Outbound, registry: &Registry) -> Self {
        let client = outbound.client(settings.transport.clone(), Arc::new(AllowAll));
        // What asks how upstreams are must not wait behind the requests that made them slow.
        let own = TransportSettings { max_per_host: None, ..settings.transport.clone() };
        let asker = outbound.client(own, Arc::new(AllowAll));
        let upstreams = Arc::new(Upstreams::new(name, &settings, (&client, asker), registry));
        Self { settings, upstreams }
    }

    /// Passes a request on. `may_switch`: the client's connection can be handed over to another protocol.
    pub(crate) async fn serve(&self, incoming: Incoming, may_switch: bool) -> Result<Response<Body>, Error> {
        self.upstreams.watch_health();
        let Incoming { parts, authority, body, id, peer, notes, .. } = incoming;
        let scope = notes.as_ref().and_then(|notes| Some(notes.trace()?.scope(&parts.headers)));
        let protocol = match may_switch && self.settings.upgrade && parts.version == Version::HTTP_11 {
            true => fields::upgrade(&parts.headers),
            false => None,
        };
        let target = self.target(&parts)?;
        let is_safe = is_safe(&parts) && body.is_end_stream();
        let mut headers = parts.headers;
        fields::prepare_request(
            &mut headers,
            &self.settings,
            From { peer: &peer, authority: &authority, id: &id },
            protocol.as_ref(),
        );
        let body = Replay::new(body);
        let (mut turn, mut left) = (Turn::default(), self.settings.retries);
        loop {
            let upstream = self.upstreams.choose(&mut turn);
            let may_retry = left > 0 && self.upstreams.has_others(&turn);
            // Most proxies have one upstream, and no use for a copy.
            let fields = if may_retry { headers.clone() } else { std::mem::take(&mut headers) };
            let mut request = outgoing(&parts.method, &upstream.uri(&target)?, fields, body.again());
            let span = scope.as_ref().map(|scope| scope.call(&mut request));
            let call = Call {
                unix_socket: upstream.unix_socket(),
                upgrade: protocol.is_some(),
                on_interim: peer.link.clone().map(|link| {
                    let pass = move |status: StatusCode, headers: &HeaderMap| {
                        let mut headers = headers.clone();
                        fields::remove_hop_by_hop(&mut headers);
                        link.send_interim(status, &headers);
                    };
                    Arc::new(pass) as _
                }),
                ..Call::default()
            };
            let sent = upstream.send(request, call).await;
            if let Some(span) = span {
                let status = sent.as_ref().map(|(response, _)| response.status());
                span.answered(status.map_err(|error| error.kind.name()));
            }
            match sent {
                Ok((response, active)) => return self.answer(response, active, protocol.as_ref()),
                Err(error) => {
                    let again = may_retry
                        && (error.is_unsent() && !body.was_asked()
                            || is_safe && may_be_elsewhere(error.kind));
                    if !again {
                        return Err(failure(error, &body));
                    }
                    tracing::warn!(
                        upstream = upstream.name(),
                        request_id = id.as_str(),
                        "trying another upstream: {}",
                        crate::error::chain(&error)
                    );
                    left -= 1;
                }
            }
        }
    }

    /// The path and query that the upstream is asked for, without the upstream's own path.
    fn target(&self, parts: &request::Parts) -> Result<PathAndQuery, Error> {
        // Targets that a URI could not hold are there as they came.
        let raw = parts.extensions.get::<RawTarget>().filter(|RawTarget(raw)| raw.starts_with(b"/"));
        let whole = raw.and_then(|RawTarget(raw)| PathAndQuery::from_maybe_shared(raw.clone()).ok());
        let whole = whole.or_else(|| parts.uri.path_and_query().cloned());
        let whole = whole.unwrap_or_else(|| PathAndQuery::from_static("/"));
        if self.settings.strip_prefix.is_empty() {
            return Ok(whole);
        }
        let rest = strip(whole.path(), &self.settings.strip_prefix).ok_or(Kind::NotFound)?;
        let slash = if rest.is_empty() { "/" } else { "" };
        let query = whole.query().map_or(String::new(), |query| format!("?{query}"));
        format!("{slash}{rest}{query}")
            .parse()
            .map_err(|error| Error::new(Kind::Internal, BoxError::from(error)))
    }

    fn answer(
        &self,
        mut response: Response<InBody>,
        active: balance::Active,
        asked_for: Option<&HeaderValue>,
    ) -> Result<Response<Body>, Error> {
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let protocol = if switches { response.headers().get(UPGRADE).cloned() } else { None };
        if switches && !asked_for.is_some_and(|asked| fields::is_one_of(protocol.as_ref(), asked)) {
            let why = format!("it switches to {protocol:?}, and was asked for {asked_for:?}");
            return Err(Error::new(Kind::Upstream, BoxError::from(why)));
        }
        fields::remove_hop_by_hop(response.headers_mut());
        fields::rewrite(response.headers_mut(), &self.settings.response_headers);
        if switches {
            if let Some(protocol) = protocol {
                response.headers_mut().insert(UPGRADE, protocol);
            }
            response.extensions_mut().insert(TunnelIdle(self.settings.upgrade_idle_timeout));
        }
        Ok(response.map(|body| {
            let body = Counted { body, _active: active };
            Body::failing(body, |error| failed(error, Kind::Upstream))
        }))
    }
}

impl Callee for Proxy {
    /// The connection is the guest's in front, and goes on speaking HTTP.
    fn call(self: Arc<Self>, request: Incoming) -> Answered {
        Box::pin(async move { self.serve(request, false).await })
    }
}

fn outgoing(method: &Method, uri: &Uri, headers: HeaderMap, body: OutBody) -> Request<OutBody> {
    let mut request = Request::new(body);
    *request.method_mut() = method.clone();
    *request.uri_mut() = uri.clone();
    *request.headers_mut() = headers;
    request
}

/// Methods that change nothing: a server that sees one twice is none the worse (Go: Request.isReplayable).
fn is_safe(parts: &request::Parts) -> bool {
    matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
        && !parts.headers.contains_key(EXPECT)
}

/// Whether another upstream may do better where this one has not answered.
const fn may_be_elsewhere(kind: OutboundErrorKind) -> bool {
    use OutboundErrorKind::{Closed, HeaderTimeout};
    matches!(kind, Closed | HeaderTimeout)
}

/// What a client is told when there is no response.
fn failure(error: OutboundError, body: &Replay) -> Error {
    match error.kind {
        OutboundErrorKind::RequestBody => {
            body.failure().unwrap_or_else(|| failed(error, Kind::RequestBroken))
        }
        OutboundErrorKind::RequestTooLarge => failed(error, Kind::Limit(Limit::RequestBody)),
        kind if kind.is_timeout() => failed(error, Kind::UpstreamTimeout),
        _ => failed(error, Kind::Upstream),
    }
}

fn failed(error: OutboundError, kind: Kind) -> Error {
    let kind = if error.kind.is_timeout() { Kind::UpstreamTimeout } else { kind };
    Error::new(kind, error)
}

/// The body of a response, whose upstream is busy until it ends.
struct Counted {
    body: InBody,
    _active: balance::Active,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = OutboundError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, OutboundError>>> {
        let polled = std::pin::Pin::new(&mut self.body).poll_frame(cx);
        polled.map_ok(fields::without_bad_trailers)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// No body, for requests of the proxy's own.
fn nothing() -> OutBody {
    http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync()
}
