//! `wasmux build --snapshot`: modules that have started, as files.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::super::{BuildArgs, OK, PROBLEMS, engine, fail, print, read_config};
use super::{handler, is_path};
use crate::builder;
use crate::config::ProcessConfig;
use crate::guest::cache::CodeCache;
use crate::guest::{Artifact, GuestEngine, GuestSettings};

/// A crate or module, and how it is started.
struct Target {
    wasm: PathBuf,
    settings: GuestSettings,
}

pub(super) fn run(args: &BuildArgs) -> ExitCode {
    let (targets, process) = match targets(args) {
        Ok(found) => found,
        Err(code) => return code,
    };
    if targets.is_empty() {
        print("nothing to build: no handler has `snapshot`");
        return OK;
    }
    let engine = match engine(&process) {
        Ok(engine) => engine,
        Err(message) => return fail(message),
    };
    let cache = process.cache.clone().map_or_else(CodeCache::off, CodeCache::at);
    let mut failed = false;
    for target in &targets {
        match write(target, &engine, &cache) {
            Ok((file, size)) => {
                let (name, kib) = (&target.settings.name, size as f64 / 1024.0);
                print(format_args!("{name}: {} ({kib:.1} KiB)", file.display()));
            }
            Err(error) => {
                failed = true;
                let _ = fail(format_args!("{} ({}): {error}", target.settings.name, target.wasm.display()));
            }
        }
    }
    if failed { ExitCode::from(PROBLEMS) } else { OK }
}

/// What is to be started: handlers as routes.toml says, anything else without an environment.
fn targets(args: &BuildArgs) -> Result<(Vec<Target>, ProcessConfig), ExitCode> {
    let (paths, names): (Vec<_>, Vec<_>) = args.names.iter().partition(|name| is_path(args, name));
    let mut targets: Vec<_> = paths.into_iter().map(|path| unnamed(Path::new(path))).collect();
    if !targets.is_empty() && names.is_empty() {
        return Ok((targets, ProcessConfig::default()));
    }
    let config = read_config(&args.config.config)?;
    let wanted = if names.is_empty() {
        config.handlers.iter().filter(|handler| handler.settings.snapshot.is_some()).collect()
    } else {
        names.into_iter().map(|name| handler(&config, name)).collect::<Result<Vec<_>, _>>()?
    };
    targets
        .extend(wanted.into_iter().map(|it| Target { wasm: it.wasm.clone(), settings: it.settings.clone() }));
    Ok((targets, config.process))
}

fn unnamed(path: &Path) -> Target {
    let name = path.file_stem().map_or_else(|| "handler".into(), |stem| stem.to_string_lossy().into_owned());
    Target { wasm: path.to_owned(), settings: GuestSettings { name, ..GuestSettings::default() } }
}

fn write(target: &Target, engine: &GuestEngine, cache: &CodeCache) -> Result<(PathBuf, usize), String> {
    let mut module = target.wasm.clone();
    if module.is_dir() {
        let built = builder::build(std::slice::from_ref(&module)).pop().map(|(_, built)| built);
        module = built.ok_or("nothing was built")?.map_err(|error| error.to_string())?;
    }
    let settings = &target.settings;
    let start = settings.start(settings.snapshot.unwrap_or_default());
    let snapshot = Artifact::snapshot(engine, &module, cache, &start);
    let snapshot = snapshot.map_err(|error| error.to_string())?;
    let name = settings.name.replace('/', "_");
    let file = module.with_file_name(format!("{name}.snapshot.wasm"));
    std::fs::write(&file, &snapshot)
        .map_err(|error| format!("{} cannot be written: {error}", file.display()))?;
    Ok((file, snapshot.len()))
}
