//! What `[handlers.NAME]` grants beyond the handler's own requests: `outbound`, `config`, `secrets` and `files`.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::DeValue;

use super::outbound::transport;
use super::problem::{ProblemKind, Problems, did_you_mean};
use super::table::{At, Table};
use crate::guest::{Allow, Folder, Grants, Settings};
use crate::outbound::TransportSettings;

/// Largest secret, in bytes: keys and certificates are far smaller.
const SECRET_BYTES_MAX: u64 = 64 << 10;

pub(super) fn read(table: &Table<'_>, base: &Path, problems: &Problems) -> Grants {
    Grants { settings: settings(table, base), folders: folders(table, base, problems), ..Grants::default() }
}

/// Whom a handler may call, as its author wrote it, and how.
#[derive(Clone, Debug)]
pub struct OutboundConfig {
    /// The entries.
    pub allow: Allow,
    /// `[outbound]`, with the handler's own keys in place of those.
    pub transport: TransportSettings,
    /// The handlers among them, and where they stand.
    handlers: Vec<(String, Range<usize>)>,
}

/// `outbound`: a list, or a table with `to` and keys of `[outbound]`. What it grants needs the client of the process, and the
/// other handlers.
pub(super) fn outbound(table: &Table<'_>, defaults: &TransportSettings) -> Option<OutboundConfig> {
    let value = table.value("outbound")?;
    let Some(entries) = value.get_ref().as_table() else {
        return Some(allowed(table.strings("outbound")?, table, defaults.clone()));
    };
    let inner = table.inner("outbound", entries);
    let listed = inner.strings("to");
    if !inner.has("to") {
        inner.bad_value(&value.span(), "`outbound` needs `to`: { to = [\"https://api.example.com\"] }");
    }
    let config = allowed(listed.unwrap_or_default(), &inner, transport(&inner, defaults));
    inner.finish();
    Some(config)
}

fn allowed(listed: Vec<At<&str>>, table: &Table<'_>, transport: TransportSettings) -> OutboundConfig {
    let mut config = OutboundConfig { allow: Allow::default(), transport, handlers: Vec::new() };
    for entry in listed {
        let known = config.allow.handlers().len();
        if let Err(message) = config.allow.add(entry.value) {
            table.bad_value(&entry.span, format!("`outbound` has \"{}\": {message}", entry.value));
        }
        let named = config.allow.handlers().iter().skip(known).map(|name| (name.clone(), entry.span.clone()));
        config.handlers.extend(named);
    }
    config
}

impl OutboundConfig {
    /// Reports entries that name no handler of the deployment.
    pub(super) fn check_handlers(&self, names: &[String], problems: &Problems) {
        for (name, span) in &self.handlers {
            let mut same = names.iter().filter(|known| known.eq_ignore_ascii_case(name));
            let message = match (same.next(), same.next()) {
                (Some(_), None) => continue,
                (Some(one), Some(other)) => format!(
                    "`outbound` names the handler `{name}`, which is `{one}` or `{other}`: hosts know no capitals"
                ),
                (None, _) => {
                    let hint = did_you_mean(name, names.iter().map(String::as_str));
                    format!("`outbound` names the handler `{name}`, which is not defined{hint}")
                }
            };
            problems.add(ProblemKind::UnknownHandler, span, message);
        }
    }
}

/// `config` and `secrets`, which guests see as one.
fn settings(table: &Table<'_>, base: &Path) -> Option<Arc<Settings>> {
    let (config, secrets) = (table.entries("config"), table.entries("secrets"));
    if config.is_none() && secrets.is_none() {
        return None;
    }
    let mut settings = Settings::default();
    let mut names: Vec<&str> = Vec::new();
    for (name, value) in config.into_iter().flatten() {
        match scalar(value.get_ref()) {
            Some(text) => settings.insert(name.value.to_owned(), text),
            None => table.wrong_type(name.value, value, "a string, a number, true or false"),
        }
        names.push(name.value);
    }
    for (name, value) in secrets.into_iter().flatten() {
        if names.contains(&name.value) {
            let message = format!("`{}` is in `config` and in `secrets`; leave one of them out", name.value);
            table.bad_value(&name.span, message);
        }
        if let Some(secret) = secret(table, base, &name, value) {
            settings.insert_secret(name.value.to_owned(), secret);
        }
    }
    Some(Arc::new(settings))
}

/// A value as the text that guests get.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.clone().into_owned()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        _ => None,
    }
}

