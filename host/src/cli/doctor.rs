//! `wasmux doctor`: whether this machine has what wasmux needs, and what to change if it has not.

use std::path::Path;
use std::process::{Command, ExitCode};

use clap::Args;
use serde::Serialize;

use super::{ConfigArg, OK, PROBLEMS, fail, print};
use crate::config::{Config, ProcessConfig};
use crate::{guest, machine};

/// Files that the program has open beside connections.
const OTHER_FILES: u64 = 256;

/// Files that a connection takes at most: its own, the one that its client is watched on while a request is at work, and one to an
/// upstream or whomever its handler calls.
const FILES_PER_CONNECTION: u64 = 3;

/// Pools of places, as the two engines have: that of wasi:http 0.3 is made when it is first needed.
const POOLS: u64 = 2;

/// Mappings that a place for an instance takes at most: a memory, a table, a stack, and the guards between them.
const MAPS_PER_INSTANCE: u64 = 12;

/// Mappings of everything else.
const OTHER_MAPS: u64 = 4096;

/// What the program asks the kernel's queue of new connections to hold.
const BACKLOG: u64 = 4096;

/// `wasmux doctor`.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Print a JSON array instead of lines
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// It works, but not as well as it could.
    Warn,
    /// Something will not work.
    Fail,
}

/// What was looked at, what was found, and what to do.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Check {
    fn new(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, found: found.into(), advice: None }
    }

    fn unless(self, is_good: bool, verdict: Verdict, advice: impl Into<String>) -> Self {
        if is_good { self } else { Self { verdict, advice: Some(advice.into()), ..self } }
    }
}

pub(super) fn run(args: &DoctorArgs) -> ExitCode {
    // What is wrong with the file is `check`'s to say; its defaults are good enough here.
    let config = Config::read(&args.config.config).0;
    let process = &config.process;
    let mut checks =
        vec![kernel(), pagemap(), swap(), files(process), maps(process), backlog(), memory(process)];
    checks.push(engine(process));
    checks.push(folder("state", &process.state));
    checks.extend(process.cache.as_deref().map(|cache| folder("cache", cache)));
    checks.extend([toolchain(), targets()]);
    if args.json {
        match serde_json::to_string_pretty(&checks) {
            Ok(json) => print(json),
            Err(error) => return fail(error),
        }
    } else {
        checks.iter().for_each(show);
    }
    let is_ill = checks.iter().any(|check| check.verdict == Verdict::Fail);
    if is_ill { ExitCode::from(PROBLEMS) } else { OK }
}

