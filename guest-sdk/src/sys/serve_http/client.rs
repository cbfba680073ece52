//! The imports of ABI.md section 11.

use std::{mem::MaybeUninit, time::Duration};

use wasmux_abi::Errno;

use super::{check, done, fill_with};
use crate::client::Options;

mod imports {
    #[link(wasm_import_module = "wasmux:client/1")]
    unsafe extern "C" {
        pub(super) fn send(
            method: *const u8,
            method_len: usize,
            url: *const u8,
            url_len: usize,
            fields: *const u8,
            fields_len: usize,
            body: *const u8,
            body_len: usize,
            options: *const u32,
            options_len: usize,
        ) -> i32;
        pub(super) fn write(call: u32, ptr: *const u8, len: usize) -> i32;
        pub(super) fn finish(call: u32, fields: *const u8, len: usize) -> i32;
        pub(super) fn wait(calls: *const u32, count: usize, ms: u32) -> i32;
        pub(super) fn head(call: u32, buf: *mut u8, len: usize) -> i32;
        pub(super) fn read(call: u32, buf: *mut u8, len: usize) -> i32;
        pub(super) fn trailers(call: u32, buf: *mut u8, len: usize) -> i32;
        pub(super) fn error(call: u32, buf: *mut u8, len: usize) -> i32;
        pub(super) safe fn close(call: u32);
    }
}

type Fill = unsafe extern "C" fn(u32, *mut u8, usize) -> i32;

/// A call, by its handle.
pub(crate) struct Call(u32);

impl Drop for Call {
    fn drop(&mut self) {
        imports::close(self.0);
    }
}

impl Call {
    pub(crate) fn send(
        method: &str,
        url: &str,
        fields: &[u8],
        body: &[u8],
        options: &Options,
    ) -> Result<Self, Errno> {
        let Options { flags, redirects, timeout_ms, connect_timeout_ms, .. } = *options;
        let Options { first_byte_timeout_ms, between_bytes_timeout_ms, .. } = *options;
        let words = [
            flags,
            redirects,
            timeout_ms,
            connect_timeout_ms,
            first_byte_timeout_ms,
            between_bytes_timeout_ms,
        ];
        // SAFETY: all pairs describe slices, which the host reads during the call only.
        let handle = check(unsafe {
            imports::send(
                method.as_ptr(),
                method.len(),
                url.as_ptr(),
                url.len(),
                fields.as_ptr(),
                fields.len(),
                body.as_ptr(),
                body.len(),
                words.as_ptr(),
                size_of_val(&words),
            )
        })?;
        Ok(Self(handle as u32)) // a guest has 32 bits
    }

    pub(crate) fn write(&mut self, data: &[u8]) -> Result<(), Errno> {
        // SAFETY: the pair describes `data`, which the host reads during the call only.
        done(unsafe { imports::write(self.0, data.as_ptr(), data.len()) })
    }

    pub(crate) fn finish(&mut self, fields: &[u8]) -> Result<(), Errno> {
        // SAFETY: as above, for `fields`.
        done(unsafe { imports::finish(self.0, fields.as_ptr(), fields.len()) })
    }

    fn fill(&self, room: &mut [MaybeUninit<u8>], fill: Fill) -> i32 {
        // SAFETY: pointer and length describe `room`, which the host writes to during the call only.
        unsafe { fill(self.0, room.as_mut_ptr().cast(), room.len()) }
    }

    fn filled(&self, fill: Fill) -> Result<Vec<u8>, Errno> {
        let size = check(self.fill(&mut [], fill))?;
        Ok(fill_with(size, |room| self.fill(room, fill)))
    }

    pub(crate) fn head(&mut self) -> Result<Vec<u8>, Errno> {
        self.filled(imports::head)
    }

    pub(crate) fn read(&mut self, into: &mut [u8]) -> Result<usize, Errno> {
        // SAFETY: pointer and length describe `into`, which the host writes to during the call only.
        check(unsafe { imports::read(self.0, into.as_mut_ptr(), into.len()) })
    }

    pub(crate) fn trailers(&mut self) -> Result<Vec<u8>, Errno> {
        self.filled(imports::trailers)
    }

    /// What the host says about its failure.
    pub(crate) fn error(&mut self) -> String {
        let text = self.filled(imports::error).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// The index of the first that is ready.
pub(crate) fn wait(calls: &[&Call], timeout: Option<Duration>) -> Result<usize, Errno> {
    let handles: Vec<u32> = calls.iter().map(|call| call.0).collect();
    let ms = timeout.map_or(u32::MAX, |timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX - 1));
    // SAFETY: pointer and count describe `handles`, which the host reads during the call only.
    check(unsafe { imports::wait(handles.as_ptr(), handles.len(), ms) })
}
