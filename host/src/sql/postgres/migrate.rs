//! Migrations of a server's database, on a connection of its own.

use std::time::Duration;

use tokio::runtime::Builder;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config};

use super::super::error::Error;
use super::super::migrations::{
    APPLIED, Applied, Folder, MAKE_TABLE, Migration, MigrationError, NOTE, TIMEOUT,
};
use super::dial::Dialer;
use super::statement::explain;

/// Held by whoever applies migrations, until its transaction ends: other hosts wait, and then find everything done.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7310868735423116600)"; // any number that nobody else uses

/// Time to wait for a lock that somebody else holds, unless the URL's `options` say another `lock_timeout`.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// Messages of the server while it migrates, in bytes; a larger one ends the connection.
const MESSAGE_BYTES_MAX: u64 = 16 << 20;

/// Takes back what a file has set for the session, as those of `pg_dump` do, which leave no `search_path`.
const CLEAN: &str = "SET SESSION AUTHORIZATION DEFAULT; RESET ROLE; RESET ALL";

/// Who may hold a lock, those with the oldest transaction first.
const HOLDERS: &str = "SELECT pid, application_name, usename::text, state, extract(epoch FROM now() - xact_start)::float8 FROM \
                       pg_catalog.pg_stat_activity AS a WHERE datname = current_database() AND pid <> pg_backend_pid() AND \
                       (xact_start IS NOT NULL OR EXISTS (SELECT FROM pg_catalog.pg_locks AS l WHERE l.pid = a.pid AND \
                       l.locktype = 'advisory' AND l.granted)) ORDER BY xact_start LIMIT 5";

/// Applies what was not applied yet; answers how many files that were.
pub(in super::super) fn migrate(config: &Config, folder: &Folder) -> Result<usize, MigrationError> {
    // There may be no runtime yet, and where there is one, this is not one of its tasks.
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| MigrationError::new(format!("no runtime: {error}")))?;
    runtime.block_on(async {
        let failed = |error: Error| MigrationError::new(error.message);
        let mut config = config.clone();
        // Somebody who holds what a migration needs must not hold up every deployment for long. A URL that says otherwise wins.
        let own = config.get_options().unwrap_or_default();
        let options = format!("-c lock_timeout={} {own}", LOCK_TIMEOUT.as_millis());
        config.options(options.trim());
        let dialer = Dialer::new(&config, TIMEOUT, TIMEOUT, MESSAGE_BYTES_MAX).map_err(failed)?;
        let mut client = dialer.dial().await.map_err(failed)?.client;
        apply_all(&mut client, folder).await
    })
}

async fn apply_all(client: &mut Client, folder: &Folder) -> Result<usize, MigrationError> {
    let applied = match make_table(client).await {
        Ok(applied) => applied,
        Err(error) => return Err(MigrationError::new(describe(client, &error).await)),
    };
    let pending = folder.pending(&applied)?;
    for migration in pending {
        let in_time = tokio::time::timeout(TIMEOUT + Duration::from_secs(1), apply(client, migration)).await;
        let late =
            |_| migration.error(format!("does not apply: it takes longer than {} s", TIMEOUT.as_secs()));
        match in_time.map_err(late)? {
            Ok(()) => {}
            Err(Failed::Server(error)) => {
                let at = explain(&error).at;
                return Err(migration.error_at(at, describe(client, &error).await));
            }
            Err(Failed::Ends) => {
                let message =
                    "it ends the transaction that it is applied in; leave BEGIN, COMMIT and ROLLBACK out";
                return Err(migration.error_at(None, message.to_owned()));
            }
        }
    }
    Ok(pending.len())
}

/// What has failed; and who may be in the way, if it is a lock.
async fn describe(client: &Client, error: &tokio_postgres::Error) -> String {
    let message = explain(error).message;
    if error.code() != Some(&SqlState::LOCK_NOT_AVAILABLE) {
        return message;
    }
    let holders = client.query(HOLDERS, &[]).await.unwrap_or_default();
    let holder = |row: &tokio_postgres::Row| {
        let text = |column| row.try_get::<_, Option<String>>(column).ok().flatten().unwrap_or_default();
        let pid: i32 = row.try_get(0).unwrap_or_default();
        let since = row.try_get::<_, Option<f64>>(4).ok().flatten();
        let since = since.map(|seconds| format!(", in a transaction for {seconds:.0} s")).unwrap_or_default();
        format!("pid {pid} (`{}` of {}, {}{since})", text(1).escape_debug(), text(2).escape_debug(), text(3))
    };
    let holders: Vec<_> = holders.iter().map(holder).collect();
    let who = match &*holders {
        [] => "nobody holds one any more; try again".to_owned(),
        holders => format!("these sessions may hold it: {}", holders.join(", ")),
    };
    format!("{message}: what it needs was locked for longer than `lock_timeout`; {who}")
}

async fn make_table(client: &mut Client) -> Result<Vec<Applied>, tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(LOCK).await?;
    transaction.batch_execute(MAKE_TABLE).await?;
    let applied = applied(transaction.client()).await?;
    transaction.commit().await?;
    Ok(applied)
}

async fn applied(client: &Client) -> Result<Vec<Applied>, tokio_postgres::Error> {
    let rows = client.query(APPLIED, &[]).await?;
    let row = |row: &tokio_postgres::Row| {
        Ok(Applied { number: row.try_get(0)?, name: row.try_get(1)?, sha256: row.try_get(2)? })
    };
    rows.iter().map(row).collect()
}

/// Why a file was not applied.
enum Failed {
    Server(tokio_postgres::Error),
    /// It ends its transaction itself.
    Ends,
}

impl From<tokio_postgres::Error> for Failed {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error)
    }
}

/// Applies one, unless another process has done so meanwhile.
async fn apply(client: &mut Client, migration: &Migration) -> Result<(), Failed> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(LOCK).await?;
    let applied = applied(transaction.client()).await?;
    if applied.iter().any(|applied| applied.number == i64::from(migration.number)) {
        return Ok(());
    }
    let begun = transaction_id(transaction.client()).await?;
    transaction.batch_execute(&migration.sql).await?;
    if transaction_id(transaction.client()).await? != begun {
        return Err(Failed::Ends);
    }
    transaction.batch_execute(CLEAN).await?;
    let number = i64::from(migration.number);
    transaction.execute(NOTE, &[&number, &migration.name, &migration.sha256]).await?;
    Ok(transaction.commit().await?)
}

async fn transaction_id(client: &Client) -> Result<i64, tokio_postgres::Error> {
    client.query_one("SELECT pg_catalog.txid_current()", &[]).await?.try_get(0)
}
