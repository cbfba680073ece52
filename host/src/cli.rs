//! The command line: what can be asked for. What is done about it stands in one file for each command.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::OnceLock;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ListenAddr, Problem, ProcessConfig};
use crate::guest::{GuestEngine, compile};
use crate::handover::Environment;
use crate::telemetry::Logs;

mod admin;
mod build;
mod check;
mod deploy;
mod deployments;
mod doctor;
mod inspect;
mod invoke;
mod kv;
mod logs;
mod new;
mod profile;
mod routes;
mod serve;
mod status;

/// Exit code 0: all is well.
const OK: ExitCode = ExitCode::SUCCESS;
/// Exit code 1: problems were found, or the command failed. (2 is clap's, for usage.)
const PROBLEMS: u8 = 1;

/// net/http for WebAssembly: serve sandboxed wasm handlers behind one mux.
#[derive(Debug, Parser)]
#[command(name = "wasmux", version, about, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Examples:
  wasmux new hello && cd hello && wasmux serve     start a project
  wasmux serve                                     serve ./routes.toml
  wasmux check                                     find every mistake in it
  wasmux routes explain GET /hello/x               which pattern wins, and why

The log goes to standard error; WASMUX_LOG=debug or WASMUX_LOG=warn,guest=debug changes its level.")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a deployment, or one handler on `/`
    #[command(after_help = "Examples:
  wasmux serve
  wasmux serve --config site/routes.toml --listen :80 --listen unix:/run/wasmux.sock
  wasmux serve handler.wasm --listen 127.0.0.1:0
  wasmux serve --watch                  build each crate when it is saved; compile errors are the response

SIGINT or SIGTERM drains: no new connections, requests in flight finish. A second one ends at once.
SIGHUP reloads: reads the deployment again and serves it, unless anything is wrong with it.
SIGUSR2 upgrades: starts the program again with the same listeners, and drains when that one is ready.")]
    Serve(ServeArgs),
    /// Find everything that `serve` would refuse, without listening
    #[command(after_help = "Examples:
  wasmux check
  wasmux check --config site/routes.toml --json

With --json: an array of {\"file\", \"line\", \"kind\", \"message\"}. Exit code 1 when there are problems.")]
    Check(CheckArgs),
    /// List the routes, or explain what the mux makes of a request
    Routes(RoutesArgs),
    /// Build the handlers that are crates
    #[command(after_help = "Examples:
  wasmux build                 all handlers of routes.toml that are crates
  wasmux build hello users     two of them
  wasmux build ./my-handler    a crate, with or without a routes.toml
  wasmux build --component     as standard components: `wasmtime serve -Scli FILE`
  wasmux build --snapshot      the handlers that have `snapshot`, started already
  wasmux build --snapshot ./words.wasm")]
    Build(BuildArgs),
    /// Start a project: a crate with a handler, a test, and a routes.toml that serves it
    #[command(after_help = "Example:
  wasmux new hello && cd hello && cargo test && wasmux serve")]
    New(NewArgs),
    /// Send one request to a handler, without a listener
    #[command(after_help = "Examples:
  wasmux invoke hello.wasm GET /
  wasmux invoke examples/hello GET /hello/World --pattern 'GET /hello/{name}'
  wasmux invoke echo.wasm POST /echo -H 'Content-Type: text/plain' -d 'hello'

The status and header go to standard error, the body to standard output. Exit code 1 when the handler failed.")]
    Invoke(InvokeArgs),
    /// Say what a binary is, what it imports, and what is missing to run it
    #[command(after_help = "Examples:
  wasmux inspect handler.wasm
  wasmux inspect handler.wasm --json

Exit code 1 when it cannot be run.")]
    Inspect(InspectArgs),
    /// Look into the key-value stores of a deployment, and change what is in them
    #[command(after_help = "Examples:
  wasmux kv list sessions                  all keys
  wasmux kv list sessions user: --json     those that begin with user:, as a JSON array
  wasmux kv get sessions user:7
  wasmux kv set sessions user:7 Ann --for 1h
  wasmux kv set sessions photo @photo.jpg
  wasmux kv delete sessions user:7

Works while a server runs with the same stores. Exit code 1 when there is no such key.")]
    Kv(kv::KvArgs),
    /// Put another module of a handler in force, at once or as a canary
    #[command(after_help = "Examples:
  wasmux deploy hello target/hello.wasm
  wasmux deploy hello ./hello                        a crate, which is built
  wasmux deploy hello hello.wasm --canary 5% --promote-after 10m
  wasmux deploy hello hello.wasm --canary 10% --sticky cookie:session

