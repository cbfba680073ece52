//! Threads for guests that compute.
//!
//! A guest runs in the task of its connection, on a thread that serves others too. Most are done before they would be
//! noticed. One that computes for longer (see `fair`) goes on here, slice by slice of a tick each, until it waits
//! for something or ends; then it returns to its task. So I/O never waits for it longer than that, and the kernel, which knows
//! these threads as the less important ones, sees to the rest. Handlers take turns here whatever the number of their guests:
//! who has many that compute slows down nobody but itself.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::outbox::Outbox;
use super::pulse::Pulse;
use super::share::Share;
use crate::error::Error;

/// How much less important these threads are to the kernel than those that serve sockets (setpriority(2)).
const NICENESS: i32 = 5;

/// A guest at work, in the form every ABI produces.
pub(super) type Work = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// What is done with a guest that computes: polled until it waits or ends.
pub(super) struct Stretch {
    pub(super) work: Work,
    pub(super) pulse: Arc<Pulse>,
    pub(super) share: Arc<Share>,
    /// Its response; none for an instance with several requests, which minds its own.
    pub(super) outbox: Option<Arc<Outbox>>,
    /// What it may still compute before it is told to stop.
    pub(super) allowance: Duration,
}

/// What has become of it.
pub(super) struct Outcome {
    /// The guest, if it waits; else how it ended.
    pub(super) polled: Result<Work, Result<(), Error>>,
    /// How long it has computed.
    pub(super) used: Duration,
}

/// A stretch in the hands of the threads. Dropping it ends the guest.
pub(super) struct Away {
    outcome: oneshot::Receiver<Outcome>,
    share: Arc<Share>,
    rota: Arc<Rota>,
}

/// The threads; they end when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Compute {
    rota: Arc<Rota>,
    /// Started, or found to be impossible, with the first guest.
    has_threads: Mutex<Option<bool>>,
}

impl Compute {
    /// Takes a stretch off the caller's hands; gives it back when there are no threads.
    pub(super) fn take(&self, stretch: Stretch) -> Result<Away, Work> {
        let Ok(runtime) = Handle::try_current() else { return Err(stretch.work) };
        if !self.ensure_threads(runtime.metrics().num_workers()) {
            return Err(stretch.work);
        }
        let (reply, outcome) = oneshot::channel();
        let share = Arc::clone(&stretch.share);
        share.begin_computing();
        let job = Job { stretch, used: Duration::ZERO, woken: Arc::default(), runtime, reply };
        self.rota.put(job);
        Ok(Away { outcome, share, rota: Arc::clone(&self.rota) })
    }

    fn ensure_threads(&self, count: usize) -> bool {
        let mut has_threads = self.has_threads.lock().unwrap_or_else(PoisonError::into_inner);
        *has_threads.get_or_insert_with(|| {
            let started = (0..count).filter(|number| {
                let rota = Arc::clone(&self.rota);
                let thread = std::thread::Builder::new().name(format!("compute-{number}"));
                thread.spawn(move || work(&rota)).is_ok()
            });
            // All of them, before it is asked whether there are any.
            let started = started.count();
            if started < count {
                tracing::warn!("only {started} of {count} threads for guests that compute could be started");
            }
            started > 0
        })
    }
}

impl Drop for Compute {
    fn drop(&mut self) {
        self.rota.lock().is_closed = true;
        self.rota.changed.notify_all();
    }
}

impl Away {
    /// Waits for the end of the stretch. `None` when it was lost to a panic.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Outcome>> {
        Pin::new(&mut self.outcome).poll(cx).map(Result::ok)
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        self.outcome.close();
        self.rota.sweep(&self.share);
        self.share.end_computing();
    }
}

