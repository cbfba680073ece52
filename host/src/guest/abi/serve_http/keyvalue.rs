//! What a core module imports from `wasmux:keyvalue/1`: ABI.md section 10.

use std::sync::Arc;
use std::time::Duration;

use tracing::Level;
use wasmtime::{Caller, Linker, Result};
use wasmux_abi::{Errno, FieldsWriter, KEYVALUE_MODULE, fields_size};

use super::super::super::memory::{self, Region};
use super::super::super::state::{Common, ModuleState};
use super::Answer;
use crate::kv::{Error, Grant};

type Guest<'c> = Caller<'c, ModuleState>;

/// A pointer and a length, as they come.
type Pair = (u32, u32);

pub(super) fn add_to_linker(linker: &mut Linker<ModuleState>) -> Result<()> {
    linker
        .func_wrap(KEYVALUE_MODULE, "open", open)?
        .func_wrap_async(
            KEYVALUE_MODULE,
            "get",
            |caller, (store, k, kl, b, bl): (u32, u32, u32, u32, u32)| {
                Box::new(get(caller, store, (k, kl), (b, bl)))
            },
        )?
        .func_wrap_async(KEYVALUE_MODULE, "exists", |caller, (store, k, kl): (u32, u32, u32)| {
            Box::new(exists(caller, store, (k, kl)))
        })?
        .func_wrap_async(KEYVALUE_MODULE, "set", |caller, (store, k, kl, v, vl, ttl): Set| {
            Box::new(set(caller, store, (k, kl), (v, vl), ttl))
        })?
        .func_wrap_async(KEYVALUE_MODULE, "delete", |caller, (store, k, kl): (u32, u32, u32)| {
            Box::new(delete(caller, store, (k, kl)))
        })?
        .func_wrap_async(KEYVALUE_MODULE, "increment", |caller, (store, k, kl, by, at): Increment| {
            Box::new(increment(caller, store, (k, kl), by, at))
        })?
        .func_wrap_async(KEYVALUE_MODULE, "add", |caller, (store, k, kl, v, vl, ttl): Set| {
            Box::new(swap(caller, store, [(k, kl), (0, 0), (v, vl)], false, ttl))
        })?
        .func_wrap_async(KEYVALUE_MODULE, "swap", |caller, (store, k, kl, e, el, v, vl, ttl): Swap| {
            Box::new(swap(caller, store, [(k, kl), (e, el), (v, vl)], true, ttl))
        })?
        .func_wrap_async(KEYVALUE_MODULE, "list", |caller, (store, p, pl, c, cl, max, b, bl): List| {
            Box::new(list(caller, store, [(p, pl), (c, cl), (b, bl)], max))
        })?;
    Ok(())
}

type Set = (u32, u32, u32, u32, u32, u64);
type Increment = (u32, u32, u32, i64, u32);
type Swap = (u32, u32, u32, u32, u32, u32, u32, u64);
type List = (u32, u32, u32, u32, u32, u32, u32, u32);

/// A store of the handler, by its number.
struct Numbered {
    common: Arc<Common>,
    number: usize,
}

impl Numbered {
    fn of(state: &ModuleState, number: u32) -> Answer<Self> {
        let (common, number) = (Arc::clone(&state.core.common), number as usize);
        if number < common.grants.stores.len() { Ok(Self { common, number }) } else { Err(Errno::Absent) }
    }

    fn grant(&self) -> &Grant {
        &self.common.grants.stores[self.number].1
    }

    /// What failed, for the guest; and for the log what its author cannot see.
    fn refuse(&self, caller: &mut Guest<'_>, error: &Error) -> i32 {
        let (name, _) = &self.common.grants.stores[self.number];
        if error.is_news() {
            let text = format!("key-value store `{name}`: {error}");
            caller.data_mut().core.log.line(Level::WARN, text.as_bytes());
        }
        errno(error).code()
    }
}

fn errno(error: &Error) -> Errno {
    match error {
        Error::Key(_) | Error::Cursor => Errno::Invalid,
        Error::Value { .. } | Error::Batch => Errno::Limit,
        Error::Full(_) => Errno::Full,
        Error::Number => Errno::Conflict,
        Error::ReadOnly => Errno::Denied,
        Error::Unavailable(_) => Errno::Failed,
        Error::TimedOut(_) => Errno::Timeout,
    }
}

/// Text of the guest's; other bytes are no key.
fn text(bytes: &[u8]) -> Answer<String> {
    str::from_utf8(bytes).map(str::to_owned).map_err(|_| Errno::Invalid)
}

fn ttl(ms: u64) -> Option<Duration> {
    (ms > 0).then(|| Duration::from_millis(ms))
}

/// Returns from the host call with this errno, if it is one.
macro_rules! or_errno {
    ($answer:expr) => {
        match $answer {
            Ok(value) => value,
            Err(errno) => return Ok(errno.code()),
        }
    };
}

/// Returns from the host call with what the store's error is for the guest.
macro_rules! or_refuse {
    ($caller:expr, $store:expr, $answer:expr) => {
        match $answer {
            Ok(value) => value,
            Err(error) => return Ok($store.refuse(&mut $caller, &error)),
        }
    };
}

