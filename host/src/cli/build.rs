//! `wasmux build`: handler crates to modules.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{BuildArgs, OK, PROBLEMS, fail, print, read_config};
use crate::builder;
use crate::config::{Config, did_you_mean};

pub(super) fn run(args: &BuildArgs) -> ExitCode {
    let folders = match folders(args) {
        Ok(folders) => folders,
        Err(code) => return code,
    };
    if folders.is_empty() {
        print("nothing to build: no handler is a crate folder");
        return OK;
    }
    let mut failed = false;
    for (folder, result) in builder::build(&folders) {
        match result {
            Ok(module) => {
                let size = std::fs::metadata(&module).map_or(0, |file| file.len());
                print(format_args!(
                    "{}: {} ({:.1} KiB)",
                    folder.display(),
                    module.display(),
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

fn folders(args: &BuildArgs) -> Result<Vec<PathBuf>, ExitCode> {
    let is_path =
        |name: &String| name.contains(['/', '.']) || !args.config.config.exists() && Path::new(name).is_dir();
    let (paths, names): (Vec<_>, Vec<_>) = args.names.iter().partition(|name| is_path(name));
    let mut folders: Vec<PathBuf> = paths.into_iter().map(PathBuf::from).collect();
    if args.names.is_empty() || !names.is_empty() {
        let config = read_config(&args.config.config)?;
        folders.extend(named(&config, &names)?);
    }
    Ok(folders)
}

fn named(config: &Config, names: &[&String]) -> Result<Vec<PathBuf>, ExitCode> {
    if names.is_empty() {
        let crates = config.handlers.iter().filter(|handler| handler.wasm.is_dir());
        return Ok(crates.map(|handler| handler.wasm.clone()).collect());
    }
    let mut folders = Vec::new();
    for name in names {
        let Some(handler) = config.handlers.iter().find(|handler| handler.settings.name == **name) else {
            let known = config.handlers.iter().map(|handler| handler.settings.name.as_str());
            let hint = did_you_mean(name, known);
            return Err(fail(format_args!("{} defines no handler `{name}`{hint}", config.file.display())));
        };
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
