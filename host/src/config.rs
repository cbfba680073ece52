//! routes.toml, read and checked: what the rest of the program gets are values that cannot be wrong.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::DeTable;
use wasmux_mux::Mux;

mod admin;
mod canary;
mod fixed;
mod grants;
mod handlers;
mod kv;
mod limits;
mod listen;
mod outbound;
mod problem;
mod process;
mod proxy;
mod routes;
mod server;
mod sql;
mod table;
mod tls;
mod tracing;
mod units;

pub use admin::AdminConfig;
pub use canary::{CanaryConfig, parse_share};
pub use grants::OutboundConfig;
pub use handlers::HandlerConfig;
pub use kv::{KvBackend, KvConfig, KvGrant, StoreAlone};
pub use listen::ListenAddr;
pub use problem::{Problem, ProblemKind, Problems, did_you_mean};
pub use process::{AccessLogFormat, ProcessConfig};
pub use routes::{FilesConfig, RedirectConfig, RespondConfig, RouteConfig, RouteTable, RouteTarget};
pub use server::{MAIN_SERVER, ServerConfig};
pub use sql::DatabaseConfig;

use self::server::ServerEntry;
use crate::outbound::TransportSettings;
use table::{At, Table};

/// A deployment as its author wrote it.
#[derive(Debug)]
pub struct Config {
    /// The file it came from.
    pub file: PathBuf,
    /// What `[server]` says about the process.
    pub process: ProcessConfig,
    /// The servers that listen: `[server]`, unless it leaves that to the others, and `[servers.*]`. Empty only beside a
    /// problem.
    pub servers: Vec<ServerConfig>,
    /// `[outbound]`.
    pub outbound: TransportSettings,
    /// `[canary]`.
    pub canary: CanaryConfig,
    /// `[kv.*]`, in the order of the file.
    pub stores: Vec<KvConfig>,
    /// `[sql.*]`, in the order of the file.
    pub databases: Vec<DatabaseConfig>,
    /// `[handlers.*]`, in the order of the file.
    pub handlers: Vec<HandlerConfig>,
    /// `[routes]` and every `[servers.*.routes]`, each once, whoever serves it.
    pub tables: Vec<RouteTable>,
}

impl Config {
    /// Reads a file. With any problem the rest is there to be checked further, but must not be served.
    #[must_use]
    pub fn read(file: &Path) -> (Self, Problems) {
        match std::fs::read_to_string(file) {
            Ok(text) => Self::parse(file, &text),
            Err(error) => {
                let (problems, problem) = (Problems::new(file, ""), Self::unreadable(file, &error));
                problems.add_at_line(problem.kind, problem.line, problem.message);
                (Self::empty(file), problems)
            }
        }
    }

