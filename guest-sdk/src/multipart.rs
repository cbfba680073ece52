//! [`Multipart`]: the parts of a `multipart/form-data` body, one after another, in constant memory.
//!
//! Owns the search for the boundary (RFC 2046 section 5.1). Invariant: [`Window`] holds at most
//! [`WINDOW_BYTES`] of the body, whatever the client sends.

use std::io::{self, Read};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::{
    BodyError, Error, Request, Result,
    media_type::{parameter, split_media_type},
};

/// Most parts in one body, as in net/http.
const PARTS_MAX: usize = 1000;
/// Most header fields of all parts together, as in net/http.
const HEADERS_MAX: usize = 10_000;
/// Body bytes held at a time. A line of a part's header is at most this long.
const WINDOW_BYTES: usize = 16 * 1024;
/// Longest boundary (RFC 2046 section 5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;

/// Reads a `multipart/form-data` body part by part; net/http's `MultipartReader`.
///
/// ```
/// # use std::io::{Read, Write};
/// # use wasmux_sdk::{Request, ResponseWriter, Result};
/// fn upload(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
///     let mut parts = r.multipart()?;
///     while let Some(mut part) = parts.next_part()? {
///         let name = part.name().to_owned();
///         let size = std::io::copy(&mut part, &mut std::io::sink())?;
///         writeln!(w, "{name}: {size} bytes")?;
///     }
///     Ok(())
/// }
/// ```
///
/// Limits: 1000 parts, 10,000 header fields in all parts together, 16 KiB for a line of a part's header (each is a
/// `400`), 16 KiB of memory. The parts' bodies are limited by [`Request::max_bytes`] and by the host only.
pub struct Multipart<'r> {
    window: Window<'r>,
    state: State,
    parts: usize,
    headers: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In front of the first boundary.
    Preamble,
    /// In the body of a part. `is_fresh`: at its first byte, where a boundary needs no line end before it.
    Part { is_fresh: bool },
    /// In front of the boundary that ends a part.
    Boundary,
    /// Behind the last boundary.
    End,
}

impl Request {
    /// Reads the body as `multipart/form-data` or `multipart/mixed`; `MultipartReader`. It streams: nothing is read
    /// before it is asked for, and nothing is kept.
    ///
    /// # Errors
    /// `415` for another `Content-Type`; net/http's `ErrNotMultipart`. `400` for a missing or bad boundary;
    /// `ErrMissingBoundary`.
    pub fn multipart(&mut self) -> Result<Multipart<'_>> {
        let (media_type, parameters) = split_media_type(self.header("content-type"));
        if !["multipart/form-data", "multipart/mixed"]
            .iter()
            .any(|known| media_type.eq_ignore_ascii_case(known))
        {
            return Err(Error::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the request is not multipart/form-data",
            ));
        }
        let boundary = parameter(parameters, "boundary").unwrap_or_default();
        if boundary.is_empty() || boundary.len() > BOUNDARY_BYTES_MAX {
            return Err(Error::bad_request("no usable multipart boundary in Content-Type"));
        }
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        Ok(Multipart { window: Window::new(self, delimiter), state: State::Preamble, parts: 0, headers: 0 })
    }
}

impl<'r> Multipart<'r> {
    /// The next part, or `None` behind the last one; `NextPart`. What is left of the part before is skipped.
    ///
    /// # Errors
    /// `400` for a body that is not well-formed or has too many parts or headers, `413` for one over its limit.
    pub fn next_part(&mut self) -> Result<Option<Part<'_, 'r>>> {
        self.skip_part()?;
        if !self.pass_boundary()? {
            self.state = State::End;
            return Ok(None);
        }
        self.parts += 1;
        if self.parts > PARTS_MAX {
            return Err(Error::bad_request("too many parts"));
        }
        let headers = self.read_headers()?;
        self.state = State::Part { is_fresh: true };
        Ok(Some(Part::new(self, headers)))
    }

    fn skip_part(&mut self) -> Result<()> {
        let mut skipped = [0; 1024];
        while matches!(self.state, State::Part { .. }) {
            self.read_part(&mut skipped)?;
        }
        Ok(())
    }

    /// Reads the line with the next boundary; `false` if it is the last.
    fn pass_boundary(&mut self) -> Result<bool> {
        if self.state == State::End {
            return Ok(false);
        }
        loop {
            let is_preamble = self.state == State::Preamble;
            let (start, end) = self.window.line()?;
            let line = &self.window.bytes[start..end];
            match line.strip_prefix(&self.window.delimiter[2..]).map(<[u8]>::trim_ascii) {
                Some(b"") => return Ok(true),
                Some(b"--") => return Ok(false),
                _ if is_preamble || line.is_empty() => {} // the line end in front of a boundary is a line of its own
                _ => return Err(Error::bad_request("malformed multipart boundary")),
            }
        }
    }

    fn read_headers(&mut self) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        loop {
            let (start, end) = self.window.line()?;
            let line = &self.window.bytes[start..end];
            if line.is_empty() {
                return Ok(headers);
            }
            self.headers += 1;
            let field = parse_field(line).filter(|_| self.headers <= HEADERS_MAX);
            let (name, value) =
                field.ok_or_else(|| Error::bad_request("malformed or too many part headers"))?;
            headers.append(name, value);
        }
    }

    /// Reads from the body of the current part; 0 at its end.
    fn read_part(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let State::Part { is_fresh } = self.state else { return Ok(0) };
        if into.is_empty() {
            return Ok(0);
        }
        let count = self.window.read_until_delimiter(into, is_fresh)?;
        self.state = if count == 0 { State::Boundary } else { State::Part { is_fresh: false } };
        Ok(count)
    }
}

