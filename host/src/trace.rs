//! Traces of requests across services: W3C Trace Context in and out, spans to an OpenTelemetry collector.
//!
//! Nothing here runs unless `[tracing]` names a collector. Then each request has a [`Trace`], which may or may not be
//! sampled: ids are handed on in any case, spans are made of those that are. Whatever happens on the way to the collector,
//! requests never wait for it.

use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::HeaderMap;

mod call;
mod context;
#[cfg(feature = "otlp")]
mod export;
#[cfg(feature = "otlp")]
mod otlp;
mod queue;
mod settings;
mod span;

pub use call::{bare_host, method_name, span_name};
pub use context::{Context, SpanId, TraceId};
pub use queue::Exporting;
pub use settings::TraceSettings;
pub use span::{Attribute, Finished, SpanKind};

use self::queue::Queue;
use crate::stats::Counter;

/// Longest text of an attribute, in bytes: what clients send must not fill the queue's memory.
const TEXT_BYTES_MAX: usize = 1_024;

/// What became of spans.
#[derive(Debug, Default)]
pub struct TraceStats {
    /// A collector has them.
    pub exported: Counter,
    /// There was no room for them in the queue.
    pub overflowed: Counter,
    /// No collector has taken them.
    pub failed: Counter,
}

/// Decides which requests are traced, and takes their spans. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Tracer {
    /// Of 2^64 trace ids, those that are below are sampled; `None`: all of them.
    sampled_below: Option<u64>,
    queue: Queue,
}

impl Tracer {
    /// The trace of a request with these fields, which goes on with the one that they name.
    #[must_use]
    pub fn begin(&self, headers: &HeaderMap) -> Arc<Trace> {
        let parent = Context::of(headers);
        let (id, is_sampled) = match &parent {
            Some(parent) => (parent.trace, parent.is_sampled),
            None => {
                let id = TraceId::random();
                (id, self.sampled_below.is_none_or(|below| id.ratio() < below))
            }
        };
        let above = parent.as_ref().map(|parent| parent.span);
        let state = parent.map(|parent| parent.state).unwrap_or_default();
        let server = Context { trace: id, span: SpanId::random(), is_sampled, state };
        Arc::new(Trace { queue: self.queue.clone(), server, above })
    }
}

/// The trace of one request.
pub struct Trace {
    queue: Queue,
    /// The request's own span, above all others here.
    server: Context,
    /// The caller's, if it has said.
    above: Option<SpanId>,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl Trace {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> TraceId {
        self.server.trace
    }

    /// Whether spans are made of it.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.server.is_sampled
    }

    /// Has a request, on its way to a handler, say that it belongs to the request's own span.
    pub fn write(&self, headers: &mut HeaderMap) {
        self.server.write(headers);
    }

    /// The request's own span, which began at `begin`.
    pub fn server(self: &Arc<Self>, name: String, begin: (SystemTime, Instant)) -> Span {
        Span::new(self, self.server.span, self.above, (SpanKind::Server, name), begin)
    }

    /// Where a request is whose fields are these: below whatever they say, if that is of this trace.
    #[must_use]
    pub fn scope(self: &Arc<Self>, headers: &HeaderMap) -> Scope {
        let said = Context::of(headers).filter(|said| said.trace == self.id());
        let (span, state) = match said {
            Some(said) => (said.span, said.state),
            None => (self.server.span, self.server.state.clone()),
        };
        Scope { trace: Arc::clone(self), span, state }
    }
}

/// A span that others hang on.
#[derive(Clone, Debug)]
pub struct Scope {
    trace: Arc<Trace>,
    span: SpanId,
    /// What other vendors have to say (`tracestate`).
    state: Vec<u8>,
}

impl Scope {
    /// The same, unless the fields of a request that is about to leave name another span of this trace.
    #[must_use]
    pub fn within(&self, headers: &HeaderMap) -> Self {
        match Context::of(headers).filter(|said| said.trace == self.trace.id()) {
            Some(said) => Self { trace: Arc::clone(&self.trace), span: said.span, state: said.state },
            None => self.clone(),
        }
    }

    /// Begins a span below it.
    #[must_use]
    pub fn child(&self, kind: SpanKind, name: impl Into<String>) -> Span {
        let begin = (SystemTime::now(), Instant::now());
        Span::new(&self.trace, SpanId::random(), Some(self.span), (kind, name.into()), begin)
    }

    /// Where the children of `span` are.
    #[must_use]
    pub fn below(&self, span: &Span) -> Self {
        Self { trace: Arc::clone(&self.trace), span: span.id(), state: self.state.clone() }
    }

    /// Has a request say that it comes from here, whatever it has said before.
    pub fn write(&self, headers: &mut HeaderMap) {
        let Trace { server, .. } = &*self.trace;
        let (trace, is_sampled) = (server.trace, server.is_sampled);
        Context { trace, span: self.span, is_sampled, state: self.state.clone() }.write(headers);
    }
}

/// A span under way; it ends when it is dropped.
#[derive(Debug)]
pub struct Span {
    trace: Arc<Trace>,
    begin: Instant,
    data: Finished,
    is_forgotten: bool,
}

impl Span {
    fn new(
        trace: &Arc<Trace>,
        id: SpanId,
        above: Option<SpanId>,
        (kind, name): (SpanKind, String),
        (time, begin): (SystemTime, Instant),
    ) -> Self {
        let state = trace.server.state.clone();
        let data = Finished::new(trace.id(), id, above, kind, name, state, time);
        Self { trace: Arc::clone(trace), begin, data, is_forgotten: false }
    }

    fn id(&self) -> SpanId {
        self.data.id
    }

    /// It begins only now.
    pub fn begin_now(&mut self) {
        (self.data.begin, self.begin) = (SystemTime::now(), Instant::now());
    }

    /// There was no such thing after all.
    pub fn forget(mut self) {
        self.is_forgotten = true;
    }

    /// Gives it another name.
    pub fn rename(&mut self, name: String) {
        self.data.name = name;
    }

    /// Notes something about it; text beyond 1 KiB is cut.
    pub fn set(&mut self, key: &'static str, value: impl Into<Attribute>) {
        if self.trace.is_sampled() {
            self.data.attributes.push((key, value.into().cut(TEXT_BYTES_MAX)));
        }
    }

    /// It has failed, for this reason: one of a few words (`error.type` of the semantic conventions).
    pub fn fail(&mut self, reason: impl Into<String>) {
        if self.trace.is_sampled() {
            self.data.has_failed = true;
            self.data.attributes.push(("error.type", reason.into().into()));
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if self.trace.is_sampled() && !self.is_forgotten {
            self.data.end = self.data.begin + self.begin.elapsed();
            self.trace.queue.put(self.data.take());
        }
    }
}
