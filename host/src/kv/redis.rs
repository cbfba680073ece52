//! A store in a Redis, or in what speaks its protocol (Valkey, KeyDB).
//!
//! One connection for all requests, over which their commands go without waiting for each other; when it breaks, another
//! is made. What could have been done without our knowing is not tried again, everything else is, once.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, FromRedisValue, IntoConnectionInfo as _, Pipeline, RedisError};

use super::{Change, Changed, Error, Page, Result};

/// Connecting takes this long at most; it is tried again for each request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Tries to connect, beyond the first, before a request is told.
const CONNECT_RETRIES: usize = 1;
/// And how long to wait before.
const CONNECT_PAUSE: Duration = Duration::from_millis(50);

/// Gives KEYS[1] the value ARGV[1] for ARGV[2] ms (0: for ever) if it has the value ARGV[3]; without that, if it has none.
/// Redis runs a script as one step.
const SWAP: &str = "
local value = redis.call('GET', KEYS[1])
if value ~= (ARGV[3] or false) then return 0 end
if ARGV[2] == '0' then redis.call('SET', KEYS[1], ARGV[1]) else redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return 1";

/// A server, and the connection to it once there is one.
pub struct Redis {
    client: Client,
    /// What it is called where people read it: without a name and a password.
    label: String,
    manager: OnceLock<ConnectionManager>,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Redis").field(&self.label).finish()
    }
}

impl Redis {
    /// The server at `redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]`; `rediss://` is with TLS. It is not connected to yet.
    ///
    /// # Errors
    /// When that is no such URL; the sentence does not contain it.
    pub fn new(url: &str) -> Result<Self, String> {
        if !url.starts_with("redis://") && !url.starts_with("rediss://") {
            return Err("it must begin with redis:// or rediss://".to_owned());
        }
        let info = url.into_connection_info().map_err(|error| error.to_string())?;
        let scheme = url.split("://").next().unwrap_or("redis");
        let label = format!("{scheme}://{}/{}", info.addr(), info.redis_settings().db());
        let client = Client::open(info).map_err(|error| error.to_string())?;
        Ok(Self { client, label, manager: OnceLock::new() })
    }

    /// The connection. Must be called within a tokio runtime, as everything here.
    fn manager(&self) -> Result<ConnectionManager> {
        if let Some(manager) = self.manager.get() {
            return Ok(manager.clone());
        }
        let config = ConnectionManagerConfig::default()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_number_of_retries(CONNECT_RETRIES)
            .set_min_delay(CONNECT_PAUSE)
            .set_max_delay(CONNECT_PAUSE)
            .set_response_timeout(None); // each operation has a time of its own
        let made = ConnectionManager::new_lazy_with_config(self.client.clone(), config);
        let made = made.map_err(|error| self.unavailable(&error))?;
        Ok(self.manager.get_or_init(|| made).clone())
    }

    pub(super) async fn get(&self, key: &str, value_bytes_max: usize) -> Result<Option<Vec<u8>>> {
        // One byte more than is allowed tells what is too large, without having all of it here. A key without a value and
        // one with an empty value look the same to GETRANGE.
        let mut pipeline = redis::pipe();
        pipeline.atomic().cmd("GETRANGE").arg(key).arg(0).arg(value_bytes_max);
        pipeline.cmd("EXISTS").arg(key);
        let (value, exists): (Vec<u8>, bool) = self.ask(&pipeline, true).await?;
        Ok(exists.then_some(value))
    }

    pub(super) async fn exists(&self, key: &str) -> Result<bool> {
        self.ask_one(Cmd::new().arg("EXISTS").arg(key), true).await
    }

