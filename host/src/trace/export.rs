//! The task that sends spans to the collector: OTLP over HTTP, protobuf.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use super::queue::Export;
use super::{Finished, TraceSettings, TraceStats, otlp};
use crate::outbound::{Call, Client};

/// Spans of one request to the collector.
const BATCH_SPANS: usize = 512;

/// A smaller batch waits for so long for more (OpenTelemetry: BatchSpanProcessor has 5 s).
const BATCH_WAIT: Duration = Duration::from_secs(1);

/// How often a batch is sent again that the collector had no time for, and how long it waits before that, each time twice as
/// long. Beyond it the batch is dropped, and counted.
const RETRIES: u32 = 3;
const RETRY_WAIT: Duration = Duration::from_millis(500);

/// What of a collector's answer is read, in bytes, so that its connection can be used again.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Sends spans for as long as somebody makes them.
pub(super) async fn run(
    settings: TraceSettings,
    client: Client,
    mut spans: mpsc::Receiver<Export>,
    stats: Arc<TraceStats>,
) {
    let mut exporter = Exporter { settings, client, stats, is_well: true };
    let mut batch = Vec::new();
    while let Some(first) = spans.recv().await {
        let mut flushed = gather(first, &mut spans, &mut batch).await;
        // Who waits for the last ones has no time for a collector that is down.
        let retries = if flushed.is_some() { 0 } else { RETRIES };
        exporter.send(mem::take(&mut batch), retries).await;
        if let Some(flushed) = flushed.take() {
            let _ = flushed.send(());
        }
    }
}

/// Waits until there is a batch; says who wants to know when it was sent, if somebody does.
async fn gather(
    first: Export,
    spans: &mut mpsc::Receiver<Export>,
    batch: &mut Vec<Finished>,
) -> Option<oneshot::Sender<()>> {
    let until = Instant::now() + BATCH_WAIT;
    let mut next = Some(first);
    loop {
        match next? {
            Export::Flush(flushed) => return Some(flushed),
            Export::Span(span) => batch.push(*span),
        }
        if batch.len() >= BATCH_SPANS {
            return None;
        }
        next = timeout_at(until, spans.recv()).await.ok().flatten();
    }
}

struct Exporter {
    settings: TraceSettings,
    client: Client,
    stats: Arc<TraceStats>,
    /// The last batch has arrived: that this changes is news.
    is_well: bool,
}

/// Why a batch was not taken.
struct Failed {
    why: String,
    may_retry: bool,
}

impl Exporter {
    async fn send(&mut self, batch: Vec<Finished>, retries: u32) {
        let count = batch.len() as u64;
        if count == 0 {
            return;
        }
        let message = otlp::request(&self.settings.service_name, batch).encode_to_vec();
        let message = bytes::Bytes::from(message);
        let mut wait = RETRY_WAIT;
        for left in (0..=retries).rev() {
            match self.post(message.clone()).await {
                Ok(()) => {
                    self.stats.exported.add(count);
                    if !mem::replace(&mut self.is_well, true) {
                        tracing::info!(endpoint = %self.settings.endpoint, "the collector takes spans again");
                    }
                    return;
                }
                Err(failed) if left == 0 || !failed.may_retry => {
                    self.stats.failed.add(count);
                    if mem::replace(&mut self.is_well, false) {
                        let endpoint = &self.settings.endpoint;
                        tracing::warn!(%endpoint, "spans are lost, the collector takes none: {}", failed.why);
                    }
                    return;
                }
                Err(_) => {
                    sleep(wait).await;
                    wait *= 2;
                }
            }
        }
    }

    async fn post(&self, message: bytes::Bytes) -> Result<(), Failed> {
        let body = Full::new(message).map_err(|never| match never {}).boxed_unsync();
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.settings.endpoint.clone();
        for (name, value) in &self.settings.headers {
            request.headers_mut().insert(name, value.clone());
        }
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let call = Call { deadline: Some(Instant::now() + self.settings.timeout), ..Call::default() };
        let response = self.client.send(request, call).await;
        let response =
            response.map_err(|error| Failed { why: crate::error::chain(&error), may_retry: true })?;
        let status = response.status();
        let _ = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        if status.is_success() {
            return Ok(());
        }
        // Those that the standard names (OTLP/HTTP, failures).
        let may_retry = matches!(status.as_u16(), 429 | 502 | 503 | 504);
        Err(Failed { why: format!("it answers {}", status.as_u16()), may_retry })
    }
}
