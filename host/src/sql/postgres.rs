//! PostgreSQL: sessions that are made when they are needed, and made again when they break off.
//!
//! The server is told to cancel what nobody waits for any more, and a session whose state is not known is closed: only one that
//! is idle is given back, and it is cleaned of what its user may have set before anybody has it again.

use std::fmt;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

mod dial;
mod keyword;
mod migrate;
mod numeric;
mod pool;
mod statement;
mod times;
mod types;
mod watch;

pub(super) use migrate::migrate;

use self::dial::{CONNECT_TIMEOUT, Dialer};
use self::pool::{Lease, Pool};
use self::statement::{Failed, Outcome, explain};
use super::error::{Error, ErrorKind};
use super::rows::{Rows, Value};
use super::{Access, Executed, Limits, User};

/// Messages of a server that are always taken, in bytes, however small results must be.
const MESSAGE_BYTES_MIN: u64 = 64 << 10;

/// One server.
#[derive(Debug)]
pub(super) struct Postgres {
    pool: Pool,
    limits: Limits,
}

impl Postgres {
    pub(super) fn new(config: &tokio_postgres::Config, limits: &Limits) -> Result<Self, Error> {
        let message_bytes_max = limits.bytes_max.max(MESSAGE_BYTES_MIN);
        let dialer = Dialer::new(config, limits.timeout, limits.transaction_timeout, message_bytes_max)?;
        Ok(Self { pool: Pool::new(dialer, limits.connections_max), limits: limits.clone() })
    }

    /// What sessions know of tables is not true any more.
    pub(super) fn forget(&self) {
        self.pool.forget();
    }

    async fn lease(&self, user: User<'_>, deadline: Instant) -> Result<Flight, Error> {
        let lease = self.pool.lease(user, deadline).await?;
        Ok(Flight { lease: Some(lease), is_idle: true, runtime: Handle::current() })
    }

    pub(super) async fn execute(
        &self,
        user: User<'_>,
        sql: &str,
        values: &[Value],
        deadline: Instant,
    ) -> Result<Executed, Error> {
        Ok(self.run(user, sql, values, deadline).await?.executed)
    }

    pub(super) async fn query(
        &self,
        user: User<'_>,
        sql: &str,
        values: &[Value],
        deadline: Instant,
    ) -> Result<Rows, Error> {
        Ok(self.run(user, sql, values, deadline).await?.rows)
    }

    async fn run(
        &self,
        user: User<'_>,
        sql: &str,
        values: &[Value],
        deadline: Instant,
    ) -> Result<Outcome, Error> {
        keyword::check(sql, user.access)?;
        let mut flight = self.lease(user, deadline).await?;
        // Only the server knows what a statement changes, and functions may.
        let is_read_only = user.access == Access::ReadOnly;
        if is_read_only {
            flight.command(begin(user.access), deadline).await?;
        }
        let mut ran = flight.run(sql, values, &self.limits, deadline).await;
        if matches!(ran, Err(Failed::Stale(_))) {
            // It has done nothing yet, and is prepared anew.
            if is_read_only {
                flight.command("ROLLBACK; BEGIN READ ONLY", deadline).await?;
            }
            ran = flight.run(sql, values, &self.limits, deadline).await;
        }
        let outcome = ran?;
        if is_read_only {
            flight.command("COMMIT", deadline).await?;
        }
        Ok(outcome)
    }

    pub(super) async fn begin(&self, user: User<'_>, deadline: Instant) -> Result<Begun, Error> {
        let mut flight = self.lease(user, deadline).await?;
        flight.command(begin(user.access), deadline).await?;
        Ok(Begun { flight, access: user.access, limits: self.limits.clone() })
    }
}

fn begin(access: Access) -> &'static str {
    match access {
        Access::ReadOnly => "BEGIN READ ONLY",
        Access::Full => "BEGIN",
    }
}

/// A session for somebody. Given back by being dropped, if it is idle; else what it does is cancelled, and it is closed.
struct Flight {
    /// Always there, until it is dropped.
    lease: Option<Lease>,
    is_idle: bool,
    runtime: Handle,
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight").field("is_idle", &self.is_idle).finish_non_exhaustive()
    }
}

impl Flight {
    async fn run(
        &mut self,
        sql: &str,
        values: &[Value],
        limits: &Limits,
        deadline: Instant,
    ) -> Result<Outcome, Failed> {
        let lease = self.lease.as_mut().ok_or_else(closed)?;
        self.is_idle = false;
        let ran = timeout_at(deadline, statement::run(&mut lease.session, sql, values, limits)).await;
        let ran = ran.unwrap_or_else(|_| Err(overdue().into()));
        self.is_idle = ran.as_ref().err().is_none_or(|failed| is_answer(failed.error().kind));
        ran
    }

    async fn command(&mut self, sql: &str, deadline: Instant) -> Result<(), Error> {
        let lease = self.lease.as_ref().ok_or_else(closed)?;
        self.is_idle = false;
        let ran = timeout_at(deadline, lease.session.connected.client.batch_execute(sql)).await;
        let ran = ran.map_err(|_| overdue())?.map_err(|error| explain(&error));
        self.is_idle = ran.as_ref().err().is_none_or(|error| is_answer(error.kind));
        ran
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        if self.is_idle {
            self.runtime.spawn(lease.give_back());
            return;
        }
        let (canceller, dialer) = (lease.session.connected.canceller(), lease.shelf.dialer.clone());
        drop(lease);
        self.runtime.spawn(async move {
            let cancelled = tokio::time::timeout(CONNECT_TIMEOUT, dialer.cancel(canceller)).await;
            if !matches!(cancelled, Ok(Ok(()))) {
                tracing::debug!(
                    "a statement could not be cancelled; the server ends it at its `statement_timeout`"
                );
            }
        });
    }
}

/// The session of a transaction. Given back, it is rolled back.
#[derive(Debug)]
pub(super) struct Begun {
    flight: Flight,
    access: Access,
    limits: Limits,
}

impl Begun {
    pub(super) async fn execute(
        &mut self,
        sql: &str,
        values: &[Value],
        deadline: Instant,
    ) -> Result<Executed, Error> {
        Ok(self.run(sql, values, deadline).await?.executed)
    }

    pub(super) async fn query(
        &mut self,
        sql: &str,
        values: &[Value],
        deadline: Instant,
    ) -> Result<Rows, Error> {
        Ok(self.run(sql, values, deadline).await?.rows)
    }

    async fn run(&mut self, sql: &str, values: &[Value], deadline: Instant) -> Result<Outcome, Error> {
        keyword::check(sql, self.access)?;
        Ok(self.flight.run(sql, values, &self.limits, deadline).await?)
    }

    pub(super) async fn commit(mut self, deadline: Instant) -> Result<(), Error> {
        self.flight.command("COMMIT", deadline).await
    }
}

/// Whether such an error is all that the server has to say; after others it may still be sending.
fn is_answer(kind: ErrorKind) -> bool {
    !matches!(kind, ErrorKind::Timeout | ErrorKind::Rows | ErrorKind::Bytes | ErrorKind::Unavailable)
}

fn overdue() -> Error {
    Error::new(ErrorKind::Timeout, "the statement was interrupted: its `timeout` has passed")
}

fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "the connection to the database is closed")
}