It is checked and compiled completely, then swapped in; requests in flight finish with what they began with. It stays in
force, over restarts too, until routes.toml changes or `wasmux reload`. When no server runs, the next one serves it.")]
    Deploy(deploy::DeployArgs),
    /// Make the canary its handler's version
    Promote(admin::ServerArg),
    /// Put an earlier deployment in force again
    #[command(after_help = "Examples:
  wasmux rollback        the one before
  wasmux rollback 12")]
    Rollback(deploy::RollbackArgs),
    /// List the deployments that are kept; `*` is in force
    Deployments(admin::ServerArg),
    /// Show what two deployments differ in
    Diff(deployments::DiffArgs),
    /// Show what a server serves, and how its handlers do
    #[command(after_help = "Examples:
  wasmux status
  wasmux status --watch
  wasmux status --json | jq .handlers

Exit code 1 when no server runs.")]
    Status(status::StatusArgs),
    /// Have a server read routes.toml again, as SIGHUP does
    Reload(admin::ServerArg),
    /// Show the latest lines of a server's log
    #[command(after_help = "Examples:
  wasmux logs -f
  wasmux logs -f --handler hello")]
    Logs(logs::LogsArgs),
    /// Sample what a server computes, host and guests, into a file
    #[command(after_help = "Examples:
  wasmux profile                              10 s to cpu.pb.gz: go tool pprof -http=: cpu.pb.gz
  wasmux profile --handler hello -s 30 -o hello.pb.gz
  wasmux profile flame                        flame.html, for a browser
  wasmux profile heap -o - | go tool pprof -top -")]
    Profile(profile::ProfileArgs),
    /// Check whether this machine has what wasmux needs, and say what to change
    Doctor(doctor::DoctorArgs),
    /// Compile a module for the process that asks for it: what the others start to load modules
    #[command(hide = true)]
    Compile(compile::Task),
}

#[derive(Debug, Args)]
struct ConfigArg {
    /// The deployment to read
    #[arg(long, short, value_name = "FILE", default_value = "routes.toml")]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// The deployment to read [default: routes.toml]
    #[arg(long, short, value_name = "FILE", conflicts_with = "module")]
    config: Option<PathBuf>,
    /// Listen here instead of where [server] says; may be repeated
    #[arg(long, short, value_name = "ADDR", value_parser = ListenAddr::parse)]
    listen: Vec<ListenAddr>,
    /// Serve what the file says, not what was deployed or rolled back to before
    #[arg(long, conflicts_with = "module")]
    from_file: bool,
    /// Watch sources, modules and routes.toml: build what changes, and serve it anew
    #[arg(long, short)]
    watch: bool,
    /// A .wasm, .wat or .cwasm file or a crate folder, served on `/` without a deployment
    #[arg(value_name = "FILE.wasm")]
    module: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct CheckArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Print a JSON array instead of lines
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct RoutesArgs {
    #[command(subcommand)]
    command: Option<RoutesCommand>,
    /// The deployment to read
    #[arg(long, short, value_name = "FILE", default_value = "routes.toml", global = true)]
    config: PathBuf,
    /// Only what this server serves: `server`, or NAME of [servers.NAME]
    #[arg(long, short, value_name = "NAME", global = true)]
    server: Option<String>,
}

#[derive(Debug, Subcommand)]
enum RoutesCommand {
    /// Say which pattern wins, what its wildcards match, and why the runners-up lost
    #[command(after_help = "Examples:
  wasmux routes explain GET /users/7
  wasmux routes explain GET http://api.example.com/users/7
  wasmux routes explain GET /metrics --server internal
  echo '{\"method\":\"GET\",\"target\":\"/a\",\"host\":\"localhost\"}' | wasmux routes explain --json

With --json and no URL, each line of standard input is a request {\"method\", \"target\", \"host\"} and each line of
standard output its outcome {\"status\", \"pattern\", \"values\", \"location\", \"allow\", \"handler\"}.")]
    Explain(ExplainArgs),
}

#[derive(Debug, Args)]
struct ExplainArgs {
    /// The request method
    #[arg(required_unless_present = "json", requires = "url")]
    method: Option<String>,
    /// A path, or a URL whose host is used as the Host field
    url: Option<String>,
    /// The Host field
    #[arg(long, default_value = "localhost")]
    host: String,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct BuildArgs {
    /// Handlers of the deployment, or crate folders (with --snapshot, modules too); all handlers that are crates when left out
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Build standard wasi:http components, for other hosts too; they bring their routes in routes.toml along
    #[arg(long)]
    component: bool,
    /// Start modules and write what has started, NAME.snapshot.wasm beside each module
    #[arg(long, conflicts_with = "component")]
    snapshot: bool,
    #[command(flatten)]
    config: ConfigArg,
}

#[derive(Debug, Args)]
struct NewArgs {
    /// The project's name, and the folder it is made in
    name: PathBuf,
}

#[derive(Debug, Args)]
struct InvokeArgs {
    /// A .wasm, .wat or .cwasm file, or a crate folder
    file: PathBuf,
    /// The request method
    method: http::Method,
    /// A path, or a URL whose host is used as the Host field
    url: String,
    /// A header field, `Name: value`; may be repeated
    #[arg(short = 'H', long = "header", value_name = "FIELD", value_parser = invoke::parse_header)]
    headers: Vec<(http::HeaderName, http::HeaderValue)>,
    /// The request body; `@FILE` reads a file, `@-` standard input
    #[arg(short, long, value_name = "DATA")]
    data: Option<String>,
    /// The pattern the handler is mounted on, for path values
    #[arg(long, value_name = "PATTERN", default_value = "/")]
    pattern: wasmux_mux::Pattern,
    /// An environment variable for the guest, `NAME=VALUE`; may be repeated
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = invoke::parse_env)]
    env: Vec<(String, String)>,
}

