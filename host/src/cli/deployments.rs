//! `wasmux deployments` and `wasmux diff`: what was deployed, asked of a running server or read from the state folder.

use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::admin::{Failed, ServerArg, run};
use super::deploy::origin;
use super::{OK, fail, print};
use crate::admin::diff_of;
use crate::history::History;

/// `wasmux diff`.
#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The number of a deployment
    from: u64,
    /// And of another one
    to: u64,
    #[command(flatten)]
    server: ServerArg,
}

pub(super) fn list(server: &ServerArg) -> ExitCode {
    let answer = match ask_or_look(server, "/v1/deployments", |history| {
        let deployments = history.list().map_err(|error| error.to_string())?;
        // Where that is damaged, a number out of this list is the way out.
        Ok(json!({ "in_force": history.current().unwrap_or_default(), "deployments": deployments }))
    }) {
        Ok(answer) => answer,
        Err(message) => return fail(message),
    };
    if server.json {
        print(&answer);
        return OK;
    }
    print(format_args!("{:>6}   {:<20}  {:<24}  modules", "number", "time", "origin"));
    for deployment in answer["deployments"].as_array().into_iter().flatten() {
        if let Some(damage) = deployment["damaged"].as_str() {
            print(format_args!("{:>6}   {damage}", deployment["number"].to_string()));
            continue;
        }
        let is_in_force = deployment["number"] == answer["in_force"];
        let time = UNIX_EPOCH + Duration::from_secs(deployment["time"].as_u64().unwrap_or_default());
        let mut modules: Vec<String> = versions(&deployment["modules"]);
        if let Some(canary) = deployment["canary"].as_object() {
            let share = canary["share"].as_f64().unwrap_or_default() / 100.0;
            let name = canary["handler"].as_str().unwrap_or_default();
            modules.push(format!("{name}:{} ({share} %)", version(&canary["module"])));
        }
        print(format_args!(
            "{:>6} {} {:<20}  {:<24}  {}",
            deployment["number"].to_string(),
            if is_in_force { '*' } else { ' ' },
            humantime::format_rfc3339_seconds(time),
            origin(deployment),
            modules.join(" ")
        ));
    }
    OK
}

fn versions(modules: &Value) -> Vec<String> {
    let modules = modules.as_object().into_iter().flatten();
    modules.map(|(name, module)| format!("{name}:{}", version(module))).collect()
}

fn version(module: &Value) -> &str {
    module["sha256"].as_str().and_then(|digest| digest.get(..12)).unwrap_or("?")
}

pub(super) fn diff(args: &DiffArgs) -> ExitCode {
    let path = format!("/v1/deployments/{}/diff/{}", args.from, args.to);
    let answer = match ask_or_look(&args.server, &path, |history| {
        let record = |number: u64| match history.record(number) {
            Ok(Some(record)) => Ok(record),
            Ok(None) => Err(format!("deployment {number} is not kept")),
            Err(error) => Err(error.to_string()),
        };
        diff_of(history, &record(args.from)?, &record(args.to)?).map_err(|error| error.to_string())
    }) {
        Ok(answer) => answer,
        Err(message) => return fail(message),
    };
    if args.server.json {
        print(&answer);
        return OK;
    }
    let handlers = answer["handlers"].as_array().map(Vec::as_slice).unwrap_or_default();
    for handler in handlers {
        let side = |key: &str| handler[key].as_str().unwrap_or("none").to_owned();
        print(format_args!(
            "{}: {} -> {}",
            handler["handler"].as_str().unwrap_or("?"),
            side("from"),
            side("to")
        ));
    }
    match answer["routes"].as_str() {
        Some(text) if !text.is_empty() => print(text.trim_end()),
        _ if handlers.is_empty() => print("no difference"),
        _ => {}
    }
    OK
}

/// What the server says; when none runs, what the state folder has.
pub(super) fn ask_or_look(
    server: &ServerArg,
    path: &str,
    look: impl FnOnce(&History) -> Result<Value, String>,
) -> Result<Value, String> {
    let asked =
        server.client().and_then(|client| run(async { client.ask(Method::GET, path, Vec::new()).await }));
    match asked {
        Ok(answer) => Ok(answer),
        Err(Failed::Down(down)) if server.admin.is_none() => {
            let state = server.process().state;
            let history = History::look(&state).map_err(|_| {
                format!("{down}; and nothing was ever deployed: {} has no deployments", state.display())
            })?;
            look(&history)
        }
        Err(failed) => Err(failed.to_string()),
    }
}
