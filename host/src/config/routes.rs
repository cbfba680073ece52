//! `[routes]`: patterns and what they point at.

use std::path::{Path, PathBuf};

use http::{HeaderName, HeaderValue, StatusCode};
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use wasmux_mux::{InsertError, Mux};

use super::handlers::HandlerConfig;
use super::problem::{ProblemKind, Problems, did_you_mean};
use super::proxy;
use super::table::{At, Table};
use crate::hop_by_hop::HOP_BY_HOP;
use crate::outbound::TransportSettings;
use crate::strip::strip;
use crate::upstream::ProxySettings;

/// A checked `[routes]` or `[servers.NAME.routes]`.
#[derive(Debug, Default)]
pub struct RouteTable {
    /// Its entries, in the order of the file.
    pub routes: Vec<RouteConfig>,
    /// Their patterns; each value is an index into `routes`.
    pub mux: Mux<usize>,
}

/// A checked entry of `[routes]`.
#[derive(Clone, Debug)]
pub struct RouteConfig {
    /// The pattern as written.
    pub pattern: String,
    /// Its line.
    pub line: usize,
    /// What it points at; `None` only where a problem was reported.
    pub target: Option<RouteTarget>,
}

/// What a route points at.
#[derive(Clone, Debug)]
pub enum RouteTarget {
    /// A handler of `[handlers]`, by its index there.
    Handler(usize),
    /// `{ respond = … }`
    Respond(RespondConfig),
    /// `{ redirect = … }`
    Redirect(RedirectConfig),
    /// `{ files = … }`
    Files(FilesConfig),
    /// `{ proxy = … }`
    Proxy(Box<ProxySettings>),
}

