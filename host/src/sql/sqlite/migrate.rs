//! Migrations of a file.

use std::path::Path;
use std::time::Instant;

use fallible_iterator::FallibleIterator as _;
use rusqlite::{Batch, Connection, Error as SqliteError, ffi};

use super::super::migrations::{
    APPLIED, Applied, Folder, MAKE_TABLE, Migration, MigrationError, NOTE, TIMEOUT,
};
use super::super::words::first_token;
use super::super::{Access, Error, Limits};
use super::guard::{Guarded, check_rename};
use super::statement::explain;
use super::{Opener, open, pool};

/// Applies what was not applied yet, on a connection of its own; answers how many files that were.
pub(in super::super) fn migrate(
    file: &Path,
    limits: &Limits,
    folder: &Folder,
) -> Result<usize, MigrationError> {
    let opener = Opener::new(file, Access::Full, limits);
    let failed = |error: Error| MigrationError::new(format!("{}: {error}", opener.file().display()));
    let connection = open::open(&opener).map_err(failed)?;
    // With the lock, so that of two processes one waits and then finds everything done.
    let pending = in_transaction(&connection, || {
        connection.own(MAKE_TABLE)?;
        let applied = connection.as_own(applied).map_err(|error| explain(&error))?;
        Ok(folder.pending(&applied).map(<[Migration]>::to_vec))
    });
    let pending = pending.map_err(failed)??;
    for migration in &pending {
        apply(&connection, migration)?;
    }
    Ok(pending.len())
}

fn applied(connection: &Connection) -> rusqlite::Result<Vec<Applied>> {
    let mut statement = connection.prepare(APPLIED)?;
    let rows = statement
        .query_map((), |row| Ok(Applied { number: row.get(0)?, name: row.get(1)?, sha256: row.get(2)? }))?;
    rows.collect()
}

/// Applies one, unless another process has done so meanwhile.
fn apply(connection: &Guarded, migration: &Migration) -> Result<(), MigrationError> {
    let deadline = Instant::now() + TIMEOUT;
    let watched = connection.progress_handler(1_000, Some(move || Instant::now() >= deadline));
    watched.map_err(|error| migration.error(error.to_string()))?;
    let mut at = None;
    let done = in_transaction(connection, || {
        let applied = connection.as_own(applied).map_err(|error| explain(&error))?;
        if applied.iter().any(|applied| applied.number == i64::from(migration.number)) {
            return Ok(());
        }
        run(connection, &migration.sql).map_err(|(offset, error)| {
            at = Some(offset);
            let error = explain(&error);
            if error.message == pool::interrupted().message {
                return Error { message: format!("it takes longer than {} s", TIMEOUT.as_secs()), ..error };
            }
            error
        })?;
        let Migration { number, name, sha256, .. } = migration;
        let note = connection.as_own(|connection| connection.execute(NOTE, (number, name, sha256)));
        note.map(drop).map_err(|error| explain(&error))
    });
    done.map_err(|error| migration.error_at(at, error.message))
}

/// Runs the statements of a file. Where one fails: its place, and why.
fn run(connection: &Connection, sql: &str) -> Result<(), (usize, SqliteError)> {
    let mut batch = Batch::new(connection, sql);
    let mut at = 0;
    loop {
        let mut statement = match batch.next() {
            Ok(Some(statement)) => statement,
            Ok(None) => return Ok(()),
            Err(error) => return Err((at_of(&error, sql, at), error)),
        };
        // The batch does not tell where it is, but the statement what it says.
        let text = statement.expanded_sql().unwrap_or_default();
        let begins = sql[at..].find(&text).map_or(at, |found| at + found);
        at = begins + text.len();
        let begins = begins + text.len() - first_token(&text).len();
        if check_rename(&text).is_err() {
            return Err((begins, SqliteError::SqliteFailure(ffi::Error::new(ffi::SQLITE_AUTH), None)));
        }
        let mut rows = statement.raw_query();
        while rows.next().map_err(|error| (begins, error))?.is_some() {}
    }
}

/// Where in the file a statement could not be understood: SQLite counts from where it began to read.
fn at_of(error: &SqliteError, sql: &str, read: usize) -> usize {
    match error {
        SqliteError::SqlInputError { sql: rest, offset, .. } => {
            sql.len() - rest.len().min(sql.len()) + usize::try_from(*offset).unwrap_or(0)
        }
        _ => sql.len() - first_token(&sql[read..]).len(),
    }
}

fn in_transaction<T>(connection: &Guarded, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    connection.own("BEGIN IMMEDIATE")?;
    let done = work().and_then(|done| connection.own("COMMIT").map(|()| done));
    if done.is_err() && !connection.is_autocommit() {
        // The connection is not used after this.
        let _ = connection.own("ROLLBACK");
    }
    done
}
