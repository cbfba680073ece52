//! A store in a Redis, or in what speaks its protocol (Valkey, KeyDB).
//!
//! One connection for all requests, over which their commands go without waiting for each other; when it breaks, another
//! is made. What could have been done without our knowing is not tried again, everything else is, once.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{Client, Cmd, FromRedisValue, IntoConnectionInfo as _, Pipeline, RedisError};
use socket2::TcpKeepalive;

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

/// Adds ARGV[1] to the number of KEYS[1], unless that is negative. A number of Lua would not hold the sum.
const ADD_UNSIGNED: &str = "
local value = redis.call('GET', KEYS[1])
if value and string.sub(value, 1, 1) == '-' then return redis.error_reply('ERR value is not an integer or out of range') end
redis.call('INCRBY', KEYS[1], ARGV[1])
return redis.call('GET', KEYS[1])";

/// Silence after which the server is asked whether it is still there, and time for it to take what was sent.
const SILENCE: Duration = Duration::from_secs(15);

/// A server, and the connection to it once there is one.
pub struct Redis {
    client: Client,
    /// What it is called where people read it: without a name and a password.
    label: String,
    /// And when it was made.
    manager: Mutex<Option<(ConnectionManager, Instant)>>,
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
        let keepalive = TcpKeepalive::new().with_time(SILENCE).with_interval(SILENCE / 3).with_retries(3);
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive).set_user_timeout(SILENCE);
        let client = Client::open(info.set_tcp_settings(tcp)).map_err(|error| error.to_string())?;
        Ok(Self { client, label, manager: Mutex::default() })
    }

    /// The connection. Must be called within a tokio runtime, as everything here.
    fn manager(&self) -> Result<ConnectionManager> {
        let mut held = self.held();
        if let Some((manager, _)) = &*held {
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
        *held = Some((made.clone(), Instant::now()));
        Ok(made)
    }

    /// An operation that began then had no answer in time: the connection that there was may be dead without anybody having said
    /// so. The next operation makes another; those that wait for this one may go on.
    pub(super) fn doubt(&self, begun: Instant) {
        self.held().take_if(|(_, made)| *made <= begun);
    }

    fn held(&self) -> MutexGuard<'_, Option<(ConnectionManager, Instant)>> {
        self.manager.lock().unwrap_or_else(PoisonError::into_inner)
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
            Change::Increment { by, is_unsigned } => {
                if is_unsigned {
                    command.arg("EVAL").arg(ADD_UNSIGNED).arg(1).arg(key).arg(by);
                } else {
                    command.arg("INCRBY").arg(key).arg(by);
                }
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::super::{Backend, Grant, Limits, Store};
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

    /// A server whose first connection never answers what it is asked.
    async fn half_dead() -> (String, Arc<AtomicUsize>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let accepted = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&accepted);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let is_dead = count.fetch_add(1, Ordering::Relaxed) == 0;
                tokio::spawn(async move {
                    let mut bytes = [0; 4096];
                    while let Ok(read @ 1..) = stream.read(&mut bytes).await {
                        let text = String::from_utf8_lossy(&bytes[..read]).into_owned();
                        let asked = text.matches("*").count();
                        let answer = if text.contains("EXISTS") {
                            ":1\r\n".to_owned()
                        } else {
                            "+OK\r\n".repeat(asked)
                        };
                        if !(is_dead && text.contains("EXISTS")) {
                            let _ = stream.write_all(answer.as_bytes()).await;
                        }
                    }
                });
            }
        });
        (url, accepted)
    }

    #[tokio::test]
    async fn a_connection_that_does_not_answer_is_replaced() {
        let (url, accepted) = half_dead().await;
        let limits = Limits { timeout: Duration::from_millis(300), ..Limits::default() };
        let store = Store::new(Backend::Redis(Arc::new(Redis::new(&url).unwrap())), limits);
        let grant = Grant::new(store, "", false);
        let mut answers = Vec::new();
        for _ in 0..4 {
            answers.push(grant.exists("a").await);
        }
        assert!(matches!(answers[0], Err(Error::TimedOut(_))), "{answers:?}");
        assert_eq!(answers[3], Ok(true), "{answers:?}");
        assert_eq!(accepted.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn prefixes_are_no_patterns() {
        assert_eq!(escaped("a*b?[c]\\"), "a\\*b\\?\\[c\\]\\\\");
    }
}
