//! `[kv.NAME]`: key-value stores, and `kv` of `[handlers.NAME]`: who may use them.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::grants;
use super::problem::{Problem, ProblemKind, Problems, did_you_mean};
use super::process::STATE_FOLDER;
use super::table::{At, Table};
use crate::kv::{KEY_BYTES_MAX, Limits, Redis};

/// Longest prefix of a grant, in bytes.
const PREFIX_BYTES_MAX: usize = 128;
/// Longest name of a store, which is that of its file, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Largest value that a store may be set to take, in bytes: it is held in memory.
const VALUE_BYTES_MAX: u64 = 64 << 20;

const _: () = assert!(PREFIX_BYTES_MAX < KEY_BYTES_MAX);

/// A checked `[kv.NAME]`.
#[derive(Clone, Debug)]
pub struct KvConfig {
    /// Its name.
    pub name: String,
    /// Where its entries are; `None` beside a problem.
    pub backend: Option<KvBackend>,
    /// What it is held to.
    pub limits: Limits,
}

/// Where the entries of a store are.
#[derive(Clone)]
pub enum KvBackend {
    /// In this file.
    Embedded(PathBuf),
    /// In the Redis at this URL, which may contain a password.
    Redis(String),
}

/// One store of a file, of which nothing else has to be right.
#[derive(Debug)]
pub struct StoreAlone {
    /// The names of all that the file has.
    pub names: Vec<String>,
    /// The one, if it is among them.
    pub store: Option<KvConfig>,
}

impl StoreAlone {
    /// Reads `state` of `[server]` and `[kv.NAME]`, and of secrets only those that are named there.
    ///
    /// # Errors
    /// What is wrong with these, or with the file as a whole.
    pub fn read(file: &Path, name: &str) -> Result<Self, Vec<Problem>> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            let problems = Problems::new(file, "");
            problems.add_at_line(ProblemKind::FileUnreadable, 1, format!("cannot read the file: {error}"));
            problems.into_sorted()
        })?;
        let problems = Problems::new(file, &text);
        let (document, errors) = DeTable::parse_recoverable(&text);
        for error in &errors {
            let message = format!("not valid TOML: {}", error.message());
            problems.add(ProblemKind::Syntax, &error.span().unwrap_or_default(), message);
        }
        let folder = file.parent().unwrap_or(Path::new(""));
        let root = Table::new("the file", document.get_ref(), &problems);
        let server = root.table("server").map(|entries| Table::new("[server]", entries.value, &problems));
        let state = server.as_ref().and_then(|server| server.string("state"));
        let state = folder.join(state.map_or(STATE_FOLDER, |text| text.value));
        let entries = root.entries("kv").unwrap_or_default();
        let names = entries.iter().map(|(name, _)| name.value.to_owned()).collect();
        let found = entries.iter().find(|(found, _)| found.value == name);
        let store = found.and_then(|(name, value)| store(name, value, folder, &state, &problems));
        drop((server, root));
        let problems = problems.into_sorted();
        if problems.is_empty() { Ok(Self { names, store }) } else { Err(problems) }
    }
}

impl std::fmt::Debug for KvBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Embedded(path) => f.debug_tuple("Embedded").field(path).finish(),
            Self::Redis(_) => f.write_str("Redis(…)"),
        }
    }
}

/// A store that a handler was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvGrant {
    /// The store, by its index among all.
    pub store: usize,
    /// What its keys begin with; the handler does not see it.
    pub prefix: String,
    /// It may not be changed.
    pub read_only: bool,
}

/// Reads `[kv.*]`, in the order of the file.
pub(super) fn read(table: &Table<'_>, folder: &Path, state: &Path, problems: &Problems) -> Vec<KvConfig> {
    let stores = table.entries("kv").into_iter().flatten();
    stores.filter_map(|(name, value)| store(&name, value, folder, state, problems)).collect()
}

