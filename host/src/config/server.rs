//! `[server]`: the process and its listeners.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use super::problem::Problems;
use super::table::{At, Table};

/// Where to listen, as written: Go's net.Listen addresses, or `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddr {
    /// Host (empty: all interfaces, IPv6 and IPv4) and port (0: any free one).
    Tcp(String, u16),
    /// A unix domain socket.
    Unix(PathBuf),
}

impl ListenAddr {
    /// Parses `:8080`, `127.0.0.1:8080`, `[::1]:8080`, `localhost:0` or `unix:/run/wasmux.sock`.
    ///
    /// # Errors
    /// A sentence that says what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err("`unix:` needs a path, as in \"unix:/run/wasmux.sock\"".to_owned()),
                path => Ok(Self::Unix(path.into())),
            };
        }
        let wanted = || {
            format!(
                "`{text}` is not an address; write \":8080\", \"127.0.0.1:8080\", \"[::1]:8080\" or \"unix:/path\""
            )
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(wanted)?;
        let port = port.parse().map_err(|_| wanted())?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inner) => inner,
            None if host.contains(':') || host.contains('/') || host.contains(char::is_whitespace) => {
                return Err(wanted());
            }
            None => host,
        };
        Ok(Self::Tcp(host.to_owned(), port))
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How requests are written to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// Not at all.
    Off,
    /// One line for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Checked settings of `[server]`. The README's reference table says what each does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Addresses to listen on; never empty.
    pub listen: Vec<ListenAddr>,
    /// Where probes are answered; `None`: nowhere.
    pub admin: Option<ListenAddr>,
    /// Worker threads; `None`: one for each core.
    pub threads: Option<usize>,
    /// `None`: text on a terminal, else off.
    pub access_log: Option<AccessLogFormat>,
    /// After this a drain is cut short.
    pub shutdown_timeout: Duration,
    /// A process that is to take over has this long to become ready.
    pub upgrade_timeout: Duration,
    /// Waiting for, and reading of, the head of one request.
    pub read_header_timeout: Duration,
    /// A client that takes nothing of what is written to it for so long is cut off.
    pub stall_timeout: Duration,
    /// Request line and header fields of one request, in bytes; beyond it 431.
    pub max_header_bytes: u64,
    /// Open connections; beyond it new ones wait in the kernel's queue.
    pub max_connections: usize,
    /// Guest instances at work at one time; beyond it requests wait up to 1 s, then get 503.
    pub instances: u32,
    /// Folder for compiled code; `None`: no cache.
    pub cache: Option<PathBuf>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: vec![ListenAddr::Tcp("127.0.0.1".into(), 8080)],
            admin: None,
            threads: None,
            access_log: None,
            shutdown_timeout: Duration::from_secs(30),
            // It may have to build crates first.
            upgrade_timeout: Duration::from_secs(300),
            read_header_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(60),
            max_header_bytes: 1 << 20,
            max_connections: 10_000,
            instances: 1_000,
            cache: default_cache(),
        }
    }
}

/// `$XDG_CACHE_HOME/wasmux`, else `~/.cache/wasmux` (XDG Base Directory Specification).
fn default_cache() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("wasmux"))
}

impl ServerConfig {
    /// The keys whose values differ in `other`, of those that a running process cannot change.
    #[must_use]
    pub fn fixed_differences(&self, other: &Self) -> Vec<&'static str> {
        // Field by field, so that a new one is not forgotten. `cache` is looked at by each reload.
        let Self {
            listen,
            admin,
            threads,
            access_log,
            shutdown_timeout,
            upgrade_timeout,
            read_header_timeout,
            stall_timeout,
            max_header_bytes,
            max_connections,
            instances,
            cache: _,
        } = self;
        let same = [
            ("listen", *listen == other.listen),
            ("admin", *admin == other.admin),
            ("threads", *threads == other.threads),
            ("access_log", *access_log == other.access_log),
            ("shutdown_timeout", *shutdown_timeout == other.shutdown_timeout),
            ("upgrade_timeout", *upgrade_timeout == other.upgrade_timeout),
            ("read_header_timeout", *read_header_timeout == other.read_header_timeout),
            ("stall_timeout", *stall_timeout == other.stall_timeout),
            ("max_header_bytes", *max_header_bytes == other.max_header_bytes),
            ("max_connections", *max_connections == other.max_connections),
            ("instances", *instances == other.instances),
        ];
        same.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect()
    }
}

pub(super) fn read(table: Option<(&DeTable<'_>, &Problems)>, folder: &Path) -> ServerConfig {
    let defaults = ServerConfig::default();
    let Some((entries, problems)) = table else { return defaults };
    let table = Table::new("[server]", entries, problems);
    let access_log =
        [("off", AccessLogFormat::Off), ("text", AccessLogFormat::Text), ("json", AccessLogFormat::Json)];
    let config = ServerConfig {
        listen: listen(&table, folder).unwrap_or(defaults.listen),
        admin: admin(&table, folder),
        threads: table.integer("threads", 1..=1024).map(|threads| threads as usize),
        access_log: table.choice("access_log", &access_log),
        shutdown_timeout: table.duration("shutdown_timeout").unwrap_or(defaults.shutdown_timeout),
        upgrade_timeout: table.duration("upgrade_timeout").unwrap_or(defaults.upgrade_timeout),
        read_header_timeout: table.duration("read_header_timeout").unwrap_or(defaults.read_header_timeout),
        stall_timeout: table.duration("stall_timeout").unwrap_or(defaults.stall_timeout),
        max_header_bytes: table
            .size("max_header_bytes", 8192..=16 << 20)
            .unwrap_or(defaults.max_header_bytes),
        max_connections: table
            .integer("max_connections", 1..=1_000_000)
            .map_or(defaults.max_connections, |connections| connections as usize),
        instances: table
            .integer("instances", 1..=20_000)
            .map_or(defaults.instances, |instances| instances as u32),
        cache: match table.string("cache") {
            None => defaults.cache,
            Some(text) if text.value == "off" => None,
            Some(text) => Some(folder.join(text.value)),
        },
    };
    table.finish();
    config
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

fn admin(table: &Table<'_>, folder: &Path) -> Option<ListenAddr> {
    address(table, "admin", &table.string("admin")?, folder)
}

fn address(table: &Table<'_>, key: &str, text: &At<&str>, folder: &Path) -> Option<ListenAddr> {
    match ListenAddr::parse(text.value) {
        Ok(ListenAddr::Unix(path)) => Some(ListenAddr::Unix(folder.join(path))),
        Ok(address) => Some(address),
        Err(message) => {
            table.bad_value(&text.span, format!("`{key}`: {message}"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let tcp = |host: &str, port| Ok(ListenAddr::Tcp(host.into(), port));
        assert_eq!(ListenAddr::parse(":8080"), tcp("", 8080));
        assert_eq!(ListenAddr::parse("127.0.0.1:0"), tcp("127.0.0.1", 0));
        assert_eq!(ListenAddr::parse("[::1]:80"), tcp("::1", 80));
        assert_eq!(ListenAddr::parse("localhost:1"), tcp("localhost", 1));
        assert_eq!(ListenAddr::parse("unix:/run/x"), Ok(ListenAddr::Unix("/run/x".into())));
        for bad in ["", "8080", "::1:80", "host:", "host:99999", "http://x:80", "unix:", "a b:1"] {
            assert!(ListenAddr::parse(bad).is_err(), "{bad:?}");
        }
    }
}
