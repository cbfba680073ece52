//! Values of SQL databases (ABI.md section 12): the parameters of a statement, and rows.
//!
//! Invariant: what [`write_sql_value`] writes, [`SqlValues`] reads back, and any other bytes end in [`Malformed`], never in a panic
//! or a read out of bounds.

use crate::Malformed;

/// What a statement answers to [`crate::SQL_MODULE`]'s `execute`, in bytes: rows as `u64`, the row id as `i64`.
pub const SQL_EXECUTED_SIZE: usize = 16;

/// One value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SqlValue<'a> {
    /// NULL.
    Null,
    /// A whole number, or a truth value.
    Integer(i64),
    /// A floating-point number.
    Real(f64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
}

const NULL: u8 = 0;
const INTEGER: u8 = 1;
const REAL: u8 = 2;
const TEXT: u8 = 3;
const BLOB: u8 = 4;

impl SqlValue<'_> {
    /// Bytes that it takes.
    #[must_use]
    pub const fn size(&self) -> usize {
        match self {
            Self::Null => 1,
            Self::Integer(_) | Self::Real(_) => 9,
            Self::Text(text) => 5 + text.len(),
            Self::Blob(bytes) => 5 + bytes.len(),
        }
    }
}

/// Hands the bytes of a value to `put`, piece by piece.
pub fn write_sql_value(value: &SqlValue<'_>, mut put: impl FnMut(&[u8])) {
    match value {
        SqlValue::Null => put(&[NULL]),
        SqlValue::Integer(number) => {
            put(&[INTEGER]);
            put(&number.to_le_bytes());
        }
        SqlValue::Real(number) => {
            put(&[REAL]);
            put(&number.to_le_bytes());
        }
        SqlValue::Text(text) => {
            put(&[TEXT]);
            put(&(text.len() as u32).to_le_bytes());
            put(text.as_bytes());
        }
        SqlValue::Blob(bytes) => {
            put(&[BLOB]);
            put(&(bytes.len() as u32).to_le_bytes());
            put(bytes);
        }
    }
}

/// The values of a block, one behind the other up to its end. Behind a malformed one there is no other.
#[derive(Clone, Debug)]
pub struct SqlValues<'a> {
    rest: &'a [u8],
}

impl<'a> SqlValues<'a> {
    /// Reads a block.
    #[must_use]
    pub const fn new(block: &'a [u8]) -> Self {
        Self { rest: block }
    }

    fn take(&mut self) -> Option<SqlValue<'a>> {
        let (&tag, rest) = self.rest.split_first()?;
        let (value, rest) = match tag {
            NULL => (SqlValue::Null, rest),
            INTEGER => {
                let (number, rest) = rest.split_first_chunk()?;
                (SqlValue::Integer(i64::from_le_bytes(*number)), rest)
            }
            REAL => {
                let (number, rest) = rest.split_first_chunk()?;
                (SqlValue::Real(f64::from_le_bytes(*number)), rest)
            }
            TEXT | BLOB => {
                let (len, rest) = rest.split_first_chunk()?;
                let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
                let (bytes, rest) = rest.split_at_checked(len)?;
                let value = if tag == BLOB {
                    SqlValue::Blob(bytes)
                } else {
                    SqlValue::Text(core::str::from_utf8(bytes).ok()?)
                };
                (value, rest)
            }
            _ => return None,
        };
        self.rest = rest;
        Some(value)
    }
}

impl<'a> Iterator for SqlValues<'a> {
    type Item = Result<SqlValue<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let value = self.take().ok_or(Malformed);
        if value.is_err() {
            self.rest = &[];
        }
        Some(value)
    }
}

/// What sort of failure a statement's is (ABI.md section 12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SqlError {
    /// Anything else.
    Other = 0,
    /// Not granted.
    Denied = 1,
    /// The statement cannot be understood, or names what is not there.
    Statement = 2,
    /// The parameters do not fit the statement.
    Parameters = 3,
    /// A unique constraint or a primary key.
    Unique = 4,
    /// A foreign key.
    ForeignKey = 5,
    /// A column must not be null.
    NotNull = 6,
    /// A check constraint.
    Check = 7,
    /// Another constraint.
    Constraint = 8,
    /// Somebody else is in the way; it may go well when it is tried again.
    Busy = 9,
    /// It took too long.
    Timeout = 10,
    /// The result has too many rows.
    Rows = 11,
    /// The result, or what was sent, is too large.
    Bytes = 12,
    /// The database is full.
    Full = 13,
    /// The database cannot be reached.
    Unavailable = 14,
    /// There is no such transaction, no longer, or already.
    Transaction = 15,
}

impl SqlError {
    /// All of them, by number.
    pub const ALL: [Self; 16] = [
        Self::Other,
        Self::Denied,
        Self::Statement,
        Self::Parameters,
        Self::Unique,
        Self::ForeignKey,
        Self::NotNull,
        Self::Check,
        Self::Constraint,
        Self::Busy,
        Self::Timeout,
        Self::Rows,
        Self::Bytes,
        Self::Full,
        Self::Unavailable,
        Self::Transaction,
    ];

    /// The failure with this number. Those of newer hosts are [`Self::Other`].
    #[must_use]
    pub fn from_code(code: u32) -> Self {
        usize::try_from(code).ok().and_then(|code| Self::ALL.get(code)).copied().unwrap_or(Self::Other)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    const VALUES: [SqlValue<'static>; 6] = [
        SqlValue::Null,
        SqlValue::Integer(i64::MIN),
        SqlValue::Real(-0.5),
        SqlValue::Text("Ä"),
        SqlValue::Blob(&[0, 255]),
        SqlValue::Text(""),
    ];

    fn block() -> Vec<u8> {
        let mut block = Vec::new();
        for value in &VALUES {
            let before = block.len();
            write_sql_value(value, |bytes| block.extend_from_slice(bytes));
            assert_eq!(block.len() - before, value.size());
        }
        block
    }

    #[test]
    fn round_trip() {
        let block = block();
        let read: Vec<_> = SqlValues::new(&block).map(|value| value.expect("well-formed")).collect();
        assert_eq!(read, VALUES);
        assert_eq!(SqlValues::new(&[]).count(), 0);
    }

    #[test]
    fn other_bytes_are_malformed_and_end_it() {
        let block = block();
        // Where a value ends, the block may end, too.
        let ends: Vec<_> = VALUES
            .iter()
            .scan(0, |end, value| {
                *end += value.size();
                Some(*end)
            })
            .collect();
        for end in (1..block.len()).filter(|end| !ends.contains(end)) {
            let read: Vec<_> = SqlValues::new(&block[..end]).collect();
            assert_eq!(read.iter().filter(|value| value.is_err()).count(), 1, "cut at {end}");
            assert_eq!(read.last(), Some(&Err(Malformed)), "cut at {end}");
        }
        for bad in [&[5][..], &[3, 1, 0, 0, 0, 0xff], &[4, 0xff, 0xff, 0xff, 0xff, 0]] {
            assert_eq!(SqlValues::new(bad).next(), Some(Err(Malformed)));
        }
    }

    #[test]
    fn errors_have_their_numbers() {
        for (error, code) in SqlError::ALL.into_iter().zip(0..) {
            assert_eq!((error as u32, SqlError::from_code(code)), (code, error));
        }
        assert_eq!(SqlError::from_code(99), SqlError::Other);
    }
}
