//! A store in a file of this machine: crash-safe, without a server.
//!
//! Reads answer at once, from a snapshot of the latest commit. Changes go to one task, which commits all that have
//! gathered while the last commit was on its way to the disk (`writer`), and answers when they are there.
//!
//! Several processes may have the same store open: one that is being replaced by an upgrade and the one that replaces it, a
//! server and `wasmux kv`. redb keeps them from writing at the same time, and `file` from reading what is no longer so.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use tokio::sync::{Semaphore, mpsc, oneshot};

use self::file::File;
use self::writer::{JOBS_MAX, Job, QUEUE_BYTES_MAX};
use super::{Change, Changed, Error, Page, Result};

mod file;
mod table;
mod writer;

/// What a cursor begins with.
const CURSOR_MARK: char = '>';

/// A file with entries. It is opened by the first operation.
#[derive(Debug)]
pub struct Embedded {
    file: Arc<File>,
    jobs: OnceLock<mpsc::Sender<Job>>,
    /// Bytes of values that may wait to be written.
    room: Arc<Semaphore>,
}

impl Embedded {
    /// The store in this file, which is made, with the folders above it, by the first change.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            file: Arc::new(File::new(path)),
            jobs: OnceLock::new(),
            room: Arc::new(Semaphore::new(QUEUE_BYTES_MAX)),
        }
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let Some(snapshot) = self.snapshot().await? else { return Ok(None) };
        // Here, in the caller's thread: it takes less than to go to another one and back.
        table::get(&snapshot.entries, key, table::now_ms(), <[u8]>::to_vec)
            .map_err(|error| self.file.failed(error))
    }

    pub(super) async fn exists(&self, key: &str) -> Result<bool> {
        let Some(snapshot) = self.snapshot().await? else { return Ok(false) };
        let found = table::get(&snapshot.entries, key, table::now_ms(), |_| ());
        Ok(found.map_err(|error| self.file.failed(error))?.is_some())
    }

    pub(super) async fn list(&self, prefix: &str, cursor: Option<&str>, keys_max: usize) -> Result<Page> {
        // Marked, so that none is empty.
        let cursor =
            cursor.map(|cursor| cursor.strip_prefix(CURSOR_MARK).ok_or(Error::Cursor)).transpose()?;
        let Some(snapshot) = self.snapshot().await? else { return Ok(Page::default()) };
        let (prefix, cursor) = (prefix.to_owned(), cursor.map(str::to_owned));
        let list =
            move || table::list(&snapshot.entries, &prefix, cursor.as_deref(), keys_max, table::now_ms());
        // A page may be many reads.
        let listed = tokio::task::spawn_blocking(list).await.map_err(|error| gave_up(&error))?;
        let mut page = listed.map_err(|error| self.file.failed(error))?;
        page.cursor = page.cursor.map(|cursor| format!("{CURSOR_MARK}{cursor}"));
        Ok(page)
    }

    /// Makes changes when there is room for them; answers when they will survive whatever happens to this process.
    pub(super) async fn change(
        &self,
        changes: Vec<(String, Change)>,
        store_bytes_max: u64,
    ) -> Result<Vec<Changed>> {
        if !self.file.is_there() && changes.iter().all(|(_, change)| matches!(change, Change::Delete)) {
            return Ok(vec![Changed::Made(false); changes.len()]);
        }
        let bytes = changes.iter().map(|(_, change)| change.bytes()).sum::<usize>().min(QUEUE_BYTES_MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(bytes as u32).await;
        let room = room.map_err(|error| gave_up(&error))?;
        let (reply, answer) = oneshot::channel();
        let job = Job { changes, store_bytes_max, reply, _room: room };
        self.jobs().send(job).await.map_err(|error| gave_up(&error))?;
        answer.await.map_err(|error| gave_up(&error))?
    }

    /// The entries; none where no file is: looking makes none.
    async fn snapshot(&self) -> Result<Option<Arc<file::Snapshot>>> {
        if !self.file.is_there() {
            return Ok(None);
        }
        if !self.file.is_open() {
            self.file.open().await?;
            // It also looks after the snapshot.
            self.jobs();
        }
        self.file.snapshot().map(Some)
    }

    fn jobs(&self) -> &mpsc::Sender<Job> {
        self.jobs.get_or_init(|| {
            let (sender, receiver) = mpsc::channel(JOBS_MAX);
            tokio::spawn(writer::run(Arc::clone(&self.file), receiver));
            sender
        })
    }
}

/// What should have answered has ended.
fn gave_up(error: &dyn std::error::Error) -> Error {
    Error::Unavailable(format!("it gave no answer: {error}"))
}
