//! Key-value stores: keys are text, values are bytes, either for ever or for a time.
//!
//! Knows nothing of wasm, handlers or configuration. A [`Store`] is one of two backends, which answer alike
//! (`conformance` is the table of what that means); a [`Grant`] is what somebody may do with one, and the only way to it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::stats::{Operations, Outcome};

mod embedded;
mod grant;
mod redis;

pub use embedded::Embedded;
pub use grant::Grant;
pub use redis::Redis;

/// Longest key, in bytes, with the prefix of a grant, so that whoever has none reaches it, too; a longer one, and an empty one, is
/// [`Error::Key`].
pub const KEY_BYTES_MAX: usize = 1024;
/// Keys in one page of a list, at most; who asks for more gets so many.
pub const LIST_KEYS_MAX: usize = 1000;
/// Keys of one batch, at most; more is [`Error::Batch`].
pub const BATCH_KEYS_MAX: usize = 1000;
/// Values of one batch together, in bytes; more is [`Error::Batch`].
pub const BATCH_BYTES_MAX: usize = 16 << 20;
/// Longest time for which a value can be kept, in milliseconds: a hundred years. More is as much.
pub const TTL_MS_MAX: u64 = 100 * 365 * 86_400_000;

/// What a store is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Keys and values of an embedded store, in bytes, with 64 for each; beyond it [`Error::Full`].
    pub store_bytes_max: u64,
    /// One value, in bytes; a larger one is [`Error::Value`].
    pub value_bytes_max: usize,
    /// One operation; a longer one is [`Error::TimedOut`].
    pub timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { store_bytes_max: 1 << 30, value_bytes_max: 1 << 20, timeout: Duration::from_secs(5) }
    }
}

/// Why an operation failed. It had no effect, unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The key is empty, or longer than [`KEY_BYTES_MAX`] with the prefix of its grant: so many bytes.
    Key(usize),
    /// The value is larger than the store takes, or gives.
    Value {
        /// Its size, in bytes.
        bytes: usize,
        /// What is allowed, in bytes.
        max: usize,
    },
    /// Too many keys, or too many bytes, in one batch.
    Batch,
    /// There is no room for it: so many bytes are allowed.
    Full(u64),
    /// What is to be incremented is no whole number of 64 bits, or would be none.
    Number,
    /// The cursor is none that a list has given.
    Cursor,
    /// The grant is for reading only.
    ReadOnly,
    /// The store cannot be reached or is broken. A change may have been made all the same.
    Unavailable(String),
    /// It took longer than so. A change may have been made, or may yet be.
    TimedOut(Duration),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(0) => f.write_str("the key is empty"),
            Self::Key(bytes) => {
                write!(
                    f,
                    "the key has {bytes} bytes, with the grant's prefix; at most {KEY_BYTES_MAX} are allowed"
                )
            }
            Self::Value { bytes, max } => {
                write!(f, "the value has {bytes} bytes; the store's `max_value` is {max}")
            }
            Self::Batch => write!(
                f,
                "the batch is too large: at most {BATCH_KEYS_MAX} keys, and {BATCH_BYTES_MAX} bytes of values"
            ),
            Self::Full(max) => write!(f, "the store is full: its `max_size` is {max} bytes"),
            Self::Number => f.write_str("the value is no whole number of 64 bits, or would be none"),
            Self::Cursor => f.write_str("the cursor is none that a list of this store has given"),
            Self::ReadOnly => f.write_str("the store was granted for reading only"),
            Self::Unavailable(reason) => write!(f, "the store is unavailable: {reason}"),
            Self::TimedOut(time) => {
                write!(f, "the store took longer than its `timeout`, {}", humantime::format_duration(*time))
            }
        }
    }
}

impl Error {
    /// Whether whoever runs the store should hear of it: it is not the caller's doing alone.
    #[must_use]
    pub fn is_news(&self) -> bool {
        matches!(self, Self::Full(_) | Self::ReadOnly | Self::Unavailable(_) | Self::TimedOut(_))
    }
}

impl std::error::Error for Error {}

/// An answer of a store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What is to be done to a key.
#[derive(Clone, Debug)]
enum Change {
    /// It gets this value.
    Set(Value),
    /// It goes.
    Delete,
    /// The number that it has grows by so much; none counts as 0. How long it is kept stays as it is.
    Increment {
        /// By so much.
        by: i64,
        /// A negative number is no number.
        is_unsigned: bool,
    },
    /// It gets this value if it has the expected one, or `None`, as expected.
    Swap(Option<Vec<u8>>, Value),
}

