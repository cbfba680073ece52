//! A request for an instance that others are using too.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, timeout};

use super::super::abi::{Abi, p3};
use super::super::exchange::Exchange;
use super::super::fair::{Account, Fair};
use super::super::isolation::{Concurrency, Reuse};
use super::super::pulse::Pulse;
use super::super::seats::{Ask, Crowd, Job, Outcome, Seats};
use super::{Guest, INSTANCE_WAIT};
use crate::error::{Error, Kind};
use crate::limit::Limit;

impl Guest {
    /// Waits for what becomes of the request in an instance with others.
    pub(super) async fn run_shared(
        self: Arc<Self>,
        mut exchange: Exchange,
        deadline: Instant,
        (reuse, concurrency): (Reuse, Concurrency),
    ) -> Result<(), Error> {
        let outbox = Arc::clone(&exchange.outbox);
        outbox.hold();
        loop {
            let (reply, mut outcome) = oneshot::channel();
            let job = Job { exchange, deadline, reply };
            if let Some((job, permit)) = self.seat(job).await? {
                self.found(job, permit, reuse, concurrency);
            }
            let outcome = poll_fn(|cx| {
                outbox.wake_on_change(cx);
                Pin::new(&mut outcome).poll(cx)
            });
            match outcome.await {
                Ok(Outcome::Done(result)) => return result,
                Ok(Outcome::Untouched(returned)) => exchange = *returned,
                Err(_) => return Err(Error::new(Kind::Internal, "the task of its instance has failed")),
            }
        }
    }

    /// Finds a seat, or gives the job back with the permit for a new instance.
    async fn seat(&self, job: Job) -> Result<Option<(Job, OwnedSemaphorePermit)>, Error> {
        let mut job = Some(job);
        if self.crowd.offer(&mut job, Ask::Waiting) {
            return Ok(None);
        }
        let permit = Arc::clone(&self.lane.permits).try_acquire_many_owned(self.places).ok();
        let permit = match permit {
            Some(permit) => Some(permit),
            None => {
                let found = timeout(INSTANCE_WAIT, self.seat_or_permit(&mut job)).await;
                found.map_err(|_| Error::from(Limit::Instances))??
            }
        };
        Ok(job.zip(permit))
    }

    /// Waits for either; the permit, if it was that.
    async fn seat_or_permit(&self, job: &mut Option<Job>) -> Result<Option<OwnedSemaphorePermit>, Error> {
        tokio::select! {
            biased;
            () = self.crowd.wait(job) => Ok(None),
            permit = self.admit() => permit.map(Some),
        }
    }

    /// Starts an instance whose first request this is.
    fn found(&self, job: Job, permit: OwnedSemaphorePermit, reuse: Reuse, concurrency: Concurrency) {
        // Others were refused when they were loaded; without an instance, the job's end is an error.
        let Abi::P3(linked) = &self.abi else { return };
        let seats = self.crowd.found(reuse, concurrency, job);
        let place = Place { seats: Arc::clone(&seats), crowd: Arc::downgrade(&self.crowd), _permit: permit };
        let (linked, common, pulse) = (Arc::clone(linked), self.common.clone(), Arc::<Pulse>::default());
        let its_pulse = Arc::clone(&pulse);
        let work = Box::pin(async move {
            let place = place;
            p3::serve_shared(linked, common, seats, its_pulse).await;
            drop(place);
            Ok(())
        });
        let cpu_max = self.limits.cpu;
        tokio::spawn(Fair::new(work, &self.compute, &pulse, &self.share, Account::Instance, cpu_max));
    }
}

/// What an instance takes up as long as it is there.
struct Place {
    seats: Arc<Seats>,
    crowd: std::sync::Weak<Crowd>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        // Also when the task has failed: nobody must wait for it.
        self.seats.end(|_| Error::new(Kind::Internal, "the task of its instance has failed"));
        if let Some(crowd) = self.crowd.upgrade() {
            crowd.remove(&self.seats);
        }
    }
}
