//! What a guest's store and those who poll it tell each other about computing.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::share::Share;
use crate::stats::Time;
use crate::tag::Tag;

/// Of one request; of an instance that has several, of all of them.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// Epoch ticks that have interrupted the guest.
    interruptions: AtomicU32,
    /// The guest has used up its `cpu`.
    is_spent: AtomicBool,
    /// It was computing when it was last polled.
    is_computing: AtomicBool,
    /// It is on its first stretch: it takes a core from others of its handler that would begin.
    is_starting: AtomicBool,
    /// Whose that is; nobody's before the request is let in.
    share: OnceLock<Arc<Share>>,
    /// Its handler had better not be trusted to wait soon.
    is_slowed: AtomicBool,
    /// It tries whether its handler is well again.
    is_attempt: AtomicBool,
    /// What it has computed in threads for that.
    computed: Time,
    /// The number of its route; 0 when several share it.
    route: AtomicU32,
}

impl Pulse {
    // --- the store's side

    /// An epoch tick interrupts the guest.
    ///
    /// # Errors
    /// When it may not go on.
    pub(super) fn interrupt(&self) -> Result<(), Spent> {
        self.interruptions.fetch_add(1, Ordering::Relaxed);
        if self.is_spent.load(Ordering::Relaxed) { Err(Spent) } else { Ok(()) }
    }

    // --- the side of those who let it in

    /// Its request was let in: it starts.
    pub(super) fn starts(&self, share: &Arc<Share>, is_slowed: bool) {
        let _ = self.share.set(Arc::clone(share));
        self.is_slowed.store(is_slowed, Ordering::Relaxed);
        self.is_starting.store(true, Ordering::Relaxed);
    }

    /// It has waited for something, is about to compute elsewhere, or has ended: others may start. What is said again
    /// changes nothing.
    pub(super) fn has_started(&self) {
        if self.is_starting.swap(false, Ordering::Relaxed)
            && let Some(share) = self.share.get()
        {
            share.queue.has_started();
        }
    }

    pub(super) fn tries(&self) {
        self.is_attempt.store(true, Ordering::Relaxed);
    }

    /// Whether it tries whether its handler is well again.
    pub(super) fn is_attempt(&self) -> bool {
        self.is_attempt.load(Ordering::Relaxed)
    }

    /// It starts after all; says whether that was not so already.
    pub(super) fn starts_anew(&self) -> bool {
        !self.is_starting.swap(true, Ordering::Relaxed)
    }

    /// Its request has come by the route of this number.
    pub(super) fn comes_by(&self, route: u32) {
        self.route.store(route, Ordering::Relaxed);
    }

    // --- the side of those who poll it

    /// What its work is tagged with, for this handler.
    pub(super) fn tag(&self, share: &Share) -> Tag {
        Tag { handler: share.number(), route: self.route.load(Ordering::Relaxed) }
    }

    /// Whether it should compute elsewhere from the first instruction.
    pub(super) fn is_slowed(&self) -> bool {
        self.is_slowed.load(Ordering::Relaxed)
    }

    /// How often the guest was interrupted. It is at work if that was while it was polled, else it waits.
    pub(super) fn interruptions(&self) -> u32 {
        self.interruptions.load(Ordering::Relaxed)
    }

    /// Has the guest stopped at its next interruption, where a backtrace says what it was at.
    pub(super) fn spend(&self) {
        self.is_spent.store(true, Ordering::Relaxed);
    }

    /// It has computed for so long, away from its connection.
    pub(super) fn computed(&self, time: Duration) {
        self.computed.add(time);
    }

    /// What that comes to.
    pub(super) fn computed_away(&self) -> Duration {
        self.computed.get()
    }

    pub(super) fn set_computing(&self, is_computing: bool) {
        self.is_computing.store(is_computing, Ordering::Relaxed);
    }

    /// Whether the guest was computing when it was last polled.
    pub(super) fn is_computing(&self) -> bool {
        self.is_computing.load(Ordering::Relaxed)
    }
}

/// The guest has computed for as long as it may.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spent;

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it was still computing here")
    }
}

impl std::error::Error for Spent {}
