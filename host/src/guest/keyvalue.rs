//! `wasi:keyvalue` 0.2.0-draft: `store`, `atomics` and `batch`, as components import them.
//!
//! The draft has no word for values that expire, for a prefix of keys, and for compare-and-swap.

use wasmtime::Result;
use wasmtime::component::Resource;

use super::capability::{Bucket, Denied};
use super::drafts::View;
use super::drafts::bindings::wasi::keyvalue::store::{Error as StoreError, KeyResponse};
use super::drafts::bindings::wasi::keyvalue::{atomics, batch, store};
use crate::kv::{Error, LIST_KEYS_MAX};

/// Lists that a guest may be in the middle of with one bucket; the oldest is forgotten.
const CURSORS_MAX: usize = 16;

/// What the interface answers.
type Answer<T = ()> = Result<Result<T, StoreError>>;

impl Bucket {
    /// The number by which the guest may ask for the next page.
    fn note(&mut self, cursor: String) -> u64 {
        self.cursors_given += 1;
        if self.cursors.len() == CURSORS_MAX {
            self.cursors.pop_front();
        }
        self.cursors.push_back((self.cursors_given, cursor));
        self.cursors_given
    }

    fn cursor(&self, number: u64) -> Result<&str, Error> {
        let found = self.cursors.iter().find(|(given, _)| *given == number);
        found.map(|(_, cursor)| cursor.as_str()).ok_or(Error::Cursor)
    }
}

impl View<'_> {
    /// A bucket that the guest has opened.
    fn bucket(&self, bucket: &Resource<Bucket>) -> Result<&Bucket> {
        Ok(self.table.get(bucket)?)
    }

    /// A store's answer in the interface's words. What is no business of the guest's only the log has.
    fn answer<T>(&self, bucket: &Resource<Bucket>, answer: Result<T, Error>) -> Answer<T> {
        let bucket = self.bucket(bucket)?;
        Ok(answer.map_err(|error| {
            if error.is_news() {
                let text = format!("key-value store `{}`: {error}", bucket.name());
                self.log.line(tracing::Level::WARN, text.as_bytes());
            }
            match error {
                Error::ReadOnly => StoreError::AccessDenied,
                Error::Unavailable(_) => StoreError::Other("the store is unavailable".to_owned()),
                error => StoreError::Other(error.to_string()),
            }
        }))
    }
}

impl store::Host for View<'_> {
    fn open(&mut self, name: String) -> Answer<Resource<Bucket>> {
        match self.hooks.open_store(&name) {
            Ok(bucket) => Ok(Ok(self.table.push(bucket)?)),
            Err(Denied) => Ok(Err(StoreError::AccessDenied)),
        }
    }
}

impl store::HostBucket for View<'_> {
    async fn get(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<Option<Vec<u8>>> {
        let value = self.bucket(&bucket)?.grant().get(&key).await;
        self.answer(&bucket, value)
    }

    async fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> Answer {
        let set = self.bucket(&bucket)?.grant().set(&key, &value, None).await;
        self.answer(&bucket, set)
    }

    async fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Answer {
        let deleted = self.bucket(&bucket)?.grant().delete(&key).await;
        self.answer(&bucket, deleted.map(drop))
    }

    async fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<bool> {
        let exists = self.bucket(&bucket)?.grant().exists(&key).await;
        self.answer(&bucket, exists)
    }

    async fn list_keys(&mut self, bucket: Resource<Bucket>, cursor: Option<u64>) -> Answer<KeyResponse> {
        let opened = self.bucket(&bucket)?;
        let cursor = cursor.map(|number| opened.cursor(number).map(str::to_owned)).transpose();
        let listed = match cursor {
            Ok(cursor) => opened.grant().list("", cursor.as_deref(), LIST_KEYS_MAX).await,
            Err(error) => Err(error),
        };
        match listed {
            Ok(page) => {
                let opened = self.table.get_mut(&bucket)?;
                let cursor = page.cursor.map(|cursor| opened.note(cursor));
                Ok(Ok(KeyResponse { keys: page.keys, cursor }))
            }
            Err(error) => self.answer(&bucket, Err(error)),
        }
    }

    fn drop(&mut self, bucket: Resource<Bucket>) -> Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for View<'_> {
    async fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: u64) -> Answer<u64> {
        // Others may have made it negative, for which the interface has no number.
        let sum = self.bucket(&bucket)?.grant().increment_unsigned(&key, delta).await;
        self.answer(&bucket, sum)
    }
}

impl batch::Host for View<'_> {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Answer<Vec<Option<(String, Vec<u8>)>>> {
        let values = self.bucket(&bucket)?.grant().get_many(&keys).await;
        let pairs = values.map(|values| {
            let pairs = keys.into_iter().zip(values);
            pairs.map(|(key, value)| value.map(|value| (key, value))).collect()
        });
        self.answer(&bucket, pairs)
    }

    async fn set_many(&mut self, bucket: Resource<Bucket>, entries: Vec<(String, Vec<u8>)>) -> Answer {
        let set = self.bucket(&bucket)?.grant().set_many(&entries).await;
        self.answer(&bucket, set)
    }

    async fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Answer {
        let deleted = self.bucket(&bucket)?.grant().delete_many(&keys).await;
        self.answer(&bucket, deleted)
    }
}
