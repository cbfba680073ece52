//! Who may change what is in the folder, and when: locks between processes, that end with them.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::History;

/// How long another process may hold the folder.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// The folder, held while something is changed in it.
#[derive(Debug)]
pub(super) struct Held(#[expect(dead_code, reason = "held for its lock")] File);

/// What is in force is served by this process, or by none, for as long as this is there.
#[derive(Debug)]
pub struct Serving(#[expect(dead_code, reason = "held for its lock")] File);

impl History {
    /// To be held by a process that serves what is in force, so that no other changes it behind its back.
    ///
    /// # Errors
    /// When somebody changes it at this moment, or the lock cannot be had.
    pub fn serve(&self) -> io::Result<Serving> {
        let file = self.lock_file("serving")?;
        wait_for(|| file.try_lock_shared(), &self.folder)?;
        Ok(Serving(file))
    }

    /// To be held by who changes what the next process will serve. `None` when one serves now.
    ///
    /// # Errors
    /// When the lock cannot be had.
    pub fn serve_nothing(&self) -> io::Result<Option<Serving>> {
        let file = self.lock_file("serving")?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Serving(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Waits for other processes to be done.
    pub(super) fn hold(&self) -> io::Result<Held> {
        let file = self.lock_file("lock")?;
        wait_for(|| file.try_lock(), &self.folder)?;
        Ok(Held(file))
    }

    fn lock_file(&self, name: &str) -> io::Result<File> {
        File::options().create(true).append(true).mode(0o600).open(self.folder.join(name))
    }
}

/// Tries to lock until other processes are done.
fn wait_for(lock: impl Fn() -> Result<(), TryLockError>, folder: &Path) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        match lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if begun.elapsed() > LOCK_WAIT => {
                let message = format!("{} is held by another process", folder.display());
                return Err(io::Error::new(ErrorKind::TimedOut, message));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}
