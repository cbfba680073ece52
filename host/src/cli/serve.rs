//! `wasmux serve`: configuration → deployment → listeners → signals → drain.

use std::io::IsTerminal as _;
use std::num::NonZero;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::available_parallelism;

use arc_swap::ArcSwap;
use tokio::runtime::{Builder, Runtime};

use self::life::Life;
use self::signals::Signals;
use super::{OK, ServeArgs, engine, fail, fail_with, print};
use crate::access_log::AccessLog;
use crate::admin::Admin;
use crate::config::{AccessLogFormat, Config, ProcessConfig, ServerConfig};
use crate::deployment::Deployment;
use crate::dispatch::Dispatcher;
use crate::drain::Drain;
use crate::guest::GuestEngine;
use crate::handover::{Environment, Handover};
use crate::listener::Listener;
use crate::metrics::Metrics;
use crate::reload::{self, Origin, Reloader, Source};
use crate::resources::Resources;
use crate::server::Server;
use crate::tls::Tls;
use crate::upgrade::Program;

mod life;
mod signals;

pub(super) fn run(args: ServeArgs, environment: &Environment) -> ExitCode {
    // First of all: later the file that this program is may be another one.
    let program = Program::running();
    let handover = match Handover::open(environment, std::process::id()) {
        Ok(handover) => handover,
        Err(message) => return fail(message),
    };
    let origin = match args.module {
        Some(module) => Origin::Module(module),
        None => Origin::File(args.config.unwrap_or_else(|| Path::new("routes.toml").to_owned())),
    };
    let source = Source { origin, listen: args.listen };
    let (config, problems) = match source.read() {
        Ok(read) => read,
        Err(problem) => return fail_with(&[problem]),
    };
    let engine = match engine(&config.process) {
        Ok(engine) => engine,
        Err(message) => return fail(message),
    };
    let resources = Resources::default();
    let tls = config.load_tls(&problems);
    let deployment = match reload::build(&config, problems, &engine, &resources) {
        Ok(deployment) => deployment,
        Err(problems) => return fail_with(&problems),
    };
    let runtime = match runtime(config.process.threads) {
        Ok(runtime) => runtime,
        Err(error) => return fail(format_args!("the threads cannot be started: {error}")),
    };
    let start = Start { program, handover, source, config, engine, resources, tls, deployment };
    let code = runtime.block_on(serve(start));
    // Whatever still runs was cut off on purpose; nothing that a thread is at is waited for.
    runtime.shutdown_background();
    code
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
    source: Source,
    config: Config,
    engine: GuestEngine,
    resources: Resources,
    /// For each server of `config`.
    tls: Vec<Option<Arc<Tls>>>,
    deployment: Deployment,
}

async fn serve(start: Start) -> ExitCode {
    let Start { program, mut handover, source, config, engine, resources, tls, deployment } = start;
    let status = config.summary();
    let (log, _writer) = AccessLog::start(access_log_format(&config.process)).unzip();
    // Before anybody is told that we listen: from then on a signal means something.
    let signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => return fail(format_args!("signals cannot be handled: {error}")),
    };
    let servers = config.servers.iter().cloned().zip(tls).collect();
    let bound = bind(config.process.clone(), servers, &mut handover).await;
    let (server, admin) = match bound {
        Ok(bound) => bound,
        Err(errors) => return fail(errors.join("\nwasmux: ")),
    };
    handover.close_unused();
    // The kernel queues connections from here on, so that whoever reads these lines may connect.
    server.urls().for_each(|url| print(format_args!("listening on {url}")));
    let metrics = Metrics::new(engine.clone());
    let in_force = Arc::new(ArcSwap::from_pointee(deployment));
    let drain = Drain::new();
    let mut life = Life {
        drain: &drain,
        listeners: server.listeners().chain(admin.iter().map(Arc::downgrade)).collect(),
        admin: None,
        handover,
        program,
        upgrade_timeout: config.process.upgrade_timeout,
        reloader: Reloader::new(
            source,
            (engine, resources),
            (config.process, config.servers),
            Arc::clone(&in_force),
        ),
        certificates: server.certificates(),
        status,
    };
    let mut answering = None;
    if let Some(listener) = admin {
        print(format_args!("admin on {}", listener.url("http")));
        let admin = match Admin::new(drain.begun(), metrics) {
            Ok(admin) => Arc::new(admin),
            Err(error) => return fail(format_args!("the admin listener cannot be set up: {error}")),
        };
        let task = tokio::spawn(admin.serve(listener));
        life.admin = Some(task.abort_handle());
        answering = Some(task);
    }
    let serving = server.run(Dispatcher::new(in_force, log), &drain);
    let code = tokio::select! {
        // In this order, so that listeners accept before anybody is told that they do.
        biased;
        () = serving => OK,
        code = life.live(signals) => code,
    };
    if let Some(task) = answering {
        // Awaited so that its listener is gone, and with it the file of a unix socket.
        task.abort();
        let _ = task.await;
    }
    code
}

/// The listeners, and the admin's, if there is one.
async fn bind(
    process: ProcessConfig,
    servers: Vec<(ServerConfig, Option<Arc<Tls>>)>,
    handover: &mut Handover,
) -> Result<(Server, Option<Arc<Listener>>), Vec<String>> {
    let address = process.admin.clone();
    let server = Server::bind(process, servers, handover).await?;
    let admin = match address {
        Some(address) => Some(Listener::bind(&address, handover).await.map_err(|error| vec![error])?),
        None => None,
    };
    Ok((server, admin.map(Arc::new)))
}

fn access_log_format(config: &ProcessConfig) -> AccessLogFormat {
    let on_terminal = std::io::stdout().is_terminal();
    config.access_log.unwrap_or(if on_terminal { AccessLogFormat::Text } else { AccessLogFormat::Off })
}
