//! Instances that serve several requests at a time: who is where, and until when. What they do is the ABI's business.
//!
//! A request is offered to an instance, waits in its queue until the instance's task takes it, is at work, and is
//! answered for. Invariant: whoever was accepted gets exactly one [`Outcome`], also when the instance ends.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::engine::Waiting;
use super::exchange::{Exchange, Peer};
use super::isolation::{Concurrency, MakesRoom, Reuse};
use super::outbox::Outbox;
use crate::error::Error;
use crate::request_id::RequestId;

/// How long an instance that is told to end may take to see that nothing is left to do.
const ENDING: Duration = Duration::from_millis(100);

/// What has become of a request.
pub(super) enum Outcome {
    Done(Result<(), Error>),
    /// The instance takes no further requests, and has not begun with this one.
    Untouched(Box<Exchange>),
}

/// A request for an instance.
pub(super) struct Job {
    pub(super) exchange: Box<Exchange>,
    pub(super) deadline: Instant,
    pub(super) reply: oneshot::Sender<Outcome>,
}

/// A request at work.
struct Active {
    number: u64,
    deadline: Instant,
    id: RequestId,
    outbox: Arc<Outbox>,
    peer: Arc<Peer>,
    reply: oneshot::Sender<Outcome>,
}

/// One such instance, as those see it who have requests for it.
pub(super) struct Seats {
    requests_max: u32,
    at_a_time: usize,
    idle_max: Duration,
    /// The guest runs now.
    is_running: AtomicBool,
    /// It was interrupted while it computes.
    is_computing: AtomicBool,
    /// Those who wait for a seat on any instance.
    room: Arc<Notify>,
    inner: Mutex<Inner>,
}

struct Inner {
    queue: VecDeque<Job>,
    active: Vec<Active>,
    /// Requests that were accepted, and those that were begun.
    accepted: u32,
    begun: u64,
    /// It takes no further request.
    is_closed: bool,
    /// Since when it has none, if it has none.
    idle_since: Instant,
    /// Until when its guest may work on after its responses.
    linger_until: Instant,
    /// Keeps a drain waiting while the guest works on.
    lingering: Option<Arc<Peer>>,
    /// The instance's task.
    waker: Option<Waker>,
}

/// What to do about time.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing until then.
    At(Instant),
    /// All that is left is overdue: the instance is to be stopped.
    Stop,
}

impl Inner {
    fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.active.is_empty()
    }

    /// The clients of all its requests have, or are about to have, their whole response.
    fn has_answered_all(&self) -> bool {
        self.queue.is_empty() && self.active.iter().all(|active| active.outbox.is_complete())
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Counts a request among those at work; its number.
    fn begin(&mut self, exchange: &Exchange, deadline: Instant, reply: oneshot::Sender<Outcome>) -> u64 {
        let (id, outbox) = (exchange.request.id.clone(), Arc::clone(&exchange.outbox));
        let (peer, number) = (Arc::clone(&exchange.request.peer), self.begun);
        self.begun += 1;
        self.active.push(Active { number, deadline, id, outbox, peer, reply });
        number
    }

    /// Gives back the requests that were not begun.
    fn give_back(&mut self) {
        for job in self.queue.drain(..) {
            let _ = job.reply.send(Outcome::Untouched(job.exchange));
        }
    }

    /// Takes no further request, and gives back those that were not begun.
    fn close(&mut self) {
        self.is_closed = true;
        self.give_back();
        self.wake();
    }
}

impl Seats {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests it has; none when it is not to be asked.
    fn load(&self, ask: Ask) -> Option<usize> {
        let inner = self.lock();
        let load = inner.queue.len() + inner.active.len();
        // One that runs and has answered all of its requests is about to wait.
        let runs =
            ask == Ask::Waiting && self.is_running.load(Ordering::Relaxed) && !inner.has_answered_all();
        let is_busy = runs || self.is_computing.load(Ordering::Relaxed);
        (!inner.is_closed && !is_busy && load < self.at_a_time).then_some(load)
    }

    fn accept(&self, job: Job) {
        let mut inner = self.lock();
        inner.accepted += 1;
        inner.is_closed |= inner.accepted >= self.requests_max;
        inner.queue.push_back(job);
        inner.wake();
    }

