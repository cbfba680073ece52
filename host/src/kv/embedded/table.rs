//! The tables of an embedded store: what an entry is, and what is done to it within a transaction.
//!
//! An entry that has expired is not there for anybody; `sweep` takes it out of the file. What the entries take together is
//! counted as they change, so that nobody has to look at the file to know.

use std::ops::Bound;
use std::time::{SystemTime, UNIX_EPOCH};

use redb::{Database, ReadableTable, StorageError, Table, TableDefinition, WriteTransaction};

use super::super::{Change, Changed, Error, Page, Value};

/// Each value, behind the time when it expires: milliseconds since 1970, as a little-endian `u64`; 0: never.
pub(super) const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("entries");
/// The same times in order, with their keys.
const EXPIRIES: TableDefinition<'_, (u64, &str), ()> = TableDefinition::new("expiries");
/// What the entries take, under [`BYTES`].
const SIZES: TableDefinition<'_, &str, u64> = TableDefinition::new("sizes");
const BYTES: &str = "bytes";

/// What an entry takes beside its key and its value, in bytes: about that.
const ENTRY_BYTES: usize = 64;
/// Bytes of the time before a value.
const TIME_BYTES: usize = size_of::<u64>();
/// Entries that one page of a list looks at, at most; what has expired is looked at, too.
const LOOKED_AT_MAX: usize = 10_000;

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}

/// Makes the tables, so that reads find them.
pub(super) fn make(database: &Database) -> Result<(), redb::Error> {
    use redb::ReadableDatabase as _;
    match database.begin_read()?.open_table(ENTRIES) {
        Ok(_) => Ok(()),
        Err(redb::TableError::TableDoesNotExist(_)) => {
            let transaction = database.begin_write()?;
            drop(Tables::open(&transaction)?);
            Ok(transaction.commit()?)
        }
        Err(error) => Err(error.into()),
    }
}

/// A stored value: when it expires, and its bytes.
fn parts(stored: &[u8]) -> (u64, &[u8]) {
    let (time, bytes) = stored.split_first_chunk::<TIME_BYTES>().unwrap_or((&[0; TIME_BYTES], stored));
    (u64::from_le_bytes(*time), bytes)
}

fn has_expired(expires: u64, now: u64) -> bool {
    expires != 0 && expires <= now
}

/// What `take` makes of a key's value, if it has one.
pub(super) fn get<T>(
    entries: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &str,
    now: u64,
    take: impl FnOnce(&[u8]) -> T,
) -> Result<Option<T>, StorageError> {
    let Some(stored) = entries.get(key)? else { return Ok(None) };
    let (expires, bytes) = parts(stored.value());
    Ok((!has_expired(expires, now)).then(|| take(bytes)))
}

/// Keys with `prefix` in the order of their bytes. The cursor is what the last one has behind the prefix.
pub(super) fn list(
    entries: &impl ReadableTable<&'static str, &'static [u8]>,
    prefix: &str,
    cursor: Option<&str>,
    keys_max: usize,
    now: u64,
) -> Result<Page, StorageError> {
    let start = format!("{prefix}{}", cursor.unwrap_or_default());
    let from =
        if cursor.is_some() { Bound::Excluded(start.as_str()) } else { Bound::Included(start.as_str()) };
    let mut page = Page::default();
    for (looked_at, entry) in entries.range::<&str>((from, Bound::Unbounded))?.enumerate() {
        let (key, stored) = entry?;
        let Some(rest) = key.value().strip_prefix(prefix) else { break };
        if page.keys.len() == keys_max || looked_at == LOOKED_AT_MAX {
            return Ok(page);
        }
        page.cursor = Some(rest.to_owned());
        if !has_expired(parts(stored.value()).0, now) {
            page.keys.push(key.value().to_owned());
        }
    }
    page.cursor = None;
    Ok(page)
}

