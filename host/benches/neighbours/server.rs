//! The program under test, with one hostile guest of `tests/guests/hostile` and a good one.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// The frames.
pub(crate) const ABIS: [&str; 3] = ["serve_http", "p2", "p3"];

/// What is put into any of them.
pub(crate) const COMPUTING: [&str; 14] = [
    "loop",
    "storm",
    "fill",
    "copy",
    "table_fill",
    "memory_beg",
    "memory_grow",
    "table_beg",
    "table_grow",
    "recurse",
    "divide",
    "start_loop",
    "start_grow",
    "start_trap",
];

/// What is put into the first.
pub(crate) const MODULES: [&str; 5] = ["log_flood", "endless", "trickle", "headers", "sleep"];

/// A running server with `/` (fixed), `/good` (a guest) and `/hostile`.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl Server {
    /// Starts it on two threads; the hostile guest is `(ABI, name)` and has these limits.
    pub(crate) fn start(program: &Path, hostile: Option<(&str, &str)>, limits: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (abi, name) = hostile.unwrap_or(("serve_http", "hello"));
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
        write("hostile.wat", &text(abi, name));
        write("good.wat", &text("serve_http", "hello"));
        write(
            "routes.toml",
            &format!(
                "[server]\nthreads = 2\naccess_log = \"off\"\n\
                 [handlers.good]\nwasm = \"good.wat\"\n[handlers.hostile]\nwasm = \"hostile.wat\"\n\
                 [handlers.hostile.limits]\n{limits}\n\
                 [routes]\n\"/{{$}}\" = {{ respond = \"fixed\\n\" }}\n\"/good\" = \"good\"\n\"/hostile\" = \"hostile\"\n"
            ),
        );
        let mut child = Command::new(program)
            .current_dir(folder.path())
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("WASMUX_LOG", "off") // what is refused at the start is said all the same
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("listening on http://").and_then(|text| text.parse().ok());
        Self { address: address.expect("an address"), child, _folder: folder }
    }

    /// User and system time of all its threads.
    pub(crate) fn cpu_time(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("the server runs");
        let run_time = |task: std::fs::DirEntry| -> Option<u64> {
            let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse().ok()
        };
        Duration::from_nanos(tasks.filter_map(|task| run_time(task.ok()?)).sum())
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        let sent = Command::new("sh").args(["-c", &format!("kill -s TERM {}", self.child.id())]).status();
        assert!(sent.is_ok_and(|status| status.success()), "SIGTERM is sent");
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("a status")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A guest as text: a part in a frame.
fn text(abi: &str, name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/guests/hostile");
    let read = |name: &str| std::fs::read_to_string(folder.join(format!("{name}.wat"))).expect("a fixture");
    read(abi).replace("HERE)", &format!("\n{})", read(name)))
}
