//! Who gets to run, when, and who is turned away, before anything of a guest is there.
//!
//! A request asks the handler's breaker, then has its turn in the handler's queue, then takes a place of the engine's
//! pool: with nothing short that is a handful of atomic operations and one lock. What it holds is given back by drops.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::breaker::{Change, Verdict};
use super::engine::Lane;
use super::limits::{Breaker as BreakerSettings, Limits};
use super::places::{Taken, UserId};
use super::pulse::Pulse;
use super::queue::{Place, Terms, Told};
use super::share::Share;
use crate::error::Error;
use crate::limit::Limit;
use crate::notes::Notes;

/// The way in of one handler's deployment.
pub(super) struct Admission {
    share: Arc<Share>,
    lane: Arc<Lane>,
    user: UserId,
    /// Places of the pool that one instance takes.
    places: u32,
    concurrency: u32,
    queue: u32,
    queue_timeout: Duration,
    breaker: Option<BreakerSettings>,
}

/// A request that was let in, until this is dropped.
#[derive(Debug)]
pub(super) struct AtWork {
    share: Arc<Share>,
    pulse: Arc<Pulse>,
    attempt: Option<Attempt>,
}

/// The one request that tries whether a handler is well again.
#[derive(Debug)]
struct Attempt {
    share: Arc<Share>,
    number: u64,
    is_well: bool,
}

impl Admission {
    pub(super) fn new(share: &Arc<Share>, lane: &Arc<Lane>, places: u32, limits: &Limits) -> Self {
        lane.ledger.enlist(share.of_handler());
        Self {
            share: Arc::clone(share),
            lane: Arc::clone(lane),
            user: lane.places.user(share.of_handler()),
            places,
            // As many as there are places is what the places themselves see to.
            concurrency: limits.concurrency.unwrap_or(u32::MAX),
            queue: limits.queue,
            queue_timeout: limits.queue_timeout,
            breaker: limits.breaker,
        }
    }

    /// Lets a request in when it is its turn.
    ///
    /// # Errors
    /// [`Limit::Breaker`], [`Limit::Overload`] and [`Limit::Queue`] at once, [`Limit::QueueTimeout`] later; at `deadline`
    /// [`Limit::Timeout`].
    pub(super) async fn enter(
        &self,
        pulse: &Arc<Pulse>,
        now: Instant,
        deadline: Instant,
        notes: Option<&Notes>,
    ) -> Result<AtWork, Error> {
        let attempt = self.ask(now)?;
        if attempt.is_some() {
            pulse.tries();
        }
        let terms = Terms {
            concurrency: self.concurrency,
            queue: self.queue,
            is_slowed: self.share.breaker.is_slowed(self.breaker, now),
            is_slow: self.share.is_slow(),
            typical_cpu: self.share.typical_cpu(),
        };
        let queue = &self.share.queue;
        if !queue.try_enter(&terms)
            && let Place::Waits(number, told) = queue.line_up(&terms, now)?
        {
            // Few wait; those who do not need no room for it.
            let waited = Box::pin(self.wait(number, told, now, deadline)).await;
            let wait = now.elapsed();
            self.share.queue_wait.observe(wait);
            notes.inspect(|notes| notes.waited(wait));
            waited?;
        } else {
            self.share.queue_wait.observe_nothing();
        }
        pulse.starts(&self.share, terms.is_slowed);
        Ok(AtWork { share: Arc::clone(&self.share), pulse: Arc::clone(pulse), attempt })
    }

    /// Waits for a turn.
    async fn wait(
        &self,
        number: u64,
        told: oneshot::Receiver<Told>,
        now: Instant,
        deadline: Instant,
    ) -> Result<(), Error> {
        let mut turn = Turn { share: &self.share, number, told, has_come: false };
        let (until, limit) = self.patience(now, deadline, Limit::QueueTimeout);
        // The sender is not dropped before it has sent.
        let Ok(told) = timeout_at(until, &mut turn.told).await else { return Err(limit.into()) };
        turn.has_come = true;
        Ok(told.unwrap_or(Ok(()))?)
    }

    /// Until when a request waits, and what it has hit then.
    fn patience(&self, now: Instant, deadline: Instant, limit: Limit) -> (Instant, Limit) {
        let until = now + self.queue_timeout;
        if deadline < until { (deadline, Limit::Timeout) } else { (until, limit) }
    }

    fn ask(&self, now: Instant) -> Result<Option<Attempt>, Error> {
        match self.share.breaker.ask(self.breaker, now) {
            Verdict::Pass => Ok(None),
            Verdict::Rest(left) => Err(Error::from(Limit::Breaker).retry_after(left)),
            Verdict::Try(number) => {
                let handler = &**self.share.name();
                tracing::info!(
                    handler,
                    reason = Limit::Breaker.name(),
                    "half-open: one request is let in to try"
                );
                Ok(Some(Attempt { share: Arc::clone(&self.share), number, is_well: false }))
            }
        }
    }

    /// Places for a new instance, if there are any.
    pub(super) fn free_place(&self) -> Option<Taken> {
        self.lane.places.try_take(self.user, self.places)
    }

