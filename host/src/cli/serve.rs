//! `wasmux serve`: configuration → deployment → listeners → signals → drain.

use std::io::IsTerminal as _;
use std::num::NonZero;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use self::life::Life;
use self::signals::Signals;
use super::{OK, ServeArgs, engine, fail, fail_with, print};
use crate::access_log::AccessLog;
use crate::admin::access::Access;
use crate::admin::{About, Admin};
use crate::config::{AccessLogFormat, AdminConfig, Config, Problems, ProcessConfig, ServerConfig};
use crate::deployer::{Deployer, From, Made, Maker, Refused, Source};
use crate::dispatch::Dispatcher;
use crate::drain::Drain;
use crate::handover::{Environment, Handover};
use crate::history::{History, Record};
use crate::listener::Listener;
use crate::metrics::Metrics;
use crate::resources::Resources;
use crate::server::Server;
use crate::telemetry::Logs;
use crate::tls::{ClientAuth, Tls};
use crate::trace::{Exporting, Tracer};
use crate::upgrade::Program;

mod life;
mod signals;

pub(super) fn run(args: ServeArgs, environment: &Environment, logs: Logs) -> ExitCode {
    // First of all: later the file that this program is may be another one.
    let program = Program::running();
    let handover = match Handover::open(environment, std::process::id()) {
        Ok(handover) => handover,
        Err(message) => return fail(message),
    };
    let from = match args.module {
        Some(module) => From::Module(module),
        None => From::File(args.config.unwrap_or_else(|| Path::new("routes.toml").to_owned())),
    };
    let source = Source { from, listen: args.listen };
    // What it says about the process is needed before anything can be made.
    let text = match source.text() {
        Ok(text) => text,
        Err(refused) => return refuse(&refused),
    };
    let process = source.parse(&text).0.process;
    let engine = match engine(&process) {
        Ok(engine) => engine,
        Err(message) => return fail(message),
    };
    let history = match history(&source, &process, args.from_file) {
        Ok(history) => history,
        Err(message) => return fail(message),
    };
    // Until the end of the process, whatever it does until then.
    let _serving = match history.as_ref().map(History::serve).transpose() {
        Ok(serving) => serving,
        Err(error) => return fail(format_args!("what is deployed is being changed at this moment: {error}")),
    };
    let maker = Maker { source, engine, resources: Resources::default(), history };
    let made = match maker.first(args.from_file) {
        Ok(made) => made,
        Err(refused) => return refuse(&refused),
    };
    // Of the deployment that is served, which may have another text.
    let problems = Problems::new(&made.config.file, &text);
    let (tls, admin_tls) = (made.config.load_tls(&problems), made.config.load_admin_tls(&problems));
    let problems = problems.into_sorted();
    if !problems.is_empty() {
        return fail_with(&problems);
    }
    let runtime = match runtime(made.config.process.threads) {
        Ok(runtime) => runtime,
        Err(error) => return fail(format_args!("the threads cannot be started: {error}")),
    };
    let start = Start { program, handover, maker, made, tls, admin_tls, logs };
    let code = runtime.block_on(serve(start));
    // Whatever still runs was cut off on purpose; nothing that a thread is at is waited for.
    runtime.shutdown_background();
    code
}

fn refuse(refused: &Refused) -> ExitCode {
    match refused {
        Refused::Problems(problems) => fail_with(problems),
        Refused::Because(why) => {
            fail(format_args!("{why}; `wasmux serve --from-file` serves what the file says"))
        }
    }
}

/// Where deployments are kept, if they can be. A module that is served alone has no place for them. What was deployed before and cannot
/// be seen is a reason not to start, unless it does not matter.
fn history(source: &Source, process: &ProcessConfig, from_file: bool) -> Result<Option<History>, String> {
    let From::File(_) = source.from else { return Ok(None) };
    let (state, folder) = (&process.state, process.state.display());
    match History::open(state, process.deployments) {
        Ok(history) => Ok(Some(history)),
        Err(error) if History::exists(state) && !from_file => Err(format!(
            "{folder} has deployments that cannot be used: {error}; `wasmux serve --from-file` serves what the file says"
        )),
        Err(error) => {
            tracing::warn!("{folder} cannot be used: {error}; nothing can be deployed or rolled back");
            Ok(None)
        }
    }
}

/// What tasks run on: as many threads as there are processors, if nothing else is said.
fn runtime(threads: Option<usize>) -> std::io::Result<Runtime> {
    let threads = threads.unwrap_or_else(|| available_parallelism().map_or(1, NonZero::get));
    // One thread has nobody to share its work with, and does without what that takes.
    let mut builder = if threads == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    builder.worker_threads(threads).enable_all().build()
}

/// Everything that is there before the first listener.
struct Start {
    program: std::io::Result<Program>,
    handover: Handover,
    maker: Maker,
    made: Made,
    /// For each server of the configuration.
    tls: Vec<Option<Arc<Tls>>>,
    admin_tls: Option<Arc<Tls>>,
    logs: Logs,
}

