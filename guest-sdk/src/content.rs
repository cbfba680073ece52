//! [`serve_content`]: content with a known size, in whole or in part, and only when the client needs it.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
    io::{self, Read, Seek, SeekFrom, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use http::{HeaderValue, Method, StatusCode, header};

use crate::{
    Request, ResponseWriter, Result, dates::http_date, detect_content_type, error, media_type::by_extension,
};

mod conditions;
mod ranges;

use conditions::Verdict;
use ranges::{ByteRange, RangeError};

/// Answers with `content`, or with the parts of it that a `Range` field asks for; net/http's `ServeContent`.
///
/// - Conditions: with `modified` (sent as `Last-Modified`) and an `ETag` header that the handler has set before,
///   `If-Match`, `If-Unmodified-Since`, `If-None-Match`, `If-Modified-Since` and `If-Range` are honoured: `304` or
///   `412`, without a body. A `modified` of 1970 or before counts as unknown.
/// - Type: the handler's `Content-Type`, else by the extension of `name`, else guessed from the first 512 bytes.
/// - Ranges: one is `206` with `Content-Range`, several are `206` with `multipart/byteranges`; more than the
///   content is long altogether are ignored. Ranges behind the end, or not to be understood, are `416`.
/// - The size is where `content` ends; `Content-Length` is set, unless the handler has set a `Content-Encoding` and
///   sends the whole.
///
/// The content is read as it is sent, in pieces of 8 KiB. `&mut` of a reader is a reader, too.
///
/// ```
/// use std::io::Cursor;
/// use wasmux_sdk::{Recorder, Request, ResponseWriter, Result, serve_content};
///
/// fn report(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
///     w.set_header("ETag", "\"v1\"");
///     serve_content(w, r, "report.csv", None, Cursor::new("a,b\n1,2\n"))
/// }
///
/// let response = Recorder::serve(report, Request::get("/").header("range", "bytes=4-6"));
/// assert_eq!((response.status().as_u16(), response.text()), (206, "1,2"));
/// assert_eq!(response.header("content-range"), "bytes 4-6/8");
/// assert_eq!(response.header("content-type"), "text/csv; charset=utf-8");
/// let response = Recorder::serve(report, Request::get("/").header("if-none-match", "\"v1\""));
/// assert_eq!(response.status(), 304);
/// ```
///
/// # Errors
/// What reading the content or writing the body fails with. A seek that fails is answered with `500`.
pub fn serve_content(
    w: &mut ResponseWriter,
    r: &Request,
    name: &str,
    modified: Option<SystemTime>,
    mut content: impl Read + Seek,
) -> Result<()> {
    let modified = modified.filter(|time| *time > UNIX_EPOCH);
    if let Some(date) = modified.and_then(http_date) {
        w.headers_mut().insert(header::LAST_MODIFIED, HeaderValue::try_from(date)?);
    }
    let use_range = match conditions::evaluate(w, r, modified) {
        Verdict::Send { use_range } => use_range,
        Verdict::NotModified => return not_modified(w),
        Verdict::Failed => {
            w.write_header(StatusCode::PRECONDITION_FAILED);
            return Ok(());
        }
    };
    let Some((size, content_type)) = measure(w, name, &mut content)? else {
        return fail(w, "seeker can't seek", StatusCode::INTERNAL_SERVER_ERROR);
    };
    let field = if use_range { r.header("range") } else { "" };
    let ranges = match ranges::parse(field, size) {
        Ok(ranges) => ranges,
        Err(RangeError::NoOverlap) if size == 0 => Vec::new(),
        Err(range_error) => {
            if range_error == RangeError::NoOverlap {
                w.headers_mut()
                    .insert(header::CONTENT_RANGE, HeaderValue::try_from(format!("bytes */{size}"))?);
            }
            return fail(w, range_error.text(), StatusCode::RANGE_NOT_SATISFIABLE);
        }
    };
    let total = ranges.iter().fold(0_u64, |total, range| total.saturating_add(range.length));
    let with_body = *r.method() != Method::HEAD;
    w.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    match ranges.as_slice() {
        // Overlapping ranges may be more than the whole: a mistake, or an attack.
        ranges if ranges.is_empty() || total > size => send_whole(w, &mut content, size, with_body),
        [range] => send_part(w, &mut content, *range, size, with_body),
        ranges => send_parts(w, &mut content, ranges, (size, &content_type), with_body),
    }
}

/// Size and media type of the content, which stands at its start afterwards; `None` when it cannot be moved.
fn measure(
    w: &mut ResponseWriter,
    name: &str,
    content: &mut (impl Read + Seek),
) -> Result<Option<(u64, HeaderValue)>> {
    let content_type = match w.headers().get(header::CONTENT_TYPE) {
        Some(given) => given.clone(),
        None => {
            let found = match by_extension(name) {
                Some(known) => known,
                None => {
                    let mut first = Vec::new();
                    content.by_ref().take(512).read_to_end(&mut first)?;
                    detect_content_type(&first)
                }
            };
            HeaderValue::from_static(found)
        }
    };
    w.headers_mut().insert(header::CONTENT_TYPE, content_type.clone());
    let size = content.seek(SeekFrom::End(0)).and_then(|size| content.rewind().map(|()| size));
    Ok(size.ok().map(|size| (size, content_type)))
}

fn not_modified(w: &mut ResponseWriter) -> Result<()> {
    let headers = w.headers_mut();
    for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::CONTENT_ENCODING] {
        headers.remove(name);
    }
    if headers.get(header::ETAG).is_some_and(|tag| !tag.is_empty()) {
        headers.remove(header::LAST_MODIFIED); // RFC 9110 section 15.4.5: the tag is enough
    }
    w.write_header(StatusCode::NOT_MODIFIED);
    Ok(())
}

