//! A new process in place of this one: started with our listeners, waited for, and only then trusted.
//!
//! Invariant: until the new process has said that it is ready, nothing that serves here is disturbed.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use command_fds::{CommandFdExt as _, FdMapping};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep, timeout};

use crate::handover::{FIRST_FD, LISTEN_FDS, Note, READY, READY_FD, SOCKETS};
use crate::listener::Listener;

/// A new process that has closed its pipe has this long to end by itself, so that its exit status can be told.
const EXIT_WAIT: Duration = Duration::from_secs(5);

/// How often it is asked whether it has ended.
const EXIT_POLL: Duration = Duration::from_millis(20);

/// `WATCHDOG_PID` names this process (sd_watchdog_enabled(3)); without it the next one feels addressed as well.
const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// How this program was started, kept to start it again.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    folder: PathBuf,
}

impl Program {
    /// To be called when the program starts: later its file may be another one, which is the point.
    ///
    /// # Errors
    /// When the system does not say which file this program is or in which folder it was started.
    pub fn running() -> io::Result<Self> {
        let arguments: Vec<_> = std::env::args_os().collect();
        let folder = std::env::current_dir()?;
        let running = std::env::current_exe()?;
        let named = arguments.first().and_then(|name| find(name, &folder));
        // As it was called, with symbolic links, so that one that is pointed elsewhere is followed. A file that is not
        // there any more has been replaced already.
        let is_running = |named: &PathBuf| running.canonicalize().is_err() || is_same_file(named, &running);
        let path = named.filter(is_running).unwrap_or(running);
        Ok(Self { path, arguments, folder })
    }

    /// Starts the program again with `listeners`, and waits until it is ready or has failed. When this future is dropped
    /// before, the new process is killed.
    ///
    /// # Errors
    /// Why the new process does not take over; by then it has ended.
    pub async fn start_anew(&self, listeners: &[Arc<Listener>], limit: Duration) -> Result<u32, String> {
        if std::process::id() == 1 {
            return Err("this is process 1, with which a container ends; start it under an init, or replace the container".to_owned());
        }
        let (mut started, pipe) = self
            .spawn(listeners)
            .map_err(|error| format!("{} cannot be started: {error}", self.path.display()))?;
        let pid = started.process.id();
        tracing::info!("upgrade: process {pid} is starting ({})", self.path.display());
        match timeout(limit, says_ready(pipe)).await {
            Ok(true) => {
                started.fate = Fate::Serves;
                Ok(pid)
            }
            Ok(false) => Err(match started.exit_status().await {
                Some(status) => format!("process {pid} ended before it was ready ({status})"),
                None => format!("process {pid} cannot say that it is ready any more, and was killed"),
            }),
            Err(_) => Err(format!(
                "process {pid} was not ready within `upgrade_timeout` ({}), and was killed",
                humantime::format_duration(limit)
            )),
        }
    }

    fn spawn(&self, listeners: &[Arc<Listener>]) -> io::Result<(Started, pipe::Receiver)> {
        let handed =
            listeners.iter().map(|listener| listener.to_hand_over()).collect::<io::Result<Vec<_>>>()?;
        let (sockets, notes): (Vec<OwnedFd>, Vec<Note>) = handed.into_iter().unzip();
        let (ours, theirs) = io::pipe()?;
        let count = sockets.len();
        let descriptors = sockets.into_iter().chain([OwnedFd::from(theirs)]);
        let mappings = (FIRST_FD..).zip(descriptors);
        let mappings = mappings.map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd }).collect();
        let mut command = Command::new(&self.path);
        if let Some((name, rest)) = self.arguments.split_first() {
            command.arg0(name).args(rest);
        }
        command
            .current_dir(&self.folder)
            .env_remove(WATCHDOG_PID)
            .env(LISTEN_FDS, count.to_string())
            .env(READY_FD, (FIRST_FD + count as RawFd).to_string())
            .env(SOCKETS, serde_json::to_string(&notes)?)
            .fd_mappings(mappings)
            .map_err(io::Error::other)?;
        let started = Started { process: command.spawn()?, fate: Fate::MayFail };
        // With the command our copy of the writing end goes, so that the pipe ends with the new process.
        drop(command);
        Ok((started, pipe::Receiver::from_owned_fd(ours.into())?))
    }
}

/// Whether the word comes before the end of the pipe.
async fn says_ready(mut pipe: pipe::Receiver) -> bool {
    let mut word = [0; READY.len()];
    pipe.read_exact(&mut word).await.is_ok() && word == READY
}

/// A new process; killed when dropped, unless it serves.
struct Started {
    process: Child,
    fate: Fate,
}

#[derive(PartialEq, Eq)]
enum Fate {
    MayFail,
    Serves,
}

impl Started {
    /// How it ended; `None` when it does not.
    async fn exit_status(&mut self) -> Option<ExitStatus> {
        let until = Instant::now() + EXIT_WAIT;
        while Instant::now() < until {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Some(status);
            }
            sleep(EXIT_POLL).await;
        }
        None
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if self.fate == Fate::MayFail {
            // Both fail only when it has ended already.
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

/// The file that a program's name stands for (execvp(3)).
fn find(name: &OsStr, folder: &Path) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Some(folder.join(name));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|part| folder.join(part).join(name)).find(|file| file.is_file())
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    one.canonicalize().is_ok_and(|one| other.canonicalize().is_ok_and(|other| one == other))
}
