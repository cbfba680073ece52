//! `wasmux build`: handler crates to modules, or to components.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{BuildArgs, OK, PROBLEMS, fail, print, read_config};
use crate::builder;
use crate::config::{Config, HandlerConfig, RouteTarget, did_you_mean};

mod snapshot;

pub(super) fn run(args: &BuildArgs) -> ExitCode {
    if args.snapshot {
        return snapshot::run(args);
    }
    let Crates { folders, config } = match crates(args) {
        Ok(crates) => crates,
        Err(code) => return code,
    };
    if folders.is_empty() {
        print("nothing to build: no handler is a crate folder");
        return OK;
    }
    let built = if args.component {
        let routes = |folder: &PathBuf| config.as_ref().map_or_else(String::new, |it| routes(it, folder));
        let crates: BTreeMap<_, _> = folders.iter().map(|folder| (folder.clone(), routes(folder))).collect();
        builder::build_components(&crates)
    } else {
        builder::build(&folders)
    };
    let mut failed = false;
    for (folder, result) in built {
        match result {
            Ok(binary) => {
                let size = std::fs::metadata(&binary).map_or(0, |file| file.len());
                print(format_args!(
                    "{}: {} ({:.1} KiB)",
                    folder.display(),
                    binary.display(),
                    size as f64 / 1024.0
                ));
            }
            Err(error) => {
                failed = true;
                let _ = fail(format_args!("{}: {error}", folder.display()));
            }
        }
    }
    if failed { ExitCode::from(PROBLEMS) } else { OK }
}

struct Crates {
    folders: Vec<PathBuf>,
    /// The deployment, where it was needed.
    config: Option<Config>,
}

fn crates(args: &BuildArgs) -> Result<Crates, ExitCode> {
    let file = &args.config.config;
    let (paths, names): (Vec<_>, Vec<_>) = args.names.iter().partition(|name| is_path(args, name));
    let mut folders: Vec<PathBuf> = paths.into_iter().map(PathBuf::from).collect();
    let is_named = args.names.is_empty() || !names.is_empty();
    // A component of a crate folder gets its routes from a deployment, but needs none.
    let config = if is_named || args.component && file.exists() { Some(read_config(file)?) } else { None };
    if let Some(config) = config.as_ref().filter(|_| is_named) {
        folders.extend(named(config, &names)?);
    }
    Ok(Crates { folders, config })
}

/// Whether it names a file or folder, and not a handler.
fn is_path(args: &BuildArgs, name: &str) -> bool {
    name.contains(['/', '.']) || !args.config.config.exists() && Path::new(name).is_dir()
}

/// The patterns that lead to this crate, whichever of its handlers they name, one a line.
fn routes(config: &Config, folder: &Path) -> String {
    let wanted = folder.canonicalize().ok();
    let is_it = |target: &Option<RouteTarget>| match target {
        Some(RouteTarget::Handler(index)) => config.handlers[*index].wasm.canonicalize().ok() == wanted,
        _ => false,
    };
    let routes = config.tables.iter().flat_map(|table| &table.routes).filter(|route| is_it(&route.target));
    routes.map(|route| format!("{}\n", route.pattern)).collect()
}

fn named(config: &Config, names: &[&String]) -> Result<Vec<PathBuf>, ExitCode> {
    if names.is_empty() {
        let crates = config.handlers.iter().filter(|handler| handler.wasm.is_dir());
        return Ok(crates.map(|handler| handler.wasm.clone()).collect());
    }
    let mut folders = Vec::new();
    for name in names {
        let handler = handler(config, name)?;
        if !handler.wasm.is_dir() {
            return Err(fail(format_args!(
                "handler `{name}` is the file {}, not a crate",
                handler.wasm.display()
            )));
        }
        folders.push(handler.wasm.clone());
    }
    Ok(folders)
}

fn handler<'c>(config: &'c Config, name: &str) -> Result<&'c HandlerConfig, ExitCode> {
    config.handlers.iter().find(|handler| handler.settings.name == *name).ok_or_else(|| {
        let known = config.handlers.iter().map(|handler| handler.settings.name.as_str());
        let hint = did_you_mean(name, known);
        fail(format_args!("{} defines no handler `{name}`{hint}", config.file.display()))
    })
}
