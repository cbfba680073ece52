//! How much requests may have to do with each other: a fresh instance for each, or warm ones for several.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::abi::Instance;
use super::places::Taken;

/// What requests of one handler share. `isolation` in routes.toml.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Nothing: every request gets an instance that no other has touched, or that was put back into the state that it was made
    /// in.
    #[default]
    Request,
    /// A warm instance serves requests one after another.
    Reuse(Reuse),
    /// An instance serves several requests at a time; wasi:http 0.3 only.
    Concurrent(Reuse, Concurrency),
}

/// When a warm instance is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reuse {
    /// Requests that one instance serves.
    pub requests_max: u32,
    /// How long an instance without a request is kept.
    pub idle_max: Duration,
}

impl Reuse {
    /// For instances that are put back after each request: nothing speaks against many. A few seconds later nobody may want
    /// them, and they are cheap to make anew.
    pub(super) const RESTORED: Self = Self { requests_max: 100_000, idle_max: Duration::from_secs(10) };
}

impl Default for Reuse {
    fn default() -> Self {
        Self { requests_max: 1_000, idle_max: Duration::from_secs(10) }
    }
}

/// How many requests an instance serves at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency(pub u32);

impl Default for Concurrency {
    fn default() -> Self {
        Self(16)
    }
}

/// Warm instances of one handler that wait for a request, and can make room for another handler's.
pub(super) trait MakesRoom: Send + Sync {
    /// Ends the one that has waited longest; says whether a place is free now.
    fn evict(&self) -> bool;

    /// Since when the one has waited that has waited longest, where a place is free at once when it ends.
    fn idle_since(&self) -> Option<Instant> {
        None
    }

    /// Ends all of them.
    fn end_all(&self);
}

/// A live instance: its place in the pool, and what it has done.
pub(super) struct Live {
    pub(super) instance: Instance,
    pub(super) served: u32,
    pub(super) _places: Taken,
}

/// Warm instances of one handler that wait for a request, the latest last.
#[derive(Default)]
pub(super) struct Parked {
    instances: Mutex<VecDeque<(Instant, Live)>>,
    /// Somebody ends those that have waited too long.
    is_swept: AtomicBool,
    /// One was parked.
    parked: Notify,
}

impl Parked {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(Instant, Live)>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The instance that was parked last: its memory is the warmest.
    pub(super) fn take(&self) -> Option<Live> {
        self.lock().pop_back().map(|(_, live)| live)
    }

    /// Waits for an instance to be parked, and takes it.
    pub(super) async fn wait(&self) -> Live {
        loop {
            if let Some(live) = self.take() {
                return live;
            }
            self.parked.notified().await;
        }
    }

    /// Keeps an instance for at most `idle_max`.
    pub(super) fn park(self: &Arc<Self>, live: Live, idle_max: Duration) {
        self.lock().push_back((Instant::now(), live));
        self.parked.notify_one();
        if !self.is_swept.swap(true, Ordering::AcqRel) {
            tokio::spawn(sweep(Arc::downgrade(self), idle_max));
        }
    }

    /// Ends what has waited too long; says when to look again, if anything is left.
    fn expire(&self, idle_max: Duration) -> Option<Instant> {
        let mut instances = self.lock();
        let mut expired = Vec::new();
        let now = Instant::now();
        while instances.front().is_some_and(|(since, _)| *since + idle_max <= now) {
            expired.extend(instances.pop_front());
        }
        let next = instances.front().map(|(since, _)| *since + idle_max);
        if next.is_none() {
            self.is_swept.store(false, Ordering::Release);
        }
        // Ending an instance takes a moment; others need not wait for it.
        drop(instances);
        next
    }
}

impl MakesRoom for Parked {
    fn evict(&self) -> bool {
        let evicted = self.lock().pop_front();
        evicted.is_some()
    }

    fn idle_since(&self) -> Option<Instant> {
        self.lock().front().map(|(since, _)| *since)
    }

    fn end_all(&self) {
        let all = std::mem::take(&mut *self.lock());
        drop(all);
    }
}

/// Runs while anything is parked.
async fn sweep(parked: Weak<Parked>, idle_max: Duration) {
    let mut next = Instant::now() + idle_max;
    loop {
        tokio::time::sleep_until(next).await;
        let Some(parked) = parked.upgrade() else { return };
        match parked.expire(idle_max) {
            Some(at) => next = at,
            None => return,
        }
    }
}
