//! What is counted, as Prometheus reads it (text exposition format 0.0.4).
//!
//! The number of series is bounded by what is configured: servers, routes, handlers, limits, upstreams, stores, databases.
//! Nothing that a client or a guest sends is a label.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use self::page::{Kind, Page};
use crate::guest::GuestEngine;
use crate::resources::Resources;
use crate::telemetry;
use crate::trace::TraceStats;

mod guests;
mod page;
mod process;
mod requests;
mod stores;

/// The media type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Where the numbers come from.
#[derive(Clone, Debug)]
pub struct Metrics {
    guests: GuestEngine,
    resources: Resources,
    traces: Option<Arc<TraceStats>>,
    /// When this was made, in seconds since the Unix epoch.
    start_seconds: f64,
}

impl Metrics {
    /// The numbers of this engine's guests, of what is open, and of traces, if there are any.
    #[must_use]
    pub fn new(guests: GuestEngine, resources: Resources, traces: Option<Arc<TraceStats>>) -> Self {
        let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { guests, resources, traces, start_seconds: start.as_secs_f64() }
    }

    /// All numbers as they are now.
    #[must_use]
    pub fn text(&self) -> String {
        let mut page = Page::default();
        requests::write(&mut page, self.resources.registry());
        guests::write(&mut page, &self.guests);
        stores::write(&mut page, &self.resources);
        if let Some(traces) = &self.traces {
            page.family(
                "wasmux_trace_spans_total",
                Kind::Counter,
                "Spans of traces, by what became of them.",
            );
            for (outcome, count) in [
                ("exported", &traces.exported),
                ("overflowed", &traces.overflowed),
                ("failed", &traces.failed),
            ] {
                page.sample(&[("outcome", outcome)], count.get());
            }
        }
        let help = "Lines of logs that were lost because nobody took them fast enough.";
        page.family("wasmux_log_lines_dropped_total", Kind::Counter, help);
        for (log, dropped) in &telemetry::DROPPED {
            page.sample(&[("log", log)], dropped.get());
        }
        process::write(&mut page, self.start_seconds);
        page.text()
    }
}