/// A value, and for how long.
#[derive(Clone, Debug)]
struct Value {
    bytes: Vec<u8>,
    /// In milliseconds; `None`: for ever.
    ttl_ms: Option<u64>,
}

impl Value {
    fn new(bytes: &[u8], ttl: Option<Duration>) -> Self {
        // What is asked for to end ends: never "for ever" because of rounding.
        let ms = |ttl: Duration| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).clamp(1, TTL_MS_MAX);
        Self { bytes: bytes.to_vec(), ttl_ms: ttl.map(ms) }
    }
}

impl Change {
    /// Bytes of values that it holds.
    fn bytes(&self) -> usize {
        match self {
            Self::Set(value) => value.bytes.len(),
            Self::Swap(expected, value) => value.bytes.len() + expected.as_ref().map_or(0, Vec::len),
            Self::Delete | Self::Increment { .. } => 0,
        }
    }
}

/// What has come of a [`Change`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Changed {
    /// Whether it was made: the key to delete was there, the expected value was the one.
    Made(bool),
    /// The new number.
    Number(i64),
}

/// Some keys of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// At least one unless it is the last page. Of keys that come and go meanwhile, some may be missing; of a Redis some
    /// may come twice, and pages can be a little larger than was asked for.
    pub keys: Vec<String>,
    /// What to ask for the next page with; `None`: this is the last.
    pub cursor: Option<String>,
}

/// Where the entries are.
#[derive(Clone, Debug)]
pub enum Backend {
    /// In a file of this machine.
    Embedded(Arc<Embedded>),
    /// In a Redis, or what speaks its protocol.
    Redis(Arc<Redis>),
}

/// A store, as the configuration declares it. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Store {
    backend: Backend,
    limits: Limits,
    stats: Option<Arc<Operations>>,
}

impl Store {
    /// A store with these entries. Nothing is opened before the first operation.
    #[must_use]
    pub fn new(backend: Backend, limits: Limits) -> Self {
        Self { backend, limits, stats: None }
    }

    /// The same, whose operations are counted there.
    #[must_use]
    pub fn counted(self, stats: Arc<Operations>) -> Self {
        Self { stats: Some(stats), ..self }
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let max = self.limits.value_bytes_max;
        let value = match &self.backend {
            Backend::Embedded(embedded) => embedded.get(key).await?,
            Backend::Redis(redis) => redis.get(key, max).await?,
        };
        match value {
            Some(value) if value.len() > max => Err(Error::Value { bytes: value.len(), max }),
            value => Ok(value),
        }
    }

    async fn exists(&self, key: &str) -> Result<bool> {
        match &self.backend {
            Backend::Embedded(embedded) => embedded.exists(key).await,
            Backend::Redis(redis) => redis.exists(key).await,
        }
    }

    async fn list(&self, prefix: &str, cursor: Option<&str>, keys_max: usize) -> Result<Page> {
        match &self.backend {
            Backend::Embedded(embedded) => embedded.list(prefix, cursor, keys_max).await,
            Backend::Redis(redis) => redis.list(prefix, cursor, keys_max).await,
        }
    }

    /// Makes changes, in this order, up to the first that fails.
    async fn change(&self, changes: Vec<(String, Change)>) -> Result<Vec<Changed>> {
        match &self.backend {
            Backend::Embedded(embedded) => embedded.change(changes, self.limits.store_bytes_max).await,
            Backend::Redis(redis) => redis.change(changes).await,
        }
    }

    /// No operation takes longer than it may.
    async fn in_time<T>(&self, operation: impl Future<Output = Result<T>>) -> Result<T> {
        let timeout = self.limits.timeout;
        let (begun, counted) = (Instant::now(), self.stats.as_ref().map(|stats| stats.begin()));
        let done = tokio::time::timeout(timeout, operation).await.unwrap_or_else(|_| {
            if let Backend::Redis(redis) = &self.backend {
                redis.doubt(begun);
            }
            Err(Error::TimedOut(timeout))
        });
        if let Some(counted) = counted {
            counted.ended(match &done {
                Ok(_) => Outcome::Ok,
                Err(Error::TimedOut(_)) => Outcome::Timeout,
                Err(Error::Full(_) | Error::ReadOnly) => Outcome::Refused,
                Err(_) => Outcome::Error,
            });
        }
        done
    }
}

#[cfg(test)]
mod conformance;
