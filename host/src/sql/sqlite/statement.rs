//! One statement: prepared, bound, stepped through; and SQLite's errors, in the words of this crate.

use rusqlite::ffi::{self, ErrorCode};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, Error as SqliteError, Row as SqliteRow, Statement, ToSql};

use super::super::error::{Error, ErrorKind};
use super::super::rows::{Row, Rows, Value, too_large};
use super::super::words::first_word;
use super::super::{Executed, Limits};
use super::{guard, open, pool};

/// All that a statement can answer.
pub(super) struct Outcome {
    pub(super) executed: Executed,
    pub(super) rows: Rows,
}

/// Runs a statement that changes nothing; gives the values of any other one back.
pub(super) fn read(
    connection: &Connection,
    sql: &str,
    values: Vec<Value>,
    limits: &Limits,
) -> Result<Result<Outcome, Vec<Value>>, Error> {
    guard::check_rename(sql)?;
    let statement = connection.prepare_cached(sql).map_err(|error| explain(&error))?;
    if !statement.readonly() {
        return Ok(Err(values));
    }
    step(connection, statement, sql, &values, limits).map(Ok)
}

/// Runs any statement.
pub(super) fn run(
    connection: &Connection,
    sql: &str,
    values: &[Value],
    limits: &Limits,
) -> Result<Outcome, Error> {
    if connection.is_autocommit() {
        // Such as by ON CONFLICT ROLLBACK. Without this the statement would be a transaction of its own.
        let message = "SQLite has rolled the transaction back, because of an earlier statement in it";
        return Err(Error::new(ErrorKind::Transaction, message));
    }
    guard::check_rename(sql)?;
    let statement = connection.prepare_cached(sql).map_err(|error| explain(&error))?;
    step(connection, statement, sql, values, limits)
}

fn step(
    connection: &Connection,
    mut statement: CachedStatement<'_>,
    sql: &str,
    values: &[Value],
    limits: &Limits,
) -> Result<Outcome, Error> {
    bind(&mut statement, values)?;
    let changes_before = connection.total_changes();
    let mut rows = None;
    let mut stepped = statement.raw_query();
    while let Some(row) = stepped.next().map_err(|error| explain(&error))? {
        // Only the first step finds out that a table has changed since the statement was prepared.
        let rows = rows.get_or_insert_with(|| Rows::new(columns(row.as_ref())));
        let row = take(row, rows, limits)?;
        rows.push(row, limits)?;
    }
    drop(stepped);
    let rows = rows.unwrap_or_else(|| Rows::new(columns(&statement)));
    // SQLite keeps the number until the next change, whatever runs in between; and dropping a table may count its rows.
    let has_changed = connection.total_changes() != changes_before && begins_with(sql, &CHANGES);
    // The id stays with the connection, too: after anything but an INSERT it is that of an earlier one, of whatever request.
    let has_inserted = has_changed && begins_with(sql, &INSERTS);
    let executed = Executed {
        rows: if has_changed { connection.changes() } else { 0 },
        last_insert_id: has_inserted.then(|| connection.last_insert_rowid()).filter(|&id| id != 0),
    };
    Ok(Outcome { executed, rows })
}

fn columns(statement: &Statement<'_>) -> Vec<String> {
    statement.column_names().into_iter().map(str::to_owned).collect()
}

/// A copy of a row. It is given up before the value with which it would be too large.
fn take(row: &SqliteRow<'_>, rows: &Rows, limits: &Limits) -> Result<Row, Error> {
    let mut taken = Row::new();
    let mut bytes = rows.bytes() + size_of::<Row>();
    for column in 0..rows.columns().len() {
        let found = row.get_ref(column).map_err(|error| explain(&error))?;
        bytes += size_of::<Value>() + payload_bytes(found);
        if bytes as u64 > limits.bytes_max {
            return Err(too_large(limits));
        }
        taken.push(value(found));
    }
    Ok(taken)
}

fn payload_bytes(value: ValueRef<'_>) -> usize {
    match value {
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => 0,
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len(),
    }
}

