//! A server that runs, alone on its core.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::rows::{Row, Server};

/// The core that servers have to themselves; the load has the next one.
const CORE: &str = "0";

/// A process that ends when this is dropped, and its folder with it.
pub(crate) struct Running {
    child: Child,
    pub(crate) address: SocketAddr,
    folder: TempDir,
}

impl Running {
    /// Starts the row's server on its core, where all of its threads stay, and waits until it listens.
    pub(crate) fn start(row: &Row) -> Self {
        Self::start_with(row, &[], false)
    }

    /// Starts it under another program, whose arguments it is, and which may write to its folder; wasmux itself is part of
    /// this program then.
    pub(crate) fn start_under(row: &Row, under: &[&str]) -> Self {
        Self::start_with(row, under, true)
    }

    fn start_with(row: &Row, under: &[&str], is_inside: bool) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // From the beginning, so that a server that counts cores finds one.
        let mut command = Command::new("taskset");
        command.args(["-c", CORE]).args(under).args(program(row, folder.path(), is_inside));
        // A backtrace for each error would be measured too.
        command.current_dir(folder.path()).env("WASMUX_LOG", "warn").env_remove("RUST_BACKTRACE");
        command.stdout(Stdio::piped());
        if matches!(row.server, Server::Wasmtime(..)) {
            // That is where it says where it listens.
            command.stderr(Stdio::piped());
        }
        let mut child = command.spawn().expect("taskset (util-linux) starts the server");
        let address = match child.stderr.as_mut() {
            Some(stderr) => listening_address(stderr),
            None => listening_address(child.stdout.as_mut().expect("standard output is piped")),
        };
        Self { child, address, folder }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it was started.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The row's program with its arguments, set up in the folder; with `is_inside` wasmux is part of this program.
fn program(row: &Row, folder: &Path, is_inside: bool) -> Vec<OsString> {
    let own = || std::env::current_exe().expect("our own path").into_os_string();
    match &row.server {
        Server::Native => {
            vec![own(), "--native".into(), format!("{:?}", row.yardstick).to_lowercase().into()]
        }
        Server::Wasmux(handlers) => {
            // Valgrind has no room for the address space of a thousand.
            let instances = if is_inside { "instances = 2\n" } else { "" };
            let server = "[server]\nlisten = [\"127.0.0.1:0\"]\nthreads = 1\naccess_log = \"off\"\n";
            let text = format!("{server}{instances}{handlers}");
            std::fs::write(folder.join("routes.toml"), text).expect("routes.toml is written");
            match is_inside {
                true => vec![own(), "--serve".into(), folder.into()],
                false => vec![env!("CARGO_BIN_EXE_wasmux").into(), "serve".into()],
            }
        }
        Server::Wasmtime(program, options) => {
            let fixed = ["serve", "--addr=127.0.0.1:0", "-Scli"].into_iter();
            let options = fixed.chain(options.iter().map(String::as_str)).map(OsString::from);
            std::iter::once(program.into()).chain(options).collect()
        }
        Server::Program(program) => vec![program.into()],
    }
}

/// The first line that a server prints ends in its address.
fn listening_address(output: impl Read) -> SocketAddr {
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).expect("the server says where it listens");
    let address = line.trim().trim_end_matches('/').rsplit_once('/');
    address.and_then(|(_, address)| address.parse().ok()).unwrap_or_else(|| panic!("no address in {line:?}"))
}
