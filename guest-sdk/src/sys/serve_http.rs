//! The host as the `serve_http` ABI has it: the imports of ABI.md sections 4, 5 and 6, and those of its modules here.

use std::{
    mem::MaybeUninit,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use wasmux_abi::Errno;

use super::Bytes;
use crate::{
    Request, ResponseWriter, Result,
    buffer::Buffer,
    exchange::{self, Exchange, HEAD_INLINE_BYTES},
    logger,
};

pub(crate) mod client;
pub(crate) mod config;
pub(crate) mod kv;
pub(crate) mod sql;

/// Reads what the host writes to `(pointer, length)` and answers with the size it has or needs.
type Fill = unsafe extern "C" fn(*mut u8, usize) -> i32;

#[link(wasm_import_module = "wasmux:http/1")]
unsafe extern "C" {
    fn request_head(buf: *mut u8, len: usize) -> i32;
    fn request_read(buf: *mut u8, len: usize) -> i32;
    fn request_trailers(buf: *mut u8, len: usize) -> i32;
    fn respond(status: i32, fields: *const u8, fields_len: usize, body: *const u8, body_len: usize) -> i32;
    fn response_timeout(
        ms: u32,
        status: i32,
        fields: *const u8,
        fields_len: usize,
        body: *const u8,
        body_len: usize,
    ) -> i32;
    fn response_interim(status: i32, fields: *const u8, fields_len: usize) -> i32;
    fn response_start(status: i32, fields: *const u8, fields_len: usize) -> i32;
    fn response_write(buf: *const u8, len: usize) -> i32;
    safe fn response_flush() -> i32;
    fn response_trailers(fields: *const u8, fields_len: usize) -> i32;
    safe fn response_abort();
    safe fn client_gone() -> i32;
}

mod next_imports {
    #[link(wasm_import_module = "wasmux:next/1")]
    unsafe extern "C" {
        pub(super) fn next_send(
            method: *const u8,
            method_len: usize,
            target: *const u8,
            target_len: usize,
            fields: *const u8,
            fields_len: usize,
        ) -> i32;
        pub(super) fn next_head(buf: *mut u8, len: usize) -> i32;
        pub(super) fn next_read(buf: *mut u8, len: usize) -> i32;
        pub(super) fn next_trailers(buf: *mut u8, len: usize) -> i32;
        pub(super) safe fn next_forward() -> i32;
    }
}

mod log_imports {
    #[link(wasm_import_module = "wasmux:log/1")]
    unsafe extern "C" {
        pub(super) fn log(level: i32, ptr: *const u8, len: usize);
        pub(super) safe fn enabled(level: i32) -> i32;
    }
}

/// The host that called this guest. There is one, so the handle has no content.
#[derive(Clone)]
pub(crate) struct Host;

impl Exchange for Host {
    fn request_head(&self, into: &mut Buffer<HEAD_INLINE_BYTES>) {
        fill_bytes(into.inline(), request_head).unwrap_or_else(|size| {
            *into.spill() = fill_vec(size, request_head);
        });
    }

    fn request_read(&self, into: &mut [u8]) -> Result<usize, Errno> {
        // SAFETY: pointer and length describe `into`, which the host writes to during the call only.
        check(unsafe { request_read(into.as_mut_ptr(), into.len()) })
    }

    fn request_trailers(&self) -> Result<Vec<u8>, Errno> {
        // SAFETY: with length 0 the host writes nothing; the pointer is not null only for neatness.
        let size = check(unsafe { request_trailers([].as_mut_ptr(), 0) })?;
        Ok(fill_vec(size, request_trailers))
    }

    fn respond(&self, status: u16, fields: &[u8], body: &[u8]) -> Result<(), Errno> {
        let (fields_len, body_len) = (fields.len(), body.len());
        // SAFETY: both pairs describe slices, which the host reads during the call only.
        done(unsafe { respond(status.into(), fields.as_ptr(), fields_len, body.as_ptr(), body_len) })
    }

    fn response_timeout(&self, ms: u32, status: u16, fields: &[u8], body: &[u8]) -> Result<(), Errno> {
        let (block, status) = (fields.as_ptr(), status.into());
        // SAFETY: both pairs describe slices, which the host reads during the call only.
        done(unsafe { response_timeout(ms, status, block, fields.len(), body.as_ptr(), body.len()) })
    }

    fn response_interim(&self, status: u16, fields: &[u8]) -> Result<(), Errno> {
        // SAFETY: the pair describes `fields`, which the host reads during the call only.
        done(unsafe { response_interim(status.into(), fields.as_ptr(), fields.len()) })
    }

    fn response_start(&self, status: u16, fields: &[u8]) -> Result<(), Errno> {
        // SAFETY: as above.
        done(unsafe { response_start(status.into(), fields.as_ptr(), fields.len()) })
    }

    fn response_write(&self, data: &[u8]) -> Result<(), Errno> {
        // SAFETY: as above, for `data`.
        done(unsafe { response_write(data.as_ptr(), data.len()) })
    }

    fn response_flush(&self) -> Result<(), Errno> {
        done(response_flush())
    }

    fn response_trailers(&self, fields: &[u8]) -> Result<(), Errno> {
        // SAFETY: as above, for `fields`.
        done(unsafe { response_trailers(fields.as_ptr(), fields.len()) })
    }

    fn next_send(&self, method: &[u8], target: &[u8], fields: &[u8]) -> Result<(), Errno> {
        let (method_at, target_at, fields_at) = (method.as_ptr(), target.as_ptr(), fields.as_ptr());
        let (method_len, target_len, fields_len) = (method.len(), target.len(), fields.len());
        done(unsafe {
            // SAFETY: the pairs describe slices, which the host reads during the call only.
            next_imports::next_send(method_at, method_len, target_at, target_len, fields_at, fields_len)
        })
    }

    fn next_head(&self) -> Result<Vec<u8>, Errno> {
        // SAFETY: with length 0 the host writes nothing.
        let size = check(unsafe { next_imports::next_head([].as_mut_ptr(), 0) })?;
        Ok(fill_vec(size, next_imports::next_head))
    }

    fn next_read(&self, into: &mut [u8]) -> Result<usize, Errno> {
        // SAFETY: pointer and length describe `into`, which the host writes to during the call only.
        check(unsafe { next_imports::next_read(into.as_mut_ptr(), into.len()) })
    }

    fn next_trailers(&self) -> Result<Vec<u8>, Errno> {
        // SAFETY: with length 0 the host writes nothing.
        let size = check(unsafe { next_imports::next_trailers([].as_mut_ptr(), 0) })?;
        Ok(fill_vec(size, next_imports::next_trailers))
    }

    fn next_forward(&self) -> Result<(), Errno> {
        done(next_imports::next_forward())
    }

    fn client_gone(&self) -> bool {
        client_gone() > 0
    }

    fn break_off(&self) {
        response_abort();
    }
}

/// Fills `into` from the host, or says how much room is needed.
fn fill_bytes<const N: usize>(into: &mut Bytes<N>, fill: Fill) -> Result<(), usize> {
    // SAFETY: pointer and length describe the whole array, which the host writes to during the call only.
    let size = usize::try_from(unsafe { fill(into.bytes.as_mut_ptr().cast(), N) }).unwrap_or(0);
    if size > N {
        return Err(size);
    }
    into.len = size; // The host has written exactly `size` bytes when they fit (ABI.md, request_head).
    Ok(())
}

/// A vector of `size` bytes from the host.
fn fill_vec(size: usize, fill: Fill) -> Vec<u8> {
    // SAFETY: pointer and length describe `room`, which the host writes to during the call only.
    fill_with(size, |room| unsafe { fill(room.as_mut_ptr().cast(), room.len()) })
}

/// The same, from a call that takes more than a buffer: `fill` writes as many bytes as it answers, if they fit.
fn fill_with(size: usize, fill: impl FnOnce(&mut [MaybeUninit<u8>]) -> i32) -> Vec<u8> {
    let mut bytes = Vec::<u8>::with_capacity(size);
    let filled = usize::try_from(fill(&mut bytes.spare_capacity_mut()[..size])).unwrap_or(0);
    if filled <= size {
        // SAFETY: the host has written exactly `filled` bytes, and the capacity is at least `size`.
        unsafe { bytes.set_len(filled) };
    }
    bytes
}

/// Handles the request that the host has called for.
pub fn serve(handler: fn(&mut ResponseWriter, &mut Request) -> Result<()>) {
    run_constructors();
    logger::install();
    exchange::run(&handler, &Host);
}

/// Runs the static constructors of C code that is linked into the guest, before its first request.
///
/// The linker does so before, and its counterpart after, *each* call of an export, unless it finds them called by
/// the program: right for a command, wrong for a module that is called again and again.
fn run_constructors() {
    static DONE: AtomicBool = AtomicBool::new(false);
    unsafe extern "C" {
        fn __wasm_call_ctors();
    }
    if !DONE.swap(true, Relaxed) {
        // SAFETY: the linker makes this function; it is called once, before anything that relies on it.
        unsafe { __wasm_call_ctors() }
    }
}

fn check(code: i32) -> Result<usize, Errno> {
    // "Any other negative value is a failure" (ABI.md section 7): a newer host may have more of them.
    usize::try_from(code).map_err(|_| Errno::from_code(code).unwrap_or(Errno::State))
}

fn done(code: i32) -> Result<(), Errno> {
    check(code).map(drop)
}

/// Whether the host would write a log line of this level.
pub(crate) fn log_enabled(level: i32) -> bool {
    log_imports::enabled(level) > 0
}

/// Gives the host a log line.
pub(crate) fn log(level: i32, text: &str) {
    // SAFETY: the pair describes `text`, which the host reads during the call only.
    unsafe { log_imports::log(level, text.as_ptr(), text.len()) }
}