/// What statements begin with that insert rows, and those that change any.
const INSERTS: [&str; 2] = ["insert", "replace"];
const CHANGES: [&str; 5] = ["insert", "replace", "update", "delete", "with"];

fn begins_with(sql: &str, words: &[&str]) -> bool {
    words.iter().any(|word| first_word(sql).eq_ignore_ascii_case(word))
}

/// Binds `?`, `?2` and `$2`, which is what PostgreSQL writes; SQLite takes that for a name.
fn bind(statement: &mut CachedStatement<'_>, values: &[Value]) -> Result<(), Error> {
    let mut wanted = 0;
    for index in 1..=statement.parameter_count() {
        let number = match statement.parameter_name(index) {
            None => Some(index),
            Some(name) => name.strip_prefix(['?', '$']).and_then(|number| number.parse().ok()),
        };
        let Some(number) = number.filter(|&number| number > 0) else {
            let message = "parameters are numbered, `$1` and so on; names are not supported";
            return Err(Error::new(ErrorKind::Parameters, message));
        };
        wanted = wanted.max(number);
        if let Some(value) = values.get(number - 1) {
            statement.raw_bind_parameter(index, Bound(value)).map_err(|error| explain(&error))?;
        }
    }
    if wanted == values.len() {
        return Ok(());
    }
    let message = format!("the statement has {wanted} parameters, but was given {}", values.len());
    Err(Error::new(ErrorKind::Parameters, message))
}

struct Bound<'v>(&'v Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Null => ValueRef::Null,
            Value::Integer(number) => ValueRef::Integer(*number),
            Value::Real(number) => ValueRef::Real(*number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// Text that is not UTF-8, which SQLite allows, is bytes.
fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => Value::Blob(text.to_vec()),
        },
    }
}

/// What SQLite says, in the words of this crate.
pub(super) fn explain(error: &SqliteError) -> Error {
    let (code, message, at) = match error {
        SqliteError::SqliteFailure(code, message) => (*code, message.clone(), None),
        SqliteError::SqlInputError { error, msg, offset, .. } => {
            (*error, Some(msg.clone()), usize::try_from(*offset).ok())
        }
        SqliteError::MultipleStatement => {
            return Error::new(
                ErrorKind::Statement,
                "there is more than one statement; send them one by one",
            );
        }
        other => return Error::new(ErrorKind::Other, other.to_string()),
    };
    let message = message.unwrap_or_else(|| code.to_string());
    if message.starts_with("not authorized") {
        return guard::not_allowed(); // a function, of which SQLite does not say so by its code
    }
    let kind = match code.code {
        ErrorCode::OperationInterrupted => return pool::interrupted(),
        ErrorCode::AuthorizationForStatementDenied => return guard::not_allowed(),
        ErrorCode::OutOfMemory => return open::out_of_memory(),
        ErrorCode::ConstraintViolation => constraint(code.extended_code),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => ErrorKind::Busy,
        ErrorCode::DiskFull => ErrorKind::Full,
        ErrorCode::TooBig => ErrorKind::Bytes,
        ErrorCode::ReadOnly => ErrorKind::Denied,
        ErrorCode::ParameterOutOfRange => ErrorKind::Parameters,
        ErrorCode::CannotOpen | ErrorCode::NotADatabase | ErrorCode::PermissionDenied => {
            ErrorKind::Unavailable
        }
        ErrorCode::Unknown => ErrorKind::Statement, // SQLITE_ERROR
        _ => ErrorKind::Other,
    };
    Error { kind, message, at }
}

fn constraint(extended: i32) -> ErrorKind {
    match extended {
        ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID => {
            ErrorKind::Unique
        }
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => ErrorKind::ForeignKey,
        ffi::SQLITE_CONSTRAINT_NOTNULL => ErrorKind::NotNull,
        ffi::SQLITE_CONSTRAINT_CHECK => ErrorKind::Check,
        _ => ErrorKind::Constraint,
    }
}