fn store(
    name: &At<&str>,
    value: &Spanned<DeValue<'_>>,
    folder: &Path,
    state: &Path,
    problems: &Problems,
) -> Option<KvConfig> {
    let title = format!("[kv.{}]", name.value);
    let Some(entries) = value.get_ref().as_table() else {
        problems.add(
            ProblemKind::BadValue,
            &name.span,
            format!("`kv.{}` must be a table: {title}", name.value),
        );
        return None;
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.value.is_empty() || name.value.len() > NAME_BYTES_MAX || !name.value.bytes().all(is_plain) {
        let message = format!(
            "{title}: the name of a store is that of its file: at most {NAME_BYTES_MAX} letters, digits, `-` and `_`"
        );
        problems.add(ProblemKind::BadValue, &name.span, message);
    }
    let table = Table::new(title, entries, problems);
    let embedded = state.join("kv").join(name.value).with_extension("redb");
    let backend = backend(&table, folder, embedded);
    let defaults = Limits::default();
    if let (Some(KvBackend::Redis(_)), Some(max_size)) = (&backend, table.value("max_size")) {
        table.bad_value(
            &max_size.span(),
            "`max_size` is for embedded stores; a Redis has `maxmemory` of its own",
        );
    }
    let limits = Limits {
        store_bytes_max: table.size("max_size", 1 << 20..=1 << 40).unwrap_or(defaults.store_bytes_max),
        value_bytes_max: table
            .size("max_value", 1..=VALUE_BYTES_MAX)
            .map_or(defaults.value_bytes_max, |bytes| bytes as usize),
        timeout: table.duration("timeout").unwrap_or(defaults.timeout),
    };
    table.finish();
    Some(KvConfig { name: name.value.to_owned(), backend, limits })
}

/// `"embedded"`, which is the default, or the URL of a Redis, written here or named as a secret.
fn backend(table: &Table<'_>, folder: &Path, embedded: PathBuf) -> Option<KvBackend> {
    let Some(value) = table.value("backend") else { return Some(KvBackend::Embedded(embedded)) };
    let url = match value.get_ref() {
        DeValue::String(text) if text == "embedded" => return Some(KvBackend::Embedded(embedded)),
        DeValue::String(text) if text.contains("://") => text.clone().into_owned(),
        DeValue::String(text) => {
            let hint = did_you_mean(text, ["embedded"]);
            // What is no mere word may be a URL with a mistake and a password in it.
            let is_word =
                text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
            let given = if is_word { format!("is \"{text}\", but ") } else { String::new() };
            let message = format!(
                "`backend` {given}must be \"embedded\" or a URL such as \"redis://127.0.0.1:6379\"{hint}"
            );
            table.bad_value(&value.span(), message);
            return None;
        }
        _ => {
            let wanted =
                "must be \"embedded\", a URL such as \"redis://127.0.0.1:6379\", or { env = \"NAME\" }";
            grants::backend_url(table, folder, wanted, value)?
        }
    };
    match Redis::new(&url) {
        Ok(_) => Some(KvBackend::Redis(url)),
        Err(_) => {
            let message =
                "`backend` is no URL of a Redis: write redis://HOST:PORT/DATABASE, or rediss:// for TLS";
            table.bad_value(&value.span(), message);
            None
        }
    }
}

/// What a handler was granted of `stores`: `["a", "b"]`, or `{ a = { prefix = "x:" }, b = { read_only = true } }`.
pub(super) fn granted(table: &Table<'_>, stores: &[KvConfig], problems: &Problems) -> Vec<KvGrant> {
    let Some(value) = table.value("kv") else { return Vec::new() };
    let mut grants: Vec<KvGrant> = Vec::new();
    let mut grant = |name: &At<&str>, prefix: String, read_only| {
        let Some(store) = stores.iter().position(|store| store.name == name.value) else {
            let hint = did_you_mean(name.value, stores.iter().map(|store| store.name.as_str()));
            let message = format!("`kv` names the store `{0}`, but there is no [kv.{0}]{hint}", name.value);
            return problems.add(ProblemKind::UnknownStore, &name.span, message);
        };
        if grants.iter().any(|grant| grant.store == store) {
            return table.bad_value(&name.span, format!("`kv` names the store `{}` twice", name.value));
        }
        grants.push(KvGrant { store, prefix, read_only });
    };
    if value.get_ref().as_table().is_none() {
        let names = table.strings("kv").into_iter().flatten();
        names.for_each(|name| grant(&name, String::new(), false));
        return grants;
    }
    for (name, value) in table.entries("kv").into_iter().flatten() {
        match value.get_ref().as_table() {
            Some(entries) => {
                let (prefix, read_only) = options(table.inner(name.value, entries));
                grant(&name, prefix, read_only);
            }
            None => {
                table.wrong_type(name.value, value, "a table such as { read_only = true, prefix = \"api:\" }")
            }
        }
    }
    grants
}

fn options(table: Table<'_>) -> (String, bool) {
    let prefix = table.string("prefix");
    if let Some(prefix) = prefix.as_ref().filter(|prefix| prefix.value.len() > PREFIX_BYTES_MAX) {
        table.bad_value(&prefix.span, format!("`prefix` must have at most {PREFIX_BYTES_MAX} bytes"));
    }
    let read_only = table.boolean("read_only").unwrap_or(false);
    table.finish();
    (prefix.map_or_else(String::new, |prefix| prefix.value.to_owned()), read_only)
}
