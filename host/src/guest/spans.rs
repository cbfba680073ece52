//! The spans of a request in the hands of a guest: waiting for its turn, getting an instance, and the guest's own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::exchange::Incoming;
use crate::error::Kind;
use crate::trace::{Scope, Span, SpanKind};

/// Those that are under way; only of requests that are traced.
#[derive(Debug)]
pub(super) struct Spans(Mutex<Open>);

#[derive(Debug)]
struct Open {
    above: Scope,
    /// What comes before the guest: `queue`, then `instantiate`.
    before: Option<Span>,
    /// Its id is known from the start, as the guest's request names it.
    guest: Option<Span>,
}

impl Spans {
    /// For a request that is about to wait for its turn; from here on it says that it belongs to the guest's span.
    pub(super) fn begin(request: &mut Incoming, handler: &str, version: &str) -> Option<Arc<Self>> {
        let trace = request.notes.as_ref()?.trace()?;
        let above = trace.scope(&request.parts.headers);
        let mut guest = above.child(SpanKind::Internal, "guest");
        guest.set("wasmux.handler", handler);
        guest.set("wasmux.version", version);
        above.below(&guest).write(&mut request.parts.headers);
        let before = Some(above.child(SpanKind::Internal, "queue"));
        Some(Arc::new(Self(Mutex::new(Open { above, before, guest: Some(guest) }))))
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It was let in.
    pub(super) fn let_in(&self) {
        let mut open = self.lock();
        open.before = None; // which ends it
        let instantiate = open.above.child(SpanKind::Internal, "instantiate");
        open.before = Some(instantiate);
    }

    /// Its instance is there: the guest begins.
    pub(super) fn instantiated(&self) {
        let mut open = self.lock();
        if open.before.take().is_some()
            && let Some(guest) = &mut open.guest
        {
            guest.begin_now();
        }
    }

    /// The guest has ended, or will never begin.
    pub(super) fn ended(&self, error: Option<Kind>) {
        let mut open = self.lock();
        let (mut before, mut guest) = (open.before.take(), open.guest.take());
        // What was under way has failed: what comes before the guest, which then has never begun.
        if let Some(kind) = error
            && let Some(span) = before.as_mut().or(guest.as_mut())
        {
            span.fail(kind.name());
        }
        if before.is_some()
            && let Some(guest) = guest
        {
            guest.forget();
        }
    }
}

/// Ends what is under way when it is dropped: also for a guest that is stopped.
#[derive(Debug)]
pub(super) struct EndsSpans(pub(super) Option<Arc<Spans>>);

impl EndsSpans {
    /// The guest has ended by itself.
    pub(super) fn ended(&self, error: Option<Kind>) {
        self.0.iter().for_each(|spans| spans.ended(error));
    }
}

impl Drop for EndsSpans {
    fn drop(&mut self) {
        self.ended(None);
    }
}