/// Who computes, in the order of their turns.
#[derive(Debug, Default)]
struct Rota {
    turns: Mutex<Turns>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Turns {
    /// Handlers with guests that wait for a thread.
    handlers: VecDeque<(Arc<Share>, VecDeque<Job>)>,
    is_closed: bool,
}

/// A guest that computes, when no thread has it.
struct Job {
    stretch: Stretch,
    used: Duration,
    woken: Arc<Woken>,
    runtime: Handle,
    reply: oneshot::Sender<Outcome>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("used", &self.used).finish_non_exhaustive()
    }
}

/// Set when the guest can go on.
#[derive(Debug, Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl Rota {
    fn lock(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, job: Job) {
        let mut turns = self.lock();
        let share = &job.stretch.share;
        match turns.handlers.iter_mut().find(|(known, _)| Arc::ptr_eq(known, share)) {
            Some((_, jobs)) => jobs.push_back(job),
            None => {
                let share = Arc::clone(share);
                turns.handlers.push_back((share, VecDeque::from([job])));
            }
        }
        drop(turns);
        self.changed.notify_one();
    }

    /// Waits for a guest whose turn it is; none at the end.
    fn next(&self) -> Option<Job> {
        let mut turns = self.lock();
        loop {
            if turns.is_closed {
                return None;
            }
            if let Some((share, mut jobs)) = turns.handlers.pop_front() {
                let job = jobs.pop_front();
                if !jobs.is_empty() {
                    turns.handlers.push_back((share, jobs));
                }
                if job.is_some() {
                    return job;
                }
                continue;
            }
            turns = self.changed.wait(turns).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends guests of this handler that nobody waits for any more, without waiting for their turn.
    fn sweep(&self, share: &Arc<Share>) {
        let mut turns = self.lock();
        let Some(at) = turns.handlers.iter().position(|(known, _)| Arc::ptr_eq(known, share)) else { return };
        let jobs = &mut turns.handlers[at].1;
        let (gone, kept): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(jobs).into_iter().partition(|job| job.reply.is_closed());
        if kept.is_empty() {
            turns.handlers.remove(at);
        } else {
            turns.handlers[at].1 = kept;
        }
        drop(turns);
        drop(gone); // which takes a moment, and may sweep in its turn
    }
}

/// What each thread does.
fn work(rota: &Rota) {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!("a thread for guests that compute has the priority of all others: {error}");
    }
    while let Some(job) = rota.next() {
        // A panic is a mistake of ours; it ends this guest only.
        if let Ok(Some(job)) = catch_unwind(AssertUnwindSafe(|| job.slice())) {
            rota.put(job);
        }
    }
}

impl Job {
    /// Lets the guest compute until the next tick, and is there again when it wants to go on.
    fn slice(self) -> Option<Self> {
        // Longer than the job: a guest that ends here may leave work behind that belongs to the runtime.
        let runtime = self.runtime.clone();
        let _context = runtime.enter();
        let mut job = self;
        if job.reply.is_closed() {
            return None;
        }
        job.woken.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&job.woken));
        let outbox = job.stretch.outbox.as_deref();
        outbox.inspect(|outbox| outbox.go_elsewhere());
        let begin = thread_cpu();
        let polled = {
            let _tagged = job.stretch.pulse.tag(&job.stretch.share).enter();
            job.stretch.work.as_mut().poll(&mut Context::from_waker(&waker))
        };
        let computed = thread_cpu().saturating_sub(begin);
        job.used += computed;
        job.stretch.share.cpu.add(computed);
        job.stretch.pulse.computed(computed);
        if polled.is_pending() {
            job.stretch.outbox.as_deref().inspect(|outbox| outbox.stop_elsewhere());
        }
        let polled = match polled {
            Poll::Pending if job.woken.0.load(Ordering::Acquire) => {
                if job.used > job.stretch.allowance {
                    job.stretch.pulse.spend();
                }
                return Some(job);
            }
            Poll::Pending => Ok(job.stretch.work),
            Poll::Ready(result) => Err(result),
        };
        // Nobody may be left to take it, which ends it.
        let _ = job.reply.send(Outcome { polled, used: job.used });
        None
    }
}

/// What this thread has computed so far.
pub(super) fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
