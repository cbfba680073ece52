//! A folder with a routes.toml and the real `wasmux` run in it, alone or as a server on free ports.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::DEADLINE;
use super::client::{Conn, Response};
use super::lines::Lines;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_wasmux");

/// Compiled guests are kept here for all tests, and for the next run.
const CACHE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/cache");

/// For commands that end by themselves; some compile crates.
const COMMAND_DEADLINE: Duration = Duration::from_secs(300);

/// A command of the program under test, with nothing in its environment that would change what it does.
pub(crate) fn wasmux(folder: &Path) -> Command {
    command_of(Path::new(PROGRAM), folder)
}

fn command_of(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env_remove("WASMUX_LOG").env("XDG_CACHE_HOME", CACHE).stdin(Stdio::null());
    command
}

/// Runs a command to its end; it must not take for ever.
pub(crate) fn finish(command: &mut Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (pid, (sender, receiver)) = (child.id(), channel());
    std::thread::spawn(move || sender.send(child.wait_with_output().unwrap()));
    receiver.recv_timeout(COMMAND_DEADLINE).unwrap_or_else(|_| {
        kill(pid, "KILL");
        panic!("{command:?} does not end")
    })
}

/// Sends a signal; the shell can do that without unsafe code.
pub(crate) fn kill(pid: u32, signal: &str) {
    let command = format!("kill -s {signal} {pid}");
    assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success(), "{command}");
}

/// A temporary folder with a routes.toml.
pub(crate) struct Site {
    folder: PathBuf,
    /// Removes the folder in the end.
    temporary: Option<TempDir>,
    log_level: &'static str,
    listeners: usize,
}

impl Site {
    /// A folder with this routes.toml. `serve` listens on a free port unless the text says where.
    pub(crate) fn new(routes: &str) -> Self {
        let temporary = tempfile::Builder::new().prefix("wasmux-").tempdir().unwrap();
        let mut site = Self::at(temporary.path());
        site.temporary = Some(temporary);
        site.file("routes.toml", routes)
    }

    /// A folder that is there already.
    pub(crate) fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), temporary: None, log_level: "info", listeners: 1 }
    }

    /// Adds a file; folders above it are made.
    pub(crate) fn file(self, name: &str, contents: impl AsRef<[u8]>) -> Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
        self
    }

    /// Adds the fixture `tests/guests/NAME.wat` as `NAME.wat`, without its folder.
    pub(crate) fn guest(self, name: &str) -> Self {
        let source =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/guests").join(format!("{name}.wat"));
        let text = std::fs::read(&source).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        let file = Path::new(&format!("{name}.wat")).file_name().unwrap().to_str().unwrap().to_owned();
        self.file(&file, text)
    }

    /// The value of `WASMUX_LOG`.
    pub(crate) fn log_level(mut self, level: &'static str) -> Self {
        self.log_level = level;
        self
    }

    /// How many listeners the text names.
    pub(crate) fn listeners(mut self, count: usize) -> Self {
        self.listeners = count;
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Runs `wasmux` in the folder to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        finish(wasmux(&self.folder).args(args))
    }

    /// As [`Self::run`], with this standard input.
    pub(crate) fn run_with_input(&self, args: &[&str], input: &str) -> Output {
        std::fs::write(self.path("stdin"), input).unwrap();
        let input = std::fs::File::open(self.path("stdin")).unwrap();
        finish(wasmux(&self.folder).args(args).stdin(input))
    }

    /// Starts `wasmux serve` and waits until it listens.
    pub(crate) fn serve(self) -> Server {
        self.serve_with(&[])
    }

    /// As [`Self::serve`], with further arguments.
    pub(crate) fn serve_with(self, args: &[&str]) -> Server {
        let command = self.serve_command(Path::new(PROGRAM), args);
        Server::start(command, self)
    }

    /// The command that [`Self::serve_with`] starts, of this file.
    pub(crate) fn serve_command(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = command_of(program, &self.folder);
        command.arg("serve").args(args).env("WASMUX_LOG", self.log_level);
        let text = std::fs::read_to_string(self.path("routes.toml")).unwrap_or_default();
        if !text.contains("listen =") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command
    }
}