    /// The next request to begin with, and a number to name it by. The task is woken when there is another one.
    pub(super) fn take(&self, cx: &Context<'_>) -> Option<(u64, Box<Exchange>)> {
        let mut inner = self.lock();
        let mut taken = None;
        while taken.is_none()
            && let Some(Job { exchange, deadline, reply }) = inner.queue.pop_front()
        {
            // Its client has gone, or its time is up.
            if reply.is_closed() {
                self.leave(&mut inner, deadline, &exchange.request.peer);
                continue;
            }
            // From now on it is its instance that computes.
            exchange.pulse.has_started();
            let number = inner.begin(&exchange, deadline, reply);
            taken = Some((number, exchange));
        }
        inner.waker = Some(cx.waker().clone());
        if !inner.queue.is_empty() {
            inner.wake();
        }
        taken
    }

    /// Until when the request that it was made for has time.
    pub(super) fn first_deadline(&self) -> Instant {
        self.lock().queue.front().map_or_else(Instant::now, |job| job.deadline)
    }

    /// Counts all that wait among those at work, to be answered for in [`Self::end`]: on another instance they would fare
    /// no better.
    pub(super) fn take_all(&self) {
        let mut inner = self.lock();
        while let Some(Job { exchange, deadline, reply }) = inner.queue.pop_front() {
            inner.begin(&exchange, deadline, reply);
        }
    }

    /// Its task is about to run the guest.
    pub(super) fn set_running(&self) {
        self.is_running.store(true, Ordering::Relaxed);
    }

    /// Says whether the guest was interrupted while it computes: requests that were not begun had better go elsewhere.
    pub(super) fn set_computing(&self, is_computing: bool) {
        self.is_running.store(false, Ordering::Relaxed);
        let was_computing = self.is_computing.swap(is_computing, Ordering::Relaxed);
        if is_computing {
            let mut inner = self.lock();
            inner.accepted -= inner.queue.len() as u32;
            inner.give_back();
        } else if was_computing {
            self.room.notify_waiters();
        }
    }

    /// A request has come to its end.
    pub(super) fn finish(&self, number: u64, result: Result<(), Error>) {
        let mut inner = self.lock();
        let Some(index) = inner.active.iter().position(|active| active.number == number) else { return };
        let Active { deadline, peer, reply, .. } = inner.active.remove(index);
        self.leave(&mut inner, deadline, &peer);
        drop(inner);
        let _ = reply.send(Outcome::Done(result));
    }

    fn leave(&self, inner: &mut Inner, deadline: Instant, peer: &Arc<Peer>) {
        if inner.is_empty() {
            // Whatever its guest was interrupted at is done.
            self.is_computing.store(false, Ordering::Relaxed);
            inner.idle_since = Instant::now();
            inner.lingering = Some(Arc::clone(peer));
            inner.wake();
        }
        inner.linger_until = inner.linger_until.max(deadline);
        self.room.notify_waiters();
    }

    /// Whether it has no requests; and whether it will get no more.
    pub(super) fn is_idle(&self) -> (bool, bool) {
        let inner = self.lock();
        (inner.is_empty(), inner.is_closed)
    }

    /// Nothing of the guest is at work.
    pub(super) fn rest(&self) {
        self.lock().lingering = None;
    }

    /// The guest has stopped: see [`Outbox::stopped`].
    pub(super) fn stopped(&self, is_computing: bool) {
        self.lock().active.iter().for_each(|active| active.outbox.stopped(is_computing));
    }

    /// Closes an instance that has waited for too long, or has a request whose time is up.
    pub(super) fn check(&self, now: Instant) -> Due {
        let mut inner = self.lock();
        if inner.is_empty() {
            if inner.is_closed {
                return if inner.linger_until <= now { Due::Stop } else { Due::At(inner.linger_until) };
            }
            let end = inner.idle_since + self.idle_max;
            if now < end {
                return Due::At(end);
            }
            inner.close();
            inner.linger_until = inner.linger_until.max(now + ENDING);
            return Due::At(inner.linger_until);
        }
        let deadlines = || inner.active.iter().map(|active| active.deadline);
        let is_late = deadlines().any(|deadline| deadline <= now);
        match deadlines().filter(|&deadline| deadline > now).min() {
            // One that is late keeps its guest busy, and nobody can take it out: the instance ends with it.
            _ if is_late && !inner.is_closed => {
                inner.close();
                drop(inner);
                self.check(now)
            }
            Some(next) => Due::At(next),
            None if is_late => Due::Stop,
            None => Due::At(inner.queue.iter().map(|job| job.deadline).min().unwrap_or(now + ENDING)),
        }
    }