async fn serve(start: Start) -> ExitCode {
    let Start { program, mut handover, maker, made, tls, admin_tls, logs } = start;
    let config = &made.config;
    let status = config.summary();
    let (log, _writer) = AccessLog::start(access_log_format(&config.process)).unzip();
    // Before anybody is told that we listen: from then on a signal means something.
    let signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => return fail(format_args!("signals cannot be handled: {error}")),
    };
    let servers = config.servers.iter().cloned().zip(tls).collect();
    let bound = bind(config.process.clone(), servers, &mut handover).await;
    let (server, listener) = match bound {
        Ok(bound) => bound,
        Err(errors) => return fail(errors.join("\nwasmux: ")),
    };
    handover.close_unused();
    let resources = maker.resources.clone();
    let (tracer, exporting) = match trace(config, &resources) {
        Ok(tracing) => tracing.unzip(),
        Err(message) => return fail(message),
    };
    let (maker, made, record) = match put_on_record(maker, made).await {
        Ok(put) => put,
        Err(code) => return code,
    };
    let Made { config, deployment, .. } = made;
    // The kernel queues connections from here on, so that whoever reads these lines may connect.
    server.urls().for_each(|url| print(format_args!("listening on {url}")));
    let registry = Arc::clone(resources.registry());
    let metrics = Metrics::new(maker.engine.clone(), resources, exporting.as_ref().map(Exporting::stats));
    let access = access(config.process.admin.as_ref(), admin_tls);
    let is_default = config.process.admin.as_ref().is_none_or(|admin| admin.is_default);
    let upgrade_timeout = config.process.upgrade_timeout;
    let running = (config.process, config.servers);
    let (deployer, in_force) = Deployer::new(maker, running, deployment, record);
    let drain = Drain::new();
    let (ask_to_drain, asked_to_drain) = tokio::sync::mpsc::channel(1);
    let mut life = Life {
        drain: &drain,
        listeners: server.listeners().chain(listener.iter().map(Arc::downgrade)).collect(),
        admin: None,
        asked_to_drain,
        handover,
        program,
        upgrade_timeout,
        deployer: deployer.clone(),
        certificates: server.certificates(),
        status,
    };
    let judging = tokio::spawn(deployer.clone().judge());
    let about = About { draining: drain.begun(), metrics, deployer, logs, drain: ask_to_drain };
    let answering = match listener.map(|listener| answer(listener, access, about, is_default)).transpose() {
        Ok(answering) => answering,
        Err(message) => return fail(message),
    };
    life.admin = answering.as_ref().map(JoinHandle::abort_handle);
    let serving = server.run(Dispatcher::new(in_force, log).observed(tracer, registry), &drain);
    let code = tokio::select! {
        // In this order, so that listeners accept before anybody is told that they do.
        biased;
        () = serving => OK,
        code = life.live(signals) => code,
    };
    judging.abort();
    if let Some(task) = answering {
        // Awaited so that its listener is gone, and with it the file of a unix socket.
        task.abort();
        let _ = task.await;
    }
    if let Some(exporting) = exporting {
        exporting.flush().await;
    }
    code
}

/// Puts on record what is to be served, when nothing else can fail any more: a process that does not come to serve changes nothing.
async fn put_on_record(maker: Maker, made: Made) -> Result<(Maker, Made, Record), ExitCode> {
    let put = move || match maker.put_on_record(&made, true) {
        Ok(record) => Ok((maker, made, record)),
        Err(refused) => Err(refuse(&refused)),
    };
    tokio::task::spawn_blocking(put).await.unwrap_or_else(|error| Err(fail(error)))
}

/// Begins to answer on the admin listener. One that nobody has asked for is not spoken of.
fn answer(
    listener: Arc<Listener>,
    access: Access,
    about: About,
    is_default: bool,
) -> Result<JoinHandle<()>, String> {
    if !is_default {
        print(format_args!("admin on {}", listener.url(access.scheme())));
    }
    let admin =
        Admin::new(access, about).map_err(|error| format!("the admin listener cannot be set up: {error}"))?;
    Ok(tokio::spawn(Arc::new(admin).serve(listener)))
}

/// What sends spans to the collector, if there is to be one.
fn trace(config: &Config, resources: &Resources) -> Result<Option<(Tracer, Exporting)>, String> {
    let Some(settings) = &config.process.tracing else { return Ok(None) };
    let outbound = resources.outbound(&config.outbound)?;
    Ok(Some(Exporting::start(settings.clone(), &outbound)))
}

/// The listeners, and the admin's, if there is one.
async fn bind(
    process: ProcessConfig,
    servers: Vec<(ServerConfig, Option<Arc<Tls>>)>,
    handover: &mut Handover,
) -> Result<(Server, Option<Arc<Listener>>), Vec<String>> {
    let admin = process.admin.clone();
    let server = Server::bind(process, servers, handover).await?;
    let Some(admin) = admin else { return Ok((server, None)) };
    match Listener::bind(&admin.listen, handover).await {
        // A name may stand for it, or a number.
        Ok(listener) if listener.is_wildcard() => {
            let message = "is every interface, which lets the public in; name a loopback or private address";
            Err(vec![format!("`admin`: {} {message}", admin.listen)])
        }
        Ok(listener) => Ok((server, Some(Arc::new(listener)))),
        // Nobody has asked for it, and another process in the same folder may have it.
        Err(error) if admin.is_default => {
            tracing::warn!("no admin listener: {error}");
            Ok((server, None))
        }
        Err(error) => Err(vec![error]),
    }
}

fn access(admin: Option<&AdminConfig>, tls: Option<Arc<Tls>>) -> Access {
    let asks = admin.and_then(|admin| admin.tls.as_ref()?.client_ca.as_ref());
    let asks_for_certificates = asks.is_some_and(|ca| ca.auth == ClientAuth::Required);
    Access::new(admin.and_then(|admin| admin.token.as_deref()), tls, asks_for_certificates)
}

fn access_log_format(config: &ProcessConfig) -> AccessLogFormat {
    let on_terminal = std::io::stdout().is_terminal();
    config.access_log.unwrap_or(if on_terminal { AccessLogFormat::Text } else { AccessLogFormat::Off })
}
