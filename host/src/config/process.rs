//! What `[server]` says about the process, whatever its servers are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::admin::{self, AdminConfig};
use super::problem::Problems;
use super::table::Table;
use crate::guest::{CompileIn, EngineSettings};
use crate::machine;
use crate::trace::TraceSettings;

/// How requests are written to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// Not at all.
    Off,
    /// One line for people.
    Text,
    /// One JSON object a line.
    Json,
    /// Apache's combined log format.
    Combined,
}

/// Checked settings of the process, which all of its servers share. The README's reference table says what each does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessConfig {
    /// Worker threads; `None`: one for each core.
    pub threads: Option<usize>,
    /// `None`: text on a terminal, else off.
    pub access_log: Option<AccessLogFormat>,
    /// After this a drain is cut short.
    pub shutdown_timeout: Duration,
    /// A process that is to take over has this long to become ready.
    pub upgrade_timeout: Duration,
    /// Open connections of all servers; beyond it idle ones make room for new ones, which wait
    /// in the kernel's queue when there are none.
    pub max_connections: usize,
    /// Open connections of one peer: an IPv4 address, or an IPv6 network of 64 bits. Beyond it idle ones make
    /// room for new ones, which are closed at once when there are none. Unix sockets are not counted. `None`: 1000,
    /// and peers on this machine, which may be proxies, are not counted either.
    pub max_connections_per_peer: Option<usize>,
    /// Guest instances at work at one time; beyond it requests wait for their handler's `queue_timeout`, then get 503.
    pub instances: u32,
    /// Handlers whose code is in memory: beyond it the ones that were not used for longest leave it, and find it in the cache
    /// again.
    pub resident_handlers: u32,
    /// Memory of all of them together, in bytes; `None`: three quarters of what the machine or the control group has.
    pub guest_memory_bytes_max: Option<u64>,
    /// Native stack that a guest's calls may use, in bytes.
    pub stack_bytes_max: u64,
    /// Time that compiling one module may take.
    pub compile_timeout: Duration,
    /// Memory that it may take, in bytes.
    pub compile_memory_bytes_max: u64,
    /// Folder for compiled code; `None`: no cache.
    pub cache: Option<PathBuf>,
    /// Folder for what has to last: key-value stores, files of databases. Made when it is first needed.
    pub state: PathBuf,
    /// Deployments on record, beside the one in force.
    pub deployments: usize,
    /// The admin listener, unless it is off.
    pub admin: Option<AdminConfig>,
    /// `[tracing]`; `None`: nothing is traced.
    pub tracing: Option<TraceSettings>,
}

impl Default for ProcessConfig {
    fn default() -> Self {
        Self {
            threads: None,
            access_log: None,
            shutdown_timeout: Duration::from_secs(30),
            // It may have to build crates first.
            upgrade_timeout: Duration::from_secs(300),
            max_connections: 10_000,
            max_connections_per_peer: None,
            instances: 1_000,
            resident_handlers: 1_000,
            guest_memory_bytes_max: None,
            stack_bytes_max: 512 << 10,
            compile_timeout: Duration::from_secs(300),
            compile_memory_bytes_max: 4 << 30,
            cache: default_cache(),
            state: PathBuf::from(STATE_FOLDER),
            deployments: 10,
            admin: Some(AdminConfig::in_state(Path::new(STATE_FOLDER))),
            tracing: None,
        }
    }
}

impl ProcessConfig {
    /// What all guests together may take, and how they are compiled: as `compile` says, since [`Self::compile_in_child`]
    /// is only for a program that can be started as `wasmux compile`.
    #[must_use]
    pub fn engine(&self, compile: CompileIn) -> EngineSettings {
        EngineSettings {
            instances: self.instances,
            memory_bytes_max: self.guest_memory_bytes_max.unwrap_or_else(default_guest_memory),
            stack_bytes_max: self.stack_bytes_max,
            compile,
            resident_handlers: self.resident_handlers,
        }
    }

    /// In a process of its own, within `compile_timeout` and `compile_memory`.
    #[must_use]
    pub fn compile_in_child(&self) -> CompileIn {
        CompileIn::Child { timeout: self.compile_timeout, memory_bytes_max: self.compile_memory_bytes_max }
    }
}

/// Where state is kept unless `state` says so, beside routes.toml.
pub(super) const STATE_FOLDER: &str = ".wasmux";

/// Three quarters of what there is: the rest is for everything that is no guest.
fn default_guest_memory() -> u64 {
    machine::memory_bytes().map_or(u64::MAX, |bytes| bytes / 4 * 3)
}

/// `$XDG_CACHE_HOME/wasmux`, else `~/.cache/wasmux` (XDG Base Directory Specification).
fn default_cache() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("wasmux"))
}

/// Reads the keys of `[server]` that are about the process.
pub(super) fn read(table: &Table<'_>, folder: &Path, problems: &Problems) -> ProcessConfig {
    let defaults = ProcessConfig::default();
    let state = folder.join(table.string("state").map_or(STATE_FOLDER, |text| text.value));
    let access_log = [
        ("off", AccessLogFormat::Off),
        ("text", AccessLogFormat::Text),
        ("json", AccessLogFormat::Json),
        ("combined", AccessLogFormat::Combined),
    ];
    let connections = |key| table.integer(key, 1..=1_000_000).map(|connections| connections as usize);
    ProcessConfig {
        threads: table.integer("threads", 1..=1024).map(|threads| threads as usize),
        access_log: table.choice("access_log", &access_log),
        shutdown_timeout: table.duration("shutdown_timeout").unwrap_or(defaults.shutdown_timeout),
        upgrade_timeout: table.duration("upgrade_timeout").unwrap_or(defaults.upgrade_timeout),
        max_connections: connections("max_connections").unwrap_or(defaults.max_connections),
        max_connections_per_peer: connections("max_connections_per_peer"),
        instances: table
            .integer("instances", 1..=20_000)
            .map_or(defaults.instances, |instances| instances as u32),
        resident_handlers: table
            .integer("resident_handlers", 1..=10_000)
            .map_or(defaults.resident_handlers, |handlers| handlers as u32),
        guest_memory_bytes_max: table.size("guest_memory", 1 << 20..=u64::MAX),
        stack_bytes_max: table.size("stack", 64 << 10..=16 << 20).unwrap_or(defaults.stack_bytes_max),
        compile_timeout: table.duration("compile_timeout").unwrap_or(defaults.compile_timeout),
        compile_memory_bytes_max: table
            .size("compile_memory", 256 << 20..=u64::MAX)
            .unwrap_or(defaults.compile_memory_bytes_max),
        cache: match table.string("cache") {
            None => defaults.cache,
            Some(text) if text.value == "off" => None,
            Some(text) => Some(folder.join(text.value)),
        },
        deployments: table
            .integer("deployments", 1..=1_000)
            .map_or(defaults.deployments, |deployments| deployments as usize),
        admin: admin::read(table, folder, &state, problems),
        state,
        tracing: None, // a table of its own
    }
}
