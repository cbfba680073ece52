//! `wasmux check`: everything that `serve` would refuse, in one run, with nothing bound.

use std::process::ExitCode;

use super::{CheckArgs, OK, PROBLEMS, engine, fail, fail_with, print};
use crate::config::Config;
use crate::deployment::{Deployment, Modules};
use crate::resources::Resources;

pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let (config, problems) = Config::read(&args.config.config);
    let engine = match engine(&config.process) {
        Ok(engine) => engine,
        Err(message) => return fail(message),
    };
    let _ = (config.load_tls(&problems), config.load_admin_tls(&problems));
    let parts = (&engine, &Resources::default());
    let _ = Deployment::build(&config, parts, &Modules::default(), &problems);
    let problems = problems.into_sorted();
    if args.json {
        match serde_json::to_string_pretty(&problems) {
            Ok(json) => print(json),
            Err(error) => return fail(error),
        }
        return if problems.is_empty() { OK } else { ExitCode::from(PROBLEMS) };
    }
    if !problems.is_empty() {
        return fail_with(&problems);
    }
    print(format_args!("{}: ok, {}", config.file.display(), config.summary()));
    OK
}
