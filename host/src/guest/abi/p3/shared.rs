//! An instance that serves several requests at a time. A task of its own owns the store and drives it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::time::{Instant, sleep_until, timeout_at};
use wasmtime::component::{Accessor, AccessorTask};

use super::super::super::components::Linked;
use super::super::super::exchange::Exchange;
use super::super::super::failure::failure;
use super::super::super::next::Origin;
use super::super::super::pulse::Pulse;
use super::super::super::seats::{Due, Seats};
use super::super::super::state::{Common, ComponentState};
use super::super::Stop;
use super::answer::answer;
use super::settled::settled;
use super::{Handle, Instance};
use crate::error::{Error, Kind, chain};
use crate::limit::Limit;

/// Polls in a row that an epoch tick must interrupt before an instance counts as computing. A single tick may come at any
/// moment, most of all where others keep the cores busy.
const COMPUTING: u32 = 2;

/// Serves requests until `seats` is closed and empty. What goes wrong with the instance is told to all it has.
pub(in super::super::super) async fn serve(
    linked: Arc<Linked>,
    common: Arc<Common>,
    seats: Arc<Seats>,
    pulse: Arc<Pulse>,
) {
    let mut instance = Instance::new(&linked, &common);
    instance.core().pulse = Some(Arc::clone(&pulse));
    let ended = drive(&mut instance, &seats, &pulse).await;
    let handler = &**common.share.name();
    match ended {
        Ok(()) => drop(seats.end(|_| Kind::Internal.into())),
        Err(Ended::Overdue) => {
            let ids = seats.end(|_| Limit::Timeout.into());
            let request_ids = ids.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(", ");
            if ids.is_empty() {
                tracing::warn!(
                    handler,
                    "the guest worked on after its responses, and was stopped at the handler's `timeout`"
                );
            } else {
                tracing::warn!(handler, request_ids, "an instance was stopped: its requests are overdue");
            }
        }
        Err(Ended::NotStarted) => {
            tracing::warn!(
                handler,
                "an instance was stopped: its start took longer than the handler's `timeout`"
            );
            seats.end(|_| Limit::Timeout.into());
        }
        Err(Ended::Failed(error)) => {
            let refused = instance.core().limiter.refused;
            let error = failure(error, &common.masks, refused, common.memory_bytes_max);
            let error = instance.core().limiter.blame(error);
            let (kind, text) = (error.kind(), chain(&error));
            // The first cause is what the kind stands for.
            let text = text.strip_prefix(&Error::from(kind).to_string()).unwrap_or(&text);
            let text = text.trim_start_matches(": ");
            let ids = seats.end(|ids| {
                Error::new(kind, format!("{text}\nnote: these requests failed with their instance: {ids}"))
            });
            if ids.is_empty() {
                tracing::error!(handler, reason = kind.name(), "after its complete responses: {text}");
            }
        }
    }
}

enum Ended {
    /// Nothing is left that may go on.
    Overdue,
    /// The request that it was made for has no time left.
    NotStarted,
    Failed(wasmtime::Error),
}

/// What a guest does at its start has the time of the request that it is started for. If it fails, so do those that wait.
async fn start(instance: &mut Instance, seats: &Seats) -> Result<Handle, Ended> {
    match timeout_at(seats.first_deadline(), instance.start()).await {
        Ok(started) => started.map_err(|error| {
            seats.take_all();
            Ended::Failed(error)
        }),
        Err(_) => Err(Ended::NotStarted),
    }
}

async fn drive(instance: &mut Instance, seats: &Arc<Seats>, pulse: &Pulse) -> Result<(), Ended> {
    let handle = start(instance, seats).await?;
    let store = &mut instance.store;
    // One request in each turn: when its guest computes for long, the others are not yet in there with it.
    let is_turn = AtomicBool::new(true);
    let mut run =
        pin!(store.run_concurrent(async |accessor| take_in(accessor, handle, seats, &is_turn).await));
    let turns = pin!(poll_fn(|cx| {
        is_turn.store(true, Ordering::Relaxed);
        run.as_mut().poll(cx)
    }));
    let mut work = pin!(settled(pulse, turns));
    let mut clock = pin!(sleep_until(Instant::now()));
    let mut interrupted_in_a_row = 0;
    poll_fn(|cx| {
        seats.set_running();
        let seen = pulse.interruptions();
        let polled = work.as_mut().poll(cx);
        let is_computing = pulse.interruptions() != seen;
        interrupted_in_a_row = if is_computing { interrupted_in_a_row + 1 } else { 0 };
        seats.set_computing(interrupted_in_a_row >= COMPUTING);
        if let Poll::Ready(result) = polled {
            return Poll::Ready(result.flatten().map_err(Ended::Failed));
        }
        seats.stopped(is_computing);
        // Time is looked at out here: what is inside is not polled while the guest computes.
        loop {
            let at = match seats.check(Instant::now()) {
                Due::Stop => return Poll::Ready(Err(Ended::Overdue)),
                Due::At(at) => at,
            };
            // A clock that rings too early costs less than one that is set anew for each request.
            if clock.is_elapsed() || at < clock.deadline() {
                clock.as_mut().reset(at);
            }
            if clock.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// Begins with each request as it comes.
async fn take_in(
    accessor: &Accessor<ComponentState>,
    handle: Handle,
    seats: &Arc<Seats>,
    is_turn: &AtomicBool,
) -> wasmtime::Result<()> {
    poll_fn(|cx: &mut Context<'_>| {
        if is_turn.swap(false, Ordering::Relaxed)
            && let Some((number, exchange)) = seats.take(cx)
        {
            let origin = accessor.with(|mut store| {
                let state = store.data_mut();
                state.hooks.begin_another(&exchange.request);
                state.core.log.begin(None);
                state.core.origin_of(&exchange)
            });
            let request = Request { handle, number, exchange, origin, seats: Arc::clone(seats) };
            if let Err(error) = accessor.spawn(request) {
                return Poll::Ready(Err(error));
            }
        }
        let (is_idle, is_closed) = seats.is_idle();
        if is_idle && accessor.poll_no_interesting_tasks(cx).is_ready() {
            seats.rest();
            if is_closed {
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Pending
    })
    .await
}

/// One request, inside the store.
struct Request {
    handle: Handle,
    number: u64,
    exchange: Box<Exchange>,
    origin: Option<Origin>,
    seats: Arc<Seats>,
}

impl AccessorTask<ComponentState> for Request {
    async fn run(self, accessor: &Accessor<ComponentState>) -> wasmtime::Result<()> {
        match answer(accessor, self.handle, self.exchange, self.origin).await {
            Ok(()) => self.seats.finish(self.number, Ok(())),
            Err(Stop::Fault(error)) => self.seats.finish(self.number, Err(error)),
            // The store is of no further use, nor is anybody's request in it.
            Err(Stop::Trap(error)) => return Err(error),
        }
        Ok(())
    }
}
