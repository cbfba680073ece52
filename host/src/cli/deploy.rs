//! `wasmux deploy`, `promote`, `rollback` and `reload`: changes of what is in force, by a running server or for the next one.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::admin::{Failed, ServerArg, form_of, run, with_progress};
use super::{OK, engine, eprint, fail, print};
use crate::builder;
use crate::config::parse_percent;
use crate::deployer::{Change, Changed, From, Maker, Refused, Source};
use crate::history::History;
use crate::resources::Resources;

/// `wasmux deploy`.
#[derive(Debug, Args)]
pub(super) struct DeployArgs {
    /// NAME of [handlers.NAME]
    name: String,
    /// A .wasm or .wat file, or a crate folder
    file: PathBuf,
    /// Give it only this part of the requests, such as 5%, and take it back when it is worse than the version before
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    canary: Option<String>,
    /// What keeps a client with one version: client (its address), header:NAME or cookie:NAME
    #[arg(long, value_name = "WHAT", default_value = "client", requires = "canary")]
    sticky: String,
    /// Promote it after this time without a reason not to, such as 10m
    #[arg(long, value_name = "TIME", requires = "canary", value_parser = humantime::parse_duration)]
    promote_after: Option<Duration>,
    #[command(flatten)]
    server: ServerArg,
}

/// `wasmux rollback`.
#[derive(Debug, Args)]
pub(super) struct RollbackArgs {
    /// The number of a deployment [default: the one before]
    number: Option<u64>,
    #[command(flatten)]
    server: ServerArg,
}

/// What is done in the state folder when no server runs.
type Offline = fn(Maker, &History) -> Result<Changed, Refused>;

fn percent(text: &str) -> Result<String, String> {
    match parse_percent(text) {
        Some(percent) if percent > 0.0 && percent <= 100.0 => Ok(text.to_owned()),
        _ => Err("a percentage up to 100% is wanted, such as 5%".to_owned()),
    }
}

pub(super) fn deploy(args: &DeployArgs) -> ExitCode {
    let file = match module(&args.file) {
        Ok(file) => file,
        Err(message) => return fail(message),
    };
    let bytes = match std::fs::read(&file) {
        Ok(bytes) => bytes,
        Err(error) => return fail(format_args!("{}: {error}", file.display())),
    };
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let mut path = format!("/v1/handlers/{}/module?form={}", encode(&args.name), form_of(&file));
    if let Some(canary) = &args.canary {
        path += &format!("&canary={}&sticky={}", encode(canary), encode(&args.sticky));
        if let Some(time) = args.promote_after {
            path += &format!("&promote_after={}", time.as_secs());
        }
    }
    let asked = ask(&args.server, Method::PUT, &path, bytes.clone());
    let offline = |maker: Maker, history: &History| {
        if args.canary.is_some() {
            return Err(Refused::Because("a canary needs a server that runs".to_owned()));
        }
        let module =
            history.keep(&bytes, form_of(&file)).map_err(|error| Refused::Because(error.to_string()))?;
        let change = Change::Deploy { handler: args.name.clone(), module: module.clone(), canary: None };
        maker.change_for_next(change).inspect_err(|_| history.let_go(&module))
    };
    finish(&args.server, asked, Some(offline))
}

/// The module of a file or a crate, which is built.
fn module(file: &Path) -> Result<PathBuf, String> {
    if !file.is_dir() {
        return Ok(file.to_owned());
    }
    match builder::build(&[file.to_owned()]).into_iter().next() {
        Some((_, built)) => built.map_err(|error| error.to_string()),
        None => Err(format!("{} is no crate", file.display())),
    }
}

pub(super) fn rollback(args: &RollbackArgs) -> ExitCode {
    let path = match args.number {
        Some(number) => format!("/v1/deployments/{number}/activate"),
        None => "/v1/rollback".to_owned(),
    };
    let asked = ask(&args.server, Method::POST, &path, Vec::new());
    let offline = |maker: Maker, _: &History| maker.change_for_next(Change::Rollback(args.number));
    finish(&args.server, asked, Some(offline))
}

