//! `proxy` of a route or a handler: a URL, or a table.

use std::ops::Range;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use toml::de::DeTable;

use super::outbound::transport;
use super::routes::check_prefix;
use super::table::{At, Table};
use crate::hop_by_hop::HOP_BY_HOP;
use crate::outbound::TransportSettings;
use crate::upstream::{Balance, HealthCheck, ProxySettings, UpstreamUrl};

/// Upstreams of one proxy.
const UPSTREAMS_MAX: usize = 64;

/// Header fields that one proxy sets or removes, in each direction.
const FIELDS_MAX: usize = 100;

/// What proxies have instead of no limit at all: a client waits for them.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
const WAIT: Duration = Duration::from_secs(60);

/// Connections to an upstream that may wait for a request: a proxy calls few hosts, and often.
const MAX_IDLE_PER_HOST: usize = 32;

/// Reads `proxy`; `None` when it is not there or not usable. `strip_prefix` may stand beside it; it must fit `pattern`, if it is
/// for that alone.
pub(super) fn read(
    outer: &Table<'_>,
    outbound: &TransportSettings,
    pattern: Option<&str>,
) -> Option<ProxySettings> {
    let value = outer.value("proxy")?;
    let defaults = TransportSettings {
        dial_timeout: outbound.dial_timeout.min(DIAL_TIMEOUT),
        response_header_timeout: Some(outbound.response_header_timeout.unwrap_or(WAIT)),
        body_idle_timeout: Some(outbound.body_idle_timeout.unwrap_or(WAIT)),
        max_idle_per_host: outbound.max_idle_per_host.max(MAX_IDLE_PER_HOST),
        proxies: None,
        ..outbound.clone()
    };
    if let Some(text) = value.get_ref().as_str() {
        let upstreams = upstreams(outer, &[At { value: text, span: value.span() }], &value.span())?;
        let mut settings = ProxySettings::new(upstreams, defaults);
        settings.strip_prefix = strip_prefix(outer, pattern);
        return Some(settings);
    }
    let Some(entries) = value.get_ref().as_table() else {
        let message =
            "`proxy` must be a URL such as \"http://127.0.0.1:3000\", or a table: { to = [\"http://…\"] }";
        outer.bad_value(&value.span(), message);
        return None;
    };
    table(outer.inner("proxy", entries), &defaults, value.span(), pattern)
}

fn table(
    table: Table<'_>,
    defaults: &TransportSettings,
    span: Range<usize>,
    pattern: Option<&str>,
) -> Option<ProxySettings> {
    let listed = table.strings("to").unwrap_or_default();
    let upstreams = upstreams(&table, &listed, &span);
    let mut settings = ProxySettings::new(upstreams.clone().unwrap_or_default(), transport(&table, defaults));
    let balances = [("round_robin", Balance::RoundRobin), ("least_connections", Balance::LeastConnections)];
    settings.balance = table.choice("balance", &balances).unwrap_or(settings.balance);
    settings.retries = table.integer("retries", 0..=10).map_or(settings.retries, |count| count as u32);
    settings.fail_timeout = table.duration("fail_timeout").unwrap_or(settings.fail_timeout);
    settings.health = table.table("health").and_then(|entries| health(&table, entries.value));
    settings.strip_prefix = strip_prefix(&table, pattern);
    let hosts = [("upstream", false), ("preserve", true)];
    settings.preserve_host = table.choice("host", &hosts).unwrap_or(settings.preserve_host);
    settings.trust_forwarded = table.boolean("trust_forwarded").unwrap_or(settings.trust_forwarded);
    settings.forwarded = table.boolean("forwarded").unwrap_or(settings.forwarded);
    settings.upgrade = table.boolean("upgrade").unwrap_or(settings.upgrade);
    settings.upgrade_idle_timeout =
        table.clock("upgrade_idle_timeout").unwrap_or(settings.upgrade_idle_timeout);
    settings.request_headers = fields(&table, "request_headers");
    settings.response_headers = fields(&table, "response_headers");
    table.finish();
    upstreams.map(|_| settings)
}

fn upstreams(table: &Table<'_>, listed: &[At<&str>], span: &Range<usize>) -> Option<Vec<UpstreamUrl>> {
    if listed.is_empty() || listed.len() > UPSTREAMS_MAX {
        let message = format!(
            "`proxy` needs from 1 to {UPSTREAMS_MAX} upstreams: {{ to = [\"http://127.0.0.1:3000\"] }}"
        );
        table.bad_value(span, message);
        return None;
    }
    let parse = |text: &At<&str>| {
        let parsed = UpstreamUrl::parse(text.value);
        parsed.map_err(|why| table.bad_value(&text.span, format!("`proxy`: {why}"))).ok()
    };
    // All of them before the first is given up, so that everything that is wrong shows in one run.
    let parsed: Vec<_> = listed.iter().map(parse).collect();
    parsed.into_iter().collect()
}

fn strip_prefix(table: &Table<'_>, pattern: Option<&str>) -> String {
    let Some(prefix) = table.string("strip_prefix") else { return String::new() };
    if !prefix.value.starts_with('/') || prefix.value.contains('{') {
        table.bad_value(
            &prefix.span,
            "`strip_prefix` must begin with `/`, and is taken literally, without wildcards",
        );
    } else if let Some(pattern) = pattern {
        check_prefix(table, &prefix, pattern);
    }
    prefix.value.trim_end_matches('/').to_owned()
}

fn health(outer: &Table<'_>, entries: &DeTable<'_>) -> Option<HealthCheck> {
    let table = outer.inner("health", entries);
    let path = table.string("path");
    let check = HealthCheck {
        path: path.as_ref().map_or("/", |path| path.value).to_owned(),
        interval: table.duration("interval").unwrap_or(Duration::from_secs(5)),
        timeout: table.duration("timeout").unwrap_or(Duration::from_secs(2)),
    };
    if let Some(path) = path
        && (!path.value.starts_with('/') || path.value.parse::<Uri>().is_err())
    {
        table.bad_value(&path.span, "`path` must be a path such as \"/healthz\"");
    }
    table.finish();
    Some(check)
}

/// Fields to set; an empty value removes one.
fn fields(table: &Table<'_>, key: &'static str) -> Vec<(HeaderName, Option<HeaderValue>)> {
    let (listed, mut fields) = (table.string_map(key), Vec::new());
    if let Some((name, _)) = listed.get(FIELDS_MAX) {
        table.bad_value(&name.span, format!("`{key}` has more than {FIELDS_MAX} fields"));
    }
    for (name, value) in listed.into_iter().take(FIELDS_MAX) {
        match (HeaderName::from_bytes(name.value.as_bytes()), HeaderValue::from_str(value.value)) {
            (Ok(field), _) if HOP_BY_HOP.contains(&field) || field == http::header::CONTENT_LENGTH => {
                let message = format!("`{key}`: `{field}` belongs to the connection; wasmux sets it");
                table.bad_value(&name.span, message);
            }
            (Ok(field), Ok(value)) => fields.push((field, (!value.is_empty()).then_some(value))),
            _ => {
                let message = format!("`{key}`: `{}` is not a usable header field", name.value);
                table.bad_value(&name.span, message);
            }
        }
    }
    fields
}