    /// Places for a new instance, if there are any or idle instances can make room for it.
    pub(super) fn try_place(&self) -> Option<Taken> {
        loop {
            let taken = self.free_place();
            if taken.is_some() || !self.lane.evict() {
                return taken;
            }
        }
    }

    /// Waits for them. Idle instances make room, also those of the same handler: who could do with one of these looks for
    /// it first.
    pub(super) async fn place(&self) -> Taken {
        let wait = self.lane.places.wait(self.user, self.places);
        while wait.goes_on() && self.lane.evict() {}
        match wait.claim() {
            Ok(taken) => taken,
            Err(wait) => wait.taken().await,
        }
    }

    /// Waits for an instance: `found` finds one. Meanwhile the request has no part in its handler's computing.
    ///
    /// # Errors
    /// [`Limit::Queue`] at once, [`Limit::Instances`] later; at `deadline` [`Limit::Timeout`].
    pub(super) async fn instance<T>(
        &self,
        pulse: &Pulse,
        deadline: Instant,
        found: impl Future<Output = T>,
    ) -> Result<T, Error> {
        let queue = &self.share.queue;
        queue.begin_without_instance(self.queue)?;
        let _waits = WithoutInstance(&self.share);
        pulse.has_started();
        let now = Instant::now();
        let (until, limit) = self.patience(now, deadline, Limit::Instances);
        let found = timeout_at(until, found).await;
        self.share.instance_wait.add(now.elapsed());
        found.map_err(|_| limit.into())
    }

    /// Waits for its handler's code, which `found` has loaded. Meanwhile the request has no part in its handler's computing.
    ///
    /// # Errors
    /// [`Limit::Queue`] at once; at `deadline` [`Limit::Timeout`]; and when there is no code.
    pub(super) async fn code<T>(
        &self,
        pulse: &Pulse,
        deadline: Instant,
        found: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.share.queue.begin_without_instance(self.queue)?;
        let _waits = WithoutInstance(&self.share);
        pulse.has_started();
        let now = Instant::now();
        let found = timeout_at(deadline, found).await;
        self.share.instance_wait.add(now.elapsed());
        found.map_err(|_| Limit::Timeout)?
    }

    /// A guest starts that has waited for its instance.
    pub(super) fn start_anew(&self, pulse: &Pulse) {
        if pulse.starts_anew() {
            self.share.queue.start();
        }
    }

    /// To be called when an instance has become idle: it has to go when other handlers wait for a place.
    pub(super) fn make_room(&self) {
        if self.lane.places.others_wait(self.user) {
            self.lane.evict();
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.lane.ledger.strike(self.share.of_handler());
    }
}

/// A number in the queue.
struct Turn<'a> {
    share: &'a Share,
    number: u64,
    told: oneshot::Receiver<Told>,
    has_come: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let queue = &self.share.queue;
        if !self.has_come && !queue.withdraw(self.number) && self.told.try_recv() == Ok(Ok(())) {
            // It was let in and has not heard of it.
            queue.has_started();
            queue.leave();
        }
    }
}

struct WithoutInstance<'a>(&'a Share);

impl Drop for WithoutInstance<'_> {
    fn drop(&mut self) {
        self.0.queue.end_without_instance();
    }
}

impl AtWork {
    /// The request has come to an end of its own, and what `error` says is not its handler's limits.
    pub(super) fn ended(&mut self, error: Option<&Error>) {
        if let Some(attempt) = &mut self.attempt {
            attempt.is_well = error.is_none_or(|error| !is_failure(error));
        }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.pulse.has_started();
        self.share.queue.leave();
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.share.breaker.tried(self.number, self.is_well) == Change::Closed {
            let handler = &**self.share.name();
            tracing::info!(handler, reason = Limit::Breaker.name(), "closed: the handler is well again");
        }
    }
}

/// Whether the breaker counts it, whatever else is known of it.
fn is_failure(error: &Error) -> bool {
    use crate::error::Kind;
    matches!(error.kind(), Kind::Limit(Limit::Cpu | Limit::Memory))
}

/// Counts a request that has hit a limit.
pub(super) fn count(share: &Share, settings: Option<BreakerSettings>, limit: Limit, pulse: &Pulse) {
    share.hit(limit);
    let is_failure = match limit {
        Limit::Cpu | Limit::Memory => true,
        // Not one that was waiting for its client, say.
        Limit::Timeout => pulse.is_computing(),
        _ => false,
    };
    if is_failure {
        fail(share, settings, pulse.is_attempt());
    }
}

fn fail(share: &Share, settings: Option<BreakerSettings>, is_attempt: bool) {
    if share.breaker.fail(settings, Instant::now(), is_attempt) == Change::Opened
        && let Some(settings) = settings
    {
        let (handler, reason) = (&**share.name(), Limit::Breaker.name());
        let BreakerSettings { errors, window, open } = settings;
        tracing::warn!(
            handler,
            reason,
            "open: its requests went over their limits too often ({errors} in {window:?}) and are turned away for {open:?}"
        );
    }
}
