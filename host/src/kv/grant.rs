//! What a handler, or an operator, may do with a store: all of it or reading only, all keys or those with a prefix.

use std::time::Duration;

use super::{
    BATCH_BYTES_MAX, BATCH_KEYS_MAX, Change, Changed, Error, KEY_BYTES_MAX, LIST_KEYS_MAX, Page, Result,
    Store, Value,
};

/// A store as somebody was granted it. Keys are given and listed without the prefix, and no key without it is reached.
#[derive(Clone, Debug)]
pub struct Grant {
    store: Store,
    prefix: String,
    is_read_only: bool,
}

impl Grant {
    /// All keys that begin with `prefix`, to be read and, unless `is_read_only`, changed.
    #[must_use]
    pub fn new(store: Store, prefix: impl Into<String>, is_read_only: bool) -> Self {
        Self { store, prefix: prefix.into(), is_read_only }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// As every operation here: see [`Error`].
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let key = self.key(key)?;
        self.store.in_time(self.store.get(&key)).await
    }

    /// The values of keys, in their order.
    ///
    /// # Errors
    /// [`Error::Batch`] when there are too many of them, or they are too large together.
    pub async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        self.in_batch(keys.len(), 0)?;
        let keys = keys.iter().map(|key| self.key(key)).collect::<Result<Vec<_>>>()?;
        self.store
            .in_time(async {
                let (mut values, mut bytes) = (Vec::with_capacity(keys.len()), 0);
                for key in &keys {
                    let value = self.store.get(key).await?;
                    bytes += value.as_ref().map_or(0, Vec::len);
                    self.in_batch(0, bytes)?;
                    values.push(value);
                }
                Ok(values)
            })
            .await
    }

    /// Whether a key has a value.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn exists(&self, key: &str) -> Result<bool> {
        let key = self.key(key)?;
        self.store.in_time(self.store.exists(&key)).await
    }

    /// Keys that begin with `prefix`, `keys_max` of them or, if that is less, [`LIST_KEYS_MAX`]; those behind `cursor`.
    ///
    /// # Errors
    /// [`Error::Cursor`] when that comes from elsewhere.
    pub async fn list(&self, prefix: &str, cursor: Option<&str>, keys_max: usize) -> Result<Page> {
        let whole = format!("{}{prefix}", self.prefix);
        if whole.len() > KEY_BYTES_MAX {
            return Err(Error::Key(whole.len()));
        }
        let keys_max = keys_max.clamp(1, LIST_KEYS_MAX);
        let mut page = self.store.in_time(self.store.list(&whole, cursor, keys_max)).await?;
        for key in &mut page.keys {
            key.drain(..self.prefix.len());
        }
        Ok(page)
    }

    /// Gives a key a value, for a time or for ever.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn set(&self, key: &str, value: &[u8], ttl: Option<Duration>) -> Result<()> {
        let value = self.value(value, ttl)?;
        self.change(key, Change::Set(value)).await.map(drop)
    }

    /// Gives keys their values, for ever, in this order and up to the first that fails.
    ///
    /// # Errors
    /// [`Error::Batch`] when there are too many of them, or they are too large together; then none of them has changed.
    pub async fn set_many(&self, entries: &[(String, Vec<u8>)]) -> Result<()> {
        self.in_batch(entries.len(), entries.iter().map(|(_, value)| value.len()).sum())?;
        let set =
            |(key, value): &(String, Vec<u8>)| Ok((self.key(key)?, Change::Set(self.value(value, None)?)));
        self.change_all(entries.iter().map(set).collect::<Result<_>>()?).await.map(drop)
    }

    /// Takes a key's value away; answers whether it had one.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn delete(&self, key: &str) -> Result<bool> {
        Ok(self.change(key, Change::Delete).await? == Changed::Made(true))
    }

    /// Takes the values of keys away.
    ///
    /// # Errors
    /// [`Error::Batch`] when there are too many of them.
    pub async fn delete_many(&self, keys: &[String]) -> Result<()> {
        self.in_batch(keys.len(), 0)?;
        let changes = keys.iter().map(|key| Ok((self.key(key)?, Change::Delete))).collect::<Result<_>>()?;
        self.change_all(changes).await.map(drop)
    }

    /// Adds to the number that a key has, written in decimal; one without a value has 0. Answers the sum.
    ///
    /// # Errors
    /// [`Error::Number`] when the value is none, or the sum does not fit.
    pub async fn increment(&self, key: &str, delta: i64) -> Result<i64> {
        self.add(key, Change::Increment { by: delta, is_unsigned: false }).await
    }

    /// As [`Self::increment`], for those to whom a negative number is none.
    ///
    /// # Errors
    /// [`Error::Number`] when the value is none or negative, or the sum does not fit; then it has not changed.
    pub async fn increment_unsigned(&self, key: &str, delta: u64) -> Result<u64> {
        let by = i64::try_from(delta).map_err(|_| Error::Number)?;
        let sum = self.add(key, Change::Increment { by, is_unsigned: true }).await?;
        u64::try_from(sum).map_err(|_| Error::Number)
    }

    async fn add(&self, key: &str, change: Change) -> Result<i64> {
        match self.change(key, change).await? {
            Changed::Number(number) => Ok(number),
            Changed::Made(_) => Err(Error::Number),
        }
    }

    /// Gives a key a value if it has the expected one; `None`: if it has none. Answers whether it was so.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn swap(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<bool> {
        let change = Change::Swap(expected.map(<[u8]>::to_vec), self.value(value, ttl)?);
        Ok(self.change(key, change).await? == Changed::Made(true))
    }

    /// A copy of a value, unless it is larger than the store takes: nobody has to copy it to be told so.
    ///
    /// # Errors
    /// [`Error::Value`].
    pub fn admitted(&self, value: &[u8]) -> Result<Vec<u8>> {
        self.value(value, None).map(|value| value.bytes)
    }

    async fn change(&self, key: &str, change: Change) -> Result<Changed> {
        let changed = self.change_all(vec![(self.key(key)?, change)]).await?;
        changed.first().copied().ok_or_else(|| Error::Unavailable("it gave no answer".to_owned()))
    }

    async fn change_all(&self, changes: Vec<(String, Change)>) -> Result<Vec<Changed>> {
        if self.is_read_only {
            return Err(Error::ReadOnly);
        }
        self.store.in_time(self.store.change(changes)).await
    }

    /// The key as the store has it.
    fn key(&self, key: &str) -> Result<String> {
        match self.prefix.len() + key.len() {
            _ if key.is_empty() => Err(Error::Key(0)),
            ..=KEY_BYTES_MAX => Ok(format!("{}{key}", self.prefix)),
            bytes => Err(Error::Key(bytes)),
        }
    }

    fn value(&self, bytes: &[u8], ttl: Option<Duration>) -> Result<Value> {
        let max = self.store.limits.value_bytes_max;
        if bytes.len() > max {
            return Err(Error::Value { bytes: bytes.len(), max });
        }
        Ok(Value::new(bytes, ttl))
    }

    fn in_batch(&self, keys: usize, bytes: usize) -> Result<()> {
        if keys > BATCH_KEYS_MAX || bytes > BATCH_BYTES_MAX { Err(Error::Batch) } else { Ok(()) }
    }
}
