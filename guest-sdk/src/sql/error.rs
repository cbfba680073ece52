//! Why a statement has failed.

use std::fmt;

use wasmux_abi::SqlError;

/// What the functions of [`crate::sql`] return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Not granted: this database, a change with a read-only grant, or what reaches beyond the database.
    Denied,
    /// The statement cannot be understood, or names what is not there.
    Statement,
    /// The parameters do not fit the statement.
    Parameters,
    /// There is such a row already: a unique constraint or a primary key.
    Unique,
    /// A foreign key refers to nothing, or something refers to what was to go.
    ForeignKey,
    /// A column must not be null.
    NotNull,
    /// A check constraint.
    Check,
    /// Another constraint.
    Constraint,
    /// Somebody else is in the way. It may go well when it is tried again, from the beginning of the transaction.
    Busy,
    /// It took longer than `timeout`, or the transaction longer than `transaction_timeout`.
    Timeout,
    /// The result is larger than `max_rows` or `max_bytes`, or too much was sent.
    TooLarge,
    /// The database is full: `max_size`, or the disk.
    Full,
    /// The database cannot be reached.
    Unavailable,
    /// There is no such transaction, no longer, or already.
    Transaction,
    /// A row has no such column, or a value that is not of the wanted type.
    Column,
    /// Anything else that the database says.
    Other,
}

/// A failed statement. As the error of a handler it is a `500`, whose text only the log has.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    /// An error of this kind, for tests.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// What sort of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether there is such a row already.
    #[must_use]
    pub fn is_unique(&self) -> bool {
        self.kind == ErrorKind::Unique
    }

    /// Whether any constraint was violated.
    #[must_use]
    pub fn is_constraint(&self) -> bool {
        use ErrorKind::{Check, Constraint, ForeignKey, NotNull, Unique};
        matches!(self.kind, Unique | ForeignKey | NotNull | Check | Constraint)
    }

    #[cfg_attr(not(target_family = "wasm"), expect(dead_code, reason = "for guests"))]
    pub(crate) fn of_host(code: SqlError, message: String) -> Self {
        let kind = match code {
            SqlError::Denied => ErrorKind::Denied,
            SqlError::Statement => ErrorKind::Statement,
            SqlError::Parameters => ErrorKind::Parameters,
            SqlError::Unique => ErrorKind::Unique,
            SqlError::ForeignKey => ErrorKind::ForeignKey,
            SqlError::NotNull => ErrorKind::NotNull,
            SqlError::Check => ErrorKind::Check,
            SqlError::Constraint => ErrorKind::Constraint,
            SqlError::Busy => ErrorKind::Busy,
            SqlError::Timeout => ErrorKind::Timeout,
            SqlError::Rows | SqlError::Bytes => ErrorKind::TooLarge,
            SqlError::Full => ErrorKind::Full,
            SqlError::Unavailable => ErrorKind::Unavailable,
            SqlError::Transaction => ErrorKind::Transaction,
            SqlError::Other => ErrorKind::Other,
        };
        Self { kind, message }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)
    }
}

impl std::error::Error for Error {}
