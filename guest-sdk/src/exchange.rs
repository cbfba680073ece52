//! What stands behind a [`Request`] and its [`ResponseWriter`]: the host of a guest, or the test recorder.
//!
//! The trait is ABI.md sections 4 and 6 with Rust's types. It has one implementation for each kind of target (core module,
//! component, native), chosen when the crate is compiled, so that a guest pays for no indirection and imports only the functions it calls.

use wasmux_abi::Errno;

use crate::{Handler, Request, ResponseWriter, buffer::Buffer};

/// The implementation for this target.
#[cfg(target_family = "wasm")]
pub(crate) type Link = crate::sys::Host;
/// The implementation for this target.
#[cfg(not(target_family = "wasm"))]
pub(crate) type Link = crate::recorder::Tape;

/// Bytes of a request head that need no allocation. Browsers send 600 to 1500 bytes; more goes to the heap.
pub(crate) const HEAD_INLINE_BYTES: usize = 2048;

/// One request and its response, seen from the handler's side.
pub(crate) trait Exchange: Clone {
    /// Writes the request head to `into`, which is empty.
    fn request_head(&self, into: &mut Buffer<HEAD_INLINE_BYTES>);
    /// Reads body bytes; 0 at the end.
    fn request_read(&self, into: &mut [u8]) -> Result<usize, Errno>;
    /// The trailer fields, as a field block.
    fn request_trailers(&self) -> Result<Vec<u8>, Errno>;
    /// Gives a whole response.
    fn respond(&self, status: u16, fields: &[u8], body: &[u8]) -> Result<(), Errno>;
    /// Prepares a response for the case that `ms` milliseconds are over before this one leaves; 0 takes it back.
    fn response_timeout(&self, ms: u32, status: u16, fields: &[u8], body: &[u8]) -> Result<(), Errno>;
    /// Offers an interim (1xx) response.
    fn response_interim(&self, status: u16, fields: &[u8]) -> Result<(), Errno>;
    /// Fixes the head of a streamed response.
    fn response_start(&self, status: u16, fields: &[u8]) -> Result<(), Errno>;
    /// Sends body bytes, all of them.
    fn response_write(&self, data: &[u8]) -> Result<(), Errno>;
    /// Sends everything written so far.
    fn response_flush(&self) -> Result<(), Errno>;
    /// Ends the body with trailer fields.
    fn response_trailers(&self, fields: &[u8]) -> Result<(), Errno>;
    /// Sends the request on to the next handler; what is empty is as received.
    fn next_send(&self, method: &[u8], target: &[u8], fields: &[u8]) -> Result<(), Errno>;
    /// The head of its response: the status in four bytes, and a field block.
    fn next_head(&self) -> Result<Vec<u8>, Errno>;
    /// Reads bytes of its response; 0 at the end.
    fn next_read(&self, into: &mut [u8]) -> Result<usize, Errno>;
    /// The trailer fields of its response, as a field block.
    fn next_trailers(&self) -> Result<Vec<u8>, Errno>;
    /// Sends the rest of its response as the body of this one.
    fn next_forward(&self) -> Result<(), Errno>;
    /// Whether the client has gone away.
    fn client_gone(&self) -> bool;
    /// Breaks a response off that has begun, once the handler has returned.
    fn break_off(&self);
}

/// Runs a handler on the exchange behind `link`, from head to last byte.
pub(crate) fn run(handler: &impl Handler, link: &Link) {
    let mut request = Request::new(link.clone());
    request.load();
    let mut writer = ResponseWriter::new(link.clone(), request.is_head());
    let result = handler.serve_http(&mut writer, &mut request);
    // What is left of a body that is too large is not worth reading; net/http closes the connection, too.
    writer.is_last |= request.body.is_too_large();
    match result {
        Ok(()) => writer.finish(),
        Err(error) => writer.fail(error),
    }
}