/// As [`error()`], without what was said about the content.
fn fail(w: &mut ResponseWriter, text: &str, status: StatusCode) -> Result<()> {
    let headers = w.headers_mut();
    for name in [header::CACHE_CONTROL, header::CONTENT_ENCODING, header::ETAG, header::LAST_MODIFIED] {
        headers.remove(name);
    }
    error(w, text, status)
}

fn send_whole(w: &mut ResponseWriter, content: &mut impl Read, size: u64, with_body: bool) -> Result<()> {
    // An encoding by somebody further out would make this length wrong.
    if w.headers().get(header::CONTENT_ENCODING).is_none_or(HeaderValue::is_empty) {
        w.headers_mut().insert(header::CONTENT_LENGTH, size.into());
    }
    w.write_header(StatusCode::OK);
    if with_body { copy(content, size, w) } else { Ok(()) }
}

fn send_part(
    w: &mut ResponseWriter,
    content: &mut (impl Read + Seek),
    range: ByteRange,
    size: u64,
    with_body: bool,
) -> Result<()> {
    if content.seek(SeekFrom::Start(range.start)).is_err() {
        return fail(w, "seeker can't seek", StatusCode::RANGE_NOT_SATISFIABLE);
    }
    let headers = w.headers_mut();
    headers.insert(header::CONTENT_RANGE, HeaderValue::try_from(range.content_range(size))?);
    headers.insert(header::CONTENT_LENGTH, range.length.into());
    w.write_header(StatusCode::PARTIAL_CONTENT);
    if with_body { copy(content, range.length, w) } else { Ok(()) }
}

fn send_parts(
    w: &mut ResponseWriter,
    content: &mut (impl Read + Seek),
    ranges: &[ByteRange],
    (size, content_type): (u64, &HeaderValue),
    with_body: bool,
) -> Result<()> {
    let boundary = boundary();
    let content_type = String::from_utf8_lossy(content_type.as_bytes());
    let head = |index: usize, range: &ByteRange| {
        let line_end = if index == 0 { "" } else { "\r\n" };
        let content_range = range.content_range(size);
        format!(
            "{line_end}--{boundary}\r\nContent-Range: {content_range}\r\nContent-Type: {content_type}\r\n\r\n"
        )
    };
    let tail = format!("\r\n--{boundary}--\r\n");
    let parts = || ranges.iter().enumerate();
    let length = parts().map(|(index, range)| head(index, range).len() as u64 + range.length).sum::<u64>();
    let multipart = format!("multipart/byteranges; boundary={boundary}");
    let headers = w.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::try_from(multipart)?);
    headers.insert(header::CONTENT_LENGTH, (length + tail.len() as u64).into());
    w.write_header(StatusCode::PARTIAL_CONTENT);
    if !with_body {
        return Ok(());
    }
    for (index, range) in parts() {
        w.write_all(head(index, range).as_bytes())?;
        content.seek(SeekFrom::Start(range.start))?;
        copy(content, range.length, w)?;
    }
    w.write_all(tail.as_bytes())?;
    Ok(())
}

/// Copies exactly `count` bytes.
fn copy(content: &mut impl Read, count: u64, w: &mut ResponseWriter) -> Result<()> {
    let copied = io::copy(&mut content.take(count), w)?;
    if copied < count {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(())
}

/// 32 characters that nobody can foresee, so that no content holds them.
fn boundary() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}
