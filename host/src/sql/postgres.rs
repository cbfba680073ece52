//! PostgreSQL: a pool of connections that are made when they are needed, and made again when they break off.
//!
//! The server is told to cancel what nobody waits for any more, and a connection whose state is not known is closed: only one that
//! is idle goes back into the pool, and it is cleaned of what its user may have set before the next one has it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType, Timeouts,
};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

mod keyword;
mod migrate;
mod numeric;
mod statement;
mod times;
mod types;

pub(super) use migrate::migrate;

use self::statement::{Outcome, explain};
use super::error::{Error, ErrorKind, chain};
use super::rows::{Rows, Value};
use super::{Access, Executed, Limits};

/// Time to connect to a server that does not answer, unless its URL says `connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a session is cleaned with between two users: what they have set, taken or made in it, also in a transaction that the
/// server may think is open.
const CLEAN: &str = "ROLLBACK; CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; SELECT \
                     pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES";

/// Statements that a connection keeps prepared; when there are more, all of them go.
const PREPARED_MAX: usize = 64;

/// One server.
pub(super) struct Postgres {
    pool: Pool,
    tls: MakeRustlsConnect,
    limits: Limits,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("pool", &self.pool.status()).finish_non_exhaustive()
    }
}

impl Postgres {
    pub(super) fn new(config: &tokio_postgres::Config, limits: &Limits) -> Result<Self, Error> {
        let tls = tls(config)?;
        let config = session(config, limits.timeout, limits.transaction_timeout);
        let recycling_method = RecyclingMethod::Custom(CLEAN.to_owned());
        let manager = Manager::from_config(config, tls.clone(), ManagerConfig { recycling_method });
        let pool = Pool::builder(manager)
            .max_size(limits.connections_max as usize)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| Error::new(ErrorKind::Unavailable, error.to_string()))?;
        Ok(Self { pool, tls, limits: limits.clone() })
    }

    /// Waits for a connection.
    async fn lease(&self, deadline: Instant) -> Result<Flight, Error> {
        let left = Some(deadline.saturating_duration_since(Instant::now()));
        let timeouts = Timeouts { wait: left, create: left, recycle: left };
        let client = match timeout_at(deadline, self.pool.timeout_get(&timeouts)).await {
            Ok(client) => client.map_err(unavailable)?,
            Err(_) => return Err(unavailable(PoolError::Timeout(TimeoutType::Create))),
        };
        if client.statement_cache.size() > PREPARED_MAX {
            client.statement_cache.clear();
        }
        let runtime = Handle::current();
        Ok(Flight { client: Some(client), is_idle: true, tls: self.tls.clone(), runtime })
    }

    pub(super) async fn execute(
        &self,
        access: Access,
        sql: &str,
        values: &[Value],
        deadline: Instant,
    ) -> Result<Executed, Error> {
        Ok(self.run(access, sql, values, deadline).await?.executed)
    }

    pub(super) async fn query(
        &self,
        access: Access,
        sql: &str,
        values: &[Value],
        deadline: Instant,
    ) -> Result<Rows, Error> {
        Ok(self.run(access, sql, values, deadline).await?.rows)
    }

    async fn run(
        &self,
        access: Access,
        sql: &str,
        values: &[Value],
        deadline: Instant,
    ) -> Result<Outcome, Error> {
        if access == Access::ReadOnly {
            // Only the server knows what a statement changes, and functions may.
            let mut begun = self.begin(access, deadline).await?;
            let outcome = begun.run(sql, values, deadline).await?;
            begun.commit(deadline).await?;
            return Ok(outcome);
        }
        keyword::check(sql)?;
        let mut flight = self.lease(deadline).await?;
        flight.run(sql, values, &self.limits, deadline).await
    }

    pub(super) async fn begin(&self, access: Access, deadline: Instant) -> Result<Begun, Error> {
        let mut flight = self.lease(deadline).await?;
        let begin = match access {
            Access::ReadOnly => "BEGIN READ ONLY",
            Access::Full => "BEGIN",
        };
        flight.command(begin, deadline).await?;
        Ok(Begun { flight: Some(flight), limits: self.limits.clone() })
    }
}

