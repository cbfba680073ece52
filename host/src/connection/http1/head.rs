//! What a request head must be before hyper gets to see it, by net/http's rules where they differ from hyper's.
//!
//! Pure: bytes in, a verdict out. What passes is handed on as it came, save for targets that hyper's URI type cannot
//! hold and for CONNECT, whose successful answers hyper would take for tunnels: these travel under a placeholder, and
//! `Restored` puts them back before anybody else looks.

use bytes::{Bytes, BytesMut};
use http::{Method, Uri};
use httparse::{EMPTY_HEADER, Header, Status};
use wasmux_mux::Target;

use super::refusal::Refusal;
use crate::authority::is_host_byte;
pub(crate) use crate::limit::HEADERS_MAX;

/// What almost every request gets by with: room for all of them would take 16 KB for each.
const HEADERS_USUAL: usize = 32;

/// What hyper is told instead of CONNECT.
const CONNECT_PLACEHOLDER: &[u8] = b"X-CONNECT";

/// What hyper is told instead of a target that it cannot hold.
const TARGET_PLACEHOLDER: &[u8] = b"/";

/// Targets above this go under a placeholder too: `http::Uri` ends at 64 KiB.
const TARGET_BYTES_PLAIN: usize = 32 * 1024;

/// Names that no trailer may have (Go: net/http.fixTrailer).
const NEVER_TRAILERS: [&[u8]; 3] = [b"transfer-encoding", b"trailer", b"content-length"];

/// How the body of a request is delimited (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// This many bytes; zero when there is no body.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// A head that may pass.
#[derive(Debug)]
pub(super) struct Accepted {
    /// For hyper.
    pub(super) bytes: Bytes,
    pub(super) framing: Framing,
    /// The client waits for `100 Continue` before it sends the body.
    pub(super) expects_continue: bool,
    /// The connection may outlive the response: HTTP/1.1 without `close`, or HTTP/1.0 with `keep-alive`.
    pub(super) keep_alive: bool,
    pub(super) is_post: bool,
    /// What hyper was not told.
    pub(super) restored: Option<Restored>,
}

/// Method and target in place of the placeholders.
#[derive(Debug)]
pub(super) struct Restored {
    pub(super) method: Method,
    /// The target, escaped where a URI must be.
    pub(super) uri: Uri,
    /// The target as it came.
    pub(super) raw: Bytes,
}

/// The first line, taken apart.
struct RequestLine<'h> {
    method: &'h [u8],
    target: &'h [u8],
    minor: u8,
    /// Bytes up to and with the line's end.
    len: usize,
}

/// Judges a complete head, which ends with its empty line.
pub(super) fn check(head: BytesMut) -> Result<Accepted, Refusal> {
    let line = request_line(&head)?;
    let (mut few, mut many) = ([EMPTY_HEADER; HEADERS_USUAL], Vec::new());
    let mut parsed = httparse::parse_headers(&head[line.len..], &mut few);
    if parsed == Err(httparse::Error::TooManyHeaders) {
        many.resize(HEADERS_MAX, EMPTY_HEADER);
        parsed = httparse::parse_headers(&head[line.len..], &mut many);
    }
    let fields = match parsed {
        Ok(Status::Complete((_, fields))) => fields,
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::HeadTooLarge),
        _ => return Err(Refusal::Malformed),
    };
    let is_11 = line.minor == 1;
    let is_connect = line.method == b"CONNECT";
    check_host(fields, is_11 && !is_connect)?;
    let framing = framing(fields, is_11)?;
    let expects_continue = expects_continue(fields)? && is_11 && framing != Framing::Length(0);
    let keep_alive = if is_11 {
        !has_token(fields, "connection", b"close")
    } else {
        has_token(fields, "connection", b"keep-alive") && !has_token(fields, "connection", b"close")
    };
    let is_post = line.method == b"POST";
    let restored = restore(&line)?;
    let is_understood = !expects_continue || hyper_expects_continue(fields);
    let bytes = if restored.is_none() && is_understood {
        head.freeze()
    } else {
        let method = if is_connect { CONNECT_PLACEHOLDER } else { line.method };
        let target = if restored.is_some() { TARGET_PLACEHOLDER } else { line.target };
        let version: &[u8] = if is_11 { b" HTTP/1.1\r\n" } else { b" HTTP/1.0\r\n" };
        // Of several lines, hyper heeds the last.
        let expect: &[u8] = if is_understood { b"" } else { b"Expect: 100-continue\r\n" };
        let blank = if head.ends_with(b"\r\n") { 2 } else { 1 };
        let fields = &head[line.len..head.len() - blank];
        [method, b" ", target, version, fields, expect, b"\r\n"].concat().into()
    };
    Ok(Accepted { bytes, framing, expects_continue, keep_alive, is_post, restored })
}

/// `METHOD SP TARGET SP HTTP/1.x` (RFC 9112 section 3), with a bare LF at the end allowed.
fn request_line(head: &[u8]) -> Result<RequestLine<'_>, Refusal> {
    let end = head.iter().position(|&byte| byte == b'\n').ok_or(Refusal::Malformed)?;
    let line = head[..end].strip_suffix(b"\r").unwrap_or(&head[..end]);
    let mut words = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refusal::Malformed);
    };
    let minor = match version {
        b"HTTP/1.1" => 1,
        b"HTTP/1.0" => 0,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Refusal::Version);
        }
        _ => return Err(Refusal::Malformed),
    };
    let is_target_byte = |&byte: &u8| byte > b' ' && byte != 0x7f;
    if method.is_empty() || !method.iter().all(|&byte| is_token_byte(byte)) {
        return Err(Refusal::Malformed);
    }
    if target.is_empty() || !target.iter().all(is_target_byte) {
        return Err(Refusal::Malformed);
    }
    Ok(RequestLine { method, target, minor, len: end + 1 })
}

