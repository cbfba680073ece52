//! One line on standard output for every request, written when its last byte is out.
//!
//! Lines go through a bounded queue to a thread of their own: a reader that is slow to take them costs lines and never
//! holds up a request.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{Method, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use serde::Serialize;
use tracing_appender::non_blocking::NonBlocking;

use crate::body::{Body, allows_no_body};
use crate::config::AccessLogFormat;
use crate::guest::{Peer, RawTarget, RouteInfo};
use crate::request_id::RequestId;
use crate::telemetry::{self, Flush};

/// The access log. Clones write to the same queue.
#[derive(Clone, Debug)]
pub struct AccessLog {
    out: NonBlocking,
    json: bool,
}

impl AccessLog {
    /// Starts the log on standard output, unless it is off.
    #[must_use]
    pub fn start(format: AccessLogFormat) -> Option<(Self, Flush)> {
        let json = match format {
            AccessLogFormat::Off => return None,
            AccessLogFormat::Text => false,
            AccessLogFormat::Json => true,
        };
        let (out, guard) = telemetry::line_writer(std::io::stdout(), "access-log");
        Some((Self { out, json }, guard))
    }

    fn write(&self, line: &str) {
        // Never waits, and fails only when the writing thread is gone: then the log is all that is lost.
        let _ = self.out.clone().write(line.as_bytes());
    }
}

/// What is known about one request, until its line is written.
#[derive(Debug)]
pub struct Record {
    log: AccessLog,
    started: Instant,
    peer: Arc<Peer>,
    method: Method,
    uri: Uri,
    target: Option<String>,
    version: Version,
    /// None while there is no response: the client went away before there was one.
    status: Option<StatusCode>,
    bytes: u64,
    /// Content-Length of the response; with it the connection does not wait for the body to say that it has ended.
    declared: Option<u64>,
    complete: bool,
    handler: Option<Arc<str>>,
    route: Option<Arc<RouteInfo>>,
    id: String,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    remote: &'a str,
    method: &'a str,
    target: String,
    protocol: String,
    status: Option<u16>,
    bytes: u64,
    duration_us: u64,
    complete: bool,
    handler: Option<&'a str>,
    pattern: Option<&'a str>,
    request_id: &'a str,
    /// What is known of the connection's TLS; left out without.
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_subject: Option<&'a str>,
}

impl Record {
    pub(crate) fn new(log: AccessLog, request: &Parts, peer: &Arc<Peer>, id: &RequestId) -> Box<Self> {
        Box::new(Self {
            log,
            started: Instant::now(),
            peer: Arc::clone(peer),
            method: request.method.clone(),
            uri: request.uri.clone(),
            target: raw_target(request),
            version: request.version,
            status: None,
            bytes: 0,
            declared: None,
            complete: false,
            handler: None,
            route: None,
            id: id.to_string(),
        })
    }

    pub(crate) fn answered(
        &mut self,
        route: Option<(&Arc<str>, &Arc<RouteInfo>)>,
        response: &Response<Body>,
    ) {
        let status = response.status();
        self.status = Some(status);
        self.handler = route.map(|(handler, _)| Arc::clone(handler));
        self.route = route.map(|(_, info)| Arc::clone(info));
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

    /// The body has come to its end.
    pub(crate) fn ended(&mut self) {
        self.complete = true;
    }

    /// The body broke off.
    pub(crate) fn broken(&mut self) {
        self.complete = false;
    }

    fn line(&self) -> String {
        let line = Line {
            time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            remote: &self.peer.remote,
            method: self.method.as_str(),
            target: self.target.clone().unwrap_or_else(|| self.uri.to_string()),
            protocol: format!("{:?}", self.version),
            status: self.status.map(|status| status.as_u16()),
            bytes: self.bytes,
            duration_us: u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX),
            complete: self.complete,
            handler: self.handler.as_deref(),
            pattern: self.route.as_ref().map(|info| info.pattern.as_str()),
            request_id: &self.id,
            tls: self.peer.tls.as_ref().map(|tls| tls.version),
            client_subject: self.peer.tls.as_ref().and_then(|tls| tls.client_subject.as_deref()),
        };
        if self.log.json {
            let json = serde_json::to_string(&line).unwrap_or_default();
            return json + "\n";
        }
        let broken = if line.complete { "" } else { " (incomplete)" };
        format!(
            "{} {} \"{} {} {}\" {} {}B {:.3}ms {} {}{broken}\n",
            line.time,
            line.remote,
            line.method,
            line.target,
            line.protocol,
            line.status.map_or_else(|| "-".to_owned(), |status| status.to_string()),
            line.bytes,
            line.duration_us as f64 / 1000.0,
            line.handler.unwrap_or("-"),
            line.request_id,
        )
    }
}

/// The target as it came, where that is not what the URI says.
fn raw_target(request: &Parts) -> Option<String> {
    request.extensions.get::<RawTarget>().map(|raw| String::from_utf8_lossy(&raw.0).into_owned())
}

impl Drop for Record {
    fn drop(&mut self) {
        self.log.write(&self.line());
    }
}
