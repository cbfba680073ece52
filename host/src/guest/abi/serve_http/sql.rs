//! What a core module imports from `wasmux:sql/1`: ABI.md section 12.

use wasmtime::{Caller, Linker, Result};
use wasmux_abi::{Errno, SQL_EXECUTED_SIZE, SQL_MODULE, SqlValue, SqlValues, write_sql_value};

use super::super::super::databases::{PARAMETER_BYTES_MAX, Session, Target, code};
use super::super::super::memory::{self, Region};
use super::super::super::state::{ModuleState, hold};
use crate::sql::{Error, ErrorKind, Value};

type Guest<'c> = Caller<'c, ModuleState>;
type Statement = (u32, u32, u32, u32, u32);
type StatementInto = (u32, u32, u32, u32, u32, u32, u32);

pub(super) fn add_to_linker(linker: &mut Linker<ModuleState>) -> Result<()> {
    linker
        .func_wrap(SQL_MODULE, "open", open)?
        .func_wrap_async(SQL_MODULE, "begin", |caller, (database,): (u32,)| {
            Box::new(begin(caller, database))
        })?
        .func_wrap_async(SQL_MODULE, "commit", |caller, (database,): (u32,)| {
            Box::new(commit(caller, database))
        })?
        .func_wrap(SQL_MODULE, "rollback", roll_back)?
        .func_wrap_async(SQL_MODULE, "execute", |caller, statement: StatementInto| {
            Box::new(execute(caller, statement))
        })?
        .func_wrap_async(SQL_MODULE, "query", |caller, statement: Statement| {
            Box::new(query(caller, statement))
        })?
        .func_wrap(SQL_MODULE, "columns", columns)?
        .func_wrap(SQL_MODULE, "read", read)?
        .func_wrap(SQL_MODULE, "close", close)?
        .func_wrap(SQL_MODULE, "error", error)?;
    Ok(())
}

fn session(state: &mut ModuleState) -> &mut Session {
    state.core.databases()
}

/// The answer to a call, and why it failed for `error`.
fn answer(state: &mut ModuleState, done: Result<u32, Error>) -> i32 {
    match done {
        Ok(number) => number as i32,
        Err(error) => {
            let errno = if error.kind == ErrorKind::Denied { Errno::Denied } else { Errno::Failed };
            session(state).last_error = Some(error);
            errno.code()
        }
    }
}

fn open(mut caller: Guest<'_>, name: u32, name_len: u32) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    let name = String::from_utf8_lossy(Region::new("open", name, name_len).within(data)?);
    let opened = session(state).open(&name);
    Ok(answer(state, opened))
}

async fn begin(mut caller: Guest<'_>, database: u32) -> Result<i32> {
    let begun = session(caller.data_mut()).begin(database).await;
    Ok(answer(caller.data_mut(), begun.map(|_| 0)))
}

async fn commit(mut caller: Guest<'_>, database: u32) -> Result<i32> {
    let session = session(caller.data_mut());
    let Some(transaction) = session.transaction_on(database) else { return Ok(Errno::State.code()) };
    let done = session.commit(transaction).await;
    Ok(answer(caller.data_mut(), done.map(|()| 0)))
}

fn roll_back(mut caller: Guest<'_>, database: u32) -> i32 {
    let session = session(caller.data_mut());
    let Some(transaction) = session.transaction_on(database) else { return Errno::State.code() };
    session.roll_back(transaction);
    0
}

/// What a guest has said of a statement, copied: the call waits, and the memory is the guest's.
struct Sent {
    target: Target,
    sql: String,
    values: Vec<Value>,
}

/// Reads a statement. Values that are malformed trap, and so does text that is none.
fn sent(caller: &mut Guest<'_>, call: &'static str, statement: Statement) -> Result<Result<Sent, Error>> {
    let (database, sql, sql_len, block, block_len) = statement;
    let (data, state) = memory::split(caller)?;
    let sql = Region::new(call, sql, sql_len).within(data)?;
    let block = Region::new(call, block, block_len).within(data)?;
    let refuse = |kind, message: String| Ok(Err(Error { kind, message, at: None }));
    if sql.len() > crate::sql::STATEMENT_BYTES_MAX {
        let message = format!("the statement is longer than {} bytes", crate::sql::STATEMENT_BYTES_MAX);
        return refuse(ErrorKind::Statement, message);
    }
    if block.len() > PARAMETER_BYTES_MAX {
        let message = format!("the parameters take more than {PARAMETER_BYTES_MAX} bytes");
        return refuse(ErrorKind::Bytes, message);
    }
    let Ok(sql) = std::str::from_utf8(sql) else {
        return refuse(ErrorKind::Statement, "the statement is not UTF-8".to_owned());
    };
    let mut values = Vec::new();
    for value in SqlValues::new(block) {
        let Ok(value) = value else { wasmtime::bail!("{call}: the parameters are malformed") };
        if values.len() > crate::sql::PARAMETERS_MAX {
            break; // refused with the number
        }
        values.push(owned(value));
    }
    let (sql, session) = (sql.to_owned(), session(state));
    let in_transaction = session.transaction_on(database).map(Target::Transaction);
    Ok(Ok(Sent { target: in_transaction.unwrap_or(Target::Database(database)), sql, values }))
}

