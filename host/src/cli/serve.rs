//! `wasmux serve`: configuration → deployment → listeners → drain.

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{OK, PROBLEMS, ServeArgs, fail, fail_with, print};
use crate::access_log::AccessLog;
use crate::config::{AccessLogFormat, Config, Problems, ProcessConfig, ServerConfig};
use crate::deployment::Deployment;
use crate::dispatch::Dispatcher;
use crate::drain::{Drain, Phase};
use crate::guest::GuestEngine;
use crate::server::Server;
use crate::tls::Tls;

pub(super) fn run(args: ServeArgs) -> ExitCode {
    let (mut config, problems) = match read(&args) {
        Ok(read) => read,
        Err(code) => return code,
    };
    if let Err(message) = config.listen_elsewhere(&args.listen) {
        return fail(message);
    }
    let engine = match GuestEngine::new(config.process.instances) {
        Ok(engine) => engine,
        Err(error) => return fail(format_args!("the wasm engine cannot be set up: {error:#}")),
    };
    let tls = config.load_tls(&problems);
    let deployment = Deployment::build(&config, &engine, &problems);
    let problems = problems.into_sorted();
    let Some(deployment) = deployment.filter(|_| problems.is_empty()) else { return fail_with(&problems) };

    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = config.process.threads {
        builder.worker_threads(threads);
    }
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(format_args!("the threads cannot be started: {error}")),
    };
    let servers = config.servers.into_iter().zip(tls).collect();
    let code = runtime.block_on(serve(config.process, servers, deployment));
    // Whatever still runs was cut off on purpose; waiting for it would be the opposite.
    runtime.shutdown_background();
    code
}

fn read(args: &ServeArgs) -> Result<(Config, Problems), ExitCode> {
    match &args.module {
        Some(module) => match Config::for_module(module) {
            Ok(config) => Ok((config, Problems::new(module, ""))),
            Err(problem) => Err(fail_with(&[problem])),
        },
        None => Ok(Config::read(args.config.as_deref().unwrap_or(Path::new("routes.toml")))),
    }
}

async fn serve(
    process: ProcessConfig,
    servers: Vec<(ServerConfig, Option<Arc<Tls>>)>,
    deployment: Deployment,
) -> ExitCode {
    let (log, _writer) = AccessLog::start(access_log_format(&process)).unzip();
    // Before anybody is told that we listen: from then on a signal means a drain.
    let signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => return fail(format_args!("signals cannot be handled: {error}")),
    };
    let server = match Server::bind(process, servers).await {
        Ok(server) => server,
        Err(errors) => return fail(errors.join("\nwasmux: ")),
    };
    // The kernel queues connections from here on, so that whoever reads these lines may connect.
    server.urls().for_each(|url| print(format_args!("listening on {url}")));
    let dispatcher = Dispatcher::new(Arc::new(deployment), log);
    let drain = Drain::new();
    let serving = server.run(dispatcher, &drain);
    tokio::select! {
        () = serving => OK,
        code = signals.drive(&drain) => code,
    }
}

fn access_log_format(config: &ProcessConfig) -> AccessLogFormat {
    let on_terminal = std::io::stdout().is_terminal();
    config.access_log.unwrap_or(if on_terminal { AccessLogFormat::Text } else { AccessLogFormat::Off })
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn install() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! { _ = self.interrupt.recv() => "SIGINT", _ = self.terminate.recv() => "SIGTERM" }
    }

    /// The first signal begins the drain; a second one ends the wait for it.
    async fn drive(mut self, drain: &Drain) -> ExitCode {
        let name = self.next().await;
        tracing::info!("{name}: draining; a second signal ends at once");
        drain.advance(Phase::Draining);
        let name = self.next().await;
        tracing::warn!("{name}: ending now, requests in flight are cut off");
        ExitCode::from(PROBLEMS)
    }
}
