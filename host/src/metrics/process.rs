//! The process, under the names that all of Prometheus' client libraries use.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::page::{Kind, Page};

pub(super) fn write(page: &mut Page, start_seconds: f64) {
    page.family("wasmux_build_info", Kind::Gauge, "Always 1; which program this is.");
    page.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.family("process_cpu_seconds_total", Kind::Counter, "Time that this process has computed.");
    page.sample(&[], cpu().as_secs_f64());
    page.family("process_start_time_seconds", Kind::Gauge, "When it has started, since the Unix epoch.");
    page.sample(&[], begun().unwrap_or(start_seconds));
    if let Ok((max, _)) = rlimit::Resource::NOFILE.get() {
        page.family("process_max_fds", Kind::Gauge, "File descriptors that may be open.");
        page.sample(&[], max);
    }
    // These two only Linux tells.
    if let Some(bytes) = resident_bytes() {
        page.family("process_resident_memory_bytes", Kind::Gauge, "Memory that it has at the moment.");
        page.sample(&[], bytes);
    }
    if let Some(count) = open_descriptors() {
        page.family("process_open_fds", Kind::Gauge, "File descriptors that are open.");
        page.sample(&[], count);
    }
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// When this process has begun, in seconds since the Unix epoch: `starttime` (proc_pid_stat(5)), which counts from the
/// start of the machine, and that (proc_stat(5)).
fn begun() -> Option<f64> {
    // USER_HZ, which Linux tells to all programs alike.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name, which may have anything in it, comes the third field.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: f64 = fields.split_whitespace().nth(22 - 3)?.parse().ok()?;
    let machine = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = machine.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + ticks / TICKS_PER_SECOND)
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib * 1024)
}

fn open_descriptors() -> Option<usize> {
    // The one that the folder itself is read with is among them.
    std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1))
}
