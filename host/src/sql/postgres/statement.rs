//! One statement: prepared, sent with its values, its rows taken as they come; and PostgreSQL's errors, in the words of this crate.

use std::pin::pin;

use futures_util::TryStreamExt as _;
use tokio_postgres::Statement;
use tokio_postgres::error::{DbError, ErrorPosition, SqlState};

use super::super::error::{Error, ErrorKind, chain};
use super::super::rows::{Row, Rows, Value, too_large};
use super::super::words::first_word;
use super::super::{Executed, Limits};
use super::pool::Session;
use super::types::{Answered, Sent, check_type};

/// All that a statement can answer.
pub(super) struct Outcome {
    pub(super) executed: Executed,
    pub(super) rows: Rows,
}

/// Why a statement has failed.
pub(super) enum Failed {
    /// It was refused, or failed on its way.
    As(Error),
    /// What it was prepared for is not there any more: a table has changed. It has done nothing, and is prepared anew when it is
    /// tried again.
    Stale(Error),
}

impl Failed {
    pub(super) fn error(&self) -> &Error {
        match self {
            Self::As(error) | Self::Stale(error) => error,
        }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::As(error)
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::As(error) | Failed::Stale(error) => error,
        }
    }
}

pub(super) async fn run(
    session: &mut Session,
    sql: &str,
    values: &[Value],
    limits: &Limits,
) -> Result<Outcome, Failed> {
    let error = match attempt(session, sql, values, limits).await {
        Ok(outcome) => return Ok(outcome?),
        Err(_) if session.connected.is_too_large() => return Err(too_large(limits).into()),
        Err(error) => error,
    };
    let Some(answer) = error.as_db_error() else { return Err(explain(&error).into()) };
    if answer.code() == &SqlState::FEATURE_NOT_SUPPORTED && answer.routine() == Some("RevalidateCachedQuery")
    {
        session.forget(sql);
        let message = "the statement's table was changed meanwhile; it goes well when it is tried again";
        return Err(Failed::Stale(Error::new(ErrorKind::Busy, message)));
    }
    if answer.code() == &SqlState::INVALID_SQL_STATEMENT_NAME {
        session.is_spoiled = true; // somebody has deallocated it
    }
    Err(explain(&error).into())
}

/// The outer error is the server's or the connection's.
async fn attempt(
    session: &mut Session,
    sql: &str,
    values: &[Value],
    limits: &Limits,
) -> Result<Result<Outcome, Error>, tokio_postgres::Error> {
    let statement = session.prepare(sql).await?;
    let mut rows = match check(&statement, values) {
        Ok(columns) => Rows::new(columns),
        Err(error) => return Ok(Err(error)),
    };
    let mut stream = pin!(session.connected.client.query_raw(&statement, values.iter().map(Sent)).await?);
    while let Some(row) = stream.try_next().await? {
        let values = (0..row.len()).map(|column| Ok(row.try_get::<_, Answered>(column)?.0));
        let row: Row = values.collect::<Result<_, tokio_postgres::Error>>()?;
        if let Err(error) = rows.push(row, limits) {
            return Ok(Err(error));
        }
    }
    let is_answer = !statement.columns().is_empty() && is_query(sql);
    let changed = if is_answer { 0 } else { stream.rows_affected().unwrap_or(0) };
    Ok(Ok(Outcome { executed: Executed { rows: changed, last_insert_id: None }, rows }))
}

/// The names of a statement's columns, if it can be run with these values.
fn check(statement: &Statement, values: &[Value]) -> Result<Vec<String>, Error> {
    let wanted = statement.params().len();
    if wanted != values.len() {
        let message = format!("the statement has {wanted} parameters, but was given {}", values.len());
        return Err(Error::new(ErrorKind::Parameters, message));
    }
    for column in statement.columns() {
        check_type(column.name(), column.type_())?;
    }
    Ok(statement.columns().iter().map(|column| column.name().to_owned()).collect())
}

/// For these the server counts the rows that it answers with.
fn is_query(sql: &str) -> bool {
    let word = first_word(sql).to_ascii_lowercase();
    ["select", "table", "values", "show"].contains(&word.as_str())
}

/// What PostgreSQL says, in the words of this crate.
pub(super) fn explain(error: &tokio_postgres::Error) -> Error {
    if let Some(error) = error.as_db_error() {
        return Error { kind: kind(error.code()), message: message(error), at: position(error) };
    }
    let kind = if error.is_closed() { ErrorKind::Unavailable } else { other_kind(error) };
    Error::new(kind, chain(error))
}

/// The client's own complaints: about values, or about the connection.
fn other_kind(error: &tokio_postgres::Error) -> ErrorKind {
    let text = error.to_string();
    if text.starts_with("error serializing parameter") {
        ErrorKind::Parameters
    } else if text.starts_with("error deserializing column") {
        ErrorKind::Other
    } else {
        ErrorKind::Unavailable
    }
}

/// The message, and the constraint's name, which not all of them have in it.
fn message(error: &DbError) -> String {
    match error.constraint() {
        Some(constraint) if !error.message().contains(constraint) => {
            format!("{} (constraint {constraint})", error.message())
        }
        _ => error.message().to_owned(),
    }
}

/// In characters from 1, as PostgreSQL counts. Here it is taken for bytes from 0: right for ASCII, and near elsewhere.
fn position(error: &DbError) -> Option<usize> {
    match error.position()? {
        ErrorPosition::Original(at) => usize::try_from(*at).ok()?.checked_sub(1),
        ErrorPosition::Internal { .. } => None,
    }
}

fn kind(state: &SqlState) -> ErrorKind {
    match state.code() {
        "23505" => ErrorKind::Unique,
        "23503" => ErrorKind::ForeignKey,
        "23502" => ErrorKind::NotNull,
        "23514" => ErrorKind::Check,
        "25006" | "42501" => ErrorKind::Denied, // a read-only transaction; a privilege that the role lacks
        "57014" => ErrorKind::Timeout,          // cancelled, by `statement_timeout` or us
        "40001" | "40P01" | "55P03" => ErrorKind::Busy, // serialization, deadlock, lock
        "53100" | "53200" => ErrorKind::Full,
        "25P02" | "25P03" => ErrorKind::Transaction,
        code => match code.get(..2) {
            Some("23") => ErrorKind::Constraint,
            Some("08" | "28" | "3D" | "53" | "57") => ErrorKind::Unavailable,
            Some("22") => ErrorKind::Parameters, // a value that is none of its type, or out of its range
            Some("42" | "0A" | "26" | "34") => ErrorKind::Statement,
            _ => ErrorKind::Other,
        },
    }
}
