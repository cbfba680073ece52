//! SQL databases: SQLite in the state folder, or a PostgreSQL server. Knows nothing of wasm, requests or configuration.
//!
//! A result is complete before anybody sees its first row: within `max_rows` and `max_bytes`, and with its connection free
//! again. So whoever takes long over rows keeps nobody waiting, and every error of a statement is the statement's.
//! Invariant: a statement that fails, or whose caller goes away, ends its transaction, which is rolled back.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::stats::{Known, Operations};

mod error;
mod migrations;
mod postgres;
mod rows;
mod sqlite;
mod words;

pub use error::{Error, ErrorKind};
pub use migrations::{Folder, Migration, MigrationError};
pub use rows::{Row, Rows, Value};

use postgres::Postgres;
use sqlite::Sqlite;

/// Longest text of a statement, in bytes; beyond it the statement is refused.
pub const STATEMENT_BYTES_MAX: usize = 256 << 10;

/// Most parameters of a statement; beyond it the statement is refused.
pub const PARAMETERS_MAX: usize = 1_000;

/// What a database and each of its users is held to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows of one result; a longer one is an error.
    pub rows_max: u64,
    /// What one result may take, in bytes; a larger one is an error, before it is in memory.
    pub bytes_max: u64,
    /// Time for one statement, waiting for a connection included; then it is interrupted.
    pub timeout: Duration,
    /// Time for one transaction, from its begin; then it is rolled back.
    pub transaction_timeout: Duration,
    /// Connections: of SQLite those that read, beside the one that writes. Whoever finds none waits.
    pub connections_max: u32,
    /// The file of SQLite, in bytes; what would make it larger fails. Without effect on PostgreSQL.
    pub size_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rows_max: 10_000,
            bytes_max: 4 << 20,
            timeout: Duration::from_secs(5),
            transaction_timeout: Duration::from_secs(10),
            connections_max: 8,
            size_max: 1 << 30,
        }
    }
}

/// Where a database is.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// A file of SQLite, which is made when it is not there.
    Sqlite(PathBuf),
    /// A server. It never prints its password.
    Postgres(Box<tokio_postgres::Config>),
}

impl Location {
    /// Reads `postgres://USER:PASSWORD@HOST:PORT/NAME`.
    ///
    /// # Errors
    /// A sentence that says what to write, without any of the text, which may hold a password.
    pub fn from_url(url: &str) -> Result<Self, &'static str> {
        const WANTED: &str = "is no URL of a PostgreSQL database; write postgres://USER:PASSWORD@HOST:PORT/NAME, with special \
                              characters percent-encoded";
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(WANTED);
        }
        let config: tokio_postgres::Config = url.parse().map_err(|_| WANTED)?;
        if config.get_hosts().is_empty() {
            return Err(WANTED);
        }
        Ok(Self::Postgres(Box::new(config)))
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(f, "{}", file.display()),
            Self::Postgres(config) => {
                write!(f, "PostgreSQL at {:?}, {:?}", config.get_hosts(), config.get_dbname())
            }
        }
    }
}

/// All that makes a database what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// NAME of `[sql.NAME]`.
    pub name: String,
    /// Where it is.
    pub location: Location,
    /// What it is held to.
    pub limits: Limits,
}

/// What somebody may do with a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Queries that change nothing.
    ReadOnly,
    /// Everything but what would reach beyond the database.
    Full,
}

/// Who uses a database, and what for.
#[derive(Clone, Copy, Debug)]
pub struct User<'n> {
    /// Whoever has the same name may find what an earlier request has left in a session of a server; nobody else may.
    pub name: &'n str,
    /// What may be done.
    pub access: Access,
}

/// What a statement has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Executed {
    /// Rows inserted, updated or deleted.
    pub rows: u64,
    /// SQLite: the row id of the row that was inserted last. None on PostgreSQL, where `RETURNING` says as much.
    pub last_insert_id: Option<i64>,
}

/// A database that is open to many. Nothing is connected, no file is made, before it is first used.
#[derive(Debug)]
pub struct Database {
    settings: Settings,
    backend: Backend,
    /// What was asked of it.
    operations: Arc<Operations>,
}