/// A connection for somebody. Given back by being dropped, if it is idle; else what it does is cancelled, and it is closed.
struct Flight {
    /// Always there, until it is dropped.
    client: Option<Object>,
    is_idle: bool,
    tls: MakeRustlsConnect,
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
    ) -> Result<Outcome, Error> {
        let client = self.client.as_ref().ok_or_else(closed)?;
        self.is_idle = false;
        let ran = timeout_at(deadline, statement::run(client, sql, values, limits)).await;
        let ran = ran.unwrap_or_else(|_| Err(overdue()));
        self.is_idle = ran.as_ref().err().is_none_or(|error| is_answer(error.kind));
        ran
    }

    async fn command(&mut self, sql: &str, deadline: Instant) -> Result<(), Error> {
        let client = self.client.as_ref().ok_or_else(closed)?;
        self.is_idle = false;
        let ran = timeout_at(deadline, client.batch_execute(sql)).await;
        let ran = ran.map_err(|_| overdue())?.map_err(|error| explain(&error));
        self.is_idle = ran.as_ref().err().is_none_or(|error| is_answer(error.kind));
        ran
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else { return };
        if self.is_idle {
            return; // the pool has it back
        }
        let cancel = client.cancel_token();
        let tls = self.tls.clone();
        drop(Object::take(client));
        self.runtime.spawn(async move {
            let cancelled = tokio::time::timeout(CONNECT_TIMEOUT, cancel.cancel_query(tls)).await;
            if !matches!(cancelled, Ok(Ok(()))) {
                tracing::debug!(
                    "a statement could not be cancelled; the server ends it at its `statement_timeout`"
                );
            }
        });
    }
}

/// The connection of a transaction.
#[derive(Debug)]
pub(super) struct Begun {
    /// Always there, until it has ended.
    flight: Option<Flight>,
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
        keyword::check(sql)?;
        let flight = self.flight.as_mut().ok_or_else(closed)?;
        flight.run(sql, values, &self.limits, deadline).await
    }

    pub(super) async fn commit(mut self, deadline: Instant) -> Result<(), Error> {
        let mut flight = self.flight.take().ok_or_else(closed)?;
        flight.command("COMMIT", deadline).await
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let Some(mut flight) = self.flight.take().filter(|flight| flight.is_idle) else { return };
        // Its locks must go now, not when the connection is next used.
        let runtime = flight.runtime.clone();
        runtime.spawn(async move {
            let _ = flight.command("ROLLBACK", Instant::now() + CONNECT_TIMEOUT).await;
        });
    }
}

/// What all sessions start with.
fn session(
    config: &tokio_postgres::Config,
    timeout: Duration,
    transaction: Duration,
) -> tokio_postgres::Config {
    let mut config = config.clone();
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_application_name().is_none() {
        config.application_name("wasmux");
    }
    // As options, so that RESET ALL goes back to them. We end statements ourselves; these are for when we are gone.
    let own = config.get_options().unwrap_or_default();
    let options = format!(
        "{own} -c statement_timeout={} -c idle_in_transaction_session_timeout={}",
        timeout.as_millis(),
        transaction.as_millis()
    );
    config.options(options.trim());
    config
}

/// TLS with the certificate authorities of the system, for servers that offer it (`sslmode=prefer`, the default) or must.
fn tls(config: &tokio_postgres::Config) -> Result<MakeRustlsConnect, Error> {
    let mut roots = RootCertStore::empty();
    if config.get_ssl_mode() != SslMode::Disable {
        let found: Vec<CertificateDer<'static>> = rustls_native_certs::load_native_certs().certs;
        roots.add_parsable_certificates(found);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder
        .map_err(|error| Error::new(ErrorKind::Unavailable, format!("TLS cannot be set up: {error}")))?;
    Ok(MakeRustlsConnect::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

fn unavailable(error: PoolError) -> Error {
    match error {
        PoolError::Timeout(TimeoutType::Wait) => Error::new(
            ErrorKind::Busy,
            "no connection to the database became free within `timeout`: others hold all `max_connections`",
        ),
        PoolError::Timeout(_) => {
            Error::new(ErrorKind::Unavailable, "the database server did not answer within `timeout`")
        }
        PoolError::Backend(error) => cannot_connect(&error),
        other => Error::new(ErrorKind::Unavailable, format!("no connection to the database: {other}")),
    }
}

fn cannot_connect(error: &tokio_postgres::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("no connection to the database: {}", chain(error)))
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
