//! A request for an instance that others are using too.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::abi::{Abi, p3};
use super::super::admission::AtWork;
use super::super::exchange::Exchange;
use super::super::fair::{Account, Fair};
use super::super::isolation::{Concurrency, Reuse};
use super::super::places::Taken;
use super::super::pulse::Pulse;
use super::super::resident::Loaded;
use super::super::seats::{Ask, Crowd, Job, Outcome, Seats};
use super::super::spans::EndsSpans;
use super::Guest;
use crate::error::{Error, Kind};
use crate::notes::Notes;

impl Guest {
    /// Waits for what becomes of the request in an instance with others.
    pub(super) async fn run_shared(
        self: Arc<Self>,
        exchange: Box<Exchange>,
        deadline: Instant,
        (mut at_work, spans): (AtWork, EndsSpans),
        settings: (Reuse, Concurrency),
    ) -> Result<(), Error> {
        let ended = self.run_seated(exchange, deadline, settings).await;
        spans.ended(ended.as_ref().err().map(Error::kind));
        at_work.ended(ended.as_ref().err());
        ended
    }

    async fn run_seated(
        &self,
        mut exchange: Box<Exchange>,
        deadline: Instant,
        (reuse, concurrency): (Reuse, Concurrency),
    ) -> Result<(), Error> {
        let outbox = Arc::clone(&exchange.outbox);
        outbox.hold();
        let (pulse, notes) = (Arc::clone(&exchange.pulse), exchange.request.notes.clone());
        let code = self.code(&pulse, (Instant::now(), deadline), notes.as_deref()).await?;
        // Which of them have to wait for a new one is not known here.
        exchange.instantiated();
        loop {
            let (reply, mut outcome) = oneshot::channel();
            let job = Job { exchange, deadline, reply };
            if let Some((job, places)) = self.seat(job, notes.as_deref()).await? {
                self.found(&code, job, places, (reuse, concurrency));
            }
            let outcome = poll_fn(|cx| {
                outbox.wake_on_change(cx);
                Pin::new(&mut outcome).poll(cx)
            });
            match outcome.await {
                Ok(Outcome::Done(result)) => return result,
                Ok(Outcome::Untouched(returned)) => exchange = returned,
                Err(_) => return Err(Error::new(Kind::Internal, "the task of its instance has failed")),
            }
        }
    }

    /// Finds a seat, or gives the job back with places for a new instance.
    async fn seat(&self, job: Job, notes: Option<&Notes>) -> Result<Option<(Job, Taken)>, Error> {
        let (deadline, pulse) = (job.deadline, Arc::clone(&job.exchange.pulse));
        let mut job = Some(job);
        if self.crowd.offer(&mut job, Ask::Waiting) {
            return Ok(None);
        }
        let places = match self.admission.free_place() {
            Some(places) => Some(places),
            None => {
                // While one waits for a seat, its own handler's instances make no room for another one.
                let either = async {
                    tokio::select! {
                        biased;
                        () = self.crowd.wait(&mut job) => None,
                        places = self.admission.place() => Some(places),
                    }
                };
                self.admission.instance(&pulse, deadline, notes, either).await?
            }
        };
        Ok(job.zip(places))
    }

    /// Starts an instance whose first request this is.
    fn found(&self, code: &Loaded, job: Job, places: Taken, (reuse, concurrency): (Reuse, Concurrency)) {
        // Others were refused when they were loaded; without an instance, the job's end is an error.
        let Abi::P3(linked) = &code.abi else { return };
        let seats = self.crowd.found(reuse, concurrency, job);
        let place = Place { seats: Arc::clone(&seats), crowd: Arc::downgrade(&self.crowd), _places: places };
        let (linked, common) = (Arc::clone(linked), Arc::clone(&self.common));
        let pulse = Arc::<Pulse>::default();
        let its_pulse = Arc::clone(&pulse);
        let work = Box::pin(async move {
            let place = place;
            p3::serve_shared(linked, common, seats, its_pulse).await;
            drop(place);
            Ok(())
        });
        let cpu_max = self.limits.cpu;
        self.share.instances.increment();
        tokio::spawn(Fair::new(work, &self.compute, &pulse, &self.share, Account::Instance, cpu_max));
    }
}

/// What an instance takes up as long as it is there.
struct Place {
    seats: Arc<Seats>,
    crowd: std::sync::Weak<Crowd>,
    _places: Taken,
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
