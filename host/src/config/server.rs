//! `[server]` and `[servers.NAME]`: what listens, how long it waits, what it serves.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use toml::de::DeTable;

use super::listen::ListenAddr;
use super::problem::{ProblemKind, Problems};
use super::process::{self, ProcessConfig};
use super::table::{At, Table};
use super::tls;
use crate::tls::TlsFiles;

/// The name of the server that `[server]` describes.
pub const MAIN_SERVER: &str = "server";

/// Checked settings of one server. The README's reference table says what each does. A clock that is `None` is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// `server` for `[server]`, NAME for `[servers.NAME]`.
    pub name: String,
    /// Addresses to listen on; empty only for a `[server]` that leaves that to `[servers.*]`.
    pub listen: Vec<ListenAddr>,
    /// HTTPS with these files; `None`: plain HTTP.
    pub tls: Option<TlsFiles>,
    /// The head of a request, from its first bytes to its end.
    pub read_header_timeout: Option<Duration>,
    /// A whole request, from its first bytes to the end of its body.
    pub read_timeout: Option<Duration>,
    /// A response, from the end of the request's head to its last byte.
    pub write_timeout: Option<Duration>,
    /// Waiting for the next request of a connection.
    pub idle_timeout: Option<Duration>,
    /// The TLS handshake of a connection.
    pub tls_handshake_timeout: Option<Duration>,
    /// A client that takes nothing of what is written to it for so long is cut off.
    pub stall_timeout: Duration,
    /// Request line and header fields of one request, in bytes; beyond it 431.
    pub max_header_bytes: u64,
    /// What it serves: an index into `Config::tables`.
    pub routes: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        Self {
            name: MAIN_SERVER.to_owned(),
            listen: vec![ListenAddr::Tcp("127.0.0.1".into(), 8080)],
            tls: None,
            read_header_timeout: seconds(30),
            read_timeout: seconds(600),
            write_timeout: seconds(600),
            idle_timeout: seconds(60),
            tls_handshake_timeout: seconds(10),
            stall_timeout: Duration::from_secs(60),
            max_header_bytes: 1 << 20,
            routes: 0,
        }
    }
}

/// A server, and what is left to be read of it once the handlers are known.
pub(super) struct ServerEntry<'t> {
    pub(super) config: ServerConfig,
    /// Where it is named.
    pub(super) span: Range<usize>,
    /// Its own routes; none: the shared ones.
    pub(super) routes: Option<At<&'t DeTable<'t>>>,
}

/// Reads `[server]` and all of `[servers]`; the servers that listen, in the order of the file.
pub(super) fn read<'t>(
    root: &Table<'t>,
    folder: &Path,
    problems: &'t Problems,
) -> (ProcessConfig, Vec<ServerEntry<'t>>) {
    let entries = root.table("server");
    let named = root.table("servers").map(|entries| entries.value).filter(|servers| !servers.is_empty());
    let mut process = ProcessConfig::default();
    let mut main = ServerConfig::default();
    let mut span = 0..0;
    let mut listens = named.is_none();
    if let Some(entries) = &entries {
        let table = Table::new("[server]", entries.value, problems);
        span = entries.span.clone();
        listens |= table.has("listen");
        process = process::read(&table, folder, problems);
        main = read_server(&table, main, folder, problems);
        if !listens && let Some(tls) = table.value("tls") {
            let message =
                "`tls` of [server] is for its own addresses; add `listen`, or move `tls` to a [servers.NAME]";
            table.bad_value(&tls.span(), message);
        }
        table.finish();
    }
    let base = ServerConfig { listen: Vec::new(), tls: None, ..main.clone() };
    let mut servers = Vec::new();
    if listens {
        servers.push(ServerEntry { config: main, span, routes: None });
    }
    let mut in_order: Vec<_> = named.into_iter().flat_map(|servers| servers.iter()).collect();
    in_order.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in in_order {
        let name = At { value: key.get_ref().as_ref(), span: key.span() };
        let Some(entries) = value.get_ref().as_table() else {
            let message = format!("`servers.{}` must be a table: [servers.{}]", name.value, name.value);
            problems.add(ProblemKind::BadValue, &name.span, message);
            continue;
        };
        servers.push(named_server(&name, entries, &base, folder, problems));
    }
    one_listener_each(&servers, problems);
    (process, servers)
}