/// The URL of a backend that is named, not written; `wanted` is what the key takes.
pub(super) fn backend_url(
    table: &Table<'_>,
    base: &Path,
    wanted: &str,
    value: &Spanned<DeValue<'_>>,
) -> Option<String> {
    named(table, base, "`backend`", wanted, &At { value: "backend", span: value.span() }, value)
}

/// A secret of this name.
pub(super) fn secret(
    table: &Table<'_>,
    base: &Path,
    name: &At<&str>,
    value: &Spanned<DeValue<'_>>,
) -> Option<String> {
    let what = format!("the secret `{}`", name.value);
    let wanted = "must be named, not written here: { env = \"NAME\" } or { file = \"path\" }";
    named(table, base, &what, wanted, name, value)
}

/// A secret is never in the file itself: it is named there. Problems call it `what`, and say what is `wanted` where it is neither.
fn named(
    table: &Table<'_>,
    base: &Path,
    what: &str,
    wanted: &str,
    name: &At<&str>,
    value: &Spanned<DeValue<'_>>,
) -> Option<String> {
    let Some(entries) = value.get_ref().as_table() else {
        table.bad_value(&value.span(), format!("{what} {wanted}"));
        return None;
    };
    let inner = table.inner(name.value, entries);
    let (env, file) = (inner.string("env"), inner.string("file"));
    let refuse = |span: &Range<usize>, message: String| {
        table.bad_value(span, format!("{what}: {message}"));
        None
    };
    let secret = match (env, file) {
        (Some(env), None) => match std::env::var(env.value) {
            Ok(secret) => Some(secret),
            Err(std::env::VarError::NotPresent) => {
                refuse(&env.span, format!("the environment variable {} is not set", env.value))
            }
            Err(std::env::VarError::NotUnicode(_)) => {
                refuse(&env.span, format!("the environment variable {} is not UTF-8", env.value))
            }
        },
        (None, Some(file)) => {
            secret_file(&base.join(file.value)).map_or_else(|message| refuse(&file.span, message), Some)
        }
        _ => {
            refuse(&value.span(), "it needs one of `env`, `file`".to_owned());
            None
        }
    };
    inner.finish();
    secret
}

/// The contents of a file, without the line end that editors leave behind.
fn secret_file(path: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    // Opening a pipe waits for somebody who writes.
    if !metadata.is_file() {
        return Err(format!("cannot read {}: it is no regular file", path.display()));
    }
    let size = metadata.len();
    if size > SECRET_BYTES_MAX {
        return Err(format!("{} has {size} bytes; a secret has at most {SECRET_BYTES_MAX}", path.display()));
    }
    let mut text = std::fs::read_to_string(path).map_err(cannot)?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// Folders whose files the guest may use, by the names it has for them.
fn folders(table: &Table<'_>, base: &Path, problems: &Problems) -> Vec<Folder> {
    let entries = table.entries("files").into_iter().flatten();
    entries.filter_map(|(name, value)| folder(table, base, problems, &name, value)).collect()
}

fn folder(
    table: &Table<'_>,
    base: &Path,
    problems: &Problems,
    name: &At<&str>,
    value: &Spanned<DeValue<'_>>,
) -> Option<Folder> {
    let (path, read_only, span) = match (value.get_ref().as_str(), value.get_ref().as_table()) {
        (Some(path), _) => (path, true, value.span()),
        (None, Some(entries)) => {
            let inner = table.inner(name.value, entries);
            let (path, read_only) = (inner.string("path"), inner.boolean("read_only"));
            if !inner.has("path") {
                let message = format!("`files`: \"{}\" needs `path`, a folder", name.value);
                problems.add(ProblemKind::MissingKey, &value.span(), message);
            }
            inner.finish();
            let path = path?;
            (path.value, read_only.unwrap_or(true), path.span)
        }
        _ => {
            table.wrong_type(name.value, value, "a folder, or a table { path = \"…\", read_only = … }");
            return None;
        }
    };
    let path = base.join(path);
    if name.value.is_empty() || name.value.contains('\0') {
        table.bad_value(&name.span, "`files`: the guest's name for a folder must not be empty");
    } else if !path.is_dir() {
        problems.add(
            ProblemKind::FileMissing,
            &span,
            format!("`files`: there is no folder {}", path.display()),
        );
    } else {
        return Some(Folder { name: name.value.to_owned(), path, read_only });
    }
    None
}
