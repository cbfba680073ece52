//! Databases as `wasmux:sql` has them, the interface in `guest-sdk/wit`.

use self::bindings::wasmux::sql::sql as wit;
use crate::sql::{Error, Executed, Result, Value};
use wasmux_abi::SqlError;

mod bindings {
    wit_bindgen::generate!({ path: "wit/sql.wit", world: "database-user", generate_all });
}

pub(crate) struct Database(wit::Database);

/// Dropped, the host rolls it back.
pub(crate) struct Transaction(wit::Transaction);

pub(crate) struct Rows(wit::Rows);

fn sent(values: &[Value]) -> Vec<wit::Value> {
    let sent = |value: &Value| match value {
        Value::Null => wit::Value::Null,
        Value::Integer(number) => wit::Value::Integer(*number),
        Value::Real(number) => wit::Value::Real(*number),
        Value::Text(text) => wit::Value::Text(text.clone()),
        Value::Blob(bytes) => wit::Value::Blob(bytes.clone()),
    };
    values.iter().map(sent).collect()
}

fn received(value: wit::Value) -> Value {
    match value {
        wit::Value::Null => Value::Null,
        wit::Value::Integer(number) => Value::Integer(number),
        wit::Value::Real(number) => Value::Real(number),
        wit::Value::Text(text) => Value::Text(text),
        wit::Value::Blob(bytes) => Value::Blob(bytes),
    }
}

fn executed(done: wit::Executed) -> Executed {
    Executed { rows: done.rows, last_insert_id: done.last_insert_id }
}

fn failed(error: wit::Error) -> Error {
    let code = match error.kind {
        wit::ErrorKind::Other => SqlError::Other,
        wit::ErrorKind::Denied => SqlError::Denied,
        wit::ErrorKind::Statement => SqlError::Statement,
        wit::ErrorKind::Parameters => SqlError::Parameters,
        wit::ErrorKind::Unique => SqlError::Unique,
        wit::ErrorKind::ForeignKey => SqlError::ForeignKey,
        wit::ErrorKind::NotNull => SqlError::NotNull,
        wit::ErrorKind::Check => SqlError::Check,
        wit::ErrorKind::Constraint => SqlError::Constraint,
        wit::ErrorKind::Busy => SqlError::Busy,
        wit::ErrorKind::Timeout => SqlError::Timeout,
        wit::ErrorKind::TooManyRows => SqlError::Rows,
        wit::ErrorKind::TooLarge => SqlError::Bytes,
        wit::ErrorKind::Full => SqlError::Full,
        wit::ErrorKind::Unavailable => SqlError::Unavailable,
        wit::ErrorKind::TransactionState => SqlError::Transaction,
    };
    Error::of_host(code, error.message)
}

impl Database {
    pub(crate) fn open(name: &str) -> Result<Self> {
        wit::Database::open(name).map(Self).map_err(failed)
    }

    pub(crate) fn begin(&self) -> Result<Transaction> {
        self.0.begin().map(Transaction).map_err(failed)
    }

    pub(crate) fn execute(&self, statement: &str, values: &[Value]) -> Result<Executed> {
        self.0.execute(statement, &sent(values)).map(executed).map_err(failed)
    }

    pub(crate) fn query(&self, statement: &str, values: &[Value]) -> Result<Rows> {
        self.0.query(statement, &sent(values)).map(Rows).map_err(failed)
    }
}

impl Transaction {
    pub(crate) fn execute(&self, statement: &str, values: &[Value]) -> Result<Executed> {
        self.0.execute(statement, &sent(values)).map(executed).map_err(failed)
    }

    pub(crate) fn query(&self, statement: &str, values: &[Value]) -> Result<Rows> {
        self.0.query(statement, &sent(values)).map(Rows).map_err(failed)
    }

    pub(crate) fn commit(self) -> Result<()> {
        wit::Transaction::commit(self.0).map_err(failed)
    }
}

impl Rows {
    pub(crate) fn columns(&self) -> Vec<String> {
        self.0.columns()
    }

    /// The next rows; none at the end.
    pub(crate) fn next(&self, _: usize) -> Vec<Vec<Value>> {
        let row = |row: Vec<wit::Value>| row.into_iter().map(received).collect();
        self.0.next().into_iter().map(row).collect()
    }
}
