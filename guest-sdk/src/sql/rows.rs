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

    /// All of its columns, in order; Go's `Rows.Scan`.
    ///
    /// ```
    /// # use wasmux_sdk::sql;
    /// # fn f(db: &sql::Database) -> sql::Result<()> {
    /// for row in db.query("SELECT id, title FROM notes", &[])? {
    ///     let (id, title): (i64, String) = row.read()?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Column`] when it has more columns than `T`, or fewer, or a value that does not fit.
    pub fn read<T: FromRow>(&self) -> Result<T> {
        T::from_row(self)
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

/// What a whole row can be read as: tuples of up to twelve.
pub trait FromRow: Sized {
    /// The row as this type.
    ///
    /// # Errors
    /// [`ErrorKind::Column`] when it does not fit.
    fn from_row(row: &Row) -> Result<Self>;
}

macro_rules! tuples {
    ($($count:literal: $($ty:ident $column:literal)*;)*) => {$(
        impl<$($ty: FromValue),*> FromRow for ($($ty,)*) {
            fn from_row(row: &Row) -> Result<Self> {
                expect_columns(row, $count)?;
                Ok(($(row.get::<$ty>($column)?,)*))
            }
        }
    )*};
}

tuples! {
    1: A 0;
    2: A 0 B 1;
    3: A 0 B 1 C 2;
    4: A 0 B 1 C 2 D 3;
    5: A 0 B 1 C 2 D 3 E 4;
    6: A 0 B 1 C 2 D 3 E 4 F 5;
    7: A 0 B 1 C 2 D 3 E 4 F 5 G 6;
    8: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7;
    9: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8;
    10: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9;
    11: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10;
    12: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10 L 11;
}

fn expect_columns(row: &Row, wanted: usize) -> Result<()> {
    match row.values.len() {
        found if found == wanted => Ok(()),
        found => {
            let message = format!("the row has {found} columns, but {wanted} are wanted");
            Err(Error::new(ErrorKind::Column, message))
        }
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
