//! One request: id, route, handler, rescue, record. Decides; the others compute.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderValue, Method, Response};
use http_body::Body as _;
use wasmux_mux::{Found, Mux, Target};

use crate::access_log::{AccessLog, Record};
use crate::activity::Busy;
use crate::authority::authority;
use crate::body::Body;
use crate::deployment::{Deployment, Route};
use crate::guest::{Incoming, NetworkBody, Peer, RawTarget, RequestBody};
use crate::handler::Handler;
use crate::limit::HEADERS_MAX;
use crate::notes::Notes;
use crate::recorded::Recorded;
use crate::request_id::{RequestId, RequestIds};
use crate::rescue;
use crate::stats::{Meter, Registry, RouteStats, ServerStats};
use crate::trace::Tracer;

/// Answers requests with the deployment that is in force when they begin.
#[derive(Debug)]
pub struct Dispatcher {
    deployment: Arc<ArcSwap<Deployment>>,
    ids: RequestIds,
    access_log: Option<AccessLog>,
    /// None when nothing is traced.
    tracer: Option<Tracer>,
    registry: Arc<Registry>,
}

/// A request that has an id, is counted and, if wanted, on record.
#[derive(Debug)]
pub(crate) struct Begun {
    id: RequestId,
    meter: Meter,
    notes: Option<Arc<Notes>>,
    record: Option<Box<Record>>,
    busy: Busy,
}

impl Dispatcher {
    /// A dispatcher for `deployment`, which may be replaced at any time.
    #[must_use]
    pub fn new(deployment: Arc<ArcSwap<Deployment>>, access_log: Option<AccessLog>) -> Self {
        Self { deployment, ids: RequestIds::new(), access_log, tracer: None, registry: Arc::default() }
    }

    /// The same, which traces requests, if it is to, and counts in this registry.
    #[must_use]
    pub fn observed(self, tracer: Option<Tracer>, registry: Arc<Registry>) -> Self {
        Self { tracer, registry, ..self }
    }

    /// What is counted of the server of this name.
    pub(crate) fn server(&self, name: &str) -> Arc<ServerStats> {
        self.registry.server(name)
    }

    /// Takes note of a request whose head was there at `began`, before anything waits: it is on record also if its client
    /// leaves before it is looked at.
    pub(crate) fn begin(&self, peer: &Arc<Peer>, request: &Parts, began: Instant) -> Begun {
        let id = self.ids.assign(&request.headers);
        let trace = self.tracer.as_ref().map(|tracer| tracer.begin(&request.headers));
        let log = self.access_log.as_ref();
        let has_notes = trace.is_some() || log.is_some_and(AccessLog::has_notes);
        let notes = has_notes.then(|| Notes::new(trace));
        let record = match (log, &notes) {
            (None, None) => None,
            (log, notes) => Record::new(log, notes.as_ref(), (request, peer), &id, began),
        };
        Begun { id, meter: Meter::new(began), notes, record, busy: peer.activity.begin() }
    }

    /// Answers one request to this server. Never fails: every error has a response.
    pub(crate) async fn call(
        &self,
        server: &ServerStats,
        peer: &Arc<Peer>,
        parts: Box<Parts>,
        body: NetworkBody,
        begun: Begun,
    ) -> Response<Recorded> {
        let Begun { id, mut meter, notes, mut record, busy } = begun;
        let is_head = parts.method == Method::HEAD;
        // To its last byte, a request is served by the deployment that it began with.
        let deployment = self.deployment.load_full();
        let request = (parts, body, notes);
        let seen = Seen { meter: &mut meter, record: record.as_deref_mut() };
        let (mut response, has_route) = answer(&deployment, &server.name, peer, request, &id, seen).await;
        if !has_route {
            meter.belongs_to(&server.unrouted);
        }
        meter.answered(response.status());
        if is_head {
            leave_out_content(&mut response);
        }
        if let Some(record) = &mut record {
            record.answered(&response);
        }
        response.map(|body| Recorded::new(body, (record, meter), id, peer, busy))
    }
}

/// Who is told of a request's route as soon as it is known: its client may leave before there is a response.
struct Seen<'s> {
    meter: &'s mut Meter,
    record: Option<&'s mut Record>,
}

impl Seen<'_> {
    fn belongs_to(&mut self, stats: &Arc<RouteStats>, route: &Route) {
        self.meter.belongs_to(stats);
        if let Some(record) = &mut self.record {
            record.belongs_to(stats, &route.info);
        }
    }
}