async fn execute(mut caller: Guest<'_>, statement: StatementInto) -> Result<i32> {
    let (database, sql, sql_len, block, block_len, ptr, len) = statement;
    let region = Region::new("execute", ptr, len);
    if region.within_mut(memory::split(&mut caller)?.0)?.len() < SQL_EXECUTED_SIZE {
        wasmtime::bail!("execute: the buffer has less than {SQL_EXECUTED_SIZE} bytes");
    }
    let done = match sent(&mut caller, "execute", (database, sql, sql_len, block, block_len))? {
        Ok(Sent { target, sql, values }) => session(caller.data_mut()).execute(target, &sql, values).await,
        Err(error) => Err(error),
    };
    if let Ok(done) = &done {
        let buffer = region.within_mut(memory::split(&mut caller)?.0)?;
        buffer[..8].copy_from_slice(&done.rows.to_le_bytes());
        buffer[8..SQL_EXECUTED_SIZE].copy_from_slice(&done.last_insert_id.unwrap_or(0).to_le_bytes());
    }
    Ok(answer(caller.data_mut(), done.map(|_| 0)))
}

async fn query(mut caller: Guest<'_>, statement: Statement) -> Result<i32> {
    let done = match sent(&mut caller, "query", statement)? {
        Ok(Sent { target, sql, values }) => session(caller.data_mut()).query(target, &sql, values).await,
        Err(error) => Err(error),
    };
    hold(caller.data_mut())?;
    Ok(answer(caller.data_mut(), done))
}

fn columns(mut caller: Guest<'_>, rows: u32, ptr: u32, len: u32) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    let buffer = Region::new("columns", ptr, len).within_mut(data)?;
    let Some(rows) = session(state).rows(rows) else { return Ok(Errno::State.code()) };
    let names = || rows.columns().iter().map(|name| SqlValue::Text(name));
    let size: usize = names().map(|name| name.size()).sum();
    if size <= buffer.len() {
        let mut rest = buffer;
        names().for_each(|name| put(&name, &mut rest));
    }
    Ok(size as i32)
}

fn read(mut caller: Guest<'_>, rows: u32, ptr: u32, len: u32) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    let mut rest = Region::new("read", ptr, len).within_mut(data)?;
    let Some(rows) = session(state).rows(rows) else { return Ok(Errno::State.code()) };
    let room = rest.len();
    while let Some(row) = rows.first() {
        let size: usize = row.iter().map(|value| borrowed(value).size()).sum();
        if size > rest.len() {
            // Nothing of it is written, so that it comes next; the first says what it needs.
            let is_first = rest.len() == room;
            return Ok(if is_first { size } else { room - rest.len() } as i32);
        }
        row.iter().for_each(|value| put(&borrowed(value), &mut rest));
        rows.next();
    }
    Ok((room - rest.len()) as i32)
}

fn close(mut caller: Guest<'_>, rows: u32) {
    session(caller.data_mut()).close(rows);
}

fn error(mut caller: Guest<'_>, ptr: u32, len: u32) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    let buffer = Region::new("error", ptr, len).within_mut(data)?;
    let Some(error) = &session(state).last_error else { return Ok(Errno::State.code()) };
    let kind = (code(error.kind) as u32).to_le_bytes();
    let size = kind.len() + error.message.len();
    if size <= buffer.len() {
        buffer[..kind.len()].copy_from_slice(&kind);
        buffer[kind.len()..size].copy_from_slice(error.message.as_bytes());
    }
    Ok(size as i32)
}

/// Writes a value to the front of a buffer that has room for it.
fn put(value: &SqlValue<'_>, buffer: &mut &mut [u8]) {
    write_sql_value(value, |bytes| {
        let (room, rest) = std::mem::take(buffer).split_at_mut(bytes.len());
        room.copy_from_slice(bytes);
        *buffer = rest;
    });
}

fn owned(value: SqlValue<'_>) -> Value {
    match value {
        SqlValue::Null => Value::Null,
        SqlValue::Integer(number) => Value::Integer(number),
        SqlValue::Real(number) => Value::Real(number),
        SqlValue::Text(text) => Value::Text(text.to_owned()),
        SqlValue::Blob(bytes) => Value::Blob(bytes.to_vec()),
    }
}

fn borrowed(value: &Value) -> SqlValue<'_> {
    match value {
        Value::Null => SqlValue::Null,
        Value::Integer(number) => SqlValue::Integer(*number),
        Value::Real(number) => SqlValue::Real(*number),
        Value::Text(text) => SqlValue::Text(text),
        Value::Blob(bytes) => SqlValue::Blob(bytes),
    }
}
