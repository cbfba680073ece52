//! Why a statement was refused or has failed.

use std::fmt;

/// What sort of failure it is; handlers decide by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Not granted: a change with a read-only grant, or what reaches beyond the database.
    Denied,
    /// The statement cannot be understood, or names what is not there.
    Statement,
    /// A parameter is missing, is one too many, or cannot be of the type that it is used as.
    Parameters,
    /// There is such a row already: a unique constraint or a primary key.
    Unique,
    /// A foreign key refers to nothing, or something refers to what was to go.
    ForeignKey,
    /// A column must not be null.
    NotNull,
    /// A check constraint.
    Check,
    /// Another constraint, such as those of triggers and exclusions.
    Constraint,
    /// No connection became free, or another transaction was in the way. It may go well when it is tried again.
    Busy,
    /// `timeout`, or the transaction's, has passed; the statement was interrupted.
    Timeout,
    /// The result has more rows than `max_rows`.
    Rows,
    /// The result is larger than `max_bytes`.
    Bytes,
    /// The database is full: `max_size`, or the disk.
    Full,
    /// The server cannot be reached, or the file cannot be opened.
    Unavailable,
    /// There is no such transaction, or no longer.
    Transaction,
    /// Anything else that the database says.
    Other,
}

/// A failed statement. It never holds a password, and no values but those that the database's own message has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What sort of failure it is.
    pub kind: ErrorKind,
    /// A sentence.
    pub message: String,
    /// Where in the statement, in bytes, if that is known.
    pub at: Option<usize>,
}

impl Error {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), at: None }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// An error and its causes, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.ends_with(&cause) { text } else { format!("{text}: {cause}") }
    })
}
