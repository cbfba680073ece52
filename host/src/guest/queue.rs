//! Who of a handler's requests is at work, and who waits for that: a bounded queue, the oldest first.
//!
//! Two things let a request in: fewer are at work than `concurrency` says, and the machine can start one more guest of
//! this handler. Guests that wait for something cost no processor and are only held to the first. A queue that comes and
//! goes is a burst, which is what queues are for; one that stands only makes everybody late. So when it has stood for
//! [`INTERVAL`], newcomers are turned away while it is longer than what is soon done, and so are those that have waited for
//! longer than that takes: the idea of CoDel (RFC 8289 section 3), with its interval.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::limit::Limit;

/// Guests of one handler for each core that may be on their first stretch, or compute for long, before others have to
/// wait. With one, cores would idle between two requests.
const STARTS_PER_CORE: u32 = 2;

/// The same for a handler whose requests often go over their limits.
const STARTS_PER_CORE_SLOWED: u32 = 1;

/// How long a queue lasts before it is a standing one, and how long it must be gone to be a new one (RFC 8289
/// section 4.3).
const INTERVAL: Duration = Duration::from_millis(100);

/// What is a short wait in a standing queue (RFC 8289 section 4.4), when requests compute for less.
const TARGET: Duration = Duration::from_millis(5);

/// And when they compute for more: that of so many requests for each core. Then who is let in waits for three requests and
/// shares its core with another: five times what it takes alone. No queue of so many is too long.
const TARGET_REQUESTS: u32 = 3;

/// What holds for a request that comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Requests at work.
    pub(super) concurrency: u32,
    /// Requests that wait.
    pub(super) queue: u32,
    /// Whether guests of this handler are started one at a time.
    pub(super) is_slowed: bool,
    /// Whether most requests compute for long. If not, one may always start: a few that compute for ever then slow the
    /// others of their handler down, but do not shut them out.
    pub(super) is_slow: bool,
    /// What a request computes.
    pub(super) typical_cpu: Duration,
}

impl Terms {
    /// A wait that is short enough in a standing queue.
    fn target(&self) -> Duration {
        TARGET.max(self.typical_cpu.saturating_mul(TARGET_REQUESTS))
    }
}

/// Told to who waits: its turn has come, or it is turned away.
pub(super) type Told = Result<(), Limit>;

/// How a request fared that could not be let in at once.
pub(super) enum Place {
    /// It could, after all.
    AtWork,
    /// It is told when it can; until then this number stands for it.
    Waits(u64, oneshot::Receiver<Told>),
}

/// One handler's.
#[derive(Debug)]
pub(super) struct Queue {
    cores: u32,
    /// Requests at work.
    running: AtomicU32,
    /// Those whose guests have not yet waited for anything, nor computed for long.
    starting: AtomicU32,
    /// Guests that compute for longer than their first ticks.
    computing: AtomicU32,
    /// Requests in `inner`. Whoever makes room looks at this afterwards, and whoever begins to wait looks for room
    /// afterwards: so one of them sees the other, in the one order that all of these operations have.
    lined_up: AtomicU32,
    /// Requests at work that wait for an instance.
    without_instance: AtomicU32,
    inner: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    next: u64,
    waiters: BTreeMap<u64, Waiter>,
    standing: Standing,
}

#[derive(Debug)]
struct Waiter {
    since: Instant,
    terms: Terms,
    /// Whether the guests' computing was what it had to wait for.
    is_for_core: bool,
    go: oneshot::Sender<Told>,
}

/// Since when there is a queue.
#[derive(Debug, Default)]
struct Standing {
    filled: Option<Instant>,
    emptied: Option<Instant>,
}

impl Standing {
    fn fill(&mut self, now: Instant) {
        // A gap that is shorter does not make it another queue.
        if self.emptied.is_none_or(|emptied| now.duration_since(emptied) >= INTERVAL) {
            self.filled = Some(now);
        }
        self.emptied = None;
    }

    fn empty(&mut self, now: Instant) {
        self.emptied = Some(now);
    }

    fn is_standing(&self, now: Instant) -> bool {
        self.filled.is_some_and(|filled| now.duration_since(filled) >= INTERVAL)
    }
}

