//! What two deployments differ in.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use similar::TextDiff;

use crate::history::{History, Record};

/// Lines around a change.
const CONTEXT_LINES: usize = 3;

/// How long the shortest way is looked for; after that one that is longer will do.
const SEARCH_MAX: Duration = Duration::from_secs(1);

/// The way from one deployment to another.
#[derive(Debug, Serialize)]
struct Diff {
    from: u64,
    to: u64,
    /// Handlers whose module is another one, is new, or is gone.
    handlers: Vec<HandlerDiff>,
    /// routes.toml, as a unified diff; empty without a difference.
    routes: String,
}

#[derive(Debug, Serialize)]
struct HandlerDiff {
    handler: String,
    from: Option<String>,
    to: Option<String>,
}

/// What two deployments differ in, as the API tells it.
///
/// # Errors
/// When one of the texts cannot be read.
pub fn diff_of(history: &History, from: &Record, to: &Record) -> std::io::Result<serde_json::Value> {
    Ok(serde_json::to_value(Diff::between(history, from, to)?)?)
}

impl Diff {
    /// # Errors
    /// When one of the texts cannot be read.
    fn between(history: &History, from: &Record, to: &Record) -> std::io::Result<Self> {
        let names: BTreeSet<&String> = from.modules.keys().chain(to.modules.keys()).collect();
        let version = |record: &Record, name: &String| {
            record.modules.get(name).map(|module| module.version().to_owned())
        };
        let of = |name: &String| HandlerDiff {
            handler: name.clone(),
            from: version(from, name),
            to: version(to, name),
        };
        let handlers = names.into_iter().map(of).filter(|diff| diff.from != diff.to).collect();
        let (old, new) = (history.text(from)?, history.text(to)?);
        let name = |record: &Record| format!("routes.toml of deployment {}", record.number);
        let diff = TextDiff::configure().timeout(SEARCH_MAX).diff_lines(&old, &new);
        let mut unified = diff.unified_diff();
        let routes = unified.context_radius(CONTEXT_LINES).header(&name(from), &name(to)).to_string();
        let routes = if old == new { String::new() } else { routes };
        Ok(Self { from: from.number, to: to.number, handlers, routes })
    }
}
