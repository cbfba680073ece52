//! Finished spans on their way to the one task that sends them. Bounded: nobody waits for room.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::{Finished, TraceSettings, TraceStats, Tracer};
use crate::outbound::{AllowAll, Outbound, TransportSettings};

/// How long an ending program waits until its last spans are out.
const FLUSH_WAIT: Duration = Duration::from_secs(2);

/// Spans that wait to be sent; beyond it they are dropped, and counted.
const SPANS_MAX: usize = 4_096;

/// What the sending task is given.
#[derive(Debug)]
#[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "nothing is sent without the feature"))]
pub(super) enum Export {
    /// A span. Boxed: the queue has room for all of them from the start.
    Span(Box<Finished>),
    /// Send what there is.
    Flush(oneshot::Sender<()>),
}

/// The way in. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    spans: mpsc::Sender<Export>,
    stats: Arc<TraceStats>,
}

impl Queue {
    fn new() -> (Self, mpsc::Receiver<Export>) {
        let (spans, receiver) = mpsc::channel(SPANS_MAX);
        (Self { spans, stats: Arc::default() }, receiver)
    }

    pub(super) fn put(&self, span: Finished) {
        if self.spans.try_send(Export::Span(Box::new(span))).is_err() {
            self.stats.overflowed.increment();
        }
    }
}

/// The task that sends spans, as those see it who started it.
#[derive(Debug)]
pub struct Exporting {
    queue: Queue,
}

impl Exporting {
    /// Starts it, in the runtime that this is called in. Without the feature `otlp` nothing is sent.
    #[must_use]
    pub fn start(settings: TraceSettings, outbound: &Outbound) -> (Tracer, Self) {
        let (queue, receiver) = Queue::new();
        let sampled_below = settings.sampled_below;
        let client = outbound.client(TransportSettings::default(), Arc::new(AllowAll));
        #[cfg(feature = "otlp")]
        tokio::spawn(super::export::run(settings, client, receiver, Arc::clone(&queue.stats)));
        #[cfg(not(feature = "otlp"))]
        drop((client, receiver));
        (Tracer { sampled_below, queue: queue.clone() }, Self { queue })
    }

    /// What became of all spans.
    #[must_use]
    pub fn stats(&self) -> Arc<TraceStats> {
        Arc::clone(&self.queue.stats)
    }

    /// Has it send what it has, and waits for that, but not for long.
    pub async fn flush(self) {
        let (done, is_done) = oneshot::channel();
        let flushed = async {
            if self.queue.spans.send(Export::Flush(done)).await.is_ok() {
                let _ = is_done.await;
            }
        };
        let _ = tokio::time::timeout(FLUSH_WAIT, flushed).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::super::{SpanId, SpanKind, TraceId};
    use super::*;

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let (queue, mut receiver) = Queue::new();
        let span = || {
            let (trace, id) = (TraceId([1; 16]), SpanId([2; 8]));
            let (name, state) = ("a".to_owned(), Vec::new());
            Finished::new(trace, id, None, SpanKind::Internal, name, state, SystemTime::UNIX_EPOCH)
        };
        (0..SPANS_MAX + 3).for_each(|_| queue.put(span()));
        assert_eq!(queue.stats.overflowed.get(), 3);
        assert!(matches!(receiver.try_recv(), Ok(Export::Span(_))));
        queue.put(span());
        assert_eq!(queue.stats.overflowed.get(), 3);
    }
}