fn parse_field(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let value = line[colon + 1..].trim_ascii();
    Some((HeaderName::from_bytes(&line[..colon]).ok()?, HeaderValue::from_bytes(value).ok()?))
}

/// One part of a [`Multipart`]; net/http's `Part`. Its body is read with [`Read`].
pub struct Part<'m, 'r> {
    multipart: &'m mut Multipart<'r>,
    headers: HeaderMap,
    name: String,
    file_name: Option<String>,
}

impl<'m, 'r> Part<'m, 'r> {
    fn new(multipart: &'m mut Multipart<'r>, headers: HeaderMap) -> Self {
        let disposition = headers.get(header::CONTENT_DISPOSITION).map_or(&b""[..], HeaderValue::as_bytes);
        let disposition = String::from_utf8_lossy(disposition);
        let (kind, parameters) = split_media_type(&disposition);
        let is_form_data = kind.eq_ignore_ascii_case("form-data");
        let name = is_form_data.then(|| parameter(parameters, "name")).flatten().unwrap_or_default();
        let file_name = parameter(parameters, "filename").map(|path| base_name(&path).to_owned());
        Self { multipart, name, file_name, headers }
    }

    /// The name of the form field; `FormName`. `""` when there is none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the uploaded file, without folders; `FileName`. `None` for a field that is not a file.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        self.file_name.as_deref()
    }

    /// The headers of the part.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

impl Read for Part<'_, '_> {
    /// Reads the next bytes of the part, waiting for them if need be; 0 at its end.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.multipart.read_part(into)
    }
}

/// The last piece of a path: browsers of old sent whole ones, with either slash.
fn base_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or_default()
}

/// A stretch of the body: `bytes[start..end]` was read and not yet given out.
struct Window<'r> {
    request: &'r mut Request,
    /// Line end, two dashes and the boundary: what ends a part.
    delimiter: Vec<u8>,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl<'r> Window<'r> {
    fn new(request: &'r mut Request, delimiter: Vec<u8>) -> Self {
        Self { request, delimiter, bytes: vec![0; WINDOW_BYTES], start: 0, end: 0 }
    }

    fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Reads more behind what there is; `false` at the end of the body or with a full window.
    fn fill(&mut self) -> io::Result<bool> {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let count = self.request.read(&mut self.bytes[self.end..])?;
        self.end += count;
        Ok(count > 0)
    }

    /// Takes a line off the front: where it is, without its end. Valid until the next call.
    fn line(&mut self) -> io::Result<(usize, usize)> {
        let mut seen = 0;
        loop {
            if let Some(length) = self.unread()[seen..].iter().position(|byte| *byte == b'\n') {
                let (start, newline) = (self.start, self.start + seen + length);
                self.start = newline + 1;
                let is_crlf = newline > start && self.bytes[newline - 1] == b'\r';
                return Ok((start, newline - usize::from(is_crlf)));
            }
            seen = self.unread().len();
            if self.fill()? {
                continue;
            }
            if seen == 0 || seen == WINDOW_BYTES {
                return Err(BodyError::Incomplete.into());
            }
            // The last boundary of a body need not have a line end.
            self.start = self.end;
            return Ok((0, self.end));
        }
    }

    /// Takes bytes off the front up to the next delimiter; 0 when it is right there.
    fn read_until_delimiter(&mut self, into: &mut [u8], is_fresh: bool) -> io::Result<usize> {
        let kept = self.delimiter.len() + 2; // see `is_delimiter`
        loop {
            let unread = &self.bytes[self.start..self.end];
            // An empty part has no line end in front of its boundary but that of its header.
            if is_fresh && is_delimiter(unread, &self.delimiter[2..]) {
                return Ok(0);
            }
            let stretch = &unread[..unread.len().min(into.len() + kept)];
            // What comes last in the stretch may be the start of a delimiter.
            let known =
                find(stretch, &self.delimiter).or(stretch.len().checked_sub(kept).filter(|count| *count > 0));
            if let Some(count) = known {
                let count = count.min(into.len());
                into[..count].copy_from_slice(&unread[..count]);
                self.start += count;
                return Ok(count);
            }
            if !self.fill()? {
                return Err(BodyError::Incomplete.into());
            }
        }
    }
}

/// Where the first delimiter is in `bytes`. It begins with `\r`.
fn find(bytes: &[u8], delimiter: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == b'\r') {
        if is_delimiter(&bytes[from + at..], delimiter) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// Whether `bytes` begin with the delimiter, and not with a longer word that begins like it. Two bytes behind it tell:
/// a line end or space, or the two dashes of the last one.
fn is_delimiter(bytes: &[u8], delimiter: &[u8]) -> bool {
    let next = bytes.strip_prefix(delimiter).and_then(|rest| rest.first_chunk::<2>());
    matches!(next, Some([b'-', b'-'] | [b' ' | b'\t' | b'\r' | b'\n', _]))
}