fn open(mut caller: Guest<'_>, name: u32, len: u32) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    let name = Region::new("open", name, len).within(data)?;
    let stores = &state.core.common.grants.stores;
    if let Some(number) = stores.iter().position(|(granted, _)| granted.as_bytes() == name) {
        return Ok(number as i32);
    }
    let text = format!(
        "the key-value store `{}` was refused: it is not granted to this handler",
        String::from_utf8_lossy(name)
    );
    state.core.log.line(Level::WARN, text.as_bytes());
    Ok(Errno::Denied.code())
}

async fn get(mut caller: Guest<'_>, store: u32, key: Pair, buffer: Pair) -> Result<i32> {
    let buffer = Region::new("get", buffer.0, buffer.1);
    let (data, state) = memory::split(&mut caller)?;
    buffer.within_mut(data)?;
    let key = text(Region::new("get", key.0, key.1).within(data)?);
    let (store, key) = (or_errno!(Numbered::of(state, store)), or_errno!(key));
    match or_refuse!(caller, store, store.grant().get(&key).await) {
        Some(value) => {
            let buffer = buffer.within_mut(memory::split(&mut caller)?.0)?;
            if let Some(room) = buffer.get_mut(..value.len()) {
                room.copy_from_slice(&value);
            }
            Ok(value.len() as i32)
        }
        None => Ok(Errno::Absent.code()),
    }
}

async fn exists(mut caller: Guest<'_>, store: u32, key: Pair) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    let key = text(Region::new("exists", key.0, key.1).within(data)?);
    let (store, key) = (or_errno!(Numbered::of(state, store)), or_errno!(key));
    Ok(i32::from(or_refuse!(caller, store, store.grant().exists(&key).await)))
}

async fn set(mut caller: Guest<'_>, store: u32, key: Pair, value: Pair, ttl_ms: u64) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    let value = Region::new("set", value.0, value.1).within(data)?;
    let key = text(Region::new("set", key.0, key.1).within(data)?);
    let (store, key) = (or_errno!(Numbered::of(state, store)), or_errno!(key));
    // The grant copies the value before it waits, if it is not too large.
    let value = or_refuse!(caller, store, store.grant().admitted(value));
    or_refuse!(caller, store, store.grant().set(&key, &value, ttl(ttl_ms)).await);
    Ok(0)
}

async fn delete(mut caller: Guest<'_>, store: u32, key: Pair) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    let key = text(Region::new("delete", key.0, key.1).within(data)?);
    let (store, key) = (or_errno!(Numbered::of(state, store)), or_errno!(key));
    Ok(i32::from(or_refuse!(caller, store, store.grant().delete(&key).await)))
}

async fn increment(mut caller: Guest<'_>, store: u32, key: Pair, delta: i64, at: u32) -> Result<i32> {
    let result = Region::new("increment", at, size_of::<i64>() as u32);
    let (data, state) = memory::split(&mut caller)?;
    result.within_mut(data)?;
    let key = text(Region::new("increment", key.0, key.1).within(data)?);
    let (store, key) = (or_errno!(Numbered::of(state, store)), or_errno!(key));
    let sum = or_refuse!(caller, store, store.grant().increment(&key, delta).await);
    result.within_mut(memory::split(&mut caller)?.0)?.copy_from_slice(&sum.to_le_bytes());
    Ok(0)
}

/// `swap`, and `add`, which expects that there is no value.
async fn swap(
    mut caller: Guest<'_>,
    store: u32,
    pairs: [Pair; 3],
    expects_value: bool,
    ttl_ms: u64,
) -> Result<i32> {
    let call = if expects_value { "swap" } else { "add" };
    let (data, state) = memory::split(&mut caller)?;
    let [key, expected, value] = pairs.map(|(ptr, len)| Region::new(call, ptr, len));
    let (key, expected, value) = (key.within(data)?, expected.within(data)?, value.within(data)?);
    let (store, key) = (or_errno!(Numbered::of(state, store)), or_errno!(text(key)));
    // What is larger than any value is not one that the key has.
    let expected = store.grant().admitted(expected);
    let value = or_refuse!(caller, store, store.grant().admitted(value));
    let Ok(expected) = expected else { return Ok(0) };
    let expected = expects_value.then_some(&*expected);
    let swapped = store.grant().swap(&key, expected, &value, ttl(ttl_ms)).await;
    Ok(i32::from(or_refuse!(caller, store, swapped)))
}

async fn list(mut caller: Guest<'_>, store: u32, pairs: [Pair; 3], keys_max: u32) -> Result<i32> {
    let [prefix, cursor, buffer] = pairs.map(|(ptr, len)| Region::new("list", ptr, len));
    let (data, state) = memory::split(&mut caller)?;
    buffer.within_mut(data)?;
    let (prefix, cursor) = (text(prefix.within(data)?), text(cursor.within(data)?));
    let store = or_errno!(Numbered::of(state, store));
    let (prefix, cursor) = (or_errno!(prefix), or_errno!(cursor));
    let cursor = Some(cursor.as_str()).filter(|cursor| !cursor.is_empty());
    let page = or_refuse!(caller, store, store.grant().list(&prefix, cursor, keys_max as usize).await);
    let next = page.cursor.as_deref().unwrap_or_default().as_bytes();
    let entries =
        || std::iter::once((&b""[..], next)).chain(page.keys.iter().map(|key| (key.as_bytes(), &b""[..])));
    let size = fields_size(entries());
    let buffer = buffer.within_mut(memory::split(&mut caller)?.0)?;
    if size <= buffer.len() {
        let mut writer = FieldsWriter::new(buffer);
        entries().for_each(|(name, value)| writer.push(name, value));
    }
    Ok(size as i32)
}