/// What the log says of processes that are to take over, before their number.
const STARTING: &str = "upgrade: process ";
/// And of one that has.
const REPLACED_BY: &str = "serves from now on: process ";

fn number_after(line: &str, words: &str) -> Option<u32> {
    let rest = line.split(words).nth(1)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// A running `wasmux serve`, killed when dropped; a test that panics shows its log.
pub(crate) struct Server {
    child: Child,
    urls: Vec<String>,
    /// Standard error: the program's log.
    pub(crate) log: Lines,
    /// Standard output: the addresses, then the access log.
    pub(crate) out: Lines,
    /// The folder it runs in.
    pub(crate) site: Site,
}

impl Server {
    /// Starts a command of [`Site::serve_command`].
    pub(crate) fn start(mut command: Command, site: Site) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = Lines::collect(child.stdout.take().unwrap());
        let log = Lines::collect(child.stderr.take().unwrap());
        // From here on a panic must kill the child and show its log.
        let mut server = Self { child, urls: Vec::new(), log, out, site };
        let lines = server.out.wait_for_many("listening on ", server.site.listeners);
        server.urls = lines.iter().map(|line| line["listening on ".len()..].to_owned()).collect();
        server
    }

    /// The URLs of all listeners.
    pub(crate) fn urls(&self) -> &[String] {
        &self.urls
    }

    /// The addresses of all TCP listeners.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let texts = self.urls.iter().filter_map(|url| url.split_once("://"));
        texts.filter_map(|(_, address)| address.parse().ok()).collect()
    }

    /// The address of the first TCP listener.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses()[0]
    }

    /// A connection to the first TCP listener.
    pub(crate) fn connect(&self) -> Conn {
        Conn::tcp(self.address())
    }

    /// Sends a request and reads its response, on a connection of its own.
    pub(crate) fn request(&self, method: &str, target: &str, fields: &[&str], body: &[u8]) -> Response {
        let mut conn = self.connect();
        conn.request(method, target, fields, body);
        conn.response()
    }

    pub(crate) fn get(&self, target: &str) -> Response {
        self.request("GET", target, &[], b"")
    }

    /// Sends a signal: `TERM`, `INT`, `HUP`, `USR2`.
    pub(crate) fn signal(&self, name: &str) {
        kill(self.pid(), name);
    }

    /// The process that serves: after an upgrade another one.
    pub(crate) fn pid(&self) -> u32 {
        let replaced = self.log.all().into_iter().rev().find_map(|line| number_after(&line, REPLACED_BY));
        replaced.unwrap_or_else(|| self.child.id())
    }

    /// Has the program replaced by a new process and waits until that one serves; answers which one it is.
    pub(crate) fn upgrade(&self) -> u32 {
        let count = self.log.count(REPLACED_BY) + 1;
        self.signal("USR2");
        let lines = self.log.wait_for_many(REPLACED_BY, count);
        number_after(&lines[count - 1], REPLACED_BY).unwrap()
    }

    /// Waits for the end of the process that was started first.
    pub(crate) fn wait_for_first(&mut self) -> ExitStatus {
        let until = Instant::now() + DEADLINE;
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status,
                None => assert!(Instant::now() < until, "process {} does not end", self.child.id()),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the program's end; fails when it does not come.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.out.wait_for_end();
        self.log.wait_for_end();
        self.child.wait().unwrap()
    }

    /// Starts the program again in the same folder, when it has ended.
    pub(crate) fn start_again(mut self) -> Self {
        self.wait();
        self.start_again_as_it_is()
    }

    /// As [`Self::start_again`], when its end was waited for.
    pub(crate) fn start_again_as_it_is(mut self) -> Self {
        std::mem::replace(&mut self.site, Site::at(Path::new("."))).serve()
    }

    /// Memory that is resident now, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let log = self.log.all();
        for pid in log.iter().filter_map(|line| number_after(line, STARTING)) {
            // The number may be somebody else's by now.
            let folder = std::fs::read_link(format!("/proc/{pid}/cwd"));
            if folder.ok() == self.site.folder.canonicalize().ok() {
                kill(pid, "KILL");
            }
        }
        if std::thread::panicking() {
            eprintln!("--- log of wasmux\n{}\n---", self.log.all().join("\n"));
        }
    }
}
