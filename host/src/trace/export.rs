//! The task that sends spans to the collector: OTLP over HTTP, protobuf.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request};
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
/// long, and up to half more or less. Beyond it the batch is dropped, and counted.
const RETRIES: u32 = 3;
const RETRY_WAIT: Duration = Duration::from_millis(500);

/// A collector is not waited for any longer, whatever it says: new spans would have no room.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

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
    /// When the collector wants to be asked again, if it has said.
    retry_after: Option<Duration>,
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
                Ok(rejected) => {
                    let rejected = rejected.min(count);
                    self.stats.exported.add(count - rejected);
                    self.stats.failed.add(rejected);
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
                Err(failed) => {
                    // Those who were turned away together do not come back together.
                    let ours = wait.mul_f64(rand::random_range(0.5..1.5));
                    sleep(failed.retry_after.map_or(ours, |theirs| ours.max(theirs))).await;
                    wait *= 2;
                }
            }
        }
    }

    /// Sends a batch; says how many spans of it the collector has not taken.
    async fn post(&self, message: bytes::Bytes) -> Result<u64, Failed> {
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
        let gone = |error| Failed { why: crate::error::chain(&error), may_retry: true, retry_after: None };
        let response = response.map_err(gone)?;
        let (status, retry_after) = (response.status(), retry_after(response.headers()));
        let answer = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        if status.is_success() {
            return Ok(answer.map_or(0, |answer| self.rejected(&answer.to_bytes())));
        }
        // Those that the standard names (OTLP/HTTP, failures).
        let may_retry = matches!(status.as_u16(), 429 | 502 | 503 | 504);
        Err(Failed { why: format!("it answers {}", status.as_u16()), may_retry, retry_after })
    }

    /// How many spans a collector has rejected that has taken the others.
    fn rejected(&self, answer: &[u8]) -> u64 {
        let partial = otlp::Answer::decode(answer).ok().and_then(|answer| answer.partial_success);
        let Some(otlp::PartialSuccess { rejected_spans, error_message }) = partial else { return 0 };
        let rejected = u64::try_from(rejected_spans).unwrap_or(0);
        if rejected > 0 {
            let endpoint = &self.settings.endpoint;
            tracing::debug!(%endpoint, "{rejected} spans were rejected: {error_message:?}");
        }
        rejected
    }
}

/// What `Retry-After` says, in seconds, up to [`RETRY_AFTER_MAX`].
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collectors_may_ask_for_time() {
        let said = |text: &'static str| {
            retry_after(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]))
        };
        assert_eq!(said("3"), Some(Duration::from_secs(3)));
        assert_eq!(said("86400"), Some(RETRY_AFTER_MAX));
        assert_eq!((said("Fri, 31 Dec 1999 23:59:59 GMT"), retry_after(&HeaderMap::new())), (None, None));
    }
}
