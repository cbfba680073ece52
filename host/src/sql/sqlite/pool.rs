//! Connections and their threads. A connection never leaves its thread; whoever leases it sends it work.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

use super::super::Access;
use super::super::error::{Error, ErrorKind};
use super::guard::Guarded;
use super::{Opener, open};

/// Instructions of SQLite's machine between two looks at the clock: a microsecond or so, but some of them copy megabytes.
const STEPS_BETWEEN_LOOKS: i32 = 200;

/// How long after its deadline a statement that only reads may take to see it. Then nobody waits for it any more.
const GRACE: Duration = Duration::from_secs(1);

/// Threads of a pool that may be busy with what nobody waits for, beside those that serve; when there are more, they count.
const STUCK_MAX: usize = 2;

type Job = Box<dyn FnOnce(&Guarded) + Send>;

/// The thread of a connection. It ends when this is dropped.
#[derive(Debug)]
struct Worker(mpsc::Sender<Job>);

/// Workers with connections to one file, which are made when they are needed.
#[derive(Debug)]
pub(super) struct Pool {
    opener: Opener,
    thread_name: String,
    permits: Arc<Semaphore>,
    shelf: Arc<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    idle: Mutex<Vec<Worker>>,
    was_opened: AtomicBool,
    /// Threads that others have taken the place of.
    stuck: AtomicUsize,
}

/// A connection for somebody. Given back by being dropped: then a transaction that is open is rolled back.
#[derive(Debug)]
pub(super) struct Lease {
    /// Always there, until it is dropped.
    worker: Option<Worker>,
    permit: Option<OwnedSemaphorePermit>,
    shelf: Arc<Shelf>,
    /// Its thread does something that it does not let be interrupted.
    is_stuck: AtomicBool,
    access: Access,
}

impl Pool {
    pub(super) fn new(name: &str, opener: Opener, count: u32) -> Self {
        let permits = Arc::new(Semaphore::new(count as usize));
        Self { opener, thread_name: format!("sql-{name}"), permits, shelf: Arc::default() }
    }

    /// Sees to it that there was a connection: the first makes the file.
    pub(super) async fn ensure_open(&self, deadline: Instant) -> Result<(), Error> {
        if !self.shelf.was_opened.load(Ordering::Acquire) {
            self.lease(deadline).await?;
        }
        Ok(())
    }

    /// Waits for a connection.
    pub(super) async fn lease(&self, deadline: Instant) -> Result<Lease, Error> {
        let permit = timeout_at(deadline, Arc::clone(&self.permits).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            let message =
                "no connection to the database became free within `timeout`: others hold all of them";
            return Err(Error::new(ErrorKind::Busy, message));
        };
        let idle = self.shelf.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let worker = match idle {
            Some(worker) => worker,
            None => {
                let worker = Worker::start(&self.thread_name, self.opener.clone()).await?;
                self.shelf.was_opened.store(true, Ordering::Release);
                worker
            }
        };
        let (shelf, is_stuck) = (Arc::clone(&self.shelf), AtomicBool::new(false));
        let access = self.opener.access;
        Ok(Lease { worker: Some(worker), permit: Some(permit), shelf, is_stuck, access })
    }
}

impl Worker {
    async fn start(thread_name: &str, opener: Opener) -> Result<Self, Error> {
        let (jobs, todo) = mpsc::channel::<Job>();
        let (opened, is_open) = oneshot::channel();
        let thread = std::thread::Builder::new().name(thread_name.to_owned());
        let spawned = thread.spawn(move || match open::open(&opener) {
            Ok(connection) => {
                if opened.send(Ok(())).is_ok() {
                    todo.iter().for_each(|job| job(&connection));
                }
            }
            Err(error) => drop(opened.send(Err(error))),
        });
        spawned.map_err(|error| lost(&format!("a thread for it cannot be started: {error}")))?;
        is_open.await.map_err(|_| lost("its thread has ended"))??;
        Ok(Self(jobs))
    }
}

/// Tells a job that nobody waits for it any more.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Lease {
    /// Has the thread do something, and waits for it. At `deadline`, or when nobody waits any more, SQLite is interrupted.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce(&Guarded) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let Some(worker) = &self.worker else { return Err(lost("its thread has ended")) };
        let is_over = Arc::<AtomicBool>::default();
        let waiting = Waiting(Arc::clone(&is_over));
        let (reply, done) = oneshot::channel();
        let job = move |connection: &Guarded| {
            let look = move || is_over.load(Ordering::Relaxed) || Instant::now() >= deadline;
            let result = if look() {
                Err(interrupted())
            } else {
                let watched = connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(look));
                let result =
                    watched.map_err(|error| lost(&error.to_string())).and_then(|()| work(connection));
                let _ = connection.progress_handler(0, None::<fn() -> bool>);
                result
            };
            // Whoever has gone does not want to know.
            let _ = reply.send(result);
        };
        worker.0.send(Box::new(job)).map_err(|_| lost("its thread has ended"))?;
        let result = match self.access {
            Access::ReadOnly => timeout_at(deadline + GRACE, done).await,
            // What it has changed may be about to last, and whoever asked has to know.
            Access::Full => Ok(done.await),
        };
        drop(waiting);
        let Ok(result) = result else {
            self.is_stuck.store(true, Ordering::Relaxed);
            return Err(interrupted());
        };
        result.map_err(|_| lost("its thread has ended"))?
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (Some(worker), mut permit) = (self.worker.take(), self.permit.take()) else { return };
        let (jobs, shelf) = (worker.0.clone(), Arc::clone(&self.shelf));
        let one_more = |stuck: usize| (stuck < STUCK_MAX).then_some(stuck + 1);
        if *self.is_stuck.get_mut()
            && shelf.stuck.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_ok()
        {
            // Another one may take its place at once. It ends when it is done.
            permit = None;
        }
        // Behind what may still run, which was told to end.
        let tidy_up = move |connection: &Guarded| {
            if permit.is_none() {
                shelf.stuck.fetch_sub(1, Ordering::AcqRel);
                return;
            }
            let is_clean = connection.is_autocommit() || connection.own("ROLLBACK").is_ok();
            if is_clean {
                shelf.idle.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
            }
            drop(permit);
        };
        // A thread that has ended is one connection less, and another is made when it is needed.
        let _ = jobs.send(Box::new(tidy_up));
    }
}

/// What an interrupted statement has failed with.
pub(super) fn interrupted() -> Error {
    Error::new(ErrorKind::Timeout, "the statement was interrupted: its `timeout` has passed")
}

fn lost(why: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the connection to the database is lost: {why}"))
}

impl Opener {
    /// The file, for messages.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }
}