/// RFC 9110 section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// At most one Host in any version, one in HTTP/1.1, and no byte that no host has (RFC 9112 section 3.2).
fn check_host(fields: &[Header<'_>], is_required: bool) -> Result<(), Refusal> {
    let mut hosts = values(fields, "host");
    match (hosts.next(), hosts.next()) {
        (None, _) if is_required => Err(Refusal::HostMissing),
        (Some(_), Some(_)) => Err(Refusal::Malformed),
        (Some(host), None) if !host.iter().copied().all(is_host_byte) => Err(Refusal::HostMalformed),
        _ => Ok(()),
    }
}

fn framing(fields: &[Header<'_>], is_11: bool) -> Result<Framing, Refusal> {
    let length = content_length(fields)?;
    let mut codings = values(fields, "transfer-encoding");
    let framing = match (codings.next(), codings.next()) {
        (None, _) => return Ok(Framing::Length(length)),
        // A chunked body that an HTTP/1.0 intermediary took for something else is how requests are smuggled.
        (Some(_), _) if !is_11 => return Err(Refusal::Malformed),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Framing::Chunked,
        _ => return Err(Refusal::Coding),
    };
    let announces = |name: &[u8]| {
        values(fields, "trailer").any(|value| tokens(value).any(|token| token.eq_ignore_ascii_case(name)))
    };
    if NEVER_TRAILERS.iter().any(|name| announces(name)) {
        return Err(Refusal::Malformed);
    }
    Ok(framing)
}

/// Zero when there is none; repeated equal ones are one. At most 2^63 - 1, as in Go.
fn content_length(fields: &[Header<'_>]) -> Result<u64, Refusal> {
    let mut length = None;
    for value in values(fields, "content-length") {
        let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        let parsed = digits.and_then(|text| text.parse::<i64>().ok()).ok_or(Refusal::Malformed)?;
        if length.is_some_and(|other| other != parsed) {
            return Err(Refusal::Malformed);
        }
        length = Some(parsed);
    }
    Ok(length.unwrap_or(0).unsigned_abs())
}

/// Whether `100-continue` is expected; anything else that is expected is refused (RFC 9110 section 10.1.1).
fn expects_continue(fields: &[Header<'_>]) -> Result<bool, Refusal> {
    if has_token(fields, "expect", b"100-continue") {
        return Ok(true);
    }
    match values(fields, "expect").any(|value| !value.is_empty()) {
        true => Err(Refusal::Expectation),
        false => Ok(false),
    }
}

/// Whether hyper reads the expectation as we do.
fn hyper_expects_continue(fields: &[Header<'_>]) -> bool {
    values(fields, "expect").last().is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"))
}

/// What has to be put back behind hyper, if anything.
fn restore(line: &RequestLine<'_>) -> Result<Option<Restored>, Refusal> {
    let is_connect = line.method == b"CONNECT";
    let is_plain = line.target.len() <= TARGET_BYTES_PLAIN
        && line.target.starts_with(b"/")
        && line.target.iter().all(|&byte| is_plain_target_byte(byte));
    if is_plain && !is_connect {
        return Ok(None);
    }
    let method = Method::from_bytes(line.method).map_err(|_| Refusal::Malformed)?;
    // `http::Uri` is UTF-8, and so is what guests are promised.
    let text = std::str::from_utf8(line.target).map_err(|_| Refusal::Malformed)?;
    let target = Target::parse(method.as_str(), text).map_err(|_| Refusal::Malformed)?;
    let uri = uri(&target, is_connect).ok_or(Refusal::Malformed)?;
    Ok(Some(Restored { method, uri, raw: Bytes::copy_from_slice(line.target) }))
}

/// The target as a URI. An over-long one is cut at the query, which the raw form has.
fn uri(target: &Target<'_>, is_connect: bool) -> Option<Uri> {
    let mut text = String::new();
    if let Some(authority) = target.authority {
        // CONNECT has an authority alone (RFC 9112 section 3.2.3).
        let is_alone = is_connect && target.path.is_empty() && target.query.is_none();
        text.push_str(if is_alone { "" } else { "http://" });
        text.push_str(authority);
    }
    text.push_str(&target.path);
    if let Some(query) = target.query.filter(|query| query.len() <= TARGET_BYTES_PLAIN) {
        text.push('?');
        for byte in query.bytes() {
            match is_plain_target_byte(byte) {
                true => text.push(char::from(byte)),
                false => text.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    text.parse().ok()
}

/// Bytes that are the same to us and to `http::Uri`.
fn is_plain_target_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte)
}

fn values<'f>(fields: &'f [Header<'f>], name: &'static str) -> impl Iterator<Item = &'f [u8]> {
    let named = fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
    named.map(|field| field.value.trim_ascii())
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

fn has_token(fields: &[Header<'_>], name: &'static str, token: &[u8]) -> bool {
    values(fields, name).any(|value| tokens(value).any(|other| other.eq_ignore_ascii_case(token)))
}

#[cfg(test)]
mod tests;