    /// The instance has ended: whoever it has not answered for gets an error, made by `error` from the ids of all of them.
    /// Answers these ids.
    pub(super) fn end(&self, error: impl Fn(&str) -> Error) -> Vec<RequestId> {
        let mut inner = self.lock();
        inner.close();
        inner.lingering = None;
        let active = std::mem::take(&mut inner.active);
        drop(inner);
        let ids: Vec<_> = active.iter().map(|active| active.id.clone()).collect();
        let names = ids.iter().map(RequestId::as_str).collect::<Vec<_>>().join(", ");
        for Active { outbox, reply, .. } in active {
            let result = if outbox.is_complete() { Ok(()) } else { Err(error(&names)) };
            let _ = reply.send(Outcome::Done(result));
        }
        ids
    }
}

/// The instances of one handler.
#[derive(Default)]
pub(super) struct Crowd {
    all: Mutex<Vec<Arc<Seats>>>,
    room: Arc<Notify>,
    /// Requests that wait for room.
    waiting: AtomicU32,
}

/// Which instances are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Those that wait for something just now.
    Waiting,
    /// Those too that run, but have not yet done so for an epoch tick.
    Running,
}

impl Crowd {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Seats>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seats `job` where the fewest are; leaves it there when there is no room.
    pub(super) fn offer(&self, job: &mut Option<Job>, ask: Ask) -> bool {
        let all = self.lock();
        let free = all.iter().filter_map(|seats| Some((seats.load(ask)?, seats)));
        // Nobody else fills a seat while this lock is held.
        let Some((_, seats)) = free.min_by_key(|(load, _)| *load) else { return false };
        job.take().into_iter().for_each(|job| seats.accept(job));
        true
    }

    /// Seats on a new instance, with its first request.
    pub(super) fn found(&self, reuse: Reuse, concurrency: Concurrency, job: Job) -> Arc<Seats> {
        let now = Instant::now();
        let inner = Inner {
            queue: VecDeque::new(),
            active: Vec::new(),
            accepted: 0,
            begun: 0,
            is_closed: false,
            idle_since: now,
            linger_until: now,
            lingering: None,
            waker: None,
        };
        let seats = Arc::new(Seats {
            requests_max: reuse.requests_max,
            at_a_time: concurrency.0 as usize,
            idle_max: reuse.idle_max,
            is_running: AtomicBool::new(false),
            is_computing: AtomicBool::new(false),
            room: Arc::clone(&self.room),
            inner: Mutex::new(inner),
        });
        seats.accept(job);
        self.lock().push(Arc::clone(&seats));
        seats
    }

    /// Waits for a seat; who is asked is [`Ask::Running`].
    pub(super) async fn wait(&self, job: &mut Option<Job>) {
        let _waiting = Waiting::new(&self.waiting);
        loop {
            let mut room = pin!(self.room.notified());
            room.as_mut().enable(); // from here on nothing is missed
            if self.offer(job, Ask::Running) {
                return;
            }
            room.await;
        }
    }

    pub(super) fn remove(&self, seats: &Arc<Seats>) {
        self.lock().retain(|known| !Arc::ptr_eq(known, seats));
    }
}

impl MakesRoom for Crowd {
    fn evict(&self) -> bool {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            return false; // what is idle now is not for long
        }
        let all = self.lock();
        let idle = all.iter().filter(|seats| seats.is_idle() == (true, false));
        if let Some(seats) = idle.min_by_key(|seats| seats.lock().idle_since) {
            let mut inner = seats.lock();
            inner.close();
            inner.linger_until = inner.linger_until.max(Instant::now() + ENDING);
        }
        false // it is its own task that ends it: the place is free in a moment
    }

    fn end_all(&self) {
        self.lock().iter().for_each(|seats| seats.lock().close());
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.end_all(); // nobody has requests for them any more
    }
}
