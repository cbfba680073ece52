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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Origin, digest_of};

    #[test]
    fn texts_without_anything_in_common_take_no_time() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(folder.path(), 2).unwrap();
        let record = |number, seed: u64| {
            let lines = (0..40_000_u64).map(|line| format!("# {}\n", line.wrapping_mul(seed) % 65_537));
            let text: String = lines.collect();
            Record {
                number,
                time: 0,
                origin: Origin::Routes,
                routes: history.keep(text.as_bytes(), "toml").unwrap(),
                file_sha256: digest_of(b""),
                modules: [].into(),
                canary: None,
                pushed: true,
            }
        };
        let (from, to) = (record(1, 7_919), record(2, 104_729));
        let begun = std::time::Instant::now();
        let diff = diff_of(&history, &from, &to).unwrap();
        assert!(diff["routes"].as_str().unwrap().contains("+++ routes.toml of deployment 2"));
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
}
