//! The imports of ABI.md section 9.

use std::mem::MaybeUninit;

use super::{check, fill_vec, fill_with};

mod imports {
    #[link(wasm_import_module = "wasmux:config/1")]
    unsafe extern "C" {
        pub(super) fn get(name: *const u8, name_len: usize, buf: *mut u8, len: usize) -> i32;
        pub(super) fn all(buf: *mut u8, len: usize) -> i32;
    }
}

/// Values up to this size, in bytes, come with the first call.
const SHORT_BYTES: usize = 64;

fn fill(name: &str, room: &mut [MaybeUninit<u8>]) -> i32 {
    let (buf, len) = (room.as_mut_ptr().cast(), room.len());
    // SAFETY: the pairs describe `name`, which the host reads, and `room`, which it writes to, both during the call only.
    unsafe { imports::get(name.as_ptr(), name.len(), buf, len) }
}

pub(crate) fn get(name: &str) -> Option<String> {
    let mut short = super::Bytes::<SHORT_BYTES>::new();
    let size = check(fill(name, &mut short.bytes)).ok()?;
    if size > SHORT_BYTES {
        return String::from_utf8(fill_with(size, |room| fill(name, room))).ok();
    }
    short.len = size; // The host has written exactly `size` bytes when they fit (ABI.md section 9).
    str::from_utf8(short.as_slice()).ok().map(str::to_owned)
}

pub(crate) fn all() -> Vec<(String, String)> {
    // SAFETY: with length 0 the host writes nothing.
    let size = check(unsafe { imports::all([].as_mut_ptr(), 0) }).unwrap_or(0);
    let block = fill_vec(size, imports::all);
    let pairs = wasmux_abi::fields(&block).into_iter().flatten();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    pairs.map(|(name, value)| (text(name), text(value))).collect()
}
