//! What a connection is doing, for those who have to choose one that nobody would miss.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use coarsetime::Instant;
use tokio::sync::Notify;

/// How busy one connection is.
#[derive(Debug)]
pub struct Activity {
    /// Requests under way.
    requests: AtomicUsize,
    /// When the last one ended, or the connection began, in milliseconds of this program's life.
    idle_since_ms: AtomicU64,
    is_asked: AtomicBool,
    shed: Notify,
}

/// One request under way; ends when dropped.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Activity>);

impl Activity {
    /// A connection that has just begun.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            requests: AtomicUsize::new(0),
            idle_since_ms: AtomicU64::new(now_ms()),
            is_asked: AtomicBool::new(false),
            shed: Notify::new(),
        })
    }

    /// A request begins.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.requests.fetch_add(1, Ordering::AcqRel);
        Busy(Arc::clone(self))
    }

    /// For how long no request has been under way; `None` when one is.
    #[must_use]
    pub fn idle_for(&self) -> Option<Duration> {
        let is_idle = self.requests.load(Ordering::Acquire) == 0;
        let since = self.idle_since_ms.load(Ordering::Relaxed);
        is_idle.then(|| Duration::from_millis(now_ms().saturating_sub(since)))
    }

    /// Asks the connection to end, if it is still without a request when it hears of it.
    pub fn shed(&self) {
        self.is_asked.store(true, Ordering::Release);
        self.shed.notify_one();
    }

    /// Whether the connection was ever asked to end.
    pub(crate) fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::Acquire)
    }

    /// Ends when the connection is to make room for another. Cancel safe.
    pub(crate) async fn is_shed(&self) {
        self.shed.notified().await;
        if self.requests.load(Ordering::Acquire) > 0 {
            // A request was faster: it is served, and so are the ones behind it.
            std::future::pending().await
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.idle_since_ms.store(now_ms(), Ordering::Relaxed);
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

/// By the coarse clock, which is up to 10 ms late and costs a tenth of the other one: it is asked at every request.
fn now_ms() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_millis()
}