/// The response of whatever the request's route points at, and whether there is a route.
async fn answer(
    deployment: &Deployment,
    server: &str,
    peer: &Arc<Peer>,
    (parts, body, notes): (Box<Parts>, NetworkBody, Option<Arc<Notes>>),
    id: &RequestId,
    mut seen: Seen<'_>,
) -> (Response<Body>, bool) {
    // HTTP/1 has refused such heads before they came here; h2 does not count.
    if parts.headers.len() > HEADERS_MAX {
        return (rescue::too_many_fields(id), false);
    }
    let Some(authority) = authority(&parts) else { return (rescue::bad_request(id), false) };
    if parts.method == Method::OPTIONS && parts.uri.path() == "*" {
        return (rescue::options_server(), false);
    }
    let Some(target) = target(&parts) else { return (rescue::bad_request(id), false) };
    // A server that the deployment does not have any more has nothing to offer.
    let Some(mux) = deployment.mux(server) else { return (rescue::not_found(id), false) };
    let (route, values) =
        match found(mux, &target.request(parts.method.as_str(), authority), &parts.method, id) {
            Ok(found) => found,
            Err(response) => return (*response, false),
        };
    seen.belongs_to(&route.stats, route);
    let result = match &*route.handler {
        Handler::Fixed(fixed) => Ok(fixed.response()),
        Handler::Files(files) => {
            // Boxed: every connection has room for the largest of these futures.
            let found = Box::pin(files.serve(&parts)).await;
            found.map(|found| found.unwrap_or_else(|| rescue::not_found(id)))
        }
        Handler::Guest(guest) => {
            let authority = authority.to_owned();
            let incoming = incoming(route, &route.stats, (parts, body, notes), authority, peer, id, values);
            Arc::clone(guest).serve(incoming).await
        }
        Handler::Split(split) => {
            let is_canary = split.is_for_canary(&parts.headers, &peer.remote);
            let stats = route.canary_stats.as_ref().filter(|_| is_canary).unwrap_or(&route.stats);
            seen.belongs_to(stats, route);
            let authority = authority.to_owned();
            let incoming = incoming(route, stats, (parts, body, notes), authority, peer, id, values);
            Box::pin(split.serve(incoming, is_canary)).await
        }
        Handler::Proxy(proxy) => {
            let authority = authority.to_owned();
            let incoming = incoming(route, &route.stats, (parts, body, notes), authority, peer, id, values);
            Box::pin(proxy.serve(incoming, true)).await
        }
        Handler::Broken(broken) => Err((&**broken).into()),
    };
    let response = result.unwrap_or_else(|error| {
        route.stats.handler.failed(error.kind());
        rescue::report(&error, &route.name, id);
        rescue::respond(&error, id)
    });
    (response, true)
}

/// A route, and the values of its wildcards.
type Routed<'m> = (&'m Route, Vec<Vec<u8>>);

/// The route of a request, and the values of its wildcards if its handler looks at them; else what the mux says instead.
fn found<'m>(
    mux: &'m Mux<Route>,
    wanted: &wasmux_mux::Request<'_>,
    method: &Method,
    id: &RequestId,
) -> Result<Routed<'m>, Box<Response<Body>>> {
    Err(Box::new(match mux.find(wanted) {
        Found::Match(found) => {
            let route = found.value();
            let values = match &*route.handler {
                Handler::Guest(_) | Handler::Split(_) => {
                    found.values().map(|(_, value)| value.into_owned()).collect()
                }
                Handler::Fixed(_) | Handler::Files(_) | Handler::Proxy(_) | Handler::Broken(_) => Vec::new(),
            };
            return Ok((route, values));
        }
        Found::Redirect(redirect) => rescue::redirect(redirect.location(), method, id),
        Found::MethodNotAllowed(allow) => rescue::method_not_allowed(&allow.to_string(), id),
        Found::NotFound => rescue::not_found(id),
        Found::BadRequest => rescue::bad_request(id),
    }))
}

/// A request as handlers get it that take it over whole.
fn incoming(
    route: &Route,
    stats: &Arc<RouteStats>,
    (mut parts, body, notes): (Box<Parts>, NetworkBody, Option<Arc<Notes>>),
    authority: String,
    peer: &Arc<Peer>,
    id: &RequestId,
    values: Vec<Vec<u8>>,
) -> Incoming {
    let (info, id, peer) = (Arc::clone(&route.info), id.clone(), Arc::clone(peer));
    body.count(stats, notes.as_ref());
    if let Some(trace) = notes.as_ref().and_then(|notes| notes.trace()) {
        trace.write(&mut parts.headers);
    }
    let body = RequestBody::network(body);
    Incoming { parts, authority, body, route: info, values, id, peer, via: None, notes }
}

/// Makes a response one to HEAD (RFC 9110 section 9.3.2): HTTP/1 does so anyway, but hyper would send the content on HTTP/2.
/// Streams know by themselves.
fn leave_out_content(response: &mut Response<Body>) {
    let body = response.body();
    let Some(length) = body.size_hint().exact().filter(|&length| length > 0 && body.is_whole()) else {
        return;
    };
    response.headers_mut().entry(CONTENT_LENGTH).or_insert(HeaderValue::from(length));
    *response.body_mut() = Body::empty();
}

/// The request target as the mux takes it; `None` when it is malformed (Go: net/url.ParseRequestURI).
fn target(parts: &Parts) -> Option<Target<'_>> {
    if let Some(raw) = parts.extensions.get::<RawTarget>() {
        return Target::parse(parts.method.as_str(), std::str::from_utf8(&raw.0).ok()?).ok();
    }
    match parts.uri.path_and_query() {
        Some(text) => Target::parse(parts.method.as_str(), text.as_str()).ok(),
        // An authority-form target is for CONNECT only (RFC 9112 section 3.2.3); it has no path, which no pattern matches.
        None if parts.method != Method::CONNECT => None,
        None => Some(Target { authority: None, path: "".into(), query: None }),
    }
}