fn named_server<'t>(
    name: &At<&str>,
    entries: &'t DeTable<'t>,
    base: &ServerConfig,
    folder: &Path,
    problems: &'t Problems,
) -> ServerEntry<'t> {
    let title = format!("[servers.{}]", name.value);
    let table = Table::new(title.clone(), entries, problems);
    if name.value == MAIN_SERVER {
        let message = format!("{title}: `{MAIN_SERVER}` is the name of [server] itself; choose another");
        problems.add(ProblemKind::BadValue, &name.span, message);
    }
    if !table.has("listen") {
        let message = format!("{title} needs `listen`: an address such as \":8443\"");
        problems.add(ProblemKind::MissingKey, &name.span, message);
    }
    let base = ServerConfig { name: name.value.to_owned(), ..base.clone() };
    let config = read_server(&table, base, folder, problems);
    let routes = table.table("routes");
    // Once for all servers, and said so, since it is easily tried.
    for key in PROCESS_KEYS.into_iter().filter(|key| table.has(key)) {
        let span = table.value(key).map_or(name.span.clone(), toml::Spanned::span);
        let message = format!("`{key}` is a setting of the whole process; move it from {title} to [server]");
        problems.add(ProblemKind::UnknownKey, &span, message);
    }
    table.finish();
    ServerEntry { config, span: name.span.clone(), routes }
}

/// Keys of `[server]` that no other server has.
const PROCESS_KEYS: [&str; 11] = [
    "threads",
    "access_log",
    "shutdown_timeout",
    "upgrade_timeout",
    "max_connections",
    "max_connections_per_peer",
    "instances",
    "resident_handlers",
    "cache",
    "state",
    "admin",
];

/// Reads the keys that every server has; what is not there is taken from `base`.
fn read_server(table: &Table<'_>, base: ServerConfig, folder: &Path, problems: &Problems) -> ServerConfig {
    ServerConfig {
        listen: listen(table, folder).unwrap_or(base.listen),
        tls: tls::read(table, folder, problems).or(base.tls),
        read_header_timeout: table.clock("read_header_timeout").unwrap_or(base.read_header_timeout),
        read_timeout: table.clock("read_timeout").unwrap_or(base.read_timeout),
        write_timeout: table.clock("write_timeout").unwrap_or(base.write_timeout),
        idle_timeout: table.clock("idle_timeout").unwrap_or(base.idle_timeout),
        tls_handshake_timeout: table.clock("tls_handshake_timeout").unwrap_or(base.tls_handshake_timeout),
        stall_timeout: table.duration("stall_timeout").unwrap_or(base.stall_timeout),
        max_header_bytes: table.size("max_header_bytes", 1024..=16 << 20).unwrap_or(base.max_header_bytes),
        name: base.name,
        routes: base.routes,
    }
}

fn listen(table: &Table<'_>, folder: &Path) -> Option<Vec<ListenAddr>> {
    let texts = table.strings("listen")?;
    let written = table.value("listen")?;
    if written.get_ref().as_array().is_some_and(|list| list.is_empty()) {
        let span = written.span();
        table.bad_value(&span, "`listen` is empty; name at least one address, such as \"127.0.0.1:8080\"");
    }
    Some(texts.iter().filter_map(|text| address(table, "listen", text, folder)).collect())
}

/// An address that is the value of `key`, or one of them.
pub(super) fn address(table: &Table<'_>, key: &str, text: &At<&str>, folder: &Path) -> Option<ListenAddr> {
    match ListenAddr::parse(text.value) {
        Ok(ListenAddr::Unix(path)) => Some(ListenAddr::Unix(folder.join(path))),
        Ok(address) => Some(address),
        Err(message) => {
            table.bad_value(&text.span, format!("`{key}`: {message}"));
            None
        }
    }
}

/// Two servers cannot have one address; said here, where both are known by name.
fn one_listener_each(servers: &[ServerEntry<'_>], problems: &Problems) {
    for (index, server) in servers.iter().enumerate() {
        for address in &server.config.listen {
            let is_any_port = matches!(address, ListenAddr::Tcp(_, 0));
            let other = servers[..index].iter().find(|other| other.config.listen.contains(address));
            if let Some(other) = other.filter(|_| !is_any_port) {
                let message = format!(
                    "`listen`: {address} is an address of {} already; give [servers.{}] another",
                    title(&other.config.name),
                    server.config.name
                );
                problems.add(ProblemKind::BadValue, &server.span, message);
            }
        }
    }
}

/// How a server is called in messages.
pub(super) fn title(name: &str) -> String {
    if name == MAIN_SERVER { "[server]".to_owned() } else { format!("[servers.{name}]") }
}