fn show(check: &Check) {
    let word = match check.verdict {
        Verdict::Ok => "ok",
        Verdict::Warn => "warn",
        Verdict::Fail => "FAIL",
    };
    print(format_args!("{word:<4}  {}: {}", check.name, check.found));
    if let Some(advice) = &check.advice {
        print(format_args!("      {advice}"));
    }
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn number(path: &str) -> Option<u64> {
    read(path)?.parse().ok()
}

fn kernel() -> Check {
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_else(|| std::env::consts::OS.to_owned());
    let is_linux = cfg!(target_os = "linux");
    Check::new("kernel", release).unless(
        is_linux,
        Verdict::Warn,
        "wasmux is made for Linux; elsewhere instances are made anew for each request, and upgrades are untested",
    )
}

fn pagemap() -> Check {
    let (found, is_good) = match guest::pages_are_told() {
        Ok(()) => ("PAGEMAP_SCAN works".to_owned(), true),
        Err(error) => (format!("PAGEMAP_SCAN does not: {error}"), false),
    };
    Check::new("pages", found).unless(
        is_good,
        Verdict::Warn,
        "a module's instance cannot be put back after a request, and a fresh one is made each time: use Linux 6.7 or later, \
         and let the process read /proc/self/pagemap",
    )
}

fn swap() -> Check {
    let used = read("/proc/swaps").map_or(0, |text| text.lines().count().saturating_sub(1));
    Check::new("swap", if used == 0 { "off".to_owned() } else { format!("{used} in use") }).unless(
        used == 0,
        Verdict::Warn,
        "instances that were swapped out are read back before they are put back; on a machine for wasmux alone `swapoff -a` \
         keeps the slowest requests fast",
    )
}

fn files(process: &ProcessConfig) -> Check {
    let hard = rlimit::Resource::NOFILE.get().map_or(u64::MAX, |(_, hard)| hard);
    let wanted = process.max_connections as u64 * FILES_PER_CONNECTION + OTHER_FILES;
    Check::new("open files", format!("up to {hard}; {wanted} are wanted")).unless(
        hard >= wanted,
        Verdict::Warn,
        format!("beyond it connections wait, and calls fail: `ulimit -Hn {wanted}`, LimitNOFILE={wanted}, or a lower `max_connections`"),
    )
}

fn maps(process: &ProcessConfig) -> Check {
    let Some(max) = number("/proc/sys/vm/max_map_count") else {
        return Check::new("mappings", "not limited");
    };
    let wanted = u64::from(process.instances) * POOLS * MAPS_PER_INSTANCE + OTHER_MAPS;
    Check::new("mappings", format!("up to {max}; {wanted} are wanted")).unless(
        max >= wanted,
        Verdict::Warn,
        format!("with all `instances` in use requests may fail: `sysctl vm.max_map_count={wanted}`, or fewer `instances`"),
    )
}

fn backlog() -> Check {
    let Some(max) = number("/proc/sys/net/core/somaxconn") else {
        return Check::new("backlog", "not limited");
    };
    Check::new("backlog", format!("{max}; {BACKLOG} are asked for")).unless(
        max >= BACKLOG,
        Verdict::Warn,
        format!("more new connections at a time are refused: `sysctl net.core.somaxconn={BACKLOG}`"),
    )
}

fn memory(process: &ProcessConfig) -> Check {
    let Some(bytes) = machine::memory_bytes() else { return Check::new("memory", "unknown") };
    let mib = |bytes: u64| bytes >> 20;
    let guests = process.guest_memory_bytes_max.unwrap_or(bytes / 4 * 3);
    let check =
        Check::new("memory", format!("{} MiB, of which guests may have {} MiB", mib(bytes), mib(guests)));
    let verdict = if guests < bytes { Verdict::Warn } else { Verdict::Fail };
    check.unless(
        guests <= bytes / 10 * 9,
        verdict,
        "the program and the kernel need room too: the kernel may end the process before `guest_memory` is reached; lower it",
    )
}

/// Whether guests could be run: the engine reserves its address space at once.
fn engine(process: &ProcessConfig) -> Check {
    match super::engine(process) {
        Ok(_) => Check::new("engine", format!("{} instances have their places", process.instances)),
        Err(error) => Check::new("engine", error).unless(
            false,
            Verdict::Fail,
            "nothing can be served: fewer `instances`, or more address space (`ulimit -v unlimited`)",
        ),
    }
}

/// Whether a file can be made in a folder, or in the one that it would be made in.
fn folder(name: &'static str, path: &Path) -> Check {
    let there = path.ancestors().find(|path| path.exists() || path.as_os_str().is_empty());
    let there = there.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let shown = path.display();
    // In one that is no folder this fails as well.
    match tempfile::NamedTempFile::new_in(there) {
        Ok(_) => Check::new(name, format!("{shown} can be written to")),
        Err(error) => Check::new(name, format!("{shown} cannot be written to: {error}")).unless(
            false,
            if name == "state" { Verdict::Fail } else { Verdict::Warn },
            format!("name another one, `{name}` in [server], or change its owner"),
        ),
    }
}

/// What a program says, if it can be run.
fn said(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn toolchain() -> Check {
    match said("cargo", &["--version"]) {
        Some(version) => Check::new("cargo", version),
        None => Check::new("cargo", "not found").unless(
            false,
            Verdict::Warn,
            "handlers that are crates cannot be built here; modules can be served. https://rustup.rs installs it",
        ),
    }
}

fn targets() -> Check {
    let Some(installed) = said("rustup", &["target", "list", "--installed"]) else {
        return Check::new("wasm targets", "rustup was not found, so they are not known");
    };
    let wanted = ["wasm32-wasip1", "wasm32-wasip2"];
    let missing: Vec<_> =
        wanted.into_iter().filter(|target| installed.lines().all(|line| line != *target)).collect();
    let found =
        if missing.is_empty() { wanted.join(", ") } else { format!("missing: {}", missing.join(", ")) };
    Check::new("wasm targets", found).unless(
        missing.is_empty(),
        Verdict::Warn,
        format!("the first build adds them; or now: `rustup target add {}`", missing.join(" ")),
    )
}
