//! One line on standard output for every request, written when its last byte is out.
//!
//! Lines go through a bounded queue to a thread of their own: a reader that is slow to take them costs lines, which
//! are counted, and never holds up a request.

use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use serde::Serialize;

use crate::body::Body;
use crate::config::AccessLogFormat;
use crate::error::Error;
use crate::guest::{Peer, RouteInfo};
use crate::request_id::RequestId;
use crate::rescue;

/// Lines that may wait to be written.
const QUEUE_LINES: usize = 8192;

/// The access log. Clones write to the same queue.
#[derive(Clone, Debug)]
pub struct AccessLog {
    queue: SyncSender<String>,
    json: bool,
    dropped: Arc<AtomicU64>,
}

impl AccessLog {
    /// Starts the writing thread, which ends with the last clone; `None` when the log is off.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(format: AccessLogFormat) -> std::io::Result<Option<(Self, Writer)>> {
        if format == AccessLogFormat::Off {
            return Ok(None);
        }
        let (queue, lines) = sync_channel(QUEUE_LINES);
        let thread =
            std::thread::Builder::new().name("access-log".into()).spawn(move || write_lines(&lines))?;
        let log = Self { queue, json: format == AccessLogFormat::Json, dropped: Arc::default() };
        Ok(Some((log, Writer(Some(thread)))))
    }

    fn write(&self, line: String) {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(line)
            && self.dropped.fetch_add(1, Ordering::Relaxed).is_power_of_two()
        {
            let dropped = self.dropped.load(Ordering::Relaxed);
            tracing::warn!(dropped, "the access log is read too slowly; lines were dropped");
        }
    }
}

/// The writing thread; its drop waits for the last lines.
#[derive(Debug)]
pub struct Writer(Option<std::thread::JoinHandle<()>>);

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            let _ = thread.join();
        }
    }
}

fn write_lines(lines: &Receiver<String>) {
    // Not locked for good: others print there, too.
    let mut out = std::io::stdout();
    while let Ok(line) = lines.recv() {
        let mut batch = line;
        while batch.len() < 64 * 1024
            && let Ok(line) = lines.try_recv()
        {
            batch.push_str(&line);
        }
        // Nobody reads any more: the log is all that is lost.
        let _ = out.write_all(batch.as_bytes()).and_then(|()| out.flush());
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
}

impl Record {
    pub(crate) fn new<B>(
        log: AccessLog,
        request: &Request<B>,
        peer: &Arc<Peer>,
        id: &RequestId,
    ) -> Box<Self> {
        Box::new(Self {
            log,
            started: Instant::now(),
            peer: Arc::clone(peer),
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
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
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || self.declared == Some(0)
            || response.body().is_end_stream();
    }

    fn line(&self) -> String {
        let line = Line {
            time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            remote: &self.peer.remote,
            method: self.method.as_str(),
            target: self.uri.to_string(),
            protocol: format!("{:?}", self.version),
            status: self.status.map(|status| status.as_u16()),
            bytes: self.bytes,
            duration_us: u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX),
            complete: self.complete,
            handler: self.handler.as_deref(),
            pattern: self.route.as_ref().map(|info| info.pattern.as_str()),
            request_id: &self.id,
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

impl Drop for Record {
    fn drop(&mut self) {
        self.log.write(self.line());
    }
}

/// A response body whose end is put on record.
#[derive(Debug)]
pub struct Recorded {
    body: Body,
    record: Option<Box<Record>>,
    /// Whom to name when the body breaks off.
    handler: Option<Arc<str>>,
    id: RequestId,
}

impl Recorded {
    pub(crate) fn new(
        body: Body,
        record: Option<Box<Record>>,
        handler: Option<Arc<str>>,
        id: RequestId,
    ) -> Self {
        Self { body, record, handler, id }
    }

    fn account(&mut self, polled: &Poll<Option<Result<Frame<Bytes>, Error>>>) {
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                if let Some(record) = &mut self.record {
                    record.bytes += bytes;
                }
            }
            Poll::Ready(Some(Err(error))) => {
                rescue::report(error, self.handler.as_deref().unwrap_or("-"), &self.id)
            }
            Poll::Ready(None) | Poll::Pending => {}
        }
        let ended = matches!(polled, Poll::Ready(None)) || self.body.is_end_stream();
        if let Some(record) = &mut self.record {
            record.complete |= ended || record.declared == Some(record.bytes);
            record.complete &= !matches!(polled, Poll::Ready(Some(Err(_))));
        }
    }
}

impl HttpBody for Recorded {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.account(&polled);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
