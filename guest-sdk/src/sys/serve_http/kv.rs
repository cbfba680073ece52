//! The imports of ABI.md section 10.

use std::mem::MaybeUninit;

use wasmux_abi::Errno;

use super::{check, done, fill_with};
use crate::kv::{Error, Page, Result};

mod imports {
    #[link(wasm_import_module = "wasmux:keyvalue/1")]
    unsafe extern "C" {
        pub(super) fn open(name: *const u8, name_len: usize) -> i32;
        pub(super) fn get(store: i32, key: *const u8, key_len: usize, buf: *mut u8, len: usize) -> i32;
        pub(super) fn exists(store: i32, key: *const u8, key_len: usize) -> i32;
        pub(super) fn set(
            store: i32,
            key: *const u8,
            key_len: usize,
            value: *const u8,
            value_len: usize,
            ttl_ms: u64,
        ) -> i32;
        pub(super) fn delete(store: i32, key: *const u8, key_len: usize) -> i32;
        pub(super) fn increment(store: i32, key: *const u8, key_len: usize, delta: i64, sum: *mut i64)
        -> i32;
        pub(super) fn add(
            store: i32,
            key: *const u8,
            key_len: usize,
            value: *const u8,
            value_len: usize,
            ttl_ms: u64,
        ) -> i32;
        pub(super) fn swap(
            store: i32,
            key: *const u8,
            key_len: usize,
            expected: *const u8,
            expected_len: usize,
            value: *const u8,
            value_len: usize,
            ttl_ms: u64,
        ) -> i32;
        pub(super) fn list(
            store: i32,
            prefix: *const u8,
            prefix_len: usize,
            cursor: *const u8,
            cursor_len: usize,
            keys_max: u32,
            buf: *mut u8,
            len: usize,
        ) -> i32;
    }
}

/// Values up to this size, in bytes, come with the first call.
const SHORT_BYTES: usize = 256;

#[derive(Clone)]
pub(crate) struct Store(i32);

// SAFETY, for every call here: the pairs of pointer and length describe slices, which the host reads, or `room`, which it
// writes to, during the call only.
impl Store {
    pub(crate) fn open(name: &str) -> Result<Self> {
        // SAFETY: see above.
        match unsafe { imports::open(name.as_ptr(), name.len()) } {
            number @ 0.. => Ok(Self(number)),
            _ => Err(Error::NotGranted),
        }
    }

    fn fill(&self, key: &str, room: &mut [MaybeUninit<u8>]) -> i32 {
        let (buf, len) = (room.as_mut_ptr().cast(), room.len());
        // SAFETY: see above.
        unsafe { imports::get(self.0, key.as_ptr(), key.len(), buf, len) }
    }

    pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let mut short = super::Bytes::<SHORT_BYTES>::new();
        let size = match check(self.fill(key, &mut short.bytes)) {
            Ok(size) => size,
            Err(Errno::Absent) => return Ok(None),
            Err(errno) => return Err(error(errno)),
        };
        if size <= SHORT_BYTES {
            short.len = size; // The host has written exactly `size` bytes when they fit (ABI.md section 10).
            return Ok(Some(short.as_slice().to_vec()));
        }
        self.get_long(key, size)
    }

    /// A value that has `size` bytes, unless somebody changes it meanwhile.
    fn get_long(&self, key: &str, mut size: usize) -> Result<Option<Vec<u8>>> {
        loop {
            let mut code = 0;
            let value = fill_with(size, |room| {
                code = self.fill(key, room);
                code
            });
            match check(code) {
                Ok(found) if found <= size => return Ok(Some(value)),
                Ok(found) => size = found,
                Err(Errno::Absent) => return Ok(None),
                Err(errno) => return Err(error(errno)),
            }
        }
    }

    pub(crate) fn exists(&self, key: &str) -> Result<bool> {
        // SAFETY: see above.
        yes(unsafe { imports::exists(self.0, key.as_ptr(), key.len()) })
    }

    pub(crate) fn set(&self, key: &str, value: &[u8], ttl_ms: u64) -> Result<()> {
        let (value, value_len) = (value.as_ptr(), value.len());
        // SAFETY: see above.
        done(unsafe { imports::set(self.0, key.as_ptr(), key.len(), value, value_len, ttl_ms) })
            .map_err(error)
    }

    pub(crate) fn delete(&self, key: &str) -> Result<bool> {
        // SAFETY: see above.
        yes(unsafe { imports::delete(self.0, key.as_ptr(), key.len()) })
    }

    pub(crate) fn increment(&self, key: &str, delta: i64) -> Result<i64> {
        let mut sum = 0;
        // SAFETY: see above; `sum` has the eight bytes that the host writes.
        done(unsafe { imports::increment(self.0, key.as_ptr(), key.len(), delta, &mut sum) })
            .map_err(error)?;
        Ok(sum)
    }

    pub(crate) fn swap(&self, key: &str, expected: Option<&[u8]>, value: &[u8], ttl_ms: u64) -> Result<bool> {
        let (key, key_len, value, value_len) = (key.as_ptr(), key.len(), value.as_ptr(), value.len());
        yes(match expected {
            // SAFETY: see above.
            None => unsafe { imports::add(self.0, key, key_len, value, value_len, ttl_ms) },
            Some(expected) => {
                let (expected, expected_len) = (expected.as_ptr(), expected.len());
                // SAFETY: see above.
                unsafe {
                    imports::swap(self.0, key, key_len, expected, expected_len, value, value_len, ttl_ms)
                }
            }
        })
    }

    pub(crate) fn list(&self, prefix: &str, cursor: Option<&str>, keys_max: u32) -> Result<Page> {
        let cursor = cursor.unwrap_or_default();
        let mut size = 16 << 10; // most pages fit
        loop {
            let mut code = 0;
            let block = fill_with(size, |room| {
                let (prefix, prefix_len) = (prefix.as_ptr(), prefix.len());
                let (cursor, cursor_len) = (cursor.as_ptr(), cursor.len());
                let (buf, len) = (room.as_mut_ptr().cast(), room.len());
                // SAFETY: see above.
                code = unsafe {
                    imports::list(self.0, prefix, prefix_len, cursor, cursor_len, keys_max, buf, len)
                };
                code
            });
            match check(code) {
                Ok(found) if found <= size => return page(&block),
                Ok(found) => size = found,
                Err(errno) => return Err(error(errno)),
            }
        }
    }
}

/// A page as the host writes it: the cursor behind an empty name, then the keys as names.
fn page(block: &[u8]) -> Result<Page> {
    let mut fields = wasmux_abi::fields(block).map_err(|_| Error::Unavailable)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let cursor = fields.next().map(|(_, cursor)| text(cursor)).filter(|cursor| !cursor.is_empty());
    Ok(Page { keys: fields.map(|(key, _)| text(key)).collect(), cursor })
}

fn yes(code: i32) -> Result<bool> {
    check(code).map(|code| code > 0).map_err(error)
}

fn error(errno: Errno) -> Error {
    match errno {
        Errno::Invalid => Error::Key,
        Errno::Limit => Error::TooLarge,
        Errno::Full => Error::Full,
        Errno::Conflict => Error::NotANumber,
        Errno::Denied => Error::ReadOnly,
        _ => Error::Unavailable,
    }
}
