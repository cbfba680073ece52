//! SQL databases that routes.toml grants to the handler; Go's `database/sql`.
//!
//! ```toml
//! [sql.app]
//! backend    = "sqlite"     # or "postgres://…"
//! migrations = "migrations" # 0001_notes.sql and so on, applied when it is deployed
//!
//! [handlers.notes]
//! wasm = "notes"
//! sql  = ["app"]            # or { app = { read_only = true } }
//! ```
//!
//! ```
//! use std::io::Write;
//! use wasmux_sdk::{Recorder, Request, ResponseWriter, Result, sql};
//!
//! fn titles(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
//!     let db = sql::open("app")?;
//!     for row in db.query("SELECT id, title FROM notes WHERE author = $1", &[&r.query_value("author")])? {
//!         writeln!(w, "{}: {}", row.get::<i64>("id")?, row.get::<String>("title")?)?;
//!     }
//!     Ok(())
//! }
//!
//! // Under test a function stands in for the database:
//! let request = Request::get("/?author=Ann").sql("app", |statement, values| {
//!     assert!(statement.starts_with("SELECT") && values == [sql::Value::from("Ann")]);
//!     Ok(sql::Answer::rows(["id", "title"], [[7.into(), "Milk".into()]]))
//! });
//! assert_eq!(Recorder::serve(titles, request).text(), "7: Milk\n");
//! ```
//!
//! Values never become part of the statement's text: they are given beside it, for the placeholders `$1`, `$2` and so on, the same
//! on SQLite and on PostgreSQL. A result is complete when [`Database::query`] returns, within the limits of `[sql.NAME]`, so rows are
//! read without errors of the database. A handler that calls this needs a grant; a component without one gets [`ErrorKind::Denied`].
//!
//! | here | SQLite | PostgreSQL |
//! |---|---|---|
//! | `bool` | `INTEGER`, 0 or 1 | `boolean` |
//! | `i64`, `i32`, `u32` and so on | `INTEGER` | `smallint`, `integer`, `bigint` |
//! | `f64`, `f32` | `REAL` | `real`, `double precision` |
//! | `String`, `&str` | `TEXT` | `text`, `varchar`, and as text: `numeric`, `uuid`, `json`, `jsonb`, dates and times |
//! | `Vec<u8>`, `&[u8]` | `BLOB` | `bytea` |
//! | `Option` | `NULL`, or one of these | the same |
//!
//! A row gives a column at a time, or all of them as [`Row::read`]. What is to work in a transaction and outside of one takes
//! [`Queries`].

use std::marker::PhantomData;

mod error;
mod queries;
mod rows;
mod value;

pub use error::{Error, ErrorKind, Result};
pub use queries::Queries;
pub use rows::{ColumnIndex, FromRow, Row, Rows};
pub use value::{FromValue, ToValue, Value};

#[cfg(not(target_family = "wasm"))]
use crate::recorder::sql as host;
#[cfg(not(target_family = "wasm"))]
pub use crate::recorder::sql::Answer;
#[cfg(target_family = "wasm")]
use crate::sys::sql as host;

/// What a statement has done; Go's `sql.Result`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Executed {
    /// Rows that were inserted, updated or deleted.
    pub rows: u64,
    /// SQLite: the row id of the last row that was inserted. PostgreSQL has none; `RETURNING` and [`Database::query_row`] work on
    /// both.
    pub last_insert_id: Option<i64>,
}

/// The database of this name in routes.toml.
///
/// # Errors
/// [`ErrorKind::Denied`] when it was not granted.
pub fn open(name: &str) -> Result<Database> {
    Ok(Database(host::Database::open(name)?))
}

/// A database; Go's `sql.DB`.
pub struct Database(host::Database);

impl Database {
    /// Runs a statement in a transaction of its own, for what it changes; Go's `DB.Exec`.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub fn execute(&self, statement: &str, parameters: &[&dyn ToValue]) -> Result<Executed> {
        self.0.execute(statement, &values(parameters))
    }

    /// Runs a statement in a transaction of its own, for its rows; Go's `DB.Query`.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub fn query(&self, statement: &str, parameters: &[&dyn ToValue]) -> Result<Rows> {
        Ok(Rows::new(self.0.query(statement, &values(parameters))?))
    }

    /// The first row of the result, if there is one; Go's `DB.QueryRow`.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub fn query_row(&self, statement: &str, parameters: &[&dyn ToValue]) -> Result<Option<Row>> {
        Ok(self.query(statement, parameters)?.next())
    }

    /// Begins a transaction; Go's `DB.Begin`. Until it ends, the request's statements go through it: that is why it borrows.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub fn begin(&mut self) -> Result<Tx<'_>> {
        Ok(Tx { host: self.0.begin()?, database: PhantomData })
    }
}

/// A transaction; Go's `sql.Tx`. Dropped without [`commit`](Self::commit) it is rolled back, as it is when a statement in it fails, and
/// at the end of the request.
///
/// ```
/// # use wasmux_sdk::sql;
/// fn transfer(db: &mut sql::Database, from: i64, to: i64, amount: i64) -> sql::Result<()> {
///     let tx = db.begin()?;
///     tx.execute("UPDATE accounts SET balance = balance - $1 WHERE id = $2", &[&amount, &from])?;
///     tx.execute("UPDATE accounts SET balance = balance + $1 WHERE id = $2", &[&amount, &to])?;
///     tx.commit()
/// }
/// ```
pub struct Tx<'d> {
    host: host::Transaction,
    database: PhantomData<&'d mut Database>,
}

impl Tx<'_> {
    /// Runs a statement for what it changes; Go's `Tx.Exec`.
    ///
    /// # Errors
    /// See [`ErrorKind`]. The transaction is rolled back then.
    pub fn execute(&self, statement: &str, parameters: &[&dyn ToValue]) -> Result<Executed> {
        self.host.execute(statement, &values(parameters))
    }

    /// Runs a statement for its rows; Go's `Tx.Query`.
    ///
    /// # Errors
    /// See [`ErrorKind`]. The transaction is rolled back then.
    pub fn query(&self, statement: &str, parameters: &[&dyn ToValue]) -> Result<Rows> {
        Ok(Rows::new(self.host.query(statement, &values(parameters))?))
    }

    /// The first row of the result, if there is one; Go's `Tx.QueryRow`.
    ///
    /// # Errors
    /// See [`ErrorKind`]. The transaction is rolled back then.
    pub fn query_row(&self, statement: &str, parameters: &[&dyn ToValue]) -> Result<Option<Row>> {
        Ok(self.query(statement, parameters)?.next())
    }

    /// Makes what it has done last; Go's `Tx.Commit`.
    ///
    /// # Errors
    /// See [`ErrorKind`]. It was rolled back then.
    pub fn commit(self) -> Result<()> {
        self.host.commit()
    }

    /// Takes back what it has done, as dropping it does; Go's `Tx.Rollback`.
    pub fn rollback(self) {}
}

fn values(parameters: &[&dyn ToValue]) -> Vec<Value> {
    parameters.iter().map(|parameter| parameter.to_value()).collect()
}
