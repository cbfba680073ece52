//! The task that changes an embedded store: one transaction for all that waits, and one sync to the disk.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::file::{File, Opened};
use super::gave_up;
use super::table::{Tables, now_ms};
use crate::kv::{Change, Changed, Error, Result};

/// Operations that may wait; further ones wait to be let in.
pub(super) const JOBS_MAX: usize = 256;
/// Bytes of values that may wait.
pub(super) const QUEUE_BYTES_MAX: usize = 64 << 20;
/// Expired entries that one transaction takes out, beside its changes: more than it can add, so that they never gather.
const SWEPT_MAX: usize = 2 * JOBS_MAX;
/// How often a store that nobody changes is looked after.
const REST: Duration = Duration::from_secs(1);

/// Changes of one caller, and where the answer goes.
pub(super) struct Job {
    pub(super) changes: Vec<(String, Change)>,
    pub(super) store_bytes_max: u64,
    pub(super) reply: oneshot::Sender<Result<Vec<Changed>>>,
    pub(super) _room: OwnedSemaphorePermit,
}

/// Writes until nobody can send any more.
pub(super) async fn run(file: Arc<File>, mut queue: mpsc::Receiver<Job>) {
    let mut next_expiry = 0;
    loop {
        let mut jobs = Vec::new();
        match tokio::time::timeout(REST, queue.recv_many(&mut jobs, JOBS_MAX)).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(_) => {
                file.let_go();
                if now_ms() < next_expiry || !file.is_open() {
                    continue;
                }
            }
        }
        match file.open().await {
            Err(error) => jobs.into_iter().for_each(|job| job.answer(Err(error.clone()))),
            Ok(opened) => {
                let file = Arc::clone(&file);
                let done = tokio::task::spawn_blocking(move || commit(&file, &opened, jobs)).await;
                next_expiry = done.unwrap_or_else(|error| {
                    // Those who wait hear of it by the drop of their jobs.
                    tracing::error!("key-value store: {}", gave_up(&error));
                    0
                });
            }
        }
    }
}

impl Job {
    fn answer(self, answer: Result<Vec<Changed>>) {
        // Whoever has gone meanwhile does not need it.
        let _ = self.reply.send(answer);
    }
}

/// Makes the changes, sees them to the disk, and answers; then says when the next entry expires.
fn commit(file: &File, opened: &Opened, mut jobs: Vec<Job>) -> u64 {
    // Nobody has been promised anything about those that were given up.
    jobs.retain(|job| !job.reply.is_closed());
    let written = write(opened, &jobs).map_err(|error| file.failed(error));
    let written = written.and_then(|(answers, next_expiry, has_changed)| {
        if has_changed {
            file.committed(opened)?;
        }
        Ok((answers, next_expiry))
    });
    match written {
        Ok((answers, next_expiry)) => {
            jobs.into_iter().zip(answers).for_each(|(job, answer)| job.answer(answer));
            next_expiry
        }
        Err(error) => {
            tracing::error!("key-value store: {error}");
            jobs.into_iter().for_each(|job| job.answer(Err(error.clone())));
            0
        }
    }
}

type Written = (Vec<Result<Vec<Changed>, Error>>, u64, bool);

fn write(opened: &Opened, jobs: &[Job]) -> Result<Written, redb::Error> {
    let transaction = opened.database.begin_write()?;
    let mut tables = Tables::open(&transaction)?;
    let now = now_ms();
    tables.sweep(now, SWEPT_MAX)?;
    let mut answers = Vec::with_capacity(jobs.len());
    for job in jobs {
        answers.push(tables.apply(&job.changes, job.store_bytes_max, now)?);
    }
    let next_expiry = tables.next_expiry()?;
    let has_changed = tables.finish()?;
    // A transaction without changes is given up by its drop, and costs no sync.
    if has_changed {
        transaction.commit()?;
    }
    Ok((answers, next_expiry, has_changed))
}
