//! Functions in place of databases, for tests.

use std::{cell::RefCell, collections::BTreeMap, fmt, rc::Rc};

use super::world::databases;
use crate::sql::{Error, ErrorKind, Executed, Result, Value};

/// What a test's function answers to a statement.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    executed: Executed,
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

impl Answer {
    /// Rows with these columns, for a query.
    #[must_use]
    pub fn rows<C: Into<String>, R: Into<Vec<Value>>>(
        columns: impl IntoIterator<Item = C>,
        rows: impl IntoIterator<Item = R>,
    ) -> Self {
        let columns = columns.into_iter().map(Into::into).collect();
        Self { columns, rows: rows.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// So many rows changed.
    #[must_use]
    pub fn changed(rows: u64) -> Self {
        Self { executed: Executed { rows, last_insert_id: None }, ..Self::default() }
    }

    /// A row was inserted, with this row id.
    #[must_use]
    pub fn inserted(id: i64) -> Self {
        Self { executed: Executed { rows: 1, last_insert_id: Some(id) }, ..Self::default() }
    }
}

/// A function in place of a database.
pub(crate) type Answering = dyn FnMut(&str, &[Value]) -> Result<Answer>;

/// All of them, by name.
#[derive(Clone, Default)]
pub(crate) struct Databases(BTreeMap<String, Rc<RefCell<Answering>>>);

impl Databases {
    pub(crate) fn insert(
        &mut self,
        name: &str,
        answering: impl FnMut(&str, &[Value]) -> Result<Answer> + 'static,
    ) {
        self.0.insert(name.to_owned(), Rc::new(RefCell::new(answering)));
    }
}

impl fmt::Debug for Databases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[derive(Clone)]
pub(crate) struct Database(Rc<RefCell<Answering>>);

impl Database {
    pub(crate) fn open(name: &str) -> Result<Self> {
        let found = databases(|databases| databases.0.get(name).cloned());
        let message =
            || format!("the database `{name}` is not granted; a test does so with `.sql(\"{name}\", …)`");
        found.map(Self).ok_or_else(|| Error::new(ErrorKind::Denied, message()))
    }

    fn ask(&self, statement: &str, values: &[Value]) -> Result<Answer> {
        self.0.borrow_mut()(statement, values)
    }

    pub(crate) fn begin(&self) -> Result<Transaction> {
        self.ask("BEGIN", &[])?;
        Ok(Transaction { database: self.clone(), is_open: true })
    }

    pub(crate) fn execute(&self, statement: &str, values: &[Value]) -> Result<Executed> {
        Ok(self.ask(statement, values)?.executed)
    }

    pub(crate) fn query(&self, statement: &str, values: &[Value]) -> Result<Rows> {
        let Answer { columns, rows, .. } = self.ask(statement, values)?;
        Ok(Rows { columns, rows: RefCell::new(rows) })
    }
}

pub(crate) struct Transaction {
    database: Database,
    is_open: bool,
}

impl Transaction {
    pub(crate) fn execute(&self, statement: &str, values: &[Value]) -> Result<Executed> {
        self.database.execute(statement, values)
    }

    pub(crate) fn query(&self, statement: &str, values: &[Value]) -> Result<Rows> {
        self.database.query(statement, values)
    }

    pub(crate) fn commit(mut self) -> Result<()> {
        self.is_open = false;
        self.database.ask("COMMIT", &[]).map(drop)
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.is_open && !std::thread::panicking() {
            let _ = self.database.ask("ROLLBACK", &[]); // a rollback that fails has rolled back
        }
    }
}

pub(crate) struct Rows {
    columns: Vec<String>,
    rows: RefCell<Vec<Vec<Value>>>,
}

impl Rows {
    pub(crate) fn columns(&self) -> Vec<String> {
        self.columns.clone()
    }

    /// All of them, the first time.
    pub(crate) fn next(&self, _: usize) -> Vec<Vec<Value>> {
        self.rows.take()
    }
}
