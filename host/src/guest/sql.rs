//! `wasmux:sql`, the interface of `guest-sdk/wit` for components. Always linked; what was not granted is denied.

use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker, Resource};

use self::bindings::wasmux::sql::sql::{
    Error as WitError, ErrorKind as WitKind, Executed as WitExecuted, Host, HostDatabase, HostRows,
    HostTransaction, Value as WitValue, add_to_linker as add_sql,
};
use super::databases::Target;
use super::state::{ComponentState, hold};
use crate::sql::{Error, ErrorKind, Executed, Value};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../guest-sdk/wit",
        world: "wasmux:sql/database-user",
        imports: { default: async | trappable },
        with: {
            "wasmux:sql/sql.database": crate::guest::sql::Opened,
            "wasmux:sql/sql.transaction": crate::guest::sql::Begun,
            "wasmux:sql/sql.rows": crate::guest::sql::Answered,
        },
    });
}

/// Rows that one call hands over, in bytes, about.
const BATCH_BYTES: usize = 64 << 10;

/// The number of a database.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "generated code exports it again")]
pub struct Opened(u32);

/// The number of a transaction.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "generated code exports it again")]
pub struct Begun(u32);

/// The number of a result.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "generated code exports it again")]
pub struct Answered(u32);

pub(super) fn add_to_linker(linker: &mut Linker<ComponentState>) -> Result<()> {
    add_sql::<_, HasSelf<_>>(linker, |state| state)
}

type Fallible<T> = Result<Result<T, WitError>>;

impl ComponentState {
    fn opened(&self, database: &Resource<Opened>) -> Result<Target> {
        Ok(Target::Database(self.table.get(database)?.0))
    }

    fn begun(&self, transaction: &Resource<Begun>) -> Result<Target> {
        Ok(Target::Transaction(self.table.get(transaction)?.0))
    }

    async fn run(&mut self, on: Target, sql: String, values: Vec<WitValue>) -> Fallible<WitExecuted> {
        let values = values.into_iter().map(received).collect();
        let done = self.core.databases().execute(on, &sql, values).await;
        let told = |Executed { rows, last_insert_id }| WitExecuted { rows, last_insert_id };
        Ok(done.map(told).map_err(failed))
    }

    async fn ask(&mut self, on: Target, sql: String, values: Vec<WitValue>) -> Fallible<Resource<Answered>> {
        let values = values.into_iter().map(received).collect();
        let done = self.core.databases().query(on, &sql, values).await;
        hold(self)?;
        match done {
            Ok(number) => Ok(Ok(self.table.push(Answered(number))?)),
            Err(error) => Ok(Err(failed(error))),
        }
    }
}

impl Host for ComponentState {}

impl HostDatabase for ComponentState {
    async fn open(&mut self, name: String) -> Fallible<Resource<Opened>> {
        match self.core.databases().open(&name) {
            Ok(number) => Ok(Ok(self.table.push(Opened(number))?)),
            Err(error) => Ok(Err(failed(error))),
        }
    }

    async fn execute(
        &mut self,
        database: Resource<Opened>,
        statement: String,
        parameters: Vec<WitValue>,
    ) -> Fallible<WitExecuted> {
        let target = self.opened(&database)?;
        self.run(target, statement, parameters).await
    }

    async fn query(
        &mut self,
        database: Resource<Opened>,
        statement: String,
        parameters: Vec<WitValue>,
    ) -> Fallible<Resource<Answered>> {
        let target = self.opened(&database)?;
        self.ask(target, statement, parameters).await
    }

    async fn begin(&mut self, database: Resource<Opened>) -> Fallible<Resource<Begun>> {
        let number = self.table.get(&database)?.0;
        match self.core.databases().begin(number).await {
            Ok(number) => Ok(Ok(self.table.push(Begun(number))?)),
            Err(error) => Ok(Err(failed(error))),
        }
    }

