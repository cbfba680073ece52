//! `[defaults]` and `[handlers.*]`: guests and their limits.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::Declared;
use super::grants::{self, OutboundConfig};
use super::kv::{self, KvGrant};
use super::limits::limits;
use super::problem::{ProblemKind, Problems, did_you_mean};
use super::proxy;
use super::sql;
use super::table::{At, Table};
use crate::guest::{Concurrency, GuestSettings, Isolation, Limits, OnDisconnect, Reuse, Snapshot};
use crate::outbound::TransportSettings;
use crate::sql::Access;
use crate::upstream::ProxySettings;

/// A checked `[handlers.NAME]`.
#[derive(Clone, Debug)]
pub struct HandlerConfig {
    /// A crate folder, or a `.wasm`, `.wat` or `.cwasm` file. Whether it is there is seen when it is loaded: the mux can
    /// be asked without it.
    pub wasm: PathBuf,
    /// It is a proxy, and has no `wasm`.
    pub proxy: Option<Box<ProxySettings>>,
    /// The line of its `wasm` key, or of its name if it has none.
    pub line: usize,
    /// The handler behind it, by its index among the handlers. No chain of them leads back to itself.
    pub next: Option<usize>,
    /// It is to have a `next`, but what that names is no use; which was reported.
    pub next_is_wrong: bool,
    /// Its name and where that stands; taken when all handlers are known.
    next_name: Option<(String, Range<usize>)>,
    /// Whom it may call, if anybody.
    pub outbound: Option<OutboundConfig>,
    /// The key-value stores that it may use.
    pub stores: Vec<KvGrant>,
    /// Databases by name, and what may be done with them.
    pub databases: Vec<(String, Access)>,
    /// Everything else.
    pub settings: GuestSettings,
}

/// What a handler starts from.
#[derive(Clone, Debug, Default)]
pub(super) struct Defaults {
    limits: Limits,
    on_disconnect: OnDisconnect,
    isolation: Isolation,
}

pub(super) fn read_defaults(entries: &DeTable<'_>, problems: &Problems) -> Defaults {
    let table = Table::new("[defaults]", entries, problems);
    let built_in = Defaults::default();
    let defaults = Defaults {
        isolation: isolation(&table, built_in.isolation),
        limits: limits(&table, &built_in.limits),
        on_disconnect: on_disconnect(&table).unwrap_or(built_in.on_disconnect),
    };
    table.finish();
    defaults
}

pub(super) fn read_handler(
    name: &At<&str>,
    entries: &DeTable<'_>,
    defaults: &Defaults,
    declared: Declared<'_>,
    folder: &Path,
    problems: &Problems,
) -> Option<HandlerConfig> {
    let title = format!("[handlers.{}]", name.value);
    let table = Table::new(title.clone(), entries, problems);
    if table.has("proxy") {
        return read_proxy(name, table, declared.outbound, problems);
    }
    let limits = match table.table("limits") {
        None => defaults.limits.clone(),
        Some(entries) => {
            let table = Table::new(format!("[handlers.{}.limits]", name.value), entries.value, problems);
            let limits = limits(&table, &defaults.limits);
            table.finish();
            limits
        }
    };
    let settings = GuestSettings {
        name: name.value.to_owned(),
        env: environment(&table),
        grants: grants::read(&table, folder, problems),
        limits,
        isolation: isolation(&table, defaults.isolation),
        on_disconnect: on_disconnect(&table).unwrap_or(defaults.on_disconnect),
        snapshot: snapshot(&table),
        next: None,
        version: std::sync::Arc::default(),
        is_on_trial: false,
    };
    let outbound = grants::outbound(&table, declared.outbound);
    let stores = kv::granted(&table, declared.stores, problems);
    let databases = sql::grants(&table, declared.databases, problems);
    let (has_next, next) = (table.has("next"), table.string("next"));
    if !table.has("wasm") {
        let message = format!("{title} needs `wasm`: a crate folder or a .wasm file; or `proxy`: a URL");
        problems.add(ProblemKind::MissingKey, &name.span, message);
    }
    let wasm = table.string("wasm");
    table.finish();
    let wasm = wasm?;
    let path = folder.join(wasm.value);
    let next_name = next.map(|next| (next.value.to_owned(), next.span));
    let line = problems.line_of(wasm.span.start);
    let next_is_wrong = has_next && next_name.is_none();
    Some(HandlerConfig {
        wasm: path,
        proxy: None,
        line,
        next: None,
        next_is_wrong,
        next_name,
        outbound,
        stores,
        databases,
        settings,
    })
}

