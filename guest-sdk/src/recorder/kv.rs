//! Key-value stores under test: in memory, with the host's rules.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::world::store;
use crate::kv::{Error, Page, Result};

/// As the host has it.
const KEY_BYTES_MAX: usize = 1024;
/// The default of `max_value`.
const VALUE_BYTES_MAX: usize = 1 << 20;
/// As the host has it.
const LIST_KEYS_MAX: usize = 1000;

/// A value, and when it ends.
#[derive(Debug)]
struct Entry {
    value: Vec<u8>,
    end: Option<Instant>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Store(Arc<Mutex<BTreeMap<String, Entry>>>);

impl Store {
    pub(crate) fn open(name: &str) -> Result<Self> {
        store(name).ok_or(Error::NotGranted)
    }

    /// The entries that have not expired.
    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        entries.retain(|_, entry| entry.end.is_none_or(|end| end > now));
        entries
    }

    pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        check(key, &[])?;
        Ok(self.entries().get(key).map(|entry| entry.value.clone()))
    }

    pub(crate) fn exists(&self, key: &str) -> Result<bool> {
        check(key, &[])?;
        Ok(self.entries().contains_key(key))
    }

    pub(crate) fn set(&self, key: &str, value: &[u8], ttl_ms: u64) -> Result<()> {
        check(key, value)?;
        self.entries().insert(key.to_owned(), entry(value, ttl_ms));
        Ok(())
    }

    pub(crate) fn delete(&self, key: &str) -> Result<bool> {
        check(key, &[])?;
        Ok(self.entries().remove(key).is_some())
    }

    pub(crate) fn increment(&self, key: &str, delta: i64) -> Result<i64> {
        check(key, &[])?;
        let mut entries = self.entries();
        let entry = entries.entry(key.to_owned()).or_insert_with(|| entry(b"0", 0));
        let number = str::from_utf8(&entry.value).ok().and_then(|text| {
            let number = text.parse::<i64>().ok()?;
            (number.to_string() == text).then_some(number)
        });
        let sum = number.and_then(|number| number.checked_add(delta)).ok_or(Error::NotANumber)?;
        entry.value = sum.to_string().into_bytes();
        Ok(sum)
    }

    pub(crate) fn swap(&self, key: &str, expected: Option<&[u8]>, value: &[u8], ttl_ms: u64) -> Result<bool> {
        check(key, value)?;
        let mut entries = self.entries();
        let is_expected = entries.get(key).map(|entry| entry.value.as_slice()) == expected;
        if is_expected {
            entries.insert(key.to_owned(), entry(value, ttl_ms));
        }
        Ok(is_expected)
    }

    pub(crate) fn list(&self, prefix: &str, cursor: Option<&str>, keys_max: u32) -> Result<Page> {
        let keys_max = (keys_max as usize).clamp(1, LIST_KEYS_MAX);
        let start = cursor.map_or(Bound::Included(prefix), Bound::Excluded);
        let entries = self.entries();
        let found = entries.range::<str, _>((start, Bound::Unbounded)).map(|(key, _)| key);
        let mut found = found.take_while(|key| key.starts_with(prefix)).cloned();
        let keys: Vec<_> = found.by_ref().take(keys_max).collect();
        let cursor = found.next().and_then(|_| keys.last().cloned());
        Ok(Page { keys, cursor })
    }
}

fn check(key: &str, value: &[u8]) -> Result<()> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        Err(Error::Key)
    } else if value.len() > VALUE_BYTES_MAX {
        Err(Error::TooLarge)
    } else {
        Ok(())
    }
}

fn entry(value: &[u8], ttl_ms: u64) -> Entry {
    let end = (ttl_ms > 0).then(|| Instant::now().checked_add(Duration::from_millis(ttl_ms))).flatten();
    Entry { value: value.to_vec(), end }
}
