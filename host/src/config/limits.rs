//! The limits of a handler: `[defaults]` and `[handlers.NAME.limits]`.

use super::table::Table;
use crate::guest::engine::MEMORY_BYTES_CEILING;
use crate::guest::{Breaker, Limits};
use crate::limit::HEADERS_MAX;

/// Reads the keys of `table`; what it leaves out is as in `defaults`.
pub(super) fn limits(table: &Table<'_>, defaults: &Limits) -> Limits {
    let duration = |key, default| table.duration(key).unwrap_or(default);
    let size = |key, range, default| table.size(key, range).unwrap_or(default);
    let any = || 0..=u64::MAX;
    let count = |key, range, default: u32| table.integer(key, range).map_or(default, |count| count as u32);
    let headers = || 1..=HEADERS_MAX as u64;
    Limits {
        timeout: duration("timeout", defaults.timeout),
        cpu: duration("cpu", defaults.cpu),
        memory_bytes_max: size("memory", 65_536..=MEMORY_BYTES_CEILING, defaults.memory_bytes_max),
        concurrency: table
            .integer("concurrency", 1..=20_000)
            .map_or(defaults.concurrency, |count| Some(count as u32)),
        queue: count("queue", 0..=1_000_000, defaults.queue),
        queue_timeout: duration("queue_timeout", defaults.queue_timeout),
        request_body_bytes_max: size("request_body", any(), defaults.request_body_bytes_max),
        response_body_bytes_max: size("response_body", any(), defaults.response_body_bytes_max),
        request_headers_max: count("request_headers", headers(), defaults.request_headers_max),
        request_header_bytes_max: size(
            "request_header_bytes",
            1..=16 << 20,
            defaults.request_header_bytes_max,
        ),
        response_headers_max: count("response_headers", headers(), defaults.response_headers_max),
        response_header_bytes_max: size(
            "response_header_bytes",
            1..=1 << 20,
            defaults.response_header_bytes_max,
        ),
        request_body_idle: duration("request_body_idle", defaults.request_body_idle),
        request_body_rate: size("request_body_rate", any(), defaults.request_body_rate),
        response_body_idle: duration("response_body_idle", defaults.response_body_idle),
        response_body_rate: size("response_body_rate", any(), defaults.response_body_rate),
        log_bytes_max: size("log", any(), defaults.log_bytes_max),
        handles_max: count("handles", 16..=1_000_000, defaults.handles_max),
        outbound_concurrency: count("outbound_concurrency", 1..=100_000, defaults.outbound_concurrency),
        outbound_rate: count("outbound_rate", 1..=10_000_000, defaults.outbound_rate),
        breaker: breaker(table, defaults.breaker),
    }
}

/// `"off"`, or a table; what that leaves out is as in `default`.
fn breaker(table: &Table<'_>, default: Option<Breaker>) -> Option<Breaker> {
    let Some(value) = table.value("breaker") else { return default };
    if value.get_ref().as_str() == Some("off") {
        return None;
    }
    let base = default.unwrap_or_default();
    let Some(entries) = table.table("breaker") else { return default };
    let table = table.inner("breaker", entries.value);
    let breaker = Breaker {
        errors: table.integer("errors", 1..=1_000_000).map_or(base.errors, |count| count as u32),
        window: table.duration("window").unwrap_or(base.window),
        open: table.duration("open").unwrap_or(base.open),
    };
    table.finish();
    Some(breaker)
}
