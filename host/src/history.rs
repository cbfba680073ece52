//! What was deployed, on disk: numbered records and the modules they name, so that any of them can be in force again, also after
//! the process has ended.
//!
//! In the state folder: `deployments/NUMBER.json` (a [`Record`]), `deployments/current` (the number in force),
//! `deployments/artifacts/SHA256.EXTENSION` (modules, and the text of routes.toml), which records name by content, and two files
//! for locks: `lock`, held while something is changed, and `serving`, held by every process that serves what is in force.
//!
//! Invariant: a file appears under its name complete and synced, or not at all, and what a record names is there before it; so
//! wherever a process ends, there is a deployment in force, whole. Records and artifacts never change.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use self::locks::Held;
use self::record::hex;

mod arriving;
mod locks;
mod record;
mod sweep;

pub use arriving::Arriving;
pub use locks::Serving;
pub use record::{Canary, Module, Origin, Record, Sticky, digest_of};

/// Largest file that is kept, in bytes: as large as a module may be.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// What compiled code begins with: wasmtime's is an ELF file, whatever its name is.
const COMPILED: &[u8] = b"\x7fELF";

/// The form of compiled code, which runs outside of the sandbox.
const COMPILED_FORM: &str = "cwasm";

/// The history in one state folder. Several processes may use it, one at a time.
#[derive(Clone, Debug)]
pub struct History {
    /// `deployments` in the state folder.
    folder: PathBuf,
    /// Records that are kept beside those in force.
    keep: usize,
}

impl History {
    /// The history below `state`, of which `keep` records stay beside the one in force. The folder is made, for its owner alone.
    ///
    /// # Errors
    /// When it cannot be made or written to.
    pub fn open(state: &Path, keep: usize) -> io::Result<Self> {
        let history = Self { folder: state.join("deployments"), keep: keep.max(1) };
        private(&history.artifacts())?;
        if !is_private(&history.folder)
            && fs::set_permissions(&history.folder, fs::Permissions::from_mode(0o700)).is_err()
        {
            let folder = history.folder.display();
            tracing::warn!("{folder}: others can write to it, and so change what is served; chmod go-w it");
        }
        let held = history.hold()?;
        // What is too much is no reason not to use what is there.
        if let Err(error) = history.remove_unborn(&held).and_then(|()| history.sweep(&held)) {
            tracing::warn!("{}: what is not needed cannot be removed: {error}", history.folder.display());
        }
        Ok(history)
    }

    /// Whether there is one below `state`, usable or not.
    #[must_use]
    pub fn exists(state: &Path) -> bool {
        !fs::metadata(state.join("deployments")).is_err_and(|error| error.kind() == ErrorKind::NotFound)
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

    /// All records that are kept, the latest first; one that is damaged is shown as such.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self) -> io::Result<Vec<serde_json::Value>> {
        Ok(self.numbers()?.into_iter().rev().filter_map(|number| self.shown(number)).collect())
    }

