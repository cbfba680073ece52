//! [`Queries`]: what runs statements.

use super::{Database, Executed, Result, Row, Rows, ToValue, Tx};

/// What runs statements, a [`Database`] or a transaction of one, for functions that do not mind which.
///
/// ```
/// # use wasmux_sdk::sql::{self, Queries};
/// fn tag(db: &impl Queries, note: i64, tag: &str) -> sql::Result<()> {
///     db.execute("INSERT INTO tags (note, tag) VALUES ($1, $2)", &[&note, &tag]).map(drop)
/// }
///
/// fn tag_both(db: &mut sql::Database, one: i64, other: i64) -> sql::Result<()> {
///     let tx = db.begin()?;
///     tag(&tx, one, "first")?;
///     tag(&tx, other, "second")?;
///     tx.commit()
/// }
/// ```
pub trait Queries {
    /// As [`Database::execute`] and [`Tx::execute`].
    ///
    /// # Errors
    /// See [`ErrorKind`](super::ErrorKind).
    fn execute(&self, statement: &str, parameters: &[&dyn ToValue]) -> Result<Executed>;

    /// As [`Database::query`] and [`Tx::query`].
    ///
    /// # Errors
    /// See [`ErrorKind`](super::ErrorKind).
    fn query(&self, statement: &str, parameters: &[&dyn ToValue]) -> Result<Rows>;

    /// The first row of the result, if there is one.
    ///
    /// # Errors
    /// See [`ErrorKind`](super::ErrorKind).
    fn query_row(&self, statement: &str, parameters: &[&dyn ToValue]) -> Result<Option<Row>> {
        Ok(self.query(statement, parameters)?.next())
    }
}

impl Queries for Database {
    fn execute(&self, statement: &str, parameters: &[&dyn ToValue]) -> Result<Executed> {
        self.execute(statement, parameters)
    }

    fn query(&self, statement: &str, parameters: &[&dyn ToValue]) -> Result<Rows> {
        self.query(statement, parameters)
    }
}

impl Queries for Tx<'_> {
    fn execute(&self, statement: &str, parameters: &[&dyn ToValue]) -> Result<Executed> {
        self.execute(statement, parameters)
    }

    fn query(&self, statement: &str, parameters: &[&dyn ToValue]) -> Result<Rows> {
        self.query(statement, parameters)
    }
}
