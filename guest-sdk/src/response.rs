//! [`ResponseWriter`]: the response, while the handler makes it.
//!
//! Owns the 2048-byte buffer in which small responses wait to be sent in one piece, and net/http's rules about the
//! head: what is fixed when, and which headers are added. Invariant: the head is given to the host at most once.

use std::io::{self, Write};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use wasmux_abi::Errno;

use crate::{
    BodyError, Cookie, Result, detect_content_type,
    exchange::{Exchange, Link},
    fields::{self, FieldBlock},
    sys::Bytes,
};

mod ending;
mod head;
mod header_text;
mod held;

use head::Head;

/// A body of up to this many bytes that was not flushed is sent in one piece, with a `Content-Length`.
pub(crate) const BUFFER_BYTES: usize = 2048;

/// Makes the response; net/http's `ResponseWriter`, `Flusher` and `StringWriter` in one.
///
/// The body is written with [`std::io::Write`], so `write!` and `std::io::copy` work. As in net/http:
///
/// - The first write fixes the head: the status is `200` unless [`write_header`](Self::write_header) was called
///   before, and headers changed later are not sent (but see *trailers*).
/// - A finished body of at most 2048 bytes gets a `Content-Length`; a longer or flushed one is streamed while the
///   handler runs. [`flush`](Write::flush) sends what there is; with a `Content-Length` header, the length is known.
/// - Without a `Content-Type` header, the type is guessed from the first block ([`detect_content_type`]), except when
///   there is a `Content-Encoding` or the first byte came after a flush.
/// - *Trailers*: name them in a `Trailer` header before the head is fixed, and set them in
///   [`headers_mut`](Self::headers_mut) after the body; or use [`add_trailer`](Self::add_trailer).
///
/// Writing fails when the client is gone (`BrokenPipe`), for statuses without a body, and beyond a declared
/// `Content-Length`; see [`BodyError`]. The host holds at most 64 KiB that the client has not taken, then writes wait.
pub struct ResponseWriter {
    link: Link,
    is_head_request: bool,
    headers: HeaderMap,
    /// The headers as they were when the head was fixed, if they were changed since.
    snapshot: Option<HeaderMap>,
    /// Trailers whose names were not announced.
    trailers: HeaderMap,
    head: Option<Head>,
    is_started: bool,
    /// Body bytes the handler wrote, sent or not.
    written: u64,
    /// The connection is not to carry another response: the handler tried to write more than it had declared, or to read
    /// more than it is allowed.
    pub(crate) is_last: bool,
    buffer: Bytes<BUFFER_BYTES>,
    /// Where the body goes instead, when this reply is kept until it is whole; see `hold`.
    held: Option<Vec<u8>>,
    /// The error of the first failed write; every later write fails with it, too.
    broken: Option<BodyError>,
}

impl ResponseWriter {
    pub(crate) fn new(link: Link, is_head_request: bool) -> Self {
        Self {
            link,
            is_head_request,
            headers: HeaderMap::new(),
            snapshot: None,
            trailers: HeaderMap::new(),
            head: None,
            is_started: false,
            written: 0,
            is_last: false,
            buffer: Bytes::new(),
            held: None,
            broken: None,
        }
    }

