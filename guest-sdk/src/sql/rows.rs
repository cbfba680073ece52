//! Rows of a result.

use std::{collections::VecDeque, fmt, rc::Rc};

use super::{Error, ErrorKind, FromValue, Result, Value, host};

/// The rows of a result, which come from the host a batch at a time; Go's `sql.Rows`.
pub struct Rows {
    host: host::Rows,
    columns: Rc<[String]>,
    batch: VecDeque<Vec<Value>>,
}

impl Rows {
    pub(super) fn new(host: host::Rows) -> Self {
        let columns = host.columns().into();
        Self { host, columns, batch: VecDeque::new() }
    }

    /// The names of the columns, in order; Go's `Rows.Columns`.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }
}

impl Iterator for Rows {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        if self.batch.is_empty() {
            self.batch = self.host.next(self.columns.len()).into();
        }
        let values = self.batch.pop_front()?;
        Some(Row { columns: Rc::clone(&self.columns), values })
    }
}

/// One row.
#[derive(Clone, PartialEq)]
pub struct Row {
    columns: Rc<[String]>,
    values: Vec<Value>,
}

impl Row {
    /// The value of a column, by its name or number from 0; one column of Go's `Rows.Scan`.
    ///
    /// # Errors
    /// [`ErrorKind::Column`] when there is no such column, or its value is none of `T`.
    pub fn get<T: FromValue>(&self, column: impl ColumnIndex) -> Result<T> {
        let value = self.values.get(column.find(&self.columns)?);
        let value = value.ok_or_else(|| Error::new(ErrorKind::Column, format!("there is no {column}")))?;
        T::from_value(value).map_err(|error| Error::new(error.kind(), format!("{column}: {error}")))
    }

    /// The names of the columns, in order.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The values, in order.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        &self.values
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.columns.iter().zip(&self.values)).finish()
    }
}

/// What names a column.
pub trait ColumnIndex: fmt::Display {
    /// Its number among columns of these names.
    ///
    /// # Errors
    /// [`ErrorKind::Column`] when there is no such column.
    fn find(&self, columns: &[String]) -> Result<usize>;
}

impl ColumnIndex for usize {
    fn find(&self, _: &[String]) -> Result<usize> {
        Ok(*self)
    }
}

impl ColumnIndex for &str {
    fn find(&self, columns: &[String]) -> Result<usize> {
        let found = columns.iter().position(|column| column == self);
        found.ok_or_else(|| Error::new(ErrorKind::Column, format!("there is no column `{self}`")))
    }
}