#[derive(Debug, Args)]
struct InspectArgs {
    /// A .wasm or .wat file
    file: PathBuf,
    /// Print a JSON object instead of text
    #[arg(long)]
    json: bool,
}

impl Cli {
    /// Does what was asked for. `handed_over` is what the environment said about sockets before it was cleaned.
    #[must_use]
    pub fn run(self, handed_over: &Environment, logs: Logs) -> ExitCode {
        let code = match self.command {
            // Its lines are an access log's, for which nobody has to wait.
            Command::Serve(args) => return serve::run(args, handed_over, logs),
            Command::Check(args) => check::run(&args),
            Command::Routes(args) => routes::run(args),
            Command::Build(args) => build::run(&args),
            Command::New(args) => new::run(&args),
            Command::Invoke(args) => invoke::run(&args),
            Command::Inspect(args) => inspect::run(&args),
            Command::Kv(args) => kv::run(&args),
            Command::Deploy(args) => deploy::deploy(&args),
            Command::Promote(server) => deploy::promote(&server),
            Command::Rollback(args) => deploy::rollback(&args),
            Command::Deployments(server) => deployments::list(&server),
            Command::Diff(args) => deployments::diff(&args),
            Command::Status(args) => status::status(&args),
            Command::Reload(server) => deploy::reload(&server),
            Command::Logs(args) => logs::logs(&args),
            Command::Profile(args) => profile::profile(&args),
            Command::Doctor(args) => doctor::run(&args),
            Command::Compile(task) => compile::run(&task),
        };
        match written() {
            Ok(()) => code,
            Err(error) => fail(format_args!("standard output: {error}")),
        }
    }
}

/// Writes to standard error; a reader that has gone away is not an error of ours.
fn eprint(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Says what went wrong and gives the exit code for it.
fn fail(message: impl std::fmt::Display) -> ExitCode {
    eprint(format_args!("wasmux: {message}"));
    ExitCode::from(PROBLEMS)
}

/// Prints problems one on a line, with a count.
fn fail_with(problems: &[Problem]) -> ExitCode {
    for problem in problems {
        eprint(problem);
    }
    let plural = if problems.len() == 1 { "" } else { "s" };
    fail(format_args!("{} problem{plural}, nothing was started", problems.len()))
}

/// Why standard output has not taken everything.
static UNWRITTEN: OnceLock<io::Error> = OnceLock::new();

/// Writes a line to standard output. What has failed is known to [`written`].
fn print(text: impl std::fmt::Display) {
    write(format!("{text}\n").as_bytes());
}

/// Writes bytes, as they are, to standard output.
fn write(bytes: &[u8]) {
    if UNWRITTEN.get().is_none()
        && let Err(error) = io::stdout().lock().write_all(bytes)
    {
        let _ = UNWRITTEN.set(error);
    }
}

/// Whether anybody takes what is printed: what goes on until it is interrupted also ends with its reader.
fn is_heard() -> bool {
    if UNWRITTEN.get().is_none()
        && let Err(error) = io::stdout().lock().flush()
    {
        let _ = UNWRITTEN.set(error);
    }
    UNWRITTEN.get().is_none()
}

/// Whether standard output has taken everything. A reader that has gone away is not an error of ours.
fn written() -> io::Result<()> {
    let flushed = io::stdout().lock().flush();
    match UNWRITTEN.get() {
        Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Some(error) => Err(io::Error::new(error.kind(), error.to_string())),
        None => flushed
            .or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }),
    }
}

/// Reads a deployment that has to be free of mistakes.
fn read_config(file: &std::path::Path) -> Result<Config, ExitCode> {
    let (config, problems) = Config::read(file);
    let problems = problems.into_sorted();
    if problems.is_empty() { Ok(config) } else { Err(fail_with(&problems)) }
}

/// The engine of this process, which compiles in others.
fn engine(process: &ProcessConfig) -> Result<GuestEngine, String> {
    GuestEngine::new(process.engine(process.compile_in_child()))
        .map_err(|error| format!("the wasm engine cannot be set up: {error:#}"))
}