/// The tables in a transaction that changes them.
pub(super) struct Tables<'t> {
    entries: Table<'t, &'static str, &'static [u8]>,
    expiries: Table<'t, (u64, &'static str), ()>,
    sizes: Table<'t, &'static str, u64>,
    /// What the entries take.
    bytes: u64,
    has_changed: bool,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        let sizes = transaction.open_table(SIZES)?;
        let bytes = sizes.get(BYTES)?.map_or(0, |bytes| bytes.value());
        let (entries, expiries) = (transaction.open_table(ENTRIES)?, transaction.open_table(EXPIRIES)?);
        Ok(Self { entries, expiries, sizes, bytes, has_changed: false })
    }

    /// Takes out entries that have expired, `entries_max` of them at most.
    pub(super) fn sweep(&mut self, now: u64, entries_max: usize) -> Result<(), StorageError> {
        let mut expired = Vec::new();
        for entry in self.expiries.range::<(u64, &str)>(..=(now, ""))?.take(entries_max) {
            expired.push(entry?.0.value().1.to_owned());
        }
        expired.iter().try_for_each(|key| self.remove(key).map(drop))
    }

    /// When the next entry expires: `u64::MAX` if none does.
    pub(super) fn next_expiry(&self) -> Result<u64, StorageError> {
        Ok(self.expiries.first()?.map_or(u64::MAX, |(entry, _)| entry.value().0))
    }

    /// Writes down what the entries take now; answers whether there is anything to commit.
    pub(super) fn finish(mut self) -> Result<bool, StorageError> {
        if self.has_changed {
            self.sizes.insert(BYTES, self.bytes)?;
        }
        Ok(self.has_changed)
    }

    /// Makes changes up to the first that cannot be made. The outer error is one of the file.
    pub(super) fn apply(
        &mut self,
        changes: &[(String, Change)],
        store_bytes_max: u64,
        now: u64,
    ) -> Result<Result<Vec<Changed>, Error>, StorageError> {
        let mut changed = Vec::with_capacity(changes.len());
        for (key, change) in changes {
            match self.apply_one(key, change, store_bytes_max, now)? {
                Ok(one) => changed.push(one),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(changed))
    }

    fn apply_one(
        &mut self,
        key: &str,
        change: &Change,
        max: u64,
        now: u64,
    ) -> Result<Result<Changed, Error>, StorageError> {
        let expires = |value: &Value| value.ttl_ms.map_or(0, |ttl| now.saturating_add(ttl));
        Ok(match change {
            Change::Set(value) => {
                self.put(key, &value.bytes, expires(value), max)?.map(|()| Changed::Made(true))
            }
            Change::Delete => {
                let was_there = get(&self.entries, key, now, |_| ())?.is_some();
                self.remove(key)?;
                Ok(Changed::Made(was_there))
            }
            Change::Swap(expected, value) => {
                let is_expected = |found: &[u8]| expected.as_deref() == Some(found);
                if get(&self.entries, key, now, is_expected)?.unwrap_or(expected.is_none()) {
                    self.put(key, &value.bytes, expires(value), max)?.map(|()| Changed::Made(true))
                } else {
                    Ok(Changed::Made(false))
                }
            }
            Change::Increment { by, is_unsigned } => {
                let stored = self.entries.get(key)?.map(|stored| {
                    let (expires, bytes) = parts(stored.value());
                    (expires, number(bytes))
                });
                let live = stored.filter(|(expires, _)| !has_expired(*expires, now));
                let (expires, number) = live.unwrap_or((0, Some(0)));
                let number = number.filter(|&number| number >= 0 || !is_unsigned);
                match number.and_then(|number| number.checked_add(*by)) {
                    Some(sum) => {
                        let put = self.put(key, sum.to_string().as_bytes(), expires, max)?;
                        put.map(|()| Changed::Number(sum))
                    }
                    None => Err(Error::Number),
                }
            }
        })
    }

    fn put(
        &mut self,
        key: &str,
        bytes: &[u8],
        expires: u64,
        max: u64,
    ) -> Result<Result<(), Error>, StorageError> {
        let size = (key.len() + bytes.len() + ENTRY_BYTES) as u64;
        let old = self.entries.get(key)?.map(|stored| {
            let (expires, old) = parts(stored.value());
            (expires, (key.len() + old.len() + ENTRY_BYTES) as u64)
        });
        let old_size = old.map_or(0, |(_, size)| size);
        let total = (self.bytes.saturating_sub(old_size)).saturating_add(size);
        // What takes less than before is always let in.
        if total > max && size > old_size {
            return Ok(Err(Error::Full(max)));
        }
        match old {
            Some((old, _)) if old != 0 && old != expires => drop(self.expiries.remove((old, key))?),
            _ => {}
        }
        if expires != 0 {
            self.expiries.insert((expires, key), ())?;
        }
        let stored = [&expires.to_le_bytes()[..], bytes].concat();
        self.entries.insert(key, stored.as_slice())?;
        (self.bytes, self.has_changed) = (total, true);
        Ok(Ok(()))
    }

    fn remove(&mut self, key: &str) -> Result<(), StorageError> {
        let removed = self.entries.remove(key)?.map(|stored| {
            let (expires, bytes) = parts(stored.value());
            (expires, (key.len() + bytes.len() + ENTRY_BYTES) as u64)
        });
        let Some((expires, size)) = removed else { return Ok(()) };
        if expires != 0 {
            self.expiries.remove((expires, key))?;
        }
        (self.bytes, self.has_changed) = (self.bytes.saturating_sub(size), true);
        Ok(())
    }
}

/// A number as Redis writes it: in decimal, without a plus, a space or zeros in front.
fn number(text: &[u8]) -> Option<i64> {
    let text = str::from_utf8(text).ok()?;
    text.parse::<i64>().ok().filter(|number| number.to_string() == text)
}
