//! `[sql.NAME]`: databases, and `sql` of handlers, which grants them.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::grants::backend_url;
use super::problem::{ProblemKind, Problems, did_you_mean};
use super::table::{At, Table};
use crate::sql::{Access, Folder, Limits, Location, Settings};

/// A checked `[sql.NAME]`.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// All that makes it what it is.
    pub settings: Settings,
    /// What is applied to it at deploy.
    pub migrations: Option<Folder>,
    /// The line of its name, or of `migrations`.
    pub line: usize,
}

/// Reads all of `[sql]`; answers the databases, and the names of all of them, also of those that are wrong.
pub(super) fn read<'t>(
    root: &Table<'t>,
    folder: &Path,
    state: &Path,
    problems: &'t Problems,
) -> (Vec<DatabaseConfig>, Vec<&'t str>) {
    let (mut databases, mut names) = (Vec::new(), Vec::new());
    for (name, value) in root.entries("sql").into_iter().flatten() {
        names.push(name.value);
        match value.get_ref().as_table() {
            Some(entries) => databases.extend(read_database(&name, entries, folder, state, problems)),
            None => {
                let message = format!("`sql.{}` must be a table: [sql.{}]", name.value, name.value);
                problems.add(ProblemKind::BadValue, &name.span, message);
            }
        }
    }
    (databases, names)
}

fn read_database<'t>(
    name: &At<&'t str>,
    entries: &'t DeTable<'t>,
    folder: &Path,
    state: &Path,
    problems: &'t Problems,
) -> Option<DatabaseConfig> {
    let title = format!("[sql.{}]", name.value);
    let table = Table::new(title.clone(), entries, problems);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    // It is the name of a file.
    if name.value.is_empty() || name.value.len() > 64 || !name.value.chars().all(is_plain) {
        let message = format!("{title}: the name must be 1 to 64 letters, digits, `_` or `-`");
        problems.add(ProblemKind::BadValue, &name.span, message);
    }
    if !table.has("backend") {
        let message = format!("{title} needs `backend`: \"sqlite\", or \"postgres://…\"");
        problems.add(ProblemKind::MissingKey, &name.span, message);
    }
    let backend = table.value("backend").and_then(|value| location(&table, name.value, value, folder, state));
    let mut line = problems.line_of(name.span.start);
    let migrations = table.string("migrations").map(|path| {
        line = problems.line_of(path.span.start);
        Folder::read(&folder.join(path.value)).unwrap_or_else(|errors| {
            let report = |error| table.bad_value(&path.span, format!("`migrations`: {error}"));
            errors.into_iter().for_each(report);
            Folder::default()
        })
    });
    let limits = limits(&table);
    if let (Some(Location::Postgres(_)), Some(size)) = (&backend, table.value("max_size")) {
        table.bad_value(
            &size.span(),
            "`max_size` is for `backend = \"sqlite\"`: a server has limits of its own",
        );
    }
    table.finish();
    let settings = Settings { name: name.value.to_owned(), location: backend?, limits };
    Some(DatabaseConfig { settings, migrations, line })
}

fn location(
    table: &Table<'_>,
    name: &str,
    value: &Spanned<DeValue<'_>>,
    folder: &Path,
    state: &Path,
) -> Option<Location> {
    let from_url = |url: &str| {
        let file = if url.starts_with("sqlite:") { "; or \"sqlite\", whose file is in `state`" } else { "" };
        let read = Location::from_url(url);
        read.map_err(|error| table.bad_value(&value.span(), format!("`backend` {error}{file}"))).ok()
    };
    let wanted = "must be \"sqlite\", \"postgres://…\" or { env = \"NAME\" }";
    match value.get_ref() {
        DeValue::String(text) if text == "sqlite" => {
            Some(Location::Sqlite(state.join("sql").join(format!("{name}.sqlite"))))
        }
        DeValue::String(text) if text.contains("://") => from_url(text),
        DeValue::String(text) => {
            let hint = did_you_mean(text, ["sqlite"]);
            table.bad_value(&value.span(), format!("`backend` {wanted}{hint}"));
            None
        }
        _ => from_url(&backend_url(table, folder, wanted, value)?),
    }
}

fn limits(table: &Table<'_>) -> Limits {
    let defaults = Limits::default();
    Limits {
        rows_max: table.integer("max_rows", 1..=10_000_000).unwrap_or(defaults.rows_max),
        bytes_max: table.size("max_bytes", 1 << 10..=1 << 30).unwrap_or(defaults.bytes_max),
        timeout: table.duration("timeout").unwrap_or(defaults.timeout),
        transaction_timeout: table.duration("transaction_timeout").unwrap_or(defaults.transaction_timeout),
        connections_max: table
            .integer("max_connections", 1..=1_000)
            .map_or(defaults.connections_max, |connections| connections as u32),
        size_max: table.size("max_size", 1 << 20..=1 << 44).unwrap_or(defaults.size_max),
    }
}

/// Reads `sql` of a handler: `["app"]`, or `{ app = { read_only = true } }`.
pub(super) fn grants(table: &Table<'_>, names: &[&str], problems: &Problems) -> Vec<(String, Access)> {
    let Some(value) = table.value("sql") else { return Vec::new() };
    let mut grants = Vec::new();
    if value.get_ref().as_table().is_some() {
        for (name, value) in table.entries("sql").into_iter().flatten() {
            let Some(entries) = value.get_ref().as_table() else {
                table.wrong_type(name.value, value, "a table such as { read_only = true }");
                continue;
            };
            let inner = table.inner(name.value, entries);
            let read_only = inner.boolean("read_only").unwrap_or(false);
            inner.finish();
            grants.push((name, if read_only { Access::ReadOnly } else { Access::Full }));
        }
    } else {
        grants.extend(table.strings("sql").into_iter().flatten().map(|name| (name, Access::Full)));
    }
    for (at, (name, _)) in grants.iter().enumerate() {
        if grants[..at].iter().any(|(before, _)| before.value == name.value) {
            table.bad_value(&name.span, format!("`sql` names the database `{}` twice", name.value));
        }
    }
    for (name, _) in grants.iter().filter(|(name, _)| !names.contains(&name.value)) {
        let hint = did_you_mean(name.value, names.iter().copied());
        let message = format!(
            "`sql` names the database `{}`, which is not defined: there is no [sql.{}]{hint}",
            name.value, name.value
        );
        problems.add(ProblemKind::UnknownDatabase, &name.span, message);
    }
    grants.into_iter().map(|(name, access)| (name.value.to_owned(), access)).collect()
}
