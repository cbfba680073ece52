//! What goes into statements and comes out of them.

use std::collections::VecDeque;

use super::Limits;
use super::error::{Error, ErrorKind};

/// A value. SQLite has these; PostgreSQL's types are mapped to them, see `postgres/types.rs`.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// SQL's NULL.
    Null,
    /// A whole number; also what truth values are, 0 and 1.
    Integer(i64),
    /// A floating-point number. SQLite takes NaN for NULL.
    Real(f64),
    /// Text, and everything that PostgreSQL writes as text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

impl Value {
    /// What it takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let payload = match self {
            Self::Null | Self::Integer(_) | Self::Real(_) => 0,
            Self::Text(text) => text.len(),
            Self::Blob(bytes) => bytes.len(),
        };
        size_of::<Self>() + payload
    }
}

/// One row: a value for each column.
pub type Row = Vec<Value>;

/// The rows of a result that are still to be taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    columns: Vec<String>,
    rows: VecDeque<Row>,
    bytes: usize,
}

impl Rows {
    pub(super) fn new(columns: Vec<String>) -> Self {
        let bytes = columns.iter().map(|column| size_of::<String>() + column.len()).sum();
        Self { columns, rows: VecDeque::new(), bytes }
    }

    /// Adds a row, if the limits allow it.
    pub(super) fn push(&mut self, row: Row, limits: &Limits) -> Result<(), Error> {
        if self.rows.len() as u64 >= limits.rows_max {
            let message = format!("the result has more rows than `max_rows`, {}", limits.rows_max);
            return Err(Error::new(ErrorKind::Rows, message));
        }
        let bytes = self.bytes + row_bytes(&row);
        if bytes as u64 > limits.bytes_max {
            return Err(too_large(limits));
        }
        self.bytes = bytes;
        self.rows.push_back(row);
        Ok(())
    }

    /// The names of the columns, in order; they may repeat.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The next row, without taking it.
    #[must_use]
    pub fn first(&self) -> Option<&Row> {
        self.rows.front()
    }

    /// Rows that are left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether none is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What is left of it takes so much memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Takes the rows one by one.
impl Iterator for Rows {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        let row = self.rows.pop_front()?;
        self.bytes -= row_bytes(&row);
        Some(row)
    }
}

/// What a result fails with that has more bytes than it may.
pub(super) fn too_large(limits: &Limits) -> Error {
    let message = format!("the result is larger than `max_bytes`, {} bytes", limits.bytes_max);
    Error::new(ErrorKind::Bytes, message)
}

fn row_bytes(row: &Row) -> usize {
    size_of::<Row>() + row.iter().map(Value::bytes).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_bytes_are_counted_to_the_limit_and_given_back() {
        let limits = Limits { rows_max: 2, bytes_max: 200, ..Limits::default() };
        let mut rows = Rows::new(vec!["a".into()]);
        let empty = rows.bytes();
        rows.push(vec![Value::Integer(1)], &limits).unwrap();
        rows.push(vec![Value::Null], &limits).unwrap();
        assert_eq!(rows.push(vec![Value::Null], &limits).unwrap_err().kind, ErrorKind::Rows);
        assert_eq!(rows.next(), Some(vec![Value::Integer(1)]));
        let large = vec![Value::Text("x".repeat(200))];
        assert_eq!(rows.push(large, &limits).unwrap_err().kind, ErrorKind::Bytes);
        assert_eq!((rows.len(), rows.next()), (1, Some(vec![Value::Null])));
        assert_eq!((rows.bytes(), rows.next()), (empty, None));
    }
}
