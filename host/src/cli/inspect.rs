//! `wasmux inspect`: what a binary is and what is missing to run it.

use std::process::ExitCode;

use super::{InspectArgs, OK, PROBLEMS, engine, fail, print};
use crate::config::ProcessConfig;
use crate::guest::Artifact;
use crate::guest::cache::CodeCache;
use crate::guest::inspect::{Import, Inspection, Parts};

/// Widest column of names, in characters; longer names stand out.
const WIDTH_MAX: usize = 60;

pub(super) fn run(args: &InspectArgs) -> ExitCode {
    // As much room as a server has that does not say how much.
    let process = ProcessConfig::default();
    let cache = process.cache.clone().map_or_else(CodeCache::off, CodeCache::at);
    let inspected = engine(&process)
        .and_then(|engine| Artifact::inspect(&engine, &args.file, &cache).map_err(|error| error.to_string()));
    let inspection = match inspected {
        Ok(inspection) => inspection,
        Err(error) => return fail(format_args!("{}: {error}", args.file.display())),
    };
    if args.json {
        match serde_json::to_string_pretty(&inspection) {
            Ok(json) => print(json),
            Err(error) => return fail(error),
        }
    } else {
        print_text(&inspection);
    }
    if inspection.problems.is_empty() { OK } else { ExitCode::from(PROBLEMS) }
}

fn print_text(inspection: &Inspection) {
    print(format_args!("kind     {}", inspection.kind));
    print(format_args!("size     {:.1} KiB", inspection.size as f64 / 1024.0));
    if let Some(memory) = inspection.memory {
        let maximum = memory.maximum.map_or(String::new(), |bytes| format!(", at most {} KiB", bytes >> 10));
        print(format_args!("memory   {} KiB at start{maximum}", memory.initial >> 10));
    }
    if let Some(parts) = inspection.parts {
        let Parts { modules, instances, memories } = parts;
        print(format_args!(
            "parts    core modules: {modules}, core instances: {instances}, memories: {memories}"
        ));
    }
    if let Some(reset) = &inspection.reset {
        let reason = reset.reason.as_deref().map_or(String::new(), |reason| format!(": {}", plain(reason)));
        let how = if reset.in_place { "in place" } else { "by a new instance" };
        print(format_args!("reset    {how}{reason}"));
    }
    print(format_args!("exports  {}", plain(&inspection.exports.join(", "))));
    print("imports");
    let name = |import: &Import| plain(format!("{} {}", import.module, import.name).trim_end());
    let width = inspection.imports.iter().map(|import| name(import).chars().count().min(WIDTH_MAX)).max();
    let width = width.unwrap_or_default();
    for import in &inspection.imports {
        print(format_args!("  {:width$}  ← {}", name(import), import.provider.unwrap_or("NOBODY")));
    }
    if inspection.problems.is_empty() {
        print("can be run as it is");
    } else {
        print("cannot be run:");
        inspection.problems.iter().for_each(|problem| print(format_args!("  {problem}")));
    }
}

/// Names come from the module, which may be anybody's: they must not steer the terminal.
fn plain(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}
