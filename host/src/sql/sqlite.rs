//! SQLite: one connection that writes and several that read, each on a thread of its own.
//!
//! With a write-ahead log readers and the writer do not disturb each other. `synchronous = FULL`: what was acknowledged is on the
//! disk. Statements that change something run in a transaction even when there is only one, so that one that fails half-way
//! through its result has changed nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

mod functions;
mod guard;
mod migrate;
mod open;
mod pool;
mod statement;

pub(super) use migrate::migrate;

use self::guard::Guarded;
use self::pool::{Lease, Pool};
use self::statement::Outcome;
use super::error::{Error, ErrorKind};
use super::rows::{Rows, Value};
use super::{Access, Executed, Limits};

/// One file.
#[derive(Debug)]
pub(super) struct Sqlite {
    limits: Limits,
    writer: Pool,
    readers: Pool,
}

/// How a connection is made.
#[derive(Clone, Debug)]
pub(super) struct Opener {
    file: PathBuf,
    access: Access,
    size_max: u64,
    /// How long another process may hold the file.
    patience: Duration,
    /// A value may not be larger.
    value_bytes_max: u64,
}

impl Opener {
    fn new(file: &Path, access: Access, limits: &Limits) -> Self {
        Self {
            file: file.to_owned(),
            access,
            size_max: limits.size_max,
            patience: limits.timeout,
            value_bytes_max: limits.bytes_max,
        }
    }
}

impl Sqlite {
    pub(super) fn new(name: &str, file: &Path, limits: &Limits) -> Self {
        let pool = |access, count| Pool::new(name, Opener::new(file, access, limits), count);
        Self {
            limits: limits.clone(),
            writer: pool(Access::Full, 1),
            readers: pool(Access::ReadOnly, limits.connections_max),
        }
    }

    pub(super) async fn execute(
        &self,
        access: Access,
        sql: &str,
        values: Vec<Value>,
        deadline: Instant,
    ) -> Result<Executed, Error> {
        let outcome = match access {
            Access::Full => self.write(sql, values, deadline).await?,
            Access::ReadOnly => self.read(sql, values, deadline).await?.map_err(|_| denied())?,
        };
        Ok(outcome.executed)
    }

    pub(super) async fn query(
        &self,
        access: Access,
        sql: &str,
        values: Vec<Value>,
        deadline: Instant,
    ) -> Result<Rows, Error> {
        match self.read(sql, values, deadline).await? {
            Ok(outcome) => Ok(outcome.rows),
            Err(_) if access == Access::ReadOnly => Err(denied()),
            Err(values) => Ok(self.write(sql, values, deadline).await?.rows),
        }
    }

    /// Runs a statement that changes nothing; gives the values of any other one back.
    async fn read(
        &self,
        sql: &str,
        values: Vec<Value>,
        deadline: Instant,
    ) -> Result<Result<Outcome, Vec<Value>>, Error> {
        // The writer makes the file, and the log beside it.
        self.writer.ensure_open(deadline).await?;
        let lease = self.readers.lease(deadline).await?;
        let (sql, limits) = (sql.to_owned(), self.limits.clone());
        lease.run(deadline, move |connection| statement::read(connection, &sql, values, &limits)).await
    }

    async fn write(&self, sql: &str, values: Vec<Value>, deadline: Instant) -> Result<Outcome, Error> {
        let lease = self.writer.lease(deadline).await?;
        let (sql, limits) = (sql.to_owned(), self.limits.clone());
        let work = move |connection: &Guarded| {
            connection.own("BEGIN IMMEDIATE")?;
            let outcome = statement::run(connection, &sql, &values, &limits)?;
            connection.own("COMMIT")?;
            Ok(outcome)
        };
        // What fails is rolled back when the connection is given back.
        lease.run(deadline, work).await
    }

    pub(super) async fn begin(&self, access: Access, deadline: Instant) -> Result<Begun, Error> {
        self.writer.ensure_open(deadline).await?;
        let (pool, begin) = match access {
            Access::Full => (&self.writer, "BEGIN IMMEDIATE"),
            Access::ReadOnly => (&self.readers, "BEGIN"),
        };
        let lease = pool.lease(deadline).await?;
        lease.run(deadline, move |connection| connection.own(begin)).await?;
        Ok(Begun { lease, access, limits: self.limits.clone() })
    }
}

/// The connection of a transaction. Given back, it is rolled back.
#[derive(Debug)]
pub(super) struct Begun {
    lease: Lease,
    access: Access,
    limits: Limits,
}

impl Begun {
    pub(super) async fn execute(
        &self,
        sql: &str,
        values: Vec<Value>,
        deadline: Instant,
    ) -> Result<Executed, Error> {
        Ok(self.run(sql, values, deadline).await?.executed)
    }

    pub(super) async fn query(
        &self,
        sql: &str,
        values: Vec<Value>,
        deadline: Instant,
    ) -> Result<Rows, Error> {
        Ok(self.run(sql, values, deadline).await?.rows)
    }

    async fn run(&self, sql: &str, values: Vec<Value>, deadline: Instant) -> Result<Outcome, Error> {
        let (sql, limits, access) = (sql.to_owned(), self.limits.clone(), self.access);
        let work = move |connection: &Guarded| match access {
            Access::Full => statement::run(connection, &sql, &values, &limits),
            Access::ReadOnly => statement::read(connection, &sql, values, &limits)?.map_err(|_| denied()),
        };
        self.lease.run(deadline, work).await
    }

    pub(super) async fn commit(self, deadline: Instant) -> Result<(), Error> {
        self.lease.run(deadline, |connection| connection.own("COMMIT")).await
    }
}

fn denied() -> Error {
    Error::new(ErrorKind::Denied, "the statement would change something, but the grant is `read_only`")
}