/// Keys of handlers that are for guests alone.
const OF_GUESTS: [&str; 17] = [
    "wasm",
    "env",
    "config",
    "secrets",
    "outbound",
    "files",
    "folders",
    "kv",
    "sql",
    "isolation",
    "max_requests",
    "max_idle",
    "max_concurrent",
    "snapshot",
    "next",
    "on_disconnect",
    "limits",
];

/// A handler that is a proxy: what is for guests is not for it.
fn read_proxy(
    name: &At<&str>,
    table: Table<'_>,
    outbound: &TransportSettings,
    problems: &Problems,
) -> Option<HandlerConfig> {
    for key in OF_GUESTS.into_iter().filter(|key| table.has(key)) {
        let span = table.value(key).map_or(name.span.clone(), |value| value.span());
        let message =
            format!("[handlers.{}] is a proxy; `{key}` is for guests: leave out one of them", name.value);
        problems.add(ProblemKind::BadValue, &span, message);
    }
    let proxy = proxy::read(&table, outbound, None);
    table.finish();
    let mut config = HandlerConfig::alone(Path::new(""), name.value.to_owned());
    config.line = problems.line_of(name.span.start);
    config.proxy = Some(Box::new(proxy?));
    Some(config)
}

impl HandlerConfig {
    /// The handler of one module, with all defaults.
    pub(super) fn alone(wasm: &Path, name: String) -> Self {
        let settings = GuestSettings { name, ..GuestSettings::default() };
        Self {
            wasm: wasm.to_owned(),
            proxy: None,
            line: 1,
            next: None,
            next_is_wrong: false,
            next_name: None,
            outbound: None,
            stores: Vec::new(),
            databases: Vec::new(),
            settings,
        }
    }
}

/// Finds the handlers that others may call, which are to be there.
pub(super) fn check_outbound(handlers: &[HandlerConfig], problems: &Problems) {
    let names: Vec<String> = handlers.iter().map(|handler| handler.settings.name.clone()).collect();
    handlers
        .iter()
        .flat_map(|handler| &handler.outbound)
        .for_each(|outbound| outbound.check_handlers(&names, problems));
}

/// Finds the handlers that others name as their `next`.
pub(super) fn resolve_next(handlers: &mut [HandlerConfig], problems: &Problems) {
    let names: Vec<String> = handlers.iter().map(|handler| handler.settings.name.clone()).collect();
    for index in 0..handlers.len() {
        let Some((next, span)) = handlers[index].next_name.take() else { continue };
        handlers[index].next_is_wrong = true; // until it is found to be good
        let Some(found) = names.iter().position(|name| *name == next) else {
            let hint = did_you_mean(&next, names.iter().map(String::as_str));
            let message = format!("`next` names the handler `{next}`, which is not defined{hint}");
            problems.add(ProblemKind::UnknownHandler, &span, message);
            continue;
        };
        // Links that were made so far lead to an end, so this walk does.
        let mut chain = vec![index, found];
        while let Some(&further) = chain.last().and_then(|&last| handlers[last].next.as_ref()) {
            chain.push(further);
        }
        if chain[1..].contains(&index) {
            let chain: Vec<_> = chain.iter().map(|&index| format!("`{}`", names[index])).collect();
            let message =
                format!("`next` leads back to where it began: {}; leave one of them out", chain.join(" → "));
            problems.add(ProblemKind::BadValue, &span, message);
            continue;
        }
        (handlers[index].next, handlers[index].next_is_wrong) = (Some(found), false);
    }
}