/// A fixed response.
#[derive(Clone, Debug)]
pub struct RespondConfig {
    /// The body.
    pub body: String,
    /// The status, 200 unless said otherwise.
    pub status: StatusCode,
    /// Header fields; with a Content-Type, `text/plain; charset=utf-8` unless said otherwise.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// A redirect to one place.
#[derive(Clone, Debug)]
pub struct RedirectConfig {
    /// The Location.
    pub location: HeaderValue,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
}

/// Static files.
#[derive(Clone, Debug)]
pub struct FilesConfig {
    /// The folder, which exists.
    pub folder: PathBuf,
    /// Taken off the front of the path before the file is looked up.
    pub strip_prefix: String,
}

/// Reads all routes and builds their mux, whose values are indexes into the list.
pub(super) fn read(
    entries: &DeTable<'_>,
    handlers: &[HandlerConfig],
    outbound: &TransportSettings,
    folder: &Path,
    problems: &Problems,
) -> RouteTable {
    let mut in_order: Vec<_> = entries.iter().collect();
    in_order.sort_by_key(|(key, _)| key.span().start);
    let (mut routes, mut mux) = (Vec::<RouteConfig>::new(), Mux::new());
    for (key, value) in in_order {
        let pattern = key.get_ref().as_ref();
        let line = problems.line_of(key.span().start);
        let target = target(pattern, value, (handlers, outbound), folder, problems);
        match mux.insert(pattern, routes.len()) {
            // The mux is complete even where a target is not, so that every conflict shows in one run.
            Ok(()) => routes.push(RouteConfig { pattern: pattern.to_owned(), line, target }),
            Err(InsertError::Pattern(error)) => {
                problems.add(ProblemKind::PatternInvalid, &key.span(), error.to_string());
            }
            Err(InsertError::Conflict(conflict)) => {
                let other = &routes[conflict.with()];
                let message = format!(
                    "pattern \"{pattern}\" conflicts with pattern \"{}\" on line {}: {}",
                    other.pattern,
                    other.line,
                    conflict.explanation().replace('\n', " ")
                );
                problems.add(ProblemKind::PatternConflict, &key.span(), message);
            }
        }
    }
    RouteTable { routes, mux }
}

fn target(
    pattern: &str,
    value: &Spanned<DeValue<'_>>,
    (handlers, outbound): (&[HandlerConfig], &TransportSettings),
    folder: &Path,
    problems: &Problems,
) -> Option<RouteTarget> {
    if let Some(name) = value.get_ref().as_str() {
        let names = || handlers.iter().map(|handler| handler.settings.name.as_str());
        let found = names().position(|known| known == name);
        if found.is_none() {
            let hint = did_you_mean(name, names());
            let message =
                format!("route \"{pattern}\" names the handler `{name}`, which is not defined{hint}");
            problems.add(ProblemKind::UnknownHandler, &value.span(), message);
        }
        let proxy = found.and_then(|index| handlers[index].proxy.as_ref());
        if let Some(prefix) = proxy.map(|proxy| proxy.strip_prefix.as_str())
            && !begins_with(pattern, prefix)
        {
            let message = format!(
                "route \"{pattern}\" names the proxy `{name}`, whose `strip_prefix` is \"{prefix}\", with which no path of it begins"
            );
            problems.add(ProblemKind::BadValue, &value.span(), message);
        }
        return found.map(RouteTarget::Handler);
    }
    let Some(entries) = value.get_ref().as_table() else {
        let message =
            format!("route \"{pattern}\" must name a handler or be a table such as {{ respond = \"ok\" }}");
        problems.add(ProblemKind::BadValue, &value.span(), message);
        return None;
    };
    let table = Table::new(format!("route \"{pattern}\""), entries, problems);
    let target = built_in(&table, pattern, value, (outbound, folder), problems);
    table.finish();
    target
}

fn built_in(
    table: &Table<'_>,
    pattern: &str,
    value: &Spanned<DeValue<'_>>,
    (outbound, folder): (&TransportSettings, &Path),
    problems: &Problems,
) -> Option<RouteTarget> {
    let kinds: Vec<_> =
        ["respond", "redirect", "files", "proxy"].into_iter().filter(|key| table.has(key)).collect();
    if kinds.len() > 1 {
        let message = format!("route \"{pattern}\" has `{}`; choose one", kinds.join("` and `"));
        problems.add(ProblemKind::BadValue, &value.span(), message);
    }
    if let Some(body) = table.string("respond") {
        return respond(table, &body).map(RouteTarget::Respond);
    }
    if let Some(location) = table.string("redirect") {
        return redirect(table, &location).map(RouteTarget::Redirect);
    }
    if let Some(path) = table.string("files") {
        return files(table, &path, pattern, folder, problems).map(RouteTarget::Files);
    }
    if table.has("proxy") {
        return proxy::read(table, outbound, Some(pattern)).map(|proxy| RouteTarget::Proxy(Box::new(proxy)));
    }
    if kinds.is_empty() {
        let message = format!(
            "route \"{pattern}\" needs one of `respond`, `redirect`, `files` or `proxy`, or a handler's name"
        );
        problems.add(ProblemKind::MissingKey, &value.span(), message);
    }
    None
}

/// Most header fields of a fixed response.
const RESPOND_FIELDS_MAX: usize = 100;

/// Whether the server sets this field: it says how the message is framed, or what becomes of the connection.
fn is_ours(name: &HeaderName) -> bool {
    [http::header::CONTENT_LENGTH, http::header::TRAILER].contains(name) || HOP_BY_HOP.contains(name)
}

fn respond(table: &Table<'_>, body: &At<&str>) -> Option<RespondConfig> {
    let status = table.integer("status", 200..=999).unwrap_or(200) as u16;
    let mut headers = Vec::new();
    let fields = table.string_map("headers");
    if fields.len() > RESPOND_FIELDS_MAX {
        table.bad_value(&body.span, format!("`headers`: at most {RESPOND_FIELDS_MAX} fields"));
        return None;
    }
    for (name, value) in fields {
        match (HeaderName::from_bytes(name.value.as_bytes()), HeaderValue::from_str(value.value)) {
            (Ok(field), _) if is_ours(&field) => {
                let message = format!("`headers`: `{field}` belongs to the connection; wasmux sets it");
                table.bad_value(&name.span, message);
            }
            (Ok(name), Ok(value)) => headers.push((name, value)),
            _ => table
                .bad_value(&name.span, format!("`headers`: `{}` is not a usable header field", name.value)),
        }
    }
    if !headers.iter().any(|(name, _)| name == http::header::CONTENT_TYPE) {
        headers.push((http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")));
    }
    if [204, 304].contains(&status) && !body.value.is_empty() {
        table.bad_value(
            &body.span,
            format!("a response with status {status} has no body; write `respond = \"\"`"),
        );
    }
    Some(RespondConfig { body: body.value.to_owned(), status: StatusCode::from_u16(status).ok()?, headers })
}

fn redirect(table: &Table<'_>, location: &At<&str>) -> Option<RedirectConfig> {
    let status = table.integer("status", 301..=308).unwrap_or(307) as u16;
    if ![301, 302, 303, 307, 308].contains(&status) {
        let span = table.value("status").map_or(location.span.clone(), toml::Spanned::span);
        table.bad_value(&span, "`status` of a redirect must be 301, 302, 303, 307 or 308");
    }
    let Ok(value) = HeaderValue::from_str(location.value) else {
        table.bad_value(&location.span, "`redirect` must be a URL or path without control characters");
        return None;
    };
    Some(RedirectConfig { location: value, status: StatusCode::from_u16(status).ok()? })
}

/// Whether all paths of a pattern begin with a prefix, segment by segment.
fn begins_with(pattern: &str, prefix: &str) -> bool {
    let path = pattern.find('/').map_or("", |at| &pattern[at..]);
    let prefix = prefix.trim_end_matches('/');
    prefix.is_empty() || prefix.starts_with('/') && strip(path, prefix).is_some()
}

/// Reports a prefix that is none of the paths'.
pub(super) fn check_prefix(table: &Table<'_>, prefix: &At<&str>, pattern: &str) {
    if !begins_with(pattern, prefix.value) {
        let message =
            format!("`strip_prefix` is \"{}\", with which no path of \"{pattern}\" begins", prefix.value);
        table.bad_value(&prefix.span, message);
    }
}

fn files(
    table: &Table<'_>,
    path: &At<&str>,
    pattern: &str,
    folder: &Path,
    problems: &Problems,
) -> Option<FilesConfig> {
    let strip_prefix = table.string("strip_prefix");
    if let Some(prefix) = &strip_prefix
        && prefix.value.contains('{')
    {
        table.bad_value(&prefix.span, "`strip_prefix` is taken literally; it cannot have wildcards");
    } else if let Some(prefix) = &strip_prefix {
        check_prefix(table, prefix, pattern);
    }
    let folder = folder.join(path.value);
    if !folder.is_dir() {
        problems.add(
            ProblemKind::FileMissing,
            &path.span,
            format!("`files`: there is no folder {}", folder.display()),
        );
        return None;
    }
    let strip_prefix =
        strip_prefix.map_or(String::new(), |prefix| prefix.value.trim_end_matches('/').to_owned());
    Some(FilesConfig { folder, strip_prefix })
}