    fn shown(&self, number: u64) -> Option<serde_json::Value> {
        let shown = match self.record(number) {
            Ok(record) => serde_json::to_value(record?).map_err(io::Error::from),
            Err(error) => Err(error),
        };
        let damaged =
            |error: io::Error| serde_json::json!({ "number": number, "damaged": error.to_string() });
        Some(shown.unwrap_or_else(damaged))
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

    /// Where the content of this digest is, when it is what the digest says.
    ///
    /// # Errors
    /// When it is not there or another one; and when it is compiled code that is not known as such, or that others could have written.
    pub fn checked(&self, module: &Module) -> io::Result<PathBuf> {
        let path = self.path(module);
        if !has_digest(&path, module)? {
            let message = format!("{} is not what was deployed: it is damaged", path.display());
            return Err(io::Error::new(ErrorKind::InvalidData, message));
        }
        let mut head = [0; COMPILED.len()];
        let is_compiled = File::open(&path)?.read_exact(&mut head).is_ok() && head == *COMPILED;
        if is_compiled && !(module.form == COMPILED_FORM && is_private(&self.folder)) {
            let message = format!("{} is compiled code, which may be anybody's", path.display());
            return Err(io::Error::new(ErrorKind::PermissionDenied, message));
        }
        Ok(path)
    }

    /// Keeps these bytes, which are a module of this form (`wasm`, `wat` or `cwasm`) or the text of a file (`toml`).
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn keep(&self, bytes: &[u8], form: &str) -> io::Result<Module> {
        let form = if bytes.starts_with(COMPILED) { COMPILED_FORM } else { form };
        let module = Module { sha256: digest_of(bytes), bytes: bytes.len() as u64, form: form.to_owned() };
        let path = self.path(&module);
        if !has_digest(&path, &module).unwrap_or(false) {
            self.write(&path, bytes)?;
        }
        Ok(module)
    }

    /// As [`Self::keep`], what is in this file.
    ///
    /// # Errors
    /// When it cannot be read, or written, is no file, or has more than 256 MiB.
    pub fn keep_file(&self, file: &Path, form: &str) -> io::Result<Module> {
        // A pipe would never come to an end, and opening it alone may wait for ever.
        if !fs::metadata(file)?.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file"));
        }
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
        if !has_digest(&path, &module).unwrap_or(false) {
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
    pub fn append(&self, record: Record) -> io::Result<Record> {
        self.append_held(&self.hold()?, record)
    }

    /// As [`Self::append`] for a process that begins, if `base` is in force: what it has made was made of that.
    ///
    /// # Errors
    /// As for [`Self::append`], and when another process has put another one in force meanwhile.
    pub fn append_after(&self, base: Option<u64>, record: Record) -> io::Result<Record> {
        let held = self.hold()?;
        self.is_still(&held, base)?;
        self.append_held(&held, record)
    }

    /// Checks that `base` is in force.
    ///
    /// # Errors
    /// When another process has put another one in force.
    pub fn confirm(&self, base: u64) -> io::Result<()> {
        self.is_still(&self.hold()?, Some(base))
    }

    /// Puts a record in force that has a number already, for a process that serves it.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn reinstate(&self, number: u64) -> io::Result<()> {
        let held = self.hold()?;
        if self.known_current(&held)? == Some(number) {
            return Ok(());
        }
        tracing::warn!("deployment {number} is in force again: another process has put another one there");
        self.point_to(number)
    }

    fn is_still(&self, held: &Held, base: Option<u64>) -> io::Result<()> {
        let current = self.known_current(held)?;
        if current == base {
            return Ok(());
        }
        let current = current.map_or_else(|| "none".to_owned(), |number| number.to_string());
        let message = format!(
            "another process has changed what is in force meanwhile (to deployment {current}); start again"
        );
        Err(io::Error::new(ErrorKind::ResourceBusy, message))
    }

    fn append_held(&self, held: &Held, mut record: Record) -> io::Result<Record> {
        let last = self.numbers()?.last().copied().max(self.known_current(held)?);
        record.number = last.unwrap_or(0) + 1;
        let bytes = serde_json::to_vec_pretty(&record)?;
        let path = self.record_file(record.number);
        let written = self.write(&path, &bytes).and_then(|()| self.point_to(record.number));
        if let Err(error) = written {
            // It was never in force, and must not look as if.
            let _ = remove(&path);
            return Err(error);
        }
        // What is too old is no reason to refuse what is new.
        if let Err(error) = self.prune(held) {
            tracing::warn!("{}: old deployments cannot be removed: {error}", self.folder.display());
        }
        Ok(record)
    }

    /// The number in force; none when the file that says so is damaged, which the next deployment mends.
    fn known_current(&self, _held: &Held) -> io::Result<Option<u64>> {
        self.current().or_else(|error| match error.kind() {
            ErrorKind::InvalidData => {
                tracing::error!("{error}");
                Ok(None)
            }
            _ => Err(error),
        })
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
}

/// What was found, if it is there.
fn present<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a file, unless it is gone already.
fn remove(path: &Path) -> io::Result<()> {
    present(fs::remove_file(path)).map(drop)
}

/// Whether a file has this content.
fn has_digest(path: &Path, module: &Module) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() != module.bytes {
        return Ok(false);
    }
    let mut digest = Sha256::new();
    io::copy(&mut file, &mut digest)?;
    Ok(hex(&digest.finalize()) == module.sha256)
}

/// Whether nobody else can write to a folder.
fn is_private(folder: &Path) -> bool {
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    let own = rustix::process::geteuid().as_raw();
    fs::metadata(folder)
        .is_ok_and(|folder| folder.mode() & WRITABLE_BY_OTHERS == 0 && [own, 0].contains(&folder.uid()))
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
