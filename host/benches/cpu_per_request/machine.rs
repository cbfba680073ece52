//! What a figure depends on and a reader cannot see: machine, compiler, commit, and how the program was called.

use std::path::Path;
use std::process::Command;

/// Says all of it, in lines that a table can follow.
///
/// To be asked before this process is pinned: afterwards it sees one core.
pub(crate) fn describe() -> String {
    let cpu = file("/proc/cpuinfo").lines().find_map(|line| {
        Some(line.strip_prefix("model name")?.trim_start_matches([' ', '\t', ':']).to_owned())
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = file("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("unknown");
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    format!(
        "machine: {}, {cores} cores, Linux {}; load average at the start {load}\n\
         rustc:   {}\n\
         commit:  {}\n\
         command: cpu_per_request {}\n",
        cpu.as_deref().unwrap_or("unknown CPU"),
        file("/proc/sys/kernel/osrelease").trim(),
        output("rustc", &["--version"]),
        output("git", &["describe", "--always", "--dirty"]),
        arguments.join(" "),
    )
}

fn file(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// What a program prints in the repository.
fn output(program: &str, arguments: &[&str]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}