#[derive(Debug)]
enum Backend {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

/// The databases of a process: who opens the same again gets the same.
#[derive(Debug, Default)]
pub struct Databases {
    open: Mutex<Vec<Weak<Database>>>,
    /// What was asked of each name, whatever its settings.
    operations: Known<String, Operations>,
}

impl Databases {
    /// The database with these settings.
    ///
    /// # Errors
    /// When the certificates that a server would be checked with cannot be read.
    pub fn open(&self, settings: &Settings) -> Result<Arc<Database>, Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|database| database.strong_count() > 0);
        let known = open.iter().filter_map(Weak::upgrade).find(|known| known.settings == *settings);
        if let Some(known) = known {
            return Ok(known);
        }
        let operations = self.operations.get(settings.name.clone(), |_| Operations::default());
        let database = Arc::new(Database::new(settings.clone(), operations)?);
        open.push(Arc::downgrade(&database));
        Ok(database)
    }

    /// What was asked of those that somebody uses, or has used a while ago, by name.
    #[must_use]
    pub fn operations(&self) -> Vec<(String, Arc<Operations>)> {
        self.operations.all()
    }
}

impl Database {
    fn new(settings: Settings, operations: Arc<Operations>) -> Result<Self, Error> {
        let backend = match &settings.location {
            Location::Sqlite(file) => Backend::Sqlite(Sqlite::new(&settings.name, file, &settings.limits)),
            Location::Postgres(config) => Backend::Postgres(Postgres::new(config, &settings.limits)?),
        };
        Ok(Self { settings, backend, operations })
    }

    /// What was asked of it: statements, and transactions that were begun or committed.
    #[must_use]
    pub fn operations(&self) -> &Operations {
        &self.operations
    }

    /// NAME of `[sql.NAME]`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Runs a statement in a transaction of its own, for what it changes.
    ///
    /// # Errors
    /// See [`ErrorKind`]. On SQLite nothing has changed then.
    pub async fn execute(&self, user: User<'_>, sql: &str, values: Vec<Value>) -> Result<Executed, Error> {
        check(sql, &values)?;
        let deadline = Instant::now() + self.settings.limits.timeout;
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.execute(user.access, sql, values, deadline).await,
            Backend::Postgres(postgres) => postgres.execute(user, sql, &values, deadline).await,
        }
    }

    /// Runs a statement in a transaction of its own, for the rows that it answers with.
    ///
    /// # Errors
    /// As for [`Self::execute`].
    pub async fn query(&self, user: User<'_>, sql: &str, values: Vec<Value>) -> Result<Rows, Error> {
        check(sql, &values)?;
        let deadline = Instant::now() + self.settings.limits.timeout;
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.query(user.access, sql, values, deadline).await,
            Backend::Postgres(postgres) => postgres.query(user, sql, &values, deadline).await,
        }
    }

    /// Begins a transaction. On SQLite there is one that may write at a time; further ones wait for it.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn begin(&self, user: User<'_>) -> Result<Transaction, Error> {
        let limits = &self.settings.limits;
        let now = Instant::now();
        let held = match &self.backend {
            Backend::Sqlite(sqlite) => Held::Sqlite(sqlite.begin(user.access, now + limits.timeout).await?),
            Backend::Postgres(postgres) => {
                Held::Postgres(Box::new(postgres.begin(user, now + limits.timeout).await?))
            }
        };
        Ok(Transaction::new(held, limits.timeout, now + limits.transaction_timeout))
    }

    /// Applies what of a folder's migrations was not applied yet, each in a transaction of its own; answers how many those
    /// were. Waits without a runtime, and so must not be called inside of one.
    ///
    /// # Errors
    /// The first thing that is in the way. What was applied before stays.
    pub fn migrate(&self, folder: &Folder) -> Result<usize, MigrationError> {
        match &self.settings.location {
            Location::Sqlite(file) => sqlite::migrate(file, &self.settings.limits, folder),
            Location::Postgres(config) => {
                let migrated = postgres::migrate(config, folder);
                if let Backend::Postgres(postgres) = &self.backend
                    && migrated != Ok(0)
                {
                    postgres.forget();
                }
                migrated
            }
        }
    }
}

