//! Sessions with a server, made when they are needed. One is only ever used by one handler with one access: what a session
//! remembers, such as its prepared statements, is nothing to anybody else.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::{SimpleQueryMessage, Statement};

use super::super::error::{Error, ErrorKind};
use super::super::{Access, User};
use super::dial::{CONNECT_TIMEOUT, Connected, Dialer};

/// What a session is cleaned with after a user: what they have set, taken or made in it, also in a transaction that the server
/// may think is open. It answers how many statements they have prepared by name, which could take the place of ours.
const CLEAN: &str = "ROLLBACK; CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ROLE; RESET ALL; UNLISTEN *; SELECT \
                     pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES; SELECT pg_catalog.count(*) FROM \
                     pg_catalog.pg_prepared_statements WHERE from_sql";

/// Statements that a session keeps prepared; when there are more, all of them go.
const PREPARED_MAX: usize = 64;

/// Longer statements are not kept, in bytes.
const PREPARED_BYTES_MAX: usize = 16 << 10;

/// A session that has rested for so long is asked whether it is still there, and has so long to answer.
const REST: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(1);

/// A session with the server.
pub(super) struct Session {
    pub(super) connected: Connected,
    prepared: HashMap<Box<str>, Statement>,
    /// Whose it is, for as long as it lasts.
    owner: (Box<str>, Access),
    /// A statement of it is not what it was: no more of it must be used.
    pub(super) is_spoiled: bool,
    generation: u64,
    rests_since: Instant,
}

impl Session {
    /// The statement of this text: prepared anew, or the one that was.
    pub(super) async fn prepare(&mut self, sql: &str) -> Result<Statement, tokio_postgres::Error> {
        if let Some(known) = self.prepared.get(sql) {
            return Ok(known.clone());
        }
        let statement = self.connected.client.prepare(sql).await?;
        if sql.len() <= PREPARED_BYTES_MAX {
            if self.prepared.len() >= PREPARED_MAX {
                self.prepared.clear();
            }
            self.prepared.insert(sql.into(), statement.clone());
        }
        Ok(statement)
    }

    /// The next use of this text prepares it anew.
    pub(super) fn forget(&mut self, sql: &str) {
        self.prepared.remove(sql);
    }

    fn belongs_to(&self, user: User<'_>) -> bool {
        *self.owner.0 == *user.name && self.owner.1 == user.access
    }

    async fn is_alive(&self, deadline: Instant) -> bool {
        if self.connected.client.is_closed() {
            return false;
        }
        if self.rests_since.elapsed() < REST {
            return true;
        }
        let by = deadline.min(Instant::now() + PATIENCE);
        matches!(timeout_at(by, self.connected.client.simple_query("")).await, Ok(Ok(_)))
    }

    /// Whether the next request of its owner may have it.
    async fn is_clean(&self) -> bool {
        let cleaning = self.connected.client.simple_query(CLEAN);
        let Ok(Ok(answers)) = tokio::time::timeout(CONNECT_TIMEOUT, cleaning).await else { return false };
        let rows = answers.iter().filter_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        rows.last() == Some("0")
    }
}

/// Sessions with one server.
#[derive(Debug)]
pub(super) struct Pool {
    permits: Arc<Semaphore>,
    shelf: Arc<Shelf>,
}

/// What rests, and who makes more.
#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) dialer: Dialer,
    /// Those that rest, the longest first.
    resting: Mutex<Vec<Session>>,
    /// Sessions of an earlier one are not used again.
    generation: AtomicU64,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("owner", &self.owner).finish_non_exhaustive()
    }
}

/// A session for somebody, one of `max_connections`.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) session: Session,
    pub(super) shelf: Arc<Shelf>,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    pub(super) fn new(dialer: Dialer, connections_max: u32) -> Self {
        let shelf = Shelf { dialer, resting: Mutex::default(), generation: AtomicU64::new(0) };
        Self { permits: Arc::new(Semaphore::new(connections_max as usize)), shelf: Arc::new(shelf) }
    }

    /// Sessions that there are now are not used by later requests.
    pub(super) fn forget(&self) {
        self.shelf.generation.fetch_add(1, Ordering::AcqRel);
        self.shelf.resting().clear();
    }

    /// Waits for its turn, and then for a session of this user: one that rests, or a new one.
    pub(super) async fn lease(&self, user: User<'_>, deadline: Instant) -> Result<Lease, Error> {
        let Ok(Ok(permit)) = timeout_at(deadline, Arc::clone(&self.permits).acquire_owned()).await else {
            return Err(Error::new(
                ErrorKind::Busy,
                "no connection to the database became free within `timeout`: others hold all `max_connections`",
            ));
        };
        let shelf = Arc::clone(&self.shelf);
        while let Some(session) = shelf.take(user) {
            if session.is_alive(deadline).await {
                return Ok(Lease { session, shelf, _permit: permit });
            }
        }
        // Every permit that is out may come to a session; only what is left may rest meanwhile.
        shelf.make_room(self.permits.available_permits());
        let generation = shelf.generation.load(Ordering::Acquire);
        let connected = timeout_at(deadline, shelf.dialer.dial()).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Unavailable, "the database server did not answer within `timeout`"))
        })?;
        let session = Session {
            connected,
            prepared: HashMap::new(),
            owner: (user.name.into(), user.access),
            is_spoiled: false,
            generation,
            rests_since: Instant::now(),
        };
        Ok(Lease { session, shelf, _permit: permit })
    }
}

impl Shelf {
    fn resting(&self) -> MutexGuard<'_, Vec<Session>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session of this user that has rested for the shortest time.
    fn take(&self, user: User<'_>) -> Option<Session> {
        let mut resting = self.resting();
        let found = resting.iter().rposition(|session| session.belongs_to(user))?;
        Some(resting.remove(found))
    }

    /// Closes those that have rested longest, until no more than so many do.
    fn make_room(&self, sessions_max: usize) {
        let mut resting = self.resting();
        let surplus = resting.len().saturating_sub(sessions_max);
        resting.drain(..surplus);
    }
}

impl Lease {
    /// Gives a session back whose last statement has ended: cleaned at once, so that none of its locks outlives the request.
    pub(super) async fn give_back(self) {
        let Self { mut session, shelf, _permit } = self;
        if session.is_spoiled || !session.is_clean().await {
            return;
        }
        session.rests_since = Instant::now();
        let mut resting = shelf.resting();
        if session.generation == shelf.generation.load(Ordering::Acquire) {
            resting.push(session);
        }
    }
}
