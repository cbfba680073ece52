//! A clock for responses on HTTP/2 that the client does not let us send.
//!
//! There the connection's own write clock does not help: with a closed window nothing is written at all. A stream that
//! the connection stops asking for bytes, although it had some, is what a closed window looks like from here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// What the streams of one connection share: how long one may stall, and the way to end the connection.
#[derive(Clone, Debug)]
pub struct StallLimit {
    timeout: Duration,
    cut: Arc<Notify>,
}

impl StallLimit {
    /// A limit of `timeout` for every stream of one connection.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, cut: Arc::default() }
    }

    /// Waits until a stream has stalled for too long.
    pub async fn reached(&self) {
        self.cut.notified().await;
    }

    /// Watches one stream until the watch is dropped.
    pub(crate) fn watch(&self) -> StallWatch {
        let seen = Arc::new(Seen::default());
        let task = tokio::spawn(watch(self.clone(), Arc::clone(&seen)));
        StallWatch { seen, task: task.abort_handle() }
    }
}

/// What a stream does, as far as stalling goes.
#[derive(Debug, Default)]
struct Seen {
    /// How often the connection has asked for bytes.
    asked: AtomicU64,
    /// There were none: it is the handler that is slow, not the client.
    waits_for_handler: AtomicBool,
}

/// One watched stream.
#[derive(Debug)]
pub(crate) struct StallWatch {
    seen: Arc<Seen>,
    task: AbortHandle,
}

impl StallWatch {
    /// The connection has asked for bytes, and there were some or none.
    pub(crate) fn asked(&self, had_bytes: bool) {
        self.seen.asked.fetch_add(1, Ordering::Relaxed);
        self.seen.waits_for_handler.store(!had_bytes, Ordering::Relaxed);
    }
}

impl Drop for StallWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(limit: StallLimit, seen: Arc<Seen>) {
    let mut asked_before = None;
    loop {
        let asked = seen.asked.load(Ordering::Relaxed);
        if asked_before == Some(asked) && !seen.waits_for_handler.load(Ordering::Relaxed) {
            limit.cut.notify_one();
            return;
        }
        asked_before = Some(asked);
        tokio::time::sleep(limit.timeout).await;
    }
}