pub(super) fn promote(server: &ServerArg) -> ExitCode {
    let asked = promote_seen(server);
    let offline = |maker: Maker, _: &History| maker.change_for_next(Change::Promote { of: None });
    finish(server, asked, Some(offline))
}

/// Promotes the canary that is there now, and no other that may come meanwhile.
fn promote_seen(server: &ServerArg) -> Result<Value, Failed> {
    let client = server.client()?;
    run(async {
        let status = client.ask(Method::GET, "/v1/status", Vec::new()).await?;
        let path = format!("/v1/promote?deployment={}", status["deployment"]["number"]);
        with_progress("checking and compiling", client.ask(Method::POST, &path, Vec::new())).await
    })
}

pub(super) fn reload(server: &ServerArg) -> ExitCode {
    let asked = ask(server, Method::POST, "/v1/reload", Vec::new());
    finish(server, asked, None::<Offline>)
}

fn ask(server: &ServerArg, method: Method, path: &str, body: Vec<u8>) -> Result<Value, Failed> {
    let client = server.client()?;
    run(async { with_progress("checking and compiling", client.ask(method, path, body)).await })
}

/// Shows what has come of it; when no server runs, does it in the state folder, for the next one.
fn finish(
    server: &ServerArg,
    asked: Result<Value, Failed>,
    offline: Option<impl FnOnce(Maker, &History) -> Result<Changed, Refused>>,
) -> ExitCode {
    let (answer, is_offline) = match (asked, offline) {
        (Ok(answer), _) => (answer, false),
        (Err(Failed::Down(down)), Some(offline)) if server.admin.is_none() => match in_state(server, offline)
        {
            Ok(changed) => {
                eprint(format_args!("wasmux: {down}; it is on record, and served when one is started"));
                (as_json(&changed), true)
            }
            Err(message) => return fail(format_args!("{down}\nwasmux: {message}")),
        },
        (Err(failed), _) => return fail(failed),
    };
    if server.json {
        print(&answer);
        return OK;
    }
    let deployment = &answer["deployment"];
    let number = &deployment["number"];
    match is_offline {
        true => print(format_args!("deployment {number} is on record ({})", origin(deployment))),
        false => print(format_args!(
            "deployment {number} is in force ({}), {} ms; before: {}",
            origin(deployment),
            answer["took_ms"],
            answer["before"]
        )),
    }
    if let Some(handler) = answer["canary_ended"].as_str() {
        print(format_args!("  the canary of {handler} has ended with it"));
    }
    for key in answer["needs_restart"].as_array().into_iter().flatten() {
        print(format_args!("  {} needs a restart", key.as_str().unwrap_or_default()));
    }
    OK
}

/// Why a deployment was made, in words.
pub(super) fn origin(deployment: &Value) -> String {
    let origin: Result<crate::history::Origin, _> = serde_json::from_value(deployment["origin"].clone());
    origin.map_or_else(|_| "?".to_owned(), |origin| origin.to_string())
}

fn as_json(changed: &Changed) -> Value {
    json!({ "deployment": changed.record, "before": changed.before, "needs_restart": changed.fixed,
            "took_ms": u64::try_from(changed.took.as_millis()).unwrap_or(u64::MAX) })
}

fn in_state(
    server: &ServerArg,
    change: impl FnOnce(Maker, &History) -> Result<Changed, Refused>,
) -> Result<Changed, String> {
    let process = server.process();
    let open = History::open(&process.state, process.deployments);
    let history = open.map_err(|error| format!("{}: {error}", process.state.display()))?;
    let alone = history.serve_nothing().map_err(|error| format!("{}: {error}", process.state.display()))?;
    if alone.is_none() {
        let state = process.state.display();
        return Err(format!(
            "a server that cannot be asked uses {state}: start this with the same --config as it, or name its admin listener \
             with --admin; or stop it"
        ));
    }
    let source = Source { from: From::File(server.config.clone()), listen: Vec::new() };
    let maker = Maker {
        source,
        engine: engine(&process)?,
        resources: Resources::default(),
        history: Some(history.clone()),
    };
    change(maker, &history).map_err(|refused| refused.sentences().collect::<Vec<_>>().join("\nwasmux: "))
}
