//! What the machine, or the control group that the program runs in, has.

use std::path::{Path, PathBuf};

/// Memory that may be used, in bytes: the machine's (`MemTotal`), or the limit of the control group or of one around it
/// when that is lower. `None` where there is no saying.
#[must_use]
pub fn memory_bytes() -> Option<u64> {
    let total = read(Path::new("/proc/meminfo")).and_then(|text| mem_total(&text));
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let limits = limit_files(&groups).into_iter().filter_map(|file| limit(&read(&file)?));
    total.into_iter().chain(limits).min()
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The line `MemTotal:  16384 kB` of /proc/meminfo (proc_meminfo(5)), whose kB are KiB.
fn mem_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// A limit in bytes; none where it is `max` (cgroups(7)). That of version 1 is a huge number then.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// Where the limits of a process stand whose /proc/self/cgroup is this: those of its group and of all around it.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let inside = Path::new(path.trim_start_matches('/'));
        // In a container the path may be the host's, which is not there; the group itself is then at the root.
        files.extend(inside.ancestors().map(|group| Path::new(root).join(group).join(file)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_the_kernel_says() {
        assert_eq!(mem_total("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
        assert_eq!(mem_total("MemFree: 1 kB\n"), None);
        assert_eq!(mem_total("MemTotal: 99999999999999999999 kB\n"), None);
        assert_eq!(limit("1073741824\n"), Some(1 << 30));
        assert_eq!(limit("max\n"), None);
    }

    #[test]
    fn groups_around_count_too() {
        let files = |groups| limit_files(groups).into_iter().map(|path| path.display().to_string()).collect();
        let files: Vec<String> = files("0::/a/b\n");
        let expected =
            ["/sys/fs/cgroup/a/b/memory.max", "/sys/fs/cgroup/a/memory.max", "/sys/fs/cgroup/memory.max"];
        assert_eq!(files, expected);
        let first = limit_files("3:cpu,cpuacct:/x\n4:memory:/y\n");
        assert_eq!(first[0], Path::new("/sys/fs/cgroup/memory/y/memory.limit_in_bytes"));
        assert_eq!(first.len(), 2);
        assert!(limit_files("garbage").is_empty());
    }
}