    /// The response headers; net/http's `Header`.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The response headers, to be changed. Changes count until the head is fixed by
    /// [`write_header`](Self::write_header) or the first write; later ones only set announced trailers.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        // Copied only where it matters: until the head is sent, and for the names of the trailers.
        let is_fixed = self.head.is_some_and(|head| !self.is_started || head.announces_trailers());
        if is_fixed && self.snapshot.is_none() {
            self.snapshot = Some(self.headers.clone());
        }
        &mut self.headers
    }

    /// Fixes status and headers; net/http's `WriteHeader`. Without it, the first write does so with `200`.
    ///
    /// A 1xx status other than 101 sends an interim response (`103 Early Hints`) with the headers so far to clients that
    /// can have one (ABI.md, `response_interim`), and fixes nothing. `101` is logged and ignored: a handler cannot switch protocols. A second final call is logged as
    /// superfluous and ignored.
    pub fn write_header(&mut self, status: StatusCode) {
        if self.head.is_some() {
            log::warn!("superfluous write_header call with status {}", status.as_u16());
        } else if status == StatusCode::SWITCHING_PROTOCOLS {
            log::error!("write_header: a handler cannot switch protocols (101)");
        } else if status.is_informational() {
            self.offer_interim(status);
        } else {
            self.head = Some(self.new_head(status));
        }
    }

    /// The status, once it is fixed.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.head.as_ref().map(|head| head.status)
    }

    /// Adds a `Set-Cookie` header; net/http's `SetCookie`. A cookie with an invalid name is dropped, as there.
    pub fn set_cookie(&mut self, cookie: &Cookie) {
        let value = HeaderValue::try_from(cookie.to_string()).ok().filter(|value| !value.is_empty());
        if let Some(value) = value {
            self.headers_mut().append(header::SET_COOKIE, value);
        }
    }

    /// Adds a trailer that need not have been announced; net/http's `TrailerPrefix`.
    ///
    /// As there, trailers follow bodies without a `Content-Length` only. One that was added before the head is fixed
    /// makes the response a stream; behind a body that was not flushed and leaves in one piece, it is logged and left
    /// out. Whether a client sees trailers depends on the protocol (ABI.md, `response_trailers`).
    pub fn add_trailer(&mut self, name: header::HeaderName, value: HeaderValue) {
        self.trailers.append(name, value);
    }

    /// As [`add_trailer`](Self::add_trailer), in place of those of the same name.
    pub(crate) fn set_trailer(&mut self, name: header::HeaderName, value: HeaderValue) {
        self.trailers.insert(name, value);
    }

    /// Answers with JSON: sets the `Content-Type` unless there is one, and writes `value` and a newline, as net/http
    /// programs do with `json.NewEncoder(w).Encode(value)`.
    ///
    /// # Errors
    /// `500` when `value` cannot be represented; else what writing the body fails with.
    #[cfg(feature = "json")]
    pub fn json<T: serde::Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        let mut text = serde_json::to_vec(value)?;
        text.push(b'\n');
        self.headers_mut()
            .entry(header::CONTENT_TYPE)
            .or_insert(HeaderValue::from_static("application/json"));
        self.write_all(&text)?;
        Ok(())
    }

    fn offer_interim(&mut self, status: StatusCode) {
        if self.held.is_some() {
            return;
        }
        let mut block = FieldBlock::new();
        fields::visit(&self.headers, &mut |name, value| {
            if name != b"content-length" && name != b"transfer-encoding" {
                block.push(name, value);
            }
        });
        if let Err(errno) = self.link.response_interim(status.as_u16(), block.finish()) {
            log::debug!("interim response {} was refused: {errno:?}", status.as_u16());
        }
    }

    #[inline(never)] // it is called from several places, and size counts
    fn new_head(&self, status: StatusCode) -> Head {
        Head::new(status, &self.headers, !self.trailers.is_empty())
    }

    /// The head, fixed now with `200` if it was not before.
    #[inline(never)]
    fn fixed_head(&mut self) -> Head {
        let head = self.head.unwrap_or_else(|| self.new_head(StatusCode::OK));
        *self.head.insert(head)
    }

    /// Whether `count` more body bytes may be written.
    fn admit(&mut self, count: usize) -> Result<(), BodyError> {
        let written = self.written;
        let head = self.fixed_head();
        if count == 0 {
            return Ok(());
        }
        if !head.allows_body() {
            return Err(BodyError::NotAllowed);
        }
        let total = written.saturating_add(count as u64);
        if head.declared_length().is_some_and(|length| total > length) {
            self.is_last = true;
            return Err(BodyError::ContentLength); // nothing of it is sent, as in net/http
        }
        self.written = total;
        self.broken.map_or(Ok(()), Err)
    }

    /// Buffers `data`, sending full buffers; a large piece that meets an empty buffer is sent as it is.
    fn put(&mut self, mut data: &[u8]) -> Result<(), BodyError> {
        while data.len() > BUFFER_BYTES - self.buffer.as_slice().len() {
            if self.buffer.as_slice().is_empty() {
                return self.send(data);
            }
            let taken = self.buffer.push(data);
            data = &data[taken..];
            self.send_buffer()?;
        }
        self.buffer.push(data);
        Ok(())
    }

    fn send_buffer(&mut self) -> Result<(), BodyError> {
        if self.buffer.as_slice().is_empty() {
            return Ok(());
        }
        let content_type = self.guess_type(self.buffer.as_slice());
        let sent = self.start(content_type).and_then(|()| self.deliver(self.buffer.as_slice()));
        self.buffer.clear();
        self.keep(sent)
    }

    /// Sends a block of the body, behind the head.
    fn send(&mut self, block: &[u8]) -> Result<(), BodyError> {
        let content_type = self.guess_type(block);
        let sent = self.start(content_type).and_then(|()| self.deliver(block));
        self.keep(sent)
    }

    fn deliver(&self, block: &[u8]) -> Result<(), Errno> {
        // What answers HEAD is counted and guessed at like the answer to GET, but stays here.
        if self.is_head_request { Ok(()) } else { self.link.response_write(block) }
    }

    /// Starts a streamed response, unless it was started before.
    fn start(&mut self, content_type: Option<&'static str>) -> Result<(), Errno> {
        if self.is_started {
            return Ok(());
        }
        let head = self.fixed_head();
        self.is_started = true;
        self.link.response_start(head.status.as_u16(), self.head_block(head, content_type, None).finish())
    }

    /// The `Content-Type` to add to the head when this is the first block of the body.
    fn guess_type(&self, first_block: &[u8]) -> Option<&'static str> {
        let is_wanted = !self.is_started && self.head.is_none_or(|head| head.wants_content_type());
        (is_wanted && !first_block.is_empty()).then(|| detect_content_type(first_block))
    }

    /// The fields of the head, with what is added to the handler's.
    fn head_block(&self, head: Head, content_type: Option<&str>, content_length: Option<u64>) -> FieldBlock {
        let mut block = FieldBlock::new();
        let length = head.declared_length().or(content_length).map(|length| length.to_string());
        let headers = self.snapshot.as_ref().unwrap_or(&self.headers);
        fields::visit(headers, &mut |name, value| {
            if head.sends(name) {
                block.push(name, value);
            }
        });
        let close = self.is_last.then_some("close");
        let added =
            [("content-length", length.as_deref()), ("content-type", content_type), ("connection", close)];
        for (name, value) in added {
            if let Some(value) = value {
                block.push(name.as_bytes(), value.as_bytes());
            }
        }
        block
    }

    fn keep(&mut self, sent: Result<(), Errno>) -> Result<(), BodyError> {
        sent.map_err(|errno| *self.broken.insert(BodyError::writing(errno)))
    }
}

impl Write for ResponseWriter {
    /// Takes all of `data`: into the buffer, or to the host when there is more than fits.
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if let Some(held) = self.write_held() {
            held.extend_from_slice(data);
            return Ok(data.len());
        }
        self.admit(data.len())?;
        self.put(data)?;
        Ok(data.len())
    }

    /// Sends the head and everything written so far to the client; net/http's `Flush`.
    fn flush(&mut self) -> io::Result<()> {
        if self.held.is_some() {
            return Ok(());
        }
        self.broken.map_or(Ok(()), Err)?;
        self.send_buffer()?;
        let flushed = self.start(None).and_then(|()| self.link.response_flush());
        Ok(self.keep(flushed)?)
    }
}
