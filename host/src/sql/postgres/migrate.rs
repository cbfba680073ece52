//! Migrations of a server's database, on a connection of its own.

use std::time::Duration;

use tokio::runtime::Builder;
use tokio_postgres::{Client, Config};

use super::super::error::Error;
use super::super::migrations::{
    APPLIED, Applied, Folder, MAKE_TABLE, Migration, MigrationError, NOTE, TIMEOUT,
};
use super::statement::explain;
use super::{cannot_connect, session, tls};

/// Held by whoever applies migrations, until its transaction ends: other hosts wait, and then find everything done.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7310868735423116600)"; // any number that nobody else uses

/// Applies what was not applied yet; answers how many files that were.
pub(in super::super) fn migrate(config: &Config, folder: &Folder) -> Result<usize, MigrationError> {
    // There may be no runtime yet, and where there is one, this is not one of its tasks.
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| MigrationError::new(format!("no runtime: {error}")))?;
    runtime.block_on(async {
        let failed = |error: Error| MigrationError::new(error.message);
        let tls = tls(config).map_err(failed)?;
        let config = session(config, TIMEOUT, TIMEOUT);
        let connected = config.connect(tls).await;
        let (mut client, connection) = connected.map_err(|error| failed(cannot_connect(&error)))?;
        // Ends with the client.
        tokio::spawn(async move { drop(connection.await) });
        apply_all(&mut client, folder).await
    })
}

async fn apply_all(client: &mut Client, folder: &Folder) -> Result<usize, MigrationError> {
    let failed = |error| MigrationError::new(explain(&error).message);
    let transaction = client.transaction().await.map_err(failed)?;
    transaction.batch_execute(LOCK).await.map_err(failed)?;
    transaction.batch_execute(MAKE_TABLE).await.map_err(failed)?;
    let applied = applied(transaction.client()).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    let pending = folder.pending(&applied)?;
    for migration in pending {
        let in_time = tokio::time::timeout(TIMEOUT + Duration::from_secs(1), apply(client, migration)).await;
        let late =
            |_| migration.error(format!("does not apply: it takes longer than {} s", TIMEOUT.as_secs()));
        in_time.map_err(late)??;
    }
    Ok(pending.len())
}

async fn applied(client: &Client) -> Result<Vec<Applied>, tokio_postgres::Error> {
    let rows = client.query(APPLIED, &[]).await?;
    let row = |row: &tokio_postgres::Row| {
        Ok(Applied { number: row.try_get(0)?, name: row.try_get(1)?, sha256: row.try_get(2)? })
    };
    rows.iter().map(row).collect()
}

/// Applies one, unless another process has done so meanwhile.
async fn apply(client: &mut Client, migration: &Migration) -> Result<(), MigrationError> {
    let failed = |error| {
        let Error { message, .. } = explain(&error);
        migration.error_at(None, message)
    };
    let transaction = client.transaction().await.map_err(failed)?;
    transaction.batch_execute(LOCK).await.map_err(failed)?;
    let applied = applied(transaction.client()).await.map_err(failed)?;
    if applied.iter().any(|applied| applied.number == i64::from(migration.number)) {
        return Ok(());
    }
    let begun = transaction_id(transaction.client()).await.map_err(failed)?;
    transaction.batch_execute(&migration.sql).await.map_err(|error| {
        let Error { message, at, .. } = explain(&error);
        migration.error_at(at, message)
    })?;
    if transaction_id(transaction.client()).await.map_err(failed)? != begun {
        let message =
            "it ends the transaction that it is applied in; leave BEGIN, COMMIT and ROLLBACK out".to_owned();
        return Err(migration.error_at(None, message));
    }
    let number = i64::from(migration.number);
    let note = transaction.execute(NOTE, &[&number, &migration.name, &migration.sha256]).await;
    note.map_err(failed)?;
    transaction.commit().await.map_err(failed)
}

async fn transaction_id(client: &Client) -> Result<i64, tokio_postgres::Error> {
    client.query_one("SELECT txid_current()", &[]).await?.try_get(0)
}
