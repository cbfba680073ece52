//! What is noted of one request while it is served, for its line in the access log and for its trace.
//!
//! Only requests that somebody wants to know this of have notes.

use std::sync::Arc;
use std::time::Duration;

use crate::stats::Counter;
use crate::trace::Trace;

/// The notes of one request, shared by all that work on it.
#[derive(Debug, Default)]
pub struct Notes {
    queue_ns: Counter,
    cpu_ns: Counter,
    /// Content of the request, as far as it was read.
    pub request_bytes: Counter,
    trace: Option<Arc<Trace>>,
}

impl Notes {
    /// For a request that is part of this trace, if there are any.
    #[must_use]
    pub fn new(trace: Option<Arc<Trace>>) -> Arc<Self> {
        Arc::new(Self { trace, ..Self::default() })
    }

    /// Its trace.
    #[must_use]
    pub fn trace(&self) -> Option<&Arc<Trace>> {
        self.trace.as_ref()
    }

    /// It has waited for its turn, or for an instance.
    pub fn waited(&self, time: Duration) {
        self.queue_ns.add(ns(time));
    }

    /// Guests have computed for it.
    pub fn computed(&self, time: Duration) {
        self.cpu_ns.add(ns(time));
    }

    /// How long it has waited, in microseconds.
    #[must_use]
    pub fn queue_us(&self) -> u64 {
        self.queue_ns.get() / 1_000
    }

    /// How long guests have computed for it, in microseconds.
    #[must_use]
    pub fn cpu_us(&self) -> u64 {
        self.cpu_ns.get() / 1_000
    }
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
