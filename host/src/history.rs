//! What was deployed, on disk: numbered records and the modules they name, so that any of them can be in force again, also after
//! the process has ended.
//!
//! In the state folder: `deployments/NUMBER.json` (a [`Record`]), `deployments/current` (the number in force), and
//! `deployments/artifacts/SHA256.EXTENSION` (modules, and the text of routes.toml), which records name by content.
//!
//! Invariant: a file appears under its name complete and synced, or not at all, and what a record names is there before it; so
//! wherever a process ends, there is a deployment in force, whole. Records and artifacts never change.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

mod arriving;
mod record;

pub use arriving::Arriving;
pub use record::{Canary, Module, Origin, Record, Sticky, digest_of};

/// Largest file that is kept, in bytes: as large as a module may be.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// How long another process may hold the folder.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// The history in one state folder. Several processes may use it, one at a time.
#[derive(Clone, Debug)]
pub struct History {
    /// `deployments` in the state folder.
    folder: PathBuf,
    /// Records that are kept beside those in force.
    keep: usize,
}

/// The folder, held while something is changed in it.
#[derive(Debug)]
struct Held(#[expect(dead_code, reason = "held for its lock")] File);

impl History {
    /// The history below `state`, of which the latest `keep` records stay. The folder is made, for its owner alone.
    ///
    /// # Errors
    /// When it cannot be made or written to.
    pub fn open(state: &Path, keep: usize) -> io::Result<Self> {
        let history = Self { folder: state.join("deployments"), keep: keep.max(1) };
        private(&history.artifacts())?;
        let held = history.hold()?;
        history.sweep(&held)?;
        Ok(history)
    }

    /// The history below `state` as it is, to look into.
    ///
    /// # Errors
    /// When there is none.
    pub fn look(state: &Path) -> io::Result<Self> {
        let folder = state.join("deployments");
        fs::metadata(&folder)?;
        Ok(Self { folder, keep: usize::MAX })
    }

    fn artifacts(&self) -> PathBuf {
        self.folder.join("artifacts")
    }

    fn record_file(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number}.json"))
    }

    /// The number in force when the last process ended, if any ever was.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn current(&self) -> io::Result<Option<u64>> {
        match fs::read_to_string(self.folder.join("current")) {
            Ok(text) => text.trim().parse().map(Some).map_err(|_| damaged("current")),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The record of this number, if it is kept.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn record(&self, number: u64) -> io::Result<Option<Record>> {
        match fs::read(self.record_file(number)) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map(Some).map_err(|_| damaged(&format!("{number}.json")))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The numbers of all records that are kept, ascending.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn numbers(&self) -> io::Result<BTreeSet<u64>> {
        let mut numbers = BTreeSet::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".json"));
            numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
        Ok(numbers)
    }

    /// Where the content of this digest is.
    #[must_use]
    pub fn path(&self, module: &Module) -> PathBuf {
        self.artifacts().join(format!("{}.{}", module.sha256, module.form))
    }

    /// Keeps these bytes, which are a module of this form (`wasm`, `wat` or `cwasm`) or the text of a file (`toml`).
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn keep(&self, bytes: &[u8], form: &str) -> io::Result<Module> {
        let module = Module { sha256: digest_of(bytes), bytes: bytes.len() as u64, form: form.to_owned() };
        let path = self.path(&module);
        // Written whole or not at all, so that its length says enough.
        if fs::metadata(&path).is_ok_and(|found| found.len() == module.bytes) {
            return Ok(module);
        }
        self.write(&path, bytes)?;
        Ok(module)
    }

    /// As [`Self::keep`], what is in this file.
    ///
    /// # Errors
    /// When it cannot be read, or written, or has more than 256 MiB.
    pub fn keep_file(&self, file: &Path, form: &str) -> io::Result<Module> {
        let mut bytes = Vec::new();
        File::open(file)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            let message = format!(
                "it is larger than {} MiB, which is as large as a module may be",
                FILE_BYTES_MAX >> 20
            );
            return Err(io::Error::new(ErrorKind::FileTooLarge, message));
        }
        self.keep(&bytes, form)
    }

    /// Begins to keep a module that comes piece by piece.
    ///
    /// # Errors
    /// When there is no place for it.
    pub fn arriving(&self) -> io::Result<Arriving> {
        private(&self.artifacts())?;
        Arriving::new(NamedTempFile::new_in(self.artifacts())?)
    }

    /// As [`Self::keep`], what has arrived.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_arrived(&self, arrived: Arriving, form: &str) -> io::Result<Module> {
        let (file, sha256, bytes) = arrived.into_parts();
        let module = Module { sha256, bytes, form: form.to_owned() };
        let path = self.path(&module);
        if !fs::metadata(&path).is_ok_and(|found| found.len() == module.bytes) {
            self.put(file, &path)?;
        }
        Ok(module)
    }

    /// The text of the file that a record was made from.
    ///
    /// # Errors
    /// When it is gone or is no text.
    pub fn text(&self, record: &Record) -> io::Result<String> {
        fs::read_to_string(self.path(&record.routes))
    }

    /// Gives a record the next number and puts it in force.
    ///
    /// # Errors
    /// When it cannot be written; what was in force before still is.
    pub fn append(&self, mut record: Record) -> io::Result<Record> {
        let held = self.hold()?;
        let last = self.numbers()?.last().copied().max(self.current()?);
        record.number = last.unwrap_or(0) + 1;
        let bytes = serde_json::to_vec_pretty(&record)?;
        self.write(&self.record_file(record.number), &bytes)?;
        self.point_to(record.number)?;
        // What is too old is no reason to refuse what is new.
        if let Err(error) = self.prune(&held) {
            tracing::warn!("{}: old deployments cannot be removed: {error}", self.folder.display());
        }
        Ok(record)
    }

    fn point_to(&self, number: u64) -> io::Result<()> {
        self.write(&self.folder.join("current"), format!("{number}\n").as_bytes())
    }

    /// Writes aside, then as [`Self::put`].
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let folder = path.parent().unwrap_or(&self.folder);
        private(folder)?;
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        self.put(file, path)
    }

    /// Syncs what was written aside, renames it, and syncs the folder.
    fn put(&self, file: NamedTempFile, path: &Path) -> io::Result<()> {
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(path.parent().unwrap_or(&self.folder))?.sync_all()
    }

    /// Waits for other processes to be done.
    fn hold(&self) -> io::Result<Held> {
        let mut options = File::options();
        let file = options.create(true).append(true).mode(0o600).open(self.folder.join("lock"))?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Held(file)),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if begun.elapsed() > LOCK_WAIT => {
                    let message = format!("{} is held by another process", self.folder.display());
                    return Err(io::Error::new(ErrorKind::TimedOut, message));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Removes records beyond those that are kept, and what only they name.
    fn prune(&self, held: &Held) -> io::Result<()> {
        let numbers = self.numbers()?;
        let excess = numbers.len().saturating_sub(self.keep);
        let current = self.current()?;
        for number in numbers.into_iter().take(excess).filter(|number| Some(*number) != current) {
            fs::remove_file(self.record_file(number))?;
        }
        self.sweep(held)
    }

    /// Removes all artifacts but these files: of a history without records.
    ///
    /// # Errors
    /// When one of them cannot be removed.
    pub fn remove_others(&self, files: &BTreeSet<PathBuf>) -> io::Result<()> {
        for entry in fs::read_dir(self.artifacts())? {
            let path = entry?.path();
            if !files.contains(&path) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Removes artifacts that no record names. Those that are younger than a deployment takes are left: they may be for the next.
    fn sweep(&self, _held: &Held) -> io::Result<()> {
        const YOUNG: Duration = Duration::from_secs(3600);
        let mut named = BTreeSet::new();
        for number in self.numbers()? {
            // One that is damaged names nothing that could be served.
            let Ok(Some(record)) = self.record(number) else { continue };
            named.extend(record.artifacts().map(|module| self.path(module)));
        }
        let unnamed = |path: &Path| !named.contains(path);
        for entry in fs::read_dir(self.artifacts())? {
            let entry = entry?;
            let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
            if unnamed(&entry.path()) && age > YOUNG {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// Makes a folder for its owner alone, unless it is there.
fn private(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn damaged(name: &str) -> io::Error {
    io::Error::new(
        ErrorKind::InvalidData,
        format!("deployments/{name} in the state folder is damaged; remove it"),
    )
}

#[cfg(test)]
mod tests;