fn on_disconnect(table: &Table<'_>) -> Option<OnDisconnect> {
    table.choice("on_disconnect", &[("cancel", OnDisconnect::Cancel), ("finish", OnDisconnect::Finish)])
}

/// Whether it is started when it is loaded, and what of that start all requests may share.
fn snapshot(table: &Table<'_>) -> Option<Snapshot> {
    let value = table.value("snapshot")?;
    if let Some(is_wanted) = value.get_ref().as_bool() {
        return is_wanted.then(Snapshot::default);
    }
    let Some(entries) = value.get_ref().as_table() else {
        table.bad_value(
            &value.span(),
            "`snapshot` must be true, false, or a table such as { freeze = [\"random\"] }",
        );
        return None;
    };
    let table = table.inner("snapshot", entries);
    let mut snapshot = Snapshot::default();
    for word in table.strings("freeze").into_iter().flatten() {
        match word.value {
            "random" => snapshot.freeze_random = true,
            "clock" => snapshot.freeze_clock = true,
            other => {
                let hint = did_you_mean(other, ["random", "clock"]);
                let message = format!("`freeze` has \"{other}\", but takes \"random\" and \"clock\"{hint}");
                table.bad_value(&word.span, message);
            }
        }
    }
    table.finish();
    Some(snapshot)
}

/// What requests share, and how long; the keys beside `isolation` belong to those who share anything.
fn isolation(table: &Table<'_>, defaults: Isolation) -> Isolation {
    const REQUEST: Isolation = Isolation::Request;
    let (reuse, concurrency) = match defaults {
        Isolation::Request => (Reuse::default(), Concurrency::default()),
        Isolation::Reuse(reuse) => (reuse, Concurrency::default()),
        Isolation::Concurrent(reuse, concurrency) => (reuse, concurrency),
    };
    let choices = [
        ("request", REQUEST),
        ("reuse", Isolation::Reuse(reuse)),
        ("concurrent", Isolation::Concurrent(reuse, concurrency)),
    ];
    let chosen = table.choice("isolation", &choices).unwrap_or(defaults);
    let is_shared = chosen != REQUEST;
    let is_concurrent = matches!(chosen, Isolation::Concurrent(..));
    for (key, applies, needs) in [
        ("max_requests", is_shared, "`isolation = \"reuse\"` or `\"concurrent\"`"),
        ("max_idle", is_shared, "`isolation = \"reuse\"` or `\"concurrent\"`"),
        ("max_concurrent", is_concurrent, "`isolation = \"concurrent\"`"),
    ] {
        if !applies && let Some(span) = table.value(key).map(toml::Spanned::span) {
            table.bad_value(&span, format!("`{key}` has no effect without {needs}"));
        }
    }
    let count = |key, default: u32| table.integer(key, 1..=1_000_000).map_or(default, |count| count as u32);
    let reuse = Reuse {
        requests_max: count("max_requests", reuse.requests_max),
        idle_max: table.duration("max_idle").unwrap_or(reuse.idle_max),
    };
    let concurrency = Concurrency(count("max_concurrent", concurrency.0));
    match chosen {
        Isolation::Request => REQUEST,
        Isolation::Reuse(_) => Isolation::Reuse(reuse),
        Isolation::Concurrent(..) => Isolation::Concurrent(reuse, concurrency),
    }
}

fn environment(table: &Table<'_>) -> Vec<(String, String)> {
    let pairs = table.string_map("env").into_iter().filter(|(name, value)| {
        let usable =
            !name.value.is_empty() && !name.value.contains(['=', '\0']) && !value.value.contains('\0');
        if !usable {
            table.bad_value(
                &name.span,
                "`env`: a name must not be empty or contain `=`, and nothing may contain a NUL",
            );
        }
        usable
    });
    pairs.map(|(name, value)| (name.value.to_owned(), value.value.to_owned())).collect()
}
