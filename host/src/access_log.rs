//! One line on standard output for every request, written when its last byte is out; and the request's own span, which ends
//! with it.
//!
//! Lines go through a bounded queue to a thread of their own: a reader that is slow to take them costs lines and never
//! holds up a request.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::header::{CONTENT_LENGTH, HOST, REFERER, USER_AGENT};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, Uri, Version};
use http_body::Body as _;

use self::line::Line;
use crate::body::{Body, allows_no_body};
use crate::config::AccessLogFormat;
use crate::guest::{Peer, RawTarget, RouteInfo};
use crate::notes::Notes;
use crate::request_id::RequestId;
use crate::stats::RouteStats;
use crate::telemetry::{Flush, LineWriter, Which};
use crate::trace::{Span, Trace, bare_host, span_name};

mod line;

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Json,
    Combined,
}

/// The access log. Clones write to the same queue.
#[derive(Clone, Debug)]
pub struct AccessLog {
    out: LineWriter,
    form: Form,
}

impl AccessLog {
    /// Starts the log on standard output, unless it is off.
    #[must_use]
    pub fn start(format: AccessLogFormat) -> Option<(Self, Flush)> {
        let form = match format {
            AccessLogFormat::Off => return None,
            AccessLogFormat::Text => Form::Text,
            AccessLogFormat::Json => Form::Json,
            AccessLogFormat::Combined => Form::Combined,
        };
        let (out, guard) = LineWriter::new(std::io::stdout(), Which::Access);
        Some((Self { out, form }, guard))
    }

    /// Whether its lines say what is in [`Notes`].
    pub(crate) fn has_notes(&self) -> bool {
        self.form == Form::Json
    }
}

/// What is known about one request, until it has ended.
#[derive(Debug)]
pub struct Record {
    log: Option<AccessLog>,
    /// Its own span, if it is traced.
    span: Option<Span>,
    started: Instant,
    peer: Arc<Peer>,
    method: Method,
    uri: Uri,
    target: Option<String>,
    version: Version,
    /// `Referer` and `User-Agent`, for whoever writes them.
    client: [Option<HeaderValue>; 2],
    /// None while there is no response: the client went away before there was one.
    status: Option<StatusCode>,
    bytes: u64,
    /// Content-Length of the response; with it the connection does not wait for the body to say that it has ended.
    declared: Option<u64>,
    complete: bool,
    route: Option<(Arc<RouteStats>, Arc<RouteInfo>)>,
    id: String,
    notes: Option<Arc<Notes>>,
}

impl Record {
    /// Of a request whose head was there at `started`; `None` when nobody wants one.
    pub(crate) fn new(
        log: Option<&AccessLog>,
        notes: Option<&Arc<Notes>>,
        (request, peer): (&Parts, &Arc<Peer>),
        id: &RequestId,
        started: Instant,
    ) -> Option<Box<Self>> {
        let trace = notes.and_then(|notes| notes.trace()).filter(|trace| trace.is_sampled());
        if log.is_none() && trace.is_none() {
            return None;
        }
        let span = trace.map(|trace| span(trace, request, peer, started));
        let is_combined = log.is_some_and(|log| log.form == Form::Combined);
        let field = |name: HeaderName| request.headers.get(name).filter(|_| is_combined).cloned();
        Some(Box::new(Self {
            log: log.cloned(),
            span,
            started,
            peer: Arc::clone(peer),
            method: request.method.clone(),
            uri: request.uri.clone(),
            target: raw_target(request),
            version: request.version,
            client: [field(REFERER), field(USER_AGENT)],
            status: None,
            bytes: 0,
            declared: None,
            complete: false,
            route: None,
            id: id.to_string(),
            notes: notes.cloned(),
        }))
    }

    /// It is one of this route; before that it is of none.
    pub(crate) fn belongs_to(&mut self, stats: &Arc<RouteStats>, info: &Arc<RouteInfo>) {
        self.route = Some((Arc::clone(stats), Arc::clone(info)));
    }

    pub(crate) fn answered(&mut self, response: &Response<Body>) {
        let status = response.status();
        self.status = Some(status);
        let declared = response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        self.declared = declared.and_then(|length| length.parse().ok());
        // These bodies are never polled.
        self.complete = self.method == Method::HEAD
            || allows_no_body(status)
            || self.declared == Some(0)
            || response.body().is_end_stream();
    }

    /// Body bytes were handed to the connection; says whether these are all that were declared.
    pub(crate) fn sent(&mut self, bytes: usize) -> bool {
        self.bytes += bytes as u64;
        self.declared == Some(self.bytes)
    }

    /// Bytes have come through a tunnel.
    pub(crate) fn received(&self, bytes: usize) {
        if let Some(notes) = &self.notes {
            notes.request_bytes.add(bytes as u64);
        }
    }

    /// The body has come to its end.
    pub(crate) fn ended(&mut self) {
        self.complete = true;
    }

    /// The body broke off.
    pub(crate) fn broken(&mut self) {
        self.complete = false;
    }

    /// Says of the request's span what has become of it (OpenTelemetry semantic conventions for HTTP, 1.36).
    fn end_span(&mut self) {
        let Some(span) = &mut self.span else { return };
        if let Some((stats, info)) = &self.route {
            span.rename(format!("{} {}", span_name(&self.method), info.path()));
            span.set("http.route", info.path());
            span.set("wasmux.handler", &*stats.handler.name);
            if !stats.version.is_empty() {
                span.set("wasmux.version", &*stats.version);
            }
        }
        match self.status {
            Some(status) => {
                span.set("http.response.status_code", status.as_u16());
                if status.is_server_error() {
                    span.fail(status.as_str());
                } else if !self.complete {
                    span.fail("incomplete");
                }
            }
            None => span.fail("client_gone"),
        }
    }
}

/// The span of a request, with what its head says.
fn span(trace: &Arc<Trace>, request: &Parts, peer: &Peer, started: Instant) -> Span {
    let begin = SystemTime::now().checked_sub(started.elapsed()).unwrap_or_else(SystemTime::now);
    let mut span = trace.server(span_name(&request.method).to_owned(), (begin, started));
    span.set_method(&request.method);
    span.set("url.scheme", peer.scheme);
    span.set("url.path", request.uri.path());
    // Not the query: it may hold secrets.
    let host = request.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = request.uri.authority().map(http::uri::Authority::as_str).or(host);
    if let Some(host) = host.and_then(|host| host.parse::<http::uri::Authority>().ok()) {
        span.set("server.address", bare_host(host.host()));
        if let Some(port) = host.port_u16() {
            span.set("server.port", port);
        }
    }
    if let Some(address) = line::host(&peer.remote) {
        span.set("client.address", address);
    }
    if let Some(agent) = request.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()) {
        span.set("user_agent.original", agent);
    }
    let version = match request.version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    };
    span.set("network.protocol.version", version);
    span
}

/// The target as it came, where that is not what the URI says.
fn raw_target(request: &Parts) -> Option<String> {
    request.extensions.get::<RawTarget>().map(|raw| String::from_utf8_lossy(&raw.0).into_owned())
}

impl Drop for Record {
    fn drop(&mut self) {
        self.end_span();
        if let Some(log) = &self.log {
            log.out.line(Line::of(self).text(log.form).as_bytes());
        }
    }
}