    async fn drop(&mut self, database: Resource<Opened>) -> Result<()> {
        self.table.delete(database)?;
        Ok(())
    }
}

impl HostTransaction for ComponentState {
    async fn execute(
        &mut self,
        transaction: Resource<Begun>,
        statement: String,
        parameters: Vec<WitValue>,
    ) -> Fallible<WitExecuted> {
        let target = self.begun(&transaction)?;
        self.run(target, statement, parameters).await
    }

    async fn query(
        &mut self,
        transaction: Resource<Begun>,
        statement: String,
        parameters: Vec<WitValue>,
    ) -> Fallible<Resource<Answered>> {
        let target = self.begun(&transaction)?;
        self.ask(target, statement, parameters).await
    }

    async fn commit(&mut self, transaction: Resource<Begun>) -> Fallible<()> {
        let Begun(number) = self.table.delete(transaction)?;
        Ok(self.core.databases().commit(number).await.map_err(failed))
    }

    async fn drop(&mut self, transaction: Resource<Begun>) -> Result<()> {
        let Begun(number) = self.table.delete(transaction)?;
        self.core.databases().roll_back(number);
        Ok(())
    }
}

impl HostRows for ComponentState {
    async fn columns(&mut self, rows: Resource<Answered>) -> Result<Vec<String>> {
        let number = self.table.get(&rows)?.0;
        Ok(self.core.databases().rows(number).map(|rows| rows.columns().to_vec()).unwrap_or_default())
    }

    async fn next(&mut self, rows: Resource<Answered>) -> Result<Vec<Vec<WitValue>>> {
        let number = self.table.get(&rows)?.0;
        let mut batch = Vec::new();
        // None, when the request that has asked is over.
        let Some(rows) = self.core.databases().rows(number) else { return Ok(batch) };
        let before = rows.bytes();
        while before - rows.bytes() < BATCH_BYTES
            && let Some(row) = rows.next()
        {
            batch.push(row.into_iter().map(told).collect());
        }
        Ok(batch)
    }

    async fn drop(&mut self, rows: Resource<Answered>) -> Result<()> {
        let Answered(number) = self.table.delete(rows)?;
        self.core.databases().close(number);
        Ok(())
    }
}

fn received(value: WitValue) -> Value {
    match value {
        WitValue::Null => Value::Null,
        WitValue::Integer(number) => Value::Integer(number),
        WitValue::Real(number) => Value::Real(number),
        WitValue::Text(text) => Value::Text(text),
        WitValue::Blob(bytes) => Value::Blob(bytes),
    }
}

fn told(value: Value) -> WitValue {
    match value {
        Value::Null => WitValue::Null,
        Value::Integer(number) => WitValue::Integer(number),
        Value::Real(number) => WitValue::Real(number),
        Value::Text(text) => WitValue::Text(text),
        Value::Blob(bytes) => WitValue::Blob(bytes),
    }
}

fn failed(error: Error) -> WitError {
    let kind = match error.kind {
        ErrorKind::Denied => WitKind::Denied,
        ErrorKind::Statement => WitKind::Statement,
        ErrorKind::Parameters => WitKind::Parameters,
        ErrorKind::Unique => WitKind::Unique,
        ErrorKind::ForeignKey => WitKind::ForeignKey,
        ErrorKind::NotNull => WitKind::NotNull,
        ErrorKind::Check => WitKind::Check,
        ErrorKind::Constraint => WitKind::Constraint,
        ErrorKind::Busy => WitKind::Busy,
        ErrorKind::Timeout => WitKind::Timeout,
        ErrorKind::Rows => WitKind::TooManyRows,
        ErrorKind::Bytes => WitKind::TooLarge,
        ErrorKind::Full => WitKind::Full,
        ErrorKind::Unavailable => WitKind::Unavailable,
        ErrorKind::Transaction => WitKind::TransactionState,
        ErrorKind::Other => WitKind::Other,
    };
    WitError { kind, message: error.message }
}
