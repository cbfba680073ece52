//! What is counted, as Prometheus reads it (text exposition format 0.0.4).
//!
//! The number of series is bounded: one for each handler, and one for each of its limits.

use std::fmt::{Display, Write as _};

use crate::guest::GuestEngine;
use crate::limit::Limit;

/// The media type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Where the numbers come from.
#[derive(Clone, Debug)]
pub struct Metrics {
    guests: GuestEngine,
}

impl Metrics {
    /// The numbers of this engine's guests.
    #[must_use]
    pub fn new(guests: GuestEngine) -> Self {
        Self { guests }
    }

    /// All numbers as they are now.
    #[must_use]
    pub fn text(&self) -> String {
        let mut page = Page::default();
        let shares = self.guests.ledger().shares();
        page.family("wasmux_limit_hits_total", "counter", "Requests that have hit a limit.");
        for (handler, share) in &shares {
            for limit in Limit::ALL {
                page.sample(&[("handler", handler), ("reason", limit.name())], share.hits(limit));
            }
        }
        page.family("wasmux_client_disconnects_total", "counter", "Requests whose client went away.");
        for (handler, share) in &shares {
            page.sample(&[("handler", handler)], share.disconnects());
        }
        page.family("wasmux_denials_total", "counter", "What handlers have asked for and were not granted.");
        for (handler, share) in &shares {
            page.sample(&[("handler", handler)], share.denials());
        }
        page.family("wasmux_requests_waiting", "gauge", "Requests that wait for their turn or an instance.");
        for (handler, share) in &shares {
            page.sample(&[("handler", handler)], share.waiting());
        }
        page.family("wasmux_guests_running", "gauge", "Requests that were let in and are not done.");
        for (handler, share) in &shares {
            page.sample(&[("handler", handler)], share.running());
        }
        let places = self.guests.places();
        page.family("wasmux_guest_instances", "gauge", "Places for instances that are in use.");
        for (engine, in_use, _) in &places {
            page.sample(&[("engine", engine)], in_use);
        }
        page.family("wasmux_guest_instances_max", "gauge", "Places for instances.");
        for (engine, _, max) in &places {
            page.sample(&[("engine", engine)], max);
        }
        let (resident, loads, evictions) = self.guests.resident_handlers();
        page.family(
            "wasmux_resident_handlers",
            "gauge",
            "Handlers whose code is in memory and can leave it.",
        );
        page.sample(&[], resident);
        page.family("wasmux_code_loads_total", "counter", "Times that the code of a handler was loaded.");
        page.sample(&[], loads);
        page.family("wasmux_code_evictions_total", "counter", "Times that it had to leave memory.");
        page.sample(&[], evictions);
        page.family("wasmux_guest_memory_bytes", "gauge", "Memory of all instances.");
        page.sample(&[], self.guests.memory_bytes());
        page.text
    }
}

/// A page of metrics, family by family.
#[derive(Debug, Default)]
struct Page {
    text: String,
    family: &'static str,
}

impl Page {
    /// Begins with another metric.
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.family = name;
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// One number of it.
    fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(self.family);
        for (index, (name, value)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{open}{name}=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_written_as_prometheus_reads_them() {
        let mut page = Page::default();
        page.family("a_total", "counter", "What it is.");
        page.sample(&[("handler", "x\"\\\ny"), ("reason", "cpu")], 3);
        page.sample(&[], 4);
        let expected = "# HELP a_total What it is.\n# TYPE a_total counter\na_total{handler=\"x\\\"\\\\\\ny\",reason=\"cpu\"} 3\na_total 4\n";
        assert_eq!(page.text, expected);
    }
}
