//! The imports of ABI.md section 12.

use std::mem::MaybeUninit;

use wasmux_abi::{Errno, SQL_EXECUTED_SIZE, SqlError, SqlValue, SqlValues, write_sql_value};

use super::{check, fill_vec, fill_with};
use crate::sql::{Error, ErrorKind, Executed, Result, Value};

mod imports {
    #[link(wasm_import_module = "wasmux:sql/1")]
    unsafe extern "C" {
        pub(super) fn open(name: *const u8, name_len: usize) -> i32;
        pub(super) safe fn begin(database: u32) -> i32;
        pub(super) safe fn commit(database: u32) -> i32;
        pub(super) safe fn rollback(database: u32) -> i32;
        pub(super) fn execute(
            database: u32,
            sql: *const u8,
            sql_len: usize,
            values: *const u8,
            values_len: usize,
            buf: *mut u8,
            len: usize,
        ) -> i32;
        pub(super) fn query(
            database: u32,
            sql: *const u8,
            sql_len: usize,
            values: *const u8,
            values_len: usize,
        ) -> i32;
        pub(super) fn columns(rows: u32, buf: *mut u8, len: usize) -> i32;
        pub(super) fn read(rows: u32, buf: *mut u8, len: usize) -> i32;
        pub(super) safe fn close(rows: u32);
        pub(super) fn error(buf: *mut u8, len: usize) -> i32;
    }
}

/// Bytes of rows that are read at a time; a row that is larger comes alone.
const BATCH_BYTES: usize = 16 << 10;

pub(crate) struct Database(u32);

/// The host has one for each database, so this is the database's number.
pub(crate) struct Transaction(u32);

pub(crate) struct Rows(u32);

/// What a call has answered, or why it has failed.
fn answer(code: i32) -> Result<u32> {
    u32::try_from(code).map_err(|_| last_error(code))
}

fn last_error(code: i32) -> Error {
    if Errno::from_code(code) == Some(Errno::State) {
        // The host has no words for this one: `error` would tell of the failure before (ABI.md section 12).
        return Error::new(ErrorKind::Transaction, "there is no such transaction, or no longer");
    }
    // SAFETY: with length 0 the host writes nothing.
    let size = check(unsafe { imports::error([].as_mut_ptr(), 0) }).unwrap_or(0);
    let text = fill_vec(size, imports::error);
    match text.split_first_chunk() {
        Some((kind, message)) => {
            let message = String::from_utf8_lossy(message).into_owned();
            Error::of_host(SqlError::from_code(u32::from_le_bytes(*kind)), message)
        }
        None => Error::new(ErrorKind::Transaction, format!("the host refused the call ({code})")),
    }
}

fn block(values: &[Value]) -> Vec<u8> {
    let mut block = Vec::with_capacity(values.iter().map(|value| value.as_abi().size()).sum());
    values.iter().for_each(|value| write_sql_value(&value.as_abi(), |bytes| block.extend_from_slice(bytes)));
    block
}

fn execute(database: u32, statement: &str, values: &[Value]) -> Result<Executed> {
    let values = block(values);
    let (sql, sql_len, block, block_len) =
        (statement.as_ptr(), statement.len(), values.as_ptr(), values.len());
    let mut done = [0; SQL_EXECUTED_SIZE];
    // SAFETY: the pairs describe the two slices, which the host reads, and `done`, which it writes to, during the call only.
    answer(unsafe {
        imports::execute(database, sql, sql_len, block, block_len, done.as_mut_ptr(), done.len())
    })?;
    let (rows, id) = done.split_at(8);
    let number = |bytes: &[u8]| bytes.try_into().map_or(0, i64::from_le_bytes);
    let id = number(id);
    Ok(Executed { rows: number(rows) as u64, last_insert_id: (id != 0).then_some(id) })
}

fn query(database: u32, statement: &str, values: &[Value]) -> Result<Rows> {
    let values = block(values);
    let (sql, sql_len, block, block_len) =
        (statement.as_ptr(), statement.len(), values.as_ptr(), values.len());
    // SAFETY: the pairs describe the two slices, which the host reads during the call only.
    answer(unsafe { imports::query(database, sql, sql_len, block, block_len) }).map(Rows)
}

impl Database {
    pub(crate) fn open(name: &str) -> Result<Self> {
        // SAFETY: the pair describes `name`, which the host reads during the call only.
        answer(unsafe { imports::open(name.as_ptr(), name.len()) }).map(Self)
    }

    pub(crate) fn begin(&self) -> Result<Transaction> {
        answer(imports::begin(self.0)).map(|_| Transaction(self.0))
    }

    pub(crate) fn execute(&self, statement: &str, values: &[Value]) -> Result<Executed> {
        execute(self.0, statement, values)
    }

    pub(crate) fn query(&self, statement: &str, values: &[Value]) -> Result<Rows> {
        query(self.0, statement, values)
    }
}

impl Transaction {
    pub(crate) fn execute(&self, statement: &str, values: &[Value]) -> Result<Executed> {
        execute(self.0, statement, values)
    }

    pub(crate) fn query(&self, statement: &str, values: &[Value]) -> Result<Rows> {
        query(self.0, statement, values)
    }

    pub(crate) fn commit(self) -> Result<()> {
        let done = answer(imports::commit(self.0)).map(drop);
        // It has ended, and there is nothing to be rolled back.
        std::mem::forget(self);
        done
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        imports::rollback(self.0);
    }
}

impl Rows {
    pub(crate) fn columns(&self) -> Vec<String> {
        // SAFETY: with length 0 the host writes nothing.
        let size = check(unsafe { imports::columns(self.0, [].as_mut_ptr(), 0) }).unwrap_or(0);
        // SAFETY: the pair describes `room`, which the host writes to during the call only.
        let names =
            fill_with(size, |room| unsafe { imports::columns(self.0, room.as_mut_ptr().cast(), room.len()) });
        let name = |value| match value {
            Ok(SqlValue::Text(name)) => name.to_owned(),
            _ => String::new(),
        };
        SqlValues::new(&names).map(name).collect()
    }

    /// The next rows, of so many columns each; none at the end.
    pub(crate) fn next(&self, columns: usize) -> Vec<Vec<Value>> {
        // SAFETY: the pair describes `room`, which the host writes to during the call only.
        let read = |room: &mut [MaybeUninit<u8>]| unsafe {
            imports::read(self.0, room.as_mut_ptr().cast(), room.len())
        };
        let mut needed = 0;
        let mut batch = fill_with(BATCH_BYTES, |room| {
            let size = read(room);
            needed = check(size).unwrap_or(0);
            size
        });
        if needed > BATCH_BYTES {
            batch = fill_with(needed, read);
        }
        let values: Vec<_> = SqlValues::new(&batch).map_while(Result::ok).map(Value::from).collect();
        values.chunks_exact(columns.max(1)).map(<[Value]>::to_vec).collect()
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        imports::close(self.0);
    }
}