fn check(sql: &str, values: &[Value]) -> Result<(), Error> {
    if sql.len() > STATEMENT_BYTES_MAX {
        let message = format!("the statement is longer than {STATEMENT_BYTES_MAX} bytes");
        return Err(Error::new(ErrorKind::Statement, message));
    }
    if sql.contains('\0') {
        return Err(Error::new(ErrorKind::Statement, "the statement contains a NUL"));
    }
    if values.len() > PARAMETERS_MAX {
        let message = format!("the statement has more than {PARAMETERS_MAX} parameters");
        return Err(Error::new(ErrorKind::Parameters, message));
    }
    Ok(())
}

/// The connection of a transaction. Dropping it rolls back.
#[derive(Debug)]
enum Held {
    Sqlite(sqlite::Begun),
    Postgres(Box<postgres::Begun>),
}

/// A transaction. Dropping it rolls it back; so does any statement that fails, and its time, when that is up.
#[derive(Debug)]
pub struct Transaction {
    /// None while a statement runs, and when it has ended.
    held: Arc<Mutex<Option<Held>>>,
    timeout: Duration,
    ends_at: Instant,
    clock: AbortHandle,
}

impl Transaction {
    fn new(held: Held, timeout: Duration, ends_at: Instant) -> Self {
        let held = Arc::new(Mutex::new(Some(held)));
        let slot = Arc::clone(&held);
        let clock = tokio::spawn(async move {
            tokio::time::sleep_until(ends_at).await;
            let overdue = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(overdue);
        });
        Self { held, timeout, ends_at, clock: clock.abort_handle() }
    }

    /// Whether it can still be used.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Runs a statement for what it changes.
    ///
    /// # Errors
    /// See [`ErrorKind`]. The transaction has been rolled back then.
    pub async fn execute(&self, sql: &str, values: Vec<Value>) -> Result<Executed, Error> {
        let (mut held, deadline) = self.take()?;
        check(sql, &values)?;
        let executed = match &mut held {
            Held::Sqlite(begun) => begun.execute(sql, values, deadline).await,
            Held::Postgres(begun) => begun.execute(sql, &values, deadline).await,
        };
        executed.inspect(|_| self.put_back(held))
    }

    /// Runs a statement for the rows that it answers with.
    ///
    /// # Errors
    /// See [`ErrorKind`]. The transaction has been rolled back then.
    pub async fn query(&self, sql: &str, values: Vec<Value>) -> Result<Rows, Error> {
        let (mut held, deadline) = self.take()?;
        check(sql, &values)?;
        let rows = match &mut held {
            Held::Sqlite(begun) => begun.query(sql, values, deadline).await,
            Held::Postgres(begun) => begun.query(sql, &values, deadline).await,
        };
        rows.inspect(|_| self.put_back(held))
    }

    /// Makes everything it has done last. After this call it has ended in any case.
    ///
    /// # Errors
    /// See [`ErrorKind`]. It was rolled back then, unless the connection broke off meanwhile, when nobody knows.
    pub async fn commit(&self) -> Result<(), Error> {
        let (held, deadline) = self.take()?;
        match held {
            Held::Sqlite(begun) => begun.commit(deadline).await,
            Held::Postgres(begun) => begun.commit(deadline).await,
        }
    }

    /// Takes everything back that it has done.
    pub fn roll_back(&self) {
        drop(self.held.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// The connection, and how long a statement may take.
    fn take(&self) -> Result<(Held, Instant), Error> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(held) = held else {
            let message = "the transaction has ended: it was committed or rolled back, a statement in it has failed, or its \
                           `transaction_timeout` has passed";
            return Err(Error::new(ErrorKind::Transaction, message));
        };
        Ok((held, self.ends_at.min(Instant::now() + self.timeout)))
    }

    /// After a statement that went well.
    fn put_back(&self, held: Held) {
        if Instant::now() < self.ends_at {
            *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.clock.abort();
        self.roll_back();
    }
}

#[cfg(test)]
mod tests;