    /// What is wrong with a file that cannot be read.
    #[must_use]
    pub fn unreadable(file: &Path, error: &std::io::Error) -> Problem {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => {
                "; name another with --config, or start one with `wasmux new NAME`"
            }
            _ => "",
        };
        Problem {
            file: file.display().to_string(),
            line: 1,
            kind: ProblemKind::FileUnreadable,
            message: format!("cannot read the file: {error}{hint}"),
        }
    }

    /// Reads the text of a file; paths in it are relative to the file's folder.
    #[must_use]
    pub fn parse(file: &Path, text: &str) -> (Self, Problems) {
        let problems = Problems::new(file, text);
        let folder = file.parent().unwrap_or(Path::new(""));
        let (document, errors) = DeTable::parse_recoverable(text);
        let root = document.get_ref();
        for error in &errors {
            let span = error.span().unwrap_or_default();
            let (kind, message) =
                syntax_problem(error.message(), text.get(span.clone()).unwrap_or_default(), root);
            problems.add(kind, &span, message);
        }
        let table = Table::new("the file", root, &problems);
        let (mut process, servers) = server::read(&table, folder, &problems);
        let defaults =
            table.table("defaults").map(|entries| handlers::read_defaults(entries.value, &problems));
        let outbound = outbound::read(&table, folder, &problems);
        let canary = canary::read(&table, &problems);
        process.tracing = tracing::read(&table, folder, &problems);
        let stores = kv::read(&table, folder, &process.state, &problems);
        let (databases, names) = sql::read(&table, folder, &process.state, &problems);
        let declared = Declared { outbound: &outbound, stores: &stores, databases: &names };
        let handlers = read_handlers(&table, &defaults.unwrap_or_default(), declared, folder, &problems);
        let read_routes = |entries| routes::read(entries, &handlers, &outbound, folder, &problems);
        let shared = table.table("routes").map(|entries| read_routes(entries.value));
        let has_routes = table.has("routes") || !errors.is_empty();
        let mut tables = vec![shared.unwrap_or_default()];
        let mut configs = Vec::new();
        for ServerEntry { mut config, span, routes } in servers {
            match routes {
                Some(entries) => {
                    config.routes = tables.len();
                    tables.push(read_routes(entries.value));
                }
                None if has_routes => {}
                None => no_routes(&config.name, &span, &problems),
            }
            configs.push(config);
        }
        table.finish();
        let file = file.to_owned();
        let config =
            Self { file, process, servers: configs, outbound, canary, stores, databases, handlers, tables };
        (config, problems)
    }

    /// A deployment of one module, mounted on `/`.
    ///
    /// # Errors
    /// When the file does not exist.
    pub fn for_module(wasm: &Path) -> Result<Self, Problem> {
        if !wasm.exists() {
            return Err(Problem {
                file: wasm.display().to_string(),
                line: 1,
                kind: ProblemKind::FileMissing,
                message: "there is no such file or folder".to_owned(),
            });
        }
        let name =
            wasm.file_stem().map_or_else(|| "handler".into(), |stem| stem.to_string_lossy().into_owned());
        let mut config = Self::empty(wasm);
        config.handlers.push(HandlerConfig::alone(wasm, name));
        let route = RouteConfig { pattern: "/".to_owned(), line: 1, target: Some(RouteTarget::Handler(0)) };
        let mut table = RouteTable { routes: vec![route], mux: Mux::new() };
        let inserted = table.mux.insert("/", 0);
        debug_assert!(inserted.is_ok(), "the first pattern of a mux cannot conflict");
        config.tables = vec![table];
        Ok(config)
    }

    /// What is served, in a few words.
    #[must_use]
    pub fn summary(&self) -> String {
        let routes: usize = self.tables.iter().map(|table| table.routes.len()).sum();
        let servers = match self.servers.len() {
            1 => String::new(),
            count => format!(", {count} servers"),
        };
        format!("{routes} routes, {} handlers{servers}", self.handlers.len())
    }

    /// No routes and no handlers.
    pub(crate) fn empty(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            process: ProcessConfig::default(),
            servers: vec![ServerConfig::default()],
            outbound: TransportSettings::default(),
            canary: CanaryConfig::default(),
            stores: Vec::new(),
            databases: Vec::new(),
            handlers: Vec::new(),
            tables: vec![RouteTable::default()],
        }
    }

    /// Lets `[server]`, and no other, listen on these addresses instead of its own; none: leaves it as it is.
    ///
    /// # Errors
    /// When `[server]` does not listen at all.
    pub fn listen_elsewhere(&mut self, listen: &[ListenAddr]) -> Result<(), String> {
        let main = self.servers.iter_mut().find(|server| server.name == MAIN_SERVER);
        match main {
            _ if listen.is_empty() => {}
            Some(main) => main.listen = listen.to_vec(),
            None => {
                return Err(format!(
                    "--listen is for [server], which does not listen: {} has [servers.*] only; add `listen` to \
                     [server], or change theirs",
                    self.file.display()
                ));
            }
        }
        Ok(())
    }

    /// What a server serves.
    #[must_use]
    pub fn table_of(&self, server: &ServerConfig) -> &RouteTable {
        &self.tables[server.routes]
    }
}

/// A server that listens must have something to serve.
fn no_routes(name: &str, span: &Range<usize>, problems: &Problems) {
    if name == MAIN_SERVER {
        let message = "there is no [routes] table, so nothing can be served";
        return problems.add_at_line(ProblemKind::MissingKey, 1, message);
    }
    let message =
        format!("[servers.{name}] has nothing to serve: add [servers.{name}.routes], or [routes] for all");
    problems.add(ProblemKind::MissingKey, span, message);
}

/// What handlers may be granted a part of.
#[derive(Clone, Copy)]
struct Declared<'c> {
    outbound: &'c TransportSettings,
    stores: &'c [KvConfig],
    /// Names.
    databases: &'c [&'c str],
}

fn read_handlers(
    table: &Table<'_>,
    defaults: &handlers::Defaults,
    declared: Declared<'_>,
    folder: &Path,
    problems: &Problems,
) -> Vec<HandlerConfig> {
    let Some(entries) = table.table("handlers") else { return Vec::new() };
    let mut in_order: Vec<_> = entries.value.iter().collect();
    in_order.sort_by_key(|(key, _)| key.span().start);
    let mut handlers = Vec::new();
    for (key, value) in in_order {
        let name = At { value: key.get_ref().as_ref(), span: key.span() };
        match value.get_ref().as_table() {
            Some(entries) => {
                handlers.extend(handlers::read_handler(&name, entries, defaults, declared, folder, problems))
            }
            None => {
                let message = format!("`handlers.{}` must be a table: [handlers.{}]", name.value, name.value);
                problems.add(ProblemKind::BadValue, &name.span, message);
            }
        }
    }
    handlers::resolve_next(&mut handlers, problems);
    handlers::check_outbound(&handlers, problems);
    handlers
}

/// TOML takes the same pattern twice for a duplicate key; to us it is the plainest conflict there is.
fn syntax_problem(message: &str, at: &str, root: &DeTable<'_>) -> (ProblemKind, String) {
    let key = at.trim_matches(['"', '\'']);
    let own = root.get("servers").and_then(|servers| servers.get_ref().as_table());
    let own = own.into_iter().flat_map(|servers| servers.values());
    let own = own.filter_map(|server| server.get_ref().as_table()?.get("routes"));
    let mut tables =
        root.get("routes").into_iter().chain(own).filter_map(|routes| routes.get_ref().as_table());
    if message == "duplicate key" && tables.any(|routes| routes.contains_key(key)) {
        let message = format!("pattern \"{key}\" is registered twice; it would match the same requests");
        return (ProblemKind::PatternConflict, message);
    }
    (ProblemKind::Syntax, format!("not valid TOML: {message}"))
}