impl Queue {
    pub(super) fn new(cores: u32) -> Self {
        Self {
            cores,
            running: AtomicU32::new(0),
            starting: AtomicU32::new(0),
            computing: AtomicU32::new(0),
            lined_up: AtomicU32::new(0),
            without_instance: AtomicU32::new(0),
            inner: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests at work.
    pub(super) fn running(&self) -> u32 {
        self.running.load(Ordering::SeqCst)
    }

    /// Requests that wait, for their turn or for an instance.
    pub(super) fn waiting(&self) -> u32 {
        self.lined_up.load(Ordering::SeqCst).saturating_add(self.without_instance.load(Ordering::SeqCst))
    }

    /// Guests that compute for longer than their first ticks.
    pub(super) fn computing(&self) -> u32 {
        self.computing.load(Ordering::SeqCst)
    }

    pub(super) fn begin_computing(&self) {
        self.computing.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn end_computing(&self) {
        self.computing.fetch_sub(1, Ordering::SeqCst);
        self.go_on();
    }

    /// Lets a request in, if nobody is before it and there is room: it is at work and its guest starts.
    pub(super) fn try_enter(&self, terms: &Terms) -> bool {
        self.lined_up.load(Ordering::SeqCst) == 0 && self.take(terms)
    }

    /// Lets a request in, or has it wait.
    ///
    /// # Errors
    /// [`Limit::Queue`] and [`Limit::Overload`].
    pub(super) fn line_up(&self, terms: &Terms, now: Instant) -> Result<Place, Limit> {
        let mut line = self.lock();
        // A look at the counters may have spoilt somebody else's, who then relies on ours.
        self.let_in(&mut line, now);
        if line.waiters.is_empty() && self.take(terms) {
            return Ok(Place::AtWork);
        }
        if self.is_overloaded(&line, terms, now) {
            return Err(Limit::Overload);
        }
        if self.waiting() >= terms.queue {
            return Err(Limit::Queue);
        }
        if line.waiters.is_empty() {
            line.standing.fill(now);
        }
        let (go, told) = oneshot::channel();
        let number = line.next;
        line.next += 1;
        let is_for_core = terms.is_slow && !self.may_start(terms);
        line.waiters.insert(number, Waiter { since: now, terms: *terms, is_for_core, go });
        self.lined_up.fetch_add(1, Ordering::SeqCst);
        self.let_in(&mut line, now);
        Ok(Place::Waits(number, told))
    }

    /// Whether the guests' computing is why there is a queue, which has stood for a while and is too long.
    fn is_overloaded(&self, line: &Line, terms: &Terms, now: Instant) -> bool {
        // To answer one that is quick costs no more than to turn it away.
        if !terms.is_slow || self.may_start(terms) || !line.standing.is_standing(now) {
            return false;
        }
        line.waiters.len() >= self.soon_done()
    }

    /// Requests that may wait for a core whatever happens.
    fn soon_done(&self) -> usize {
        self.cores.saturating_mul(TARGET_REQUESTS) as usize
    }

    /// Ends the wait of `number`; says whether it had not been let in.
    pub(super) fn withdraw(&self, number: u64) -> bool {
        let mut line = self.lock();
        let was_waiting = line.waiters.remove(&number).is_some();
        if was_waiting {
            let now = Instant::now();
            self.left_line(&mut line, now);
            // What it waited for may be more than what the next one does.
            self.let_in(&mut line, now);
        }
        was_waiting
    }

    fn left_line(&self, line: &mut Line, now: Instant) {
        self.lined_up.fetch_sub(1, Ordering::SeqCst);
        if line.waiters.is_empty() {
            line.standing.empty(now);
        }
    }

    /// A request is at work no more.
    pub(super) fn leave(&self) {
        self.running.fetch_sub(1, Ordering::SeqCst);
        self.go_on();
    }

    /// A guest starts without having waited for that.
    pub(super) fn start(&self) {
        self.starting.fetch_add(1, Ordering::SeqCst);
    }

    /// A guest has waited for something, computes elsewhere, or has ended.
    pub(super) fn has_started(&self) {
        self.starting.fetch_sub(1, Ordering::SeqCst);
        self.go_on();
    }

    /// A request waits for an instance.
    ///
    /// # Errors
    /// [`Limit::Queue`].
    pub(super) fn begin_without_instance(&self, queue: u32) -> Result<(), Limit> {
        if self.waiting() >= queue {
            return Err(Limit::Queue);
        }
        self.without_instance.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    pub(super) fn end_without_instance(&self) {
        self.without_instance.fetch_sub(1, Ordering::SeqCst);
    }

    fn go_on(&self) {
        if self.lined_up.load(Ordering::SeqCst) > 0 {
            self.let_in(&mut self.lock(), Instant::now());
        }
    }

    /// Lets in as many as there is room for, and turns away those that have waited for too long in a standing queue.
    fn let_in(&self, line: &mut Line, now: Instant) {
        loop {
            let is_long = line.waiters.len() > self.soon_done();
            let Some(oldest) = line.waiters.first_entry() else { return };
            let waiter = oldest.get();
            let is_late = waiter.is_for_core && now.duration_since(waiter.since) > waiter.terms.target();
            let told = if is_long && is_late && line.standing.is_standing(now) {
                Err(Limit::Overload)
            } else if self.take(&waiter.terms) {
                Ok(())
            } else {
                return;
            };
            // Who waits takes itself out before it stops listening: somebody hears this.
            let _ = oldest.remove().go.send(told);
            self.left_line(line, now);
        }
    }

    fn take(&self, terms: &Terms) -> bool {
        if !increment(&self.running, |running| running < terms.concurrency) {
            return false;
        }
        let starts = increment(&self.starting, |starting| self.has_core(starting, terms));
        if !starts {
            self.running.fetch_sub(1, Ordering::SeqCst);
        }
        starts
    }

    fn may_start(&self, terms: &Terms) -> bool {
        self.has_core(self.starting.load(Ordering::SeqCst), terms)
    }

    fn has_core(&self, starting: u32, terms: &Terms) -> bool {
        let per_core = if terms.is_slowed { STARTS_PER_CORE_SLOWED } else { STARTS_PER_CORE };
        let free = self.cores.saturating_mul(per_core).saturating_sub(self.computing());
        let may_always = !terms.is_slow && !terms.is_slowed;
        starting < free.max(u32::from(may_always))
    }
}

/// Adds one where `may` allows it.
fn increment(count: &AtomicU32, may: impl Fn(u32) -> bool) -> bool {
    let next = |count: u32| may(count).then(|| count.saturating_add(1));
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next).is_ok()
}

#[cfg(test)]
mod tests;
