//! Guests: what each handler uses, and what they all share.

use std::fmt::Display;
use std::sync::Arc;

use super::page::{Kind, Page};
use crate::guest::{GuestEngine, Share};
use crate::limit::Limit;

/// Handlers by name.
type Shares = [(Arc<str>, Arc<Share>)];

pub(super) fn write(page: &mut Page, guests: &GuestEngine) {
    let shares = guests.ledger().shares();
    page.family(
        "wasmux_limit_hits_total",
        Kind::Counter,
        "How often requests and calls of handlers have hit a limit.",
    );
    for (handler, share) in &shares {
        for limit in Limit::ALL {
            page.sample(&[("handler", handler), ("reason", limit.name())], share.hits(limit));
        }
    }
    write_handlers(page, &shares);
    page.family("wasmux_queue_seconds", Kind::Histogram, "How long requests wait for their turn.");
    for (handler, share) in &shares {
        page.histogram(&[("handler", handler)], &share.queue_wait);
    }
    page.operations(
        "wasmux_outbound_requests_total",
        "Calls of handlers to others.",
        shares.iter().map(|(handler, share)| (vec![("handler", &**handler)], &share.outbound)),
    );
    write_engine(page, guests);
    write_code(page, guests);
}

/// Writes a family with one number for each handler.
fn each<V: Display>(
    page: &mut Page,
    shares: &Shares,
    (name, kind, help): (&'static str, Kind, &str),
    value: impl Fn(&Share) -> V,
) {
    page.family(name, kind, help);
    for (handler, share) in shares {
        page.sample(&[("handler", handler)], value(share));
    }
}

fn write_handlers(page: &mut Page, shares: &Shares) {
    use Kind::{Counter, Gauge};
    let about = ("wasmux_client_disconnects_total", Counter, "Requests whose client went away.");
    each(page, shares, about, Share::disconnects);
    let about = ("wasmux_denials_total", Counter, "What handlers have asked for and were not granted.");
    each(page, shares, about, Share::denials);
    let about = ("wasmux_requests_waiting", Gauge, "Requests that wait for their turn or an instance.");
    each(page, shares, about, Share::waiting);
    let about = ("wasmux_guests_running", Gauge, "Requests that were let in and are not done.");
    each(page, shares, about, Share::running);
    let about = ("wasmux_guest_cpu_seconds_total", Counter, "Time that guests have computed.");
    each(page, shares, about, |share| share.cpu.seconds());
    let about = ("wasmux_guest_memory_peak_bytes", Gauge, "The most memory that one instance has had.");
    each(page, shares, about, |share| share.memory_peak_bytes.get());
    let about = ("wasmux_guest_instances_made_total", Counter, "Instances that were made, and not reused.");
    each(page, shares, about, |share| share.instances.get());
    let about = (
        "wasmux_instance_waits_total",
        Counter,
        "Waits for an instance, or for its code: a request may have had both.",
    );
    each(page, shares, about, |share| share.instance_wait.count());
    let about = ("wasmux_instance_wait_seconds_total", Counter, "How long they have waited together.");
    each(page, shares, about, |share| share.instance_wait.seconds());
    let help = "Calls of handlers to others, until the head of the response.";
    let about = ("wasmux_outbound_request_duration_seconds_total", Counter, help);
    each(page, shares, about, |share| share.outbound.seconds());
}

fn write_engine(page: &mut Page, guests: &GuestEngine) {
    let places = guests.places();
    page.family("wasmux_guest_instances", Kind::Gauge, "Places for instances that are in use.");
    for (engine, in_use, _) in &places {
        page.sample(&[("engine", engine)], in_use);
    }
    page.family("wasmux_guest_instances_max", Kind::Gauge, "Places for instances.");
    for (engine, _, max) in &places {
        page.sample(&[("engine", engine)], max);
    }
    page.family("wasmux_guest_memory_bytes", Kind::Gauge, "Memory of all instances.");
    page.sample(&[], guests.memory_bytes());
}

fn write_code(page: &mut Page, guests: &GuestEngine) {
    let (resident, loads, evictions) = guests.resident_handlers();
    let code = guests.ledger().code();
    page.family(
        "wasmux_resident_handlers",
        Kind::Gauge,
        "Handlers whose code is in memory and can leave it.",
    );
    page.sample(&[], resident);
    let mut counter = |name, help, value: &dyn Display| {
        page.family(name, Kind::Counter, help);
        page.sample(&[], value);
    };
    counter("wasmux_code_loads_total", "Times that the code of a handler was loaded.", &loads);
    counter("wasmux_code_evictions_total", "Times that it had to leave memory.", &evictions);
    counter("wasmux_compilations_total", "Modules that were compiled.", &code.compiled.count());
    counter("wasmux_compilation_seconds_total", "How long that took.", &code.compiled.seconds());
    counter("wasmux_code_cache_hits_total", "Modules whose code was in the cache.", &code.hits.get());
    counter("wasmux_code_cache_misses_total", "Modules whose code was not.", &code.misses.get());
}
