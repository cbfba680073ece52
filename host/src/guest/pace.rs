//! Tells a guest that waits for something from one that computes, and lets its response leave accordingly.
//!
//! Guests of wasi:http say what they answer in several steps: a head, a body, an end. An epoch tick that comes between
//! them stops the guest just as waiting does. If the response left at every stop, then whether a small one is sent in one
//! piece or in chunks would be the scheduler's choice.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::outbox::Outbox;

/// Whether an epoch tick has interrupted a guest. Set inside its store, read by who polls it.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupted(Arc<AtomicBool>);

impl Interrupted {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was, since this was last asked.
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// Runs a guest whose one response goes to `outbox`, and tells that whenever it stops.
pub(super) async fn paced<F: Future>(interrupted: &Interrupted, outbox: &Outbox, work: F) -> F::Output {
    outbox.hold();
    let mut work = pin!(work);
    poll_fn(|cx| {
        let polled = work.as_mut().poll(cx);
        outbox.stopped(interrupted.take());
        polled
    })
    .await
}
