//! Key-value stores as `wasi:keyvalue` has them.

use std::rc::Rc;

use self::bindings::wasi::keyvalue::{atomics, store};
use crate::kv::{Error, Page, Result};

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package wasi:keyvalue@0.2.0-draft;
            interface store {
                variant error { no-such-store, access-denied, other(string) }
                record key-response { keys: list<string>, cursor: option<u64> }
                resource bucket {
                    get: func(key: string) -> result<option<list<u8>>, error>;
                    set: func(key: string, value: list<u8>) -> result<_, error>;
                    delete: func(key: string) -> result<_, error>;
                    exists: func(key: string) -> result<bool, error>;
                    list-keys: func(cursor: option<u64>) -> result<key-response, error>;
                }
                open: func(identifier: string) -> result<bucket, error>;
            }
            interface atomics {
                use store.{bucket, error};
                increment: func(bucket: borrow<bucket>, key: string, delta: u64) -> result<u64, error>;
            }
            world stored { import store; import atomics; }
        ",
        generate_all,
    });
}

#[derive(Clone)]
pub(crate) struct Store(Rc<store::Bucket>);

impl Store {
    pub(crate) fn open(name: &str) -> Result<Self> {
        store::open(name).map(|bucket| Self(Rc::new(bucket))).map_err(|error| match error {
            store::Error::NoSuchStore | store::Error::AccessDenied => Error::NotGranted,
            store::Error::Other(_) => Error::Unavailable,
        })
    }

    pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.0.get(key).map_err(error)
    }

    pub(crate) fn exists(&self, key: &str) -> Result<bool> {
        self.0.exists(key).map_err(error)
    }

    pub(crate) fn set(&self, key: &str, value: &[u8], ttl_ms: u64) -> Result<()> {
        if ttl_ms > 0 {
            return Err(Error::Unsupported);
        }
        self.0.set(key, value).map_err(error)
    }

    pub(crate) fn delete(&self, key: &str) -> Result<bool> {
        // The standard's own answer says nothing about it.
        let had = self.exists(key)?;
        self.0.delete(key).map_err(error)?;
        Ok(had)
    }

    pub(crate) fn increment(&self, key: &str, delta: i64) -> Result<i64> {
        let delta = u64::try_from(delta).map_err(|_| Error::Unsupported)?;
        let sum = atomics::increment(&self.0, key, delta).map_err(error)?;
        i64::try_from(sum).map_err(|_| Error::NotANumber)
    }

    pub(crate) fn swap(&self, _: &str, _: Option<&[u8]>, _: &[u8], _: u64) -> Result<bool> {
        Err(Error::Unsupported)
    }

    /// The interface lists all keys, in pages of the host's size.
    pub(crate) fn list(&self, prefix: &str, cursor: Option<&str>, _: u32) -> Result<Page> {
        let cursor = cursor.map(str::parse).transpose().map_err(|_| Error::Key)?;
        let page = self.0.list_keys(cursor).map_err(error)?;
        let keys = page.keys.into_iter().filter(|key| key.starts_with(prefix)).collect();
        Ok(Page { keys, cursor: page.cursor.map(|cursor| cursor.to_string()) })
    }
}

/// The interface has one error for almost everything; this host's sentences say which it is.
fn error(error: store::Error) -> Error {
    let text = match error {
        store::Error::NoSuchStore => return Error::NotGranted,
        store::Error::AccessDenied => return Error::ReadOnly,
        store::Error::Other(text) => text,
    };
    let known = [
        ("the key ", Error::Key),
        ("the cursor ", Error::Key),
        ("the value is no ", Error::NotANumber),
        ("the value has ", Error::TooLarge),
        ("the store is full", Error::Full),
    ];
    let found = known.iter().find(|(words, _)| text.starts_with(words));
    found.map_or(Error::Unavailable, |(_, error)| *error)
}
