//! Runs a guest so that others get their share: at home while it is quick, on threads of its own while it computes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::compute::{Away, Compute, Outcome, Stretch, Work, thread_cpu};
use super::engine::EPOCH_TICK;
use super::outbox::Outbox;
use super::pulse::Pulse;
use super::share::Share;
use crate::error::{Error, Kind};
use crate::notes::Notes;

/// Epoch ticks that a guest computes through before it leaves the thread of its connection; less when it has done so
/// before in this request. One would also send away those that just happen to be at work when a tick comes.
const HOME_TICKS: u32 = 2;
const HOME_TICKS_LATER: u32 = 1;

/// What the `cpu` limit is about.
pub(super) enum Account {
    /// One request; its connection is woken for what the guest writes elsewhere. What it has computed is noted, if somebody
    /// wants to know.
    Request(Arc<Outbox>, Option<Arc<Notes>>),
    /// An instance with several: each stretch of computing, until all of its requests wait.
    Instance,
}

/// A guest at work.
pub(super) struct Fair {
    place: Place,
    compute: Arc<Compute>,
    pulse: Arc<Pulse>,
    share: Arc<Share>,
    account: Account,
    cpu_max: Duration,
    used: Duration,
    /// What of it was at home: not counted yet, and counted.
    at_home: Duration,
    counted: Duration,
    /// Ticks through which it has computed at home, and those that it may.
    ticks: u32,
    patience: u32,
    /// Its time at home is taken from the thread's own clock.
    is_exact: bool,
}

enum Place {
    Home(Work),
    Away(Away),
    /// It has ended.
    Nowhere,
}

impl Fair {
    /// `work` and those behind `pulse` are one guest.
    pub(super) fn new(
        work: Work,
        compute: &Arc<Compute>,
        pulse: &Arc<Pulse>,
        share: &Arc<Share>,
        account: Account,
        cpu_max: Duration,
    ) -> Self {
        // Those of which it is to be expected do not hold up the connection's thread first.
        let patience = if share.is_slow() || pulse.is_slowed() { 0 } else { HOME_TICKS };
        Self {
            place: Place::Home(work),
            compute: Arc::clone(compute),
            pulse: Arc::clone(pulse),
            share: Arc::clone(share),
            account,
            cpu_max,
            used: Duration::ZERO,
            at_home: Duration::ZERO,
            counted: Duration::ZERO,
            ticks: 0,
            patience,
            is_exact: false,
        }
    }

    /// Lets it go on for one poll on this thread; `None` when it has computed here for long enough.
    fn stay(&mut self, mut work: Work, cx: &mut Context<'_>) -> Option<Poll<Result<(), Error>>> {
        let seen = self.pulse.interruptions();
        // The clock of the thread is exact and costs ten times as much: only after a poll that was suspiciously long, which
        // is charged for what a guest can compute in it before a tick stops it.
        let (begin, begin_cpu) = (Instant::now(), self.is_exact.then(thread_cpu));
        let polled = {
            let _tagged = self.pulse.tag(&self.share).enter();
            work.as_mut().poll(cx)
        };
        let elapsed = begin.elapsed();
        let used = match begin_cpu {
            Some(begin) => thread_cpu().saturating_sub(begin),
            None => elapsed.min(EPOCH_TICK * 2),
        };
        (self.used, self.at_home) = (self.used + used, self.at_home + used);
        self.is_exact |= elapsed > EPOCH_TICK * 2;
        if let Poll::Ready(result) = polled {
            return Some(Poll::Ready(self.end(result)));
        }
        self.place = Place::Home(work);
        if self.pulse.interruptions() == seen {
            self.rest();
            return Some(Poll::Pending);
        }
        // A tick that came while it waited interrupts it as soon as it goes on, which says nothing.
        if elapsed >= EPOCH_TICK / 4 {
            self.ticks = self.ticks.saturating_add(1);
        }
        self.pulse.set_computing(true);
        if self.used > self.cpu_max {
            self.pulse.spend();
        }
        (self.ticks < self.patience).then_some(Poll::Pending)
    }

    /// Has it go on elsewhere.
    fn leave(&mut self, work: Work) {
        let (pulse, share) = (Arc::clone(&self.pulse), Arc::clone(&self.share));
        let allowance = self.cpu_max.saturating_sub(self.used);
        let outbox = match &self.account {
            Account::Request(outbox, _) => Some(Arc::clone(outbox)),
            Account::Instance => None,
        };
        self.pulse.set_computing(true);
        self.place = match self.compute.take(Stretch { work, pulse, share, outbox, allowance }) {
            Ok(away) => Place::Away(away),
            // There are no threads for it: here it yields at each tick at least.
            Err(work) => {
                self.patience = u32::MAX;
                Place::Home(work)
            }
        };
        // It is counted among those that compute.
        self.pulse.has_started();
    }

    /// It waits.
    fn rest(&mut self) {
        self.ticks = 0;
        self.pulse.set_computing(false);
        self.pulse.has_started();
        if let Account::Instance = self.account {
            self.used = Duration::ZERO;
        }
        // What goes on for long shows meanwhile; what is short is counted once.
        if self.at_home >= EPOCH_TICK {
            self.count();
        }
    }

    fn count(&mut self) {
        self.share.cpu.add(self.at_home);
        self.counted += std::mem::take(&mut self.at_home);
    }

    fn end(&self, result: Result<(), Error>) -> Result<(), Error> {
        if let Account::Request(..) = self.account {
            self.share.note_cpu(self.used, self.used > EPOCH_TICK * HOME_TICKS);
        }
        result
    }
}

impl Future for Fair {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            match std::mem::replace(&mut this.place, Place::Nowhere) {
                Place::Home(work) if this.ticks >= this.patience => this.leave(work),
                Place::Home(work) => {
                    if let Some(polled) = this.stay(work, cx) {
                        return polled;
                    }
                }
                Place::Away(mut away) => match away.poll(cx) {
                    Poll::Pending => {
                        this.place = Place::Away(away);
                        if let Account::Request(outbox, _) = &this.account {
                            outbox.wake_on_change(cx);
                        }
                        return Poll::Pending;
                    }
                    Poll::Ready(Some(Outcome { polled, used })) => {
                        this.used += used;
                        match polled {
                            Err(result) => return Poll::Ready(this.end(result)),
                            Ok(work) => this.place = Place::Home(work),
                        }
                        this.rest();
                        this.patience = HOME_TICKS_LATER;
                    }
                    Poll::Ready(None) => return Poll::Ready(Err(lost("the host panicked"))),
                },
                Place::Nowhere => return Poll::Ready(Err(lost("the guest has ended"))),
            }
        }
    }
}

impl Drop for Fair {
    fn drop(&mut self) {
        // Stopped while it computed: nobody knows for how much longer it would have.
        self.count();
        if let Account::Request(_, Some(notes)) = &self.account {
            notes.computed(self.counted + self.pulse.computed_away());
        }
        let is_request = matches!(self.account, Account::Request(..));
        if is_request && !matches!(self.place, Place::Nowhere) && self.pulse.is_computing() {
            self.share.note_cpu(self.used.max(EPOCH_TICK * HOME_TICKS), true);
        }
    }
}

fn lost(why: &'static str) -> Error {
    Error::new(Kind::Internal, why)
}