    pub(super) async fn list(&self, prefix: &str, cursor: Option<&str>, keys_max: usize) -> Result<Page> {
        let mut cursor: u64 = cursor.map_or(Ok(0), str::parse).map_err(|_| Error::Cursor)?;
        let pattern = format!("{}*", escaped(prefix));
        // Where most keys are of others, a scan finds nothing for a while; the operation's time bounds it.
        loop {
            let mut scan = Cmd::new();
            scan.arg("SCAN").arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(keys_max);
            let (next, keys): (u64, Vec<Vec<u8>>) = self.ask_one(&scan, true).await?;
            // Keys that are not text are not ours.
            let keys: Vec<_> = keys.into_iter().filter_map(|key| String::from_utf8(key).ok()).collect();
            if next == 0 || !keys.is_empty() {
                return Ok(Page { keys, cursor: (next != 0).then(|| next.to_string()) });
            }
            cursor = next;
        }
    }

    pub(super) async fn change(&self, changes: Vec<(String, Change)>) -> Result<Vec<Changed>> {
        let mut changed = Vec::with_capacity(changes.len());
        for (key, change) in changes {
            changed.push(self.change_one(&key, change).await?);
        }
        Ok(changed)
    }

    async fn change_one(&self, key: &str, change: Change) -> Result<Changed> {
        let mut command = Cmd::new();
        let made = match change {
            Change::Set(value) => {
                command.arg("SET").arg(key).arg(value.bytes);
                if let Some(ms) = value.ttl_ms {
                    command.arg("PX").arg(ms);
                }
                self.ask_one::<()>(&command, true).await.map(|()| true)?
            }
            Change::Delete => self.ask_one(command.arg("DEL").arg(key), false).await?,
            Change::Increment(delta) => {
                command.arg("INCRBY").arg(key).arg(delta);
                return self.ask_one(&command, false).await.map(Changed::Number);
            }
            Change::Swap(expected, value) => {
                command.arg("EVAL").arg(SWAP).arg(1).arg(key).arg(value.bytes);
                command.arg(value.ttl_ms.unwrap_or(0)).arg(expected);
                self.ask_one(&command, false).await?
            }
        };
        Ok(Changed::Made(made))
    }

    async fn ask_one<T: FromRedisValue>(&self, command: &Cmd, is_repeatable: bool) -> Result<T> {
        let mut manager = self.manager()?;
        let mut answer = command.query_async(&mut manager).await;
        if is_repeatable && answer.as_ref().is_err_and(RedisError::is_unrecoverable_error) {
            answer = command.query_async(&mut manager).await;
        }
        answer.map_err(|error| self.error(&error))
    }

    async fn ask<T: FromRedisValue>(&self, pipeline: &Pipeline, is_repeatable: bool) -> Result<T> {
        let mut manager = self.manager()?;
        let mut answer = pipeline.query_async(&mut manager).await;
        if is_repeatable && answer.as_ref().is_err_and(RedisError::is_unrecoverable_error) {
            answer = pipeline.query_async(&mut manager).await;
        }
        answer.map_err(|error| self.error(&error))
    }

    fn error(&self, error: &RedisError) -> Error {
        let text = error.detail().unwrap_or_default();
        // Redis has no code of its own for these two.
        if text.contains("not an integer or out of range") || text.contains("would overflow") {
            return Error::Number;
        }
        if error.code() == Some("OOM") {
            return Error::Unavailable(format!("{}: it is full (`maxmemory`)", self.label));
        }
        self.unavailable(error)
    }

    fn unavailable(&self, error: &RedisError) -> Error {
        Error::Unavailable(format!("{}: {error}", self.label))
    }
}

/// A text that a pattern of Redis takes for itself.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_server_has_no_password() {
        let redis = Redis::new("redis://ann:secret@127.0.0.1:1/2").unwrap();
        assert_eq!(redis.label, "redis://127.0.0.1:1/2");
        assert!(!format!("{redis:?}").contains("secret"));
        for bad in ["http://x", "redis://ann:secret@:x/y", "redis://"] {
            let error = Redis::new(bad).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn prefixes_are_no_patterns() {
        assert_eq!(escaped("a*b?[c]\\"), "a\\*b\\?\\[c\\]\\\\");
    }
}
