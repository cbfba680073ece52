//! A connection, as all of them are set up.

use std::fs::File;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use super::super::error::{Error, ErrorKind};
use super::super::{Access, PARAMETERS_MAX, STATEMENT_BYTES_MAX};
use super::Opener;
use super::functions;
use super::guard::Guarded;
use super::statement::explain;

/// Statements that a connection keeps prepared.
const PREPARED_MAX: usize = 64;

/// Pages that a connection keeps in memory, in KiB.
const CACHE_KIB: u32 = 4096;

/// What all SQLite of the process may have of memory, in bytes: pages, sorts, temporary tables, and rows on their way. Statements
/// for which there is no more left fail.
const HEAP_BYTES_MAX: i64 = 512 << 20;

/// Columns of a table, of a result, and of what it is sorted by; a statement with more is refused, and so is a file with such a
/// table.
const COLUMNS_MAX: i32 = 200;

/// Bytes of a pattern of LIKE and GLOB. Each is compared at every place of a text, and nothing can interrupt it meanwhile.
const PATTERN_BYTES_MAX: i32 = 256;

/// A write-ahead log that has grown beyond this is cut back when it was transferred, in bytes.
const LOG_BYTES_KEPT: u32 = 16 << 20;

/// Opens the file, and makes it if it is to be written.
pub(super) fn open(opener: &Opener) -> Result<Guarded, Error> {
    let is_writer = opener.access == Access::Full;
    if is_writer {
        make_file(&opener.file).map_err(|error| {
            let message = format!("the file of the database cannot be made: {error}");
            Error::new(ErrorKind::Unavailable, message)
        })?;
    }
    connect(opener, is_writer).map_err(|error| {
        let error = explain(&error);
        let kind = if error.kind == ErrorKind::Busy { error.kind } else { ErrorKind::Unavailable };
        Error::new(kind, format!("the database cannot be opened: {error}"))
    })
}

fn connect(opener: &Opener, is_writer: bool) -> rusqlite::Result<Guarded> {
    let access = if is_writer { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
    let connection = Connection::open_with_flags(&opener.file, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(opener.patience)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // For the process; it can only be lowered. A file for what is temporary would be bounded by nothing.
    connection.pragma_update_and_check(None, "hard_heap_limit", HEAP_BYTES_MAX, |_| Ok(()))?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cache_size", -i64::from(CACHE_KIB))?;
    if is_writer {
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
        let page_bytes: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let pages = (opener.size_max / u64::from(page_bytes.max(1))).clamp(1, 1 << 32) as i64 - 1;
        // Answers with what it has set.
        connection.pragma_update_and_check(None, "max_page_count", pages.max(1), |_| Ok(()))?;
    } else {
        connection.pragma_update(None, "query_only", true)?;
    }
    functions::add(&connection)?;
    let value_bytes = opener.value_bytes_max.clamp(1 << 20, HEAP_BYTES_MAX as u64 / 4) as i32;
    for (limit, value) in [
        // Rows on their way to the disk count, too.
        (Limit::SQLITE_LIMIT_LENGTH, value_bytes),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, STATEMENT_BYTES_MAX as i32),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, PARAMETERS_MAX as i32),
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, PATTERN_BYTES_MAX),
        (Limit::SQLITE_LIMIT_COLUMN, COLUMNS_MAX),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 200),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        connection.set_limit(limit, value)?;
    }
    connection.set_prepared_statement_cache_capacity(PREPARED_MAX);
    Guarded::new(connection)
}

/// What a statement has failed with for which there was no memory.
pub(super) fn out_of_memory() -> Error {
    let message = format!(
        "SQLite has no memory left for it: all statements of the process together may have {} MiB",
        HEAP_BYTES_MAX >> 20
    );
    Error::new(ErrorKind::Bytes, message)
}

/// Makes an empty file, for the owner alone, that survives a loss of power.
fn make_file(file: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    if file.exists() {
        return Ok(());
    }
    let Some(folder) = file.parent() else { return Ok(()) };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    File::options().create(true).append(true).mode(0o600).open(file)?;
    File::open(folder)?.sync_all()
}
