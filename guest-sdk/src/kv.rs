//! Key-value stores: `[kv.NAME]` in routes.toml, and `kv` of the handler.
//!
//! ```toml
//! [kv.sessions]                 # a file in the state folder; or backend = "redis://127.0.0.1:6379"
//!
//! [handlers.login]
//! wasm = "login"
//! kv = ["sessions"]             # or { sessions = { read_only = true, prefix = "api:" } }
//! ```
//!
//! ```
//! use std::{io::Write, time::Duration};
//! use wasmux_sdk::{Recorder, Request, ResponseWriter, Result, kv};
//!
//! fn login(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
//!     let sessions = kv::open("sessions")?;
//!     sessions.set_for(&format!("session:{}", r.path_value("id")), "Ann", Duration::from_secs(3600))?;
//!     Ok(write!(w, "{} logins", sessions.increment("logins", 1)?)?)
//! }
//!
//! // A test grants stores of its own, in memory.
//! let sessions = kv::Store::in_memory();
//! let request = Request::post("/login/7").pattern("POST /login/{id}").kv("sessions", &sessions);
//! assert_eq!(Recorder::serve(login, request).text(), "1 logins");
//! assert_eq!(sessions.get("session:7")?.as_deref(), Some(&b"Ann"[..]));
//! # Ok::<(), kv::Error>(())
//! ```
//!
//! Keys are text of 1 to 1024 bytes, values are bytes, up to the store's `max_value`. When a change has returned, it will
//! survive whatever happens to the host.
//!
//! Components use `wasi:keyvalue` 0.2.0-draft, which has less: there, [`Store::set_for`], [`Store::compare_and_swap`],
//! [`Store::compare_and_swap_for`] and negative increments are [`Error::Unsupported`], [`Store::list`] looks at all keys,
//! whatever the prefix, and [`Store::delete`] asks first, so that of two that delete a key at a time both may hear that it had a value.

use std::{fmt, io, time::Duration};

#[cfg(not(target_family = "wasm"))]
use crate::recorder::kv as host;
#[cfg(target_family = "wasm")]
use crate::sys::kv as host;

/// A result whose error is [`Error`] unless told otherwise.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed. It had no effect, unless it says otherwise.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// There is no store of this name that this handler was granted.
    NotGranted,
    /// The store was granted for reading only.
    ReadOnly,
    /// The key is empty or longer than 1024 bytes; or the place to go on with is none that a list has given.
    Key,
    /// The value is larger than the store's `max_value`.
    TooLarge,
    /// The store is full: its `max_size` is reached.
    Full,
    /// What is to be incremented is no whole number of 64 bits, or would be none.
    NotANumber,
    /// The store did not answer, or not in time. A change may have been made all the same.
    Unavailable,
    /// The interface that this handler was built for cannot do this.
    Unsupported,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotGranted => "the key-value store is not granted to this handler",
            Self::ReadOnly => "the key-value store was granted for reading only",
            Self::Key => "the key is empty or longer than 1024 bytes, or the cursor is none of this store's",
            Self::TooLarge => "the value is larger than the key-value store takes",
            Self::Full => "the key-value store is full",
            Self::NotANumber => "the value is no whole number of 64 bits, or would be none",
            Self::Unavailable => "the key-value store is unavailable",
            Self::Unsupported => "wasi:keyvalue cannot do this; build the handler as a module",
        })
    }
}

/// As `Display`: a derived one would be more code in every guest.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}

/// A store that this handler was granted. Clones are the same one.
#[derive(Clone)]
pub struct Store(host::Store);

/// Opens the store that routes.toml has as `[kv.NAME]`. Costs next to nothing; stores need not be kept open.
///
/// # Errors
/// [`Error::NotGranted`] unless `kv` of the handler names it.
pub fn open(name: &str) -> Result<Store> {
    host::Store::open(name).map(Store)
}

/// Some keys of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The keys; possibly none, even where there are more. A Redis may have some of them on several pages.
    pub keys: Vec<String>,
    /// What to ask for the next page with; `None`: this is the last.
    pub cursor: Option<String>,
}

/// Keys of one page, where nobody says how many.
const PAGE_KEYS: u32 = 100;

/// A time that the host keeps a value for, in milliseconds: at least one.
fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

impl Store {
    /// A store for tests, empty, that nobody else has. Not there in guests.
    #[cfg(not(target_family = "wasm"))]
    #[must_use]
    pub fn in_memory() -> Self {
        Self(host::Store::default())
    }

    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn into_host(self) -> host::Store {
        self.0
    }

    /// The value of a key, if it has one.
    ///
    /// # Errors
    /// See [`Error`], here and for the others.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.0.get(key)
    }

    /// Whether a key has a value.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn exists(&self, key: &str) -> Result<bool> {
        self.0.exists(key)
    }

    /// Gives a key a value, for ever.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn set(&self, key: &str, value: impl AsRef<[u8]>) -> Result<()> {
        self.0.set(key, value.as_ref(), 0)
    }

    /// Gives a key a value for a time, after which it has none.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn set_for(&self, key: &str, value: impl AsRef<[u8]>, time: Duration) -> Result<()> {
        self.0.set(key, value.as_ref(), ms(time))
    }

    /// Takes a key's value away; answers whether it had one.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn delete(&self, key: &str) -> Result<bool> {
        self.0.delete(key)
    }

    /// Adds to the number that a key has, in decimal, and answers the sum; a key without a value has 0. How long the value
    /// is kept stays as it is.
    ///
    /// # Errors
    /// [`Error::NotANumber`] when it is none, or the sum does not fit.
    pub fn increment(&self, key: &str, delta: i64) -> Result<i64> {
        self.0.increment(key, delta)
    }

    /// Gives a key a value, for ever, if it has the expected one; `None`: if it has none. Answers whether it was so. Nobody
    /// else can change it in between.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn compare_and_swap(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<bool> {
        self.0.swap(key, expected, value.as_ref(), 0)
    }

    /// The same, for a time: with `None`, a lock that is given back by itself.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn compare_and_swap_for(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: impl AsRef<[u8]>,
        time: Duration,
    ) -> Result<bool> {
        self.0.swap(key, expected, value.as_ref(), ms(time))
    }

    /// All keys that begin with `prefix`, read page by page.
    #[must_use]
    pub fn list(&self, prefix: &str) -> Keys {
        let next = Next::Page(None);
        Keys { store: self.clone(), prefix: prefix.to_owned(), read: Vec::new().into_iter(), next }
    }

    /// A page of these keys, of `keys_max` of them or, if that is less, 1000; behind `cursor`, which the page before has.
    ///
    /// # Errors
    /// [`Error::Key`] when the cursor is none of this store's.
    pub fn list_page(&self, prefix: &str, cursor: Option<&str>, keys_max: u32) -> Result<Page> {
        self.0.list(prefix, cursor, keys_max)
    }
}

/// Keys of a store, page by page: see [`Store::list`].
pub struct Keys {
    store: Store,
    prefix: String,
    read: std::vec::IntoIter<String>,
    next: Next,
}

/// What comes behind the keys that were read.
enum Next {
    Page(Option<String>),
    End,
}

impl Iterator for Keys {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(key) = self.read.next() {
                return Some(Ok(key));
            }
            let Next::Page(cursor) = std::mem::replace(&mut self.next, Next::End) else { return None };
            match self.store.list_page(&self.prefix, cursor.as_deref(), PAGE_KEYS) {
                Ok(page) => {
                    self.read = page.keys.into_iter();
                    if page.cursor.is_some() {
                        self.next = Next::Page(page.cursor);
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
