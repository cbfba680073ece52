//! The file of an embedded store: open or not, and the snapshot that reads are answered from.
//!
//! A snapshot is kept, as making one costs more than the read itself. Whether another process has committed since, a number
//! in a file beside says, which every commit changes before it is acknowledged.

use std::fs::OpenOptions;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use redb::{ConcurrencyMode, Database, DatabaseError, ReadOnlyTable, ReadableDatabase as _};

use super::super::{Error, Result};
use super::table::{self, ENTRIES};

/// Pages of a store that are kept in memory, in bytes.
const CACHE_BYTES: usize = 64 << 20;
/// How long a file is waited for that somebody else has for himself, and how often it is looked at.
const LOCKED_TIME: Duration = Duration::from_secs(4);
const LOCKED_PAUSE: Duration = Duration::from_millis(10);

/// The file, whoever has it open.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    opened: ArcSwapOption<Opened>,
    opening: tokio::sync::Mutex<()>,
    snapshot: ArcSwapOption<Snapshot>,
}

/// An open file.
pub(super) struct Opened {
    pub(super) database: Database,
    /// Holds the number that says which commit is the latest.
    latest: std::fs::File,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}

/// The entries as a commit has left them.
pub(super) struct Snapshot {
    /// The number of that commit, or of one before it.
    commit: u64,
    pub(super) entries: ReadOnlyTable<&'static str, &'static [u8]>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("commit", &self.commit).finish_non_exhaustive()
    }
}

impl File {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            opened: ArcSwapOption::empty(),
            opening: tokio::sync::Mutex::new(()),
            snapshot: ArcSwapOption::empty(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.opened.load().is_some()
    }

    /// Whether there is a file, so that looking does not make one.
    pub(super) fn is_there(&self) -> bool {
        self.is_open() || self.path.exists()
    }

    /// Opens the file, unless it is open.
    pub(super) async fn open(self: &Arc<Self>) -> Result<Arc<Opened>> {
        let _one_at_a_time = self.opening.lock().await;
        if let Some(opened) = self.opened.load_full() {
            return Ok(opened);
        }
        let file = Arc::clone(self);
        let opened = tokio::task::spawn_blocking(move || file.open_now()).await;
        let opened = Arc::new(opened.map_err(|error| self.unavailable(&error))??);
        self.opened.store(Some(Arc::clone(&opened)));
        Ok(opened)
    }

    fn open_now(&self) -> Result<Opened> {
        if let Some(folder) = self.path.parent() {
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|error| self.unavailable(&error))?;
        }
        let latest = self.path.with_extension("latest");
        let latest = for_owner(&latest).map_err(|error| self.unavailable(&error))?;
        // redb takes an empty file for a new one.
        for_owner(&self.path).map_err(|error| self.unavailable(&error))?;
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES).set_concurrency_mode(ConcurrencyMode::MultiWriter);
        let until = Instant::now() + LOCKED_TIME;
        let database = loop {
            match builder.create(&self.path) {
                Ok(database) => break database,
                Err(DatabaseError::DatabaseAlreadyOpen) if Instant::now() < until => {
                    std::thread::sleep(LOCKED_PAUSE);
                }
                Err(error) => return Err(self.unavailable(&error)),
            }
        };
        table::make(&database).map_err(|error| self.unavailable(&error))?;
        Ok(Opened { database, latest })
    }

    /// The entries as the latest commit has left them.
    pub(super) fn snapshot(&self) -> Result<Arc<Snapshot>> {
        let opened = self.opened.load();
        let Some(opened) = opened.as_ref() else {
            return Err(Error::Unavailable("it was closed just now".to_owned()));
        };
        let commit = opened.latest().map_err(|error| self.unavailable(&error))?;
        match self.snapshot.load_full() {
            Some(snapshot) if snapshot.commit == commit => Ok(snapshot),
            _ => self.renew(opened, commit).map_err(|error| self.failed(error)),
        }
    }

    /// `commit` was read before, so that what is taken here has it.
    fn renew(&self, opened: &Opened, commit: u64) -> Result<Arc<Snapshot>, redb::Error> {
        let entries = opened.database.begin_read()?.open_table(ENTRIES)?;
        let snapshot = Arc::new(Snapshot { commit, entries });
        self.snapshot.store(Some(Arc::clone(&snapshot)));
        Ok(snapshot)
    }

    /// Says to all processes that there was a commit.
    pub(super) fn committed(&self, opened: &Opened) -> Result<()> {
        // Not counted, as two processes could come to the same number.
        let written = opened.latest.write_all_at(&rand::random::<[u8; 8]>(), 0);
        written.map_err(|error| self.unavailable(&error))?;
        self.snapshot().map(drop)
    }

    /// Lets go of a snapshot that is not the latest any more: the pages it holds could not be used again.
    pub(super) fn let_go(&self) {
        let (opened, snapshot) = (self.opened.load(), self.snapshot.load());
        if let (Some(opened), Some(snapshot)) = (opened.as_ref(), snapshot.as_ref())
            && opened.latest().ok() != Some(snapshot.commit)
        {
            self.snapshot.store(None);
        }
    }

    /// What has gone wrong. The file is opened again for the next operation, which repairs what can be repaired.
    pub(super) fn failed(&self, error: impl Into<redb::Error>) -> Error {
        let error = error.into();
        self.snapshot.store(None);
        self.opened.store(None);
        self.unavailable(&error)
    }

    pub(super) fn unavailable(&self, error: &dyn std::error::Error) -> Error {
        Error::Unavailable(format!("{}: {error}", self.path.display()))
    }
}

/// Opens a file, and makes it if it is not there, for nobody but the owner.
fn for_owner(path: &Path) -> std::io::Result<std::fs::File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

impl Opened {
    fn latest(&self) -> std::io::Result<u64> {
        let mut number = [0; 8];
        // An empty file is one without a commit.
        self.latest.read_at(&mut number, 0).map(|_| u64::from_le_bytes(number))
    }
}
