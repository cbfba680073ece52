//! Makes a request of a head, by net/http's rules. Pure: bytes in, a request or a refusal out.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri, Version, request};
use httparse::{EMPTY_HEADER, Header, Status};
use memchr::memchr;
use wasmux_mux::Target;

use super::refusal::Refusal;
use crate::authority::is_host_byte;
use crate::guest::RawTarget;
pub(crate) use crate::limit::HEADERS_MAX;

/// What almost every request gets by with: room for all of them would take 16 KB for each.
const HEADERS_USUAL: usize = 32;

/// Targets above this are kept beside the URI: `http::Uri` ends at 64 KiB.
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
pub(super) struct Head {
    /// The request without its body. A target that a URI cannot hold is there as a `RawTarget` too.
    pub(super) parts: Box<request::Parts>,
    pub(super) framing: Framing,
    /// The client waits for `100 Continue` before it sends the body.
    pub(super) expects_continue: bool,
    /// The connection may outlive the response: HTTP/1.1 without `close`, or HTTP/1.0 with `keep-alive`; and the framing is
    /// beyond doubt (RFC 9112 section 6.1).
    pub(super) keep_alive: bool,
}

/// The first line, taken apart.
struct RequestLine<'h> {
    method: &'h [u8],
    target: &'h [u8],
    is_11: bool,
    /// Bytes up to and with the line's end.
    len: usize,
}

/// Judges a complete head, which ends with its empty line.
pub(super) fn parse(head: &Bytes) -> Result<Head, Refusal> {
    let line = request_line(head)?;
    let method = Method::from_bytes(line.method).map_err(|_| Refusal::Malformed)?;
    let (mut few, mut many) = ([EMPTY_HEADER; HEADERS_USUAL], Vec::new());
    let mut parsed = httparse::parse_headers(&head[line.len..], &mut few);
    if parsed == Err(httparse::Error::TooManyHeaders) {
        many.resize(HEADERS_MAX, EMPTY_HEADER);
        parsed = httparse::parse_headers(&head[line.len..], &mut many);
    }
    let lines = match parsed {
        Ok(Status::Complete((_, lines))) => lines,
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::HeadTooLarge),
        _ => return Err(Refusal::Malformed),
    };
    let (mut fields, seen) = fields(head, lines)?;
    let is_connect = method == Method::CONNECT;
    seen.check_host(line.is_11 && !is_connect)?;
    let framing = seen.framing(line.is_11)?;
    let expects_continue = seen.expects_continue()? && line.is_11 && framing != Framing::Length(0);
    // Somebody on the way may have taken the length for the end: nothing behind this request is trusted.
    let is_doubtful = framing == Framing::Chunked && fields.remove(header::CONTENT_LENGTH).is_some();
    let keep_alive = !is_doubtful && !seen.has_close && (line.is_11 || seen.has_keep_alive);
    if seen.is_uncached == Some(true) && !fields.contains_key(header::CACHE_CONTROL) {
        // HTTP/1.0 caches know no Cache-Control (Go: net/http.fixPragmaCacheControl).
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    let (parts, ()) = Request::new(()).into_parts();
    // In one place, it is a pointer for the many hands that it goes through.
    let mut parts = Box::new(parts);
    parts.version = if line.is_11 { Version::HTTP_11 } else { Version::HTTP_10 };
    parts.headers = fields;
    if is_plain(line.target) && !is_connect {
        parts.uri = Uri::from_maybe_shared(head.slice_ref(line.target)).map_err(|_| Refusal::Malformed)?;
    } else {
        parts.uri = restore(&method, line.target)?;
        parts.extensions.insert(RawTarget(head.slice_ref(line.target)));
    }
    parts.method = method;
    Ok(Head { parts, framing, expects_continue, keep_alive })
}

/// `METHOD SP TARGET SP HTTP/1.x` (RFC 9112 section 3), with a bare LF at the end allowed.
fn request_line(head: &[u8]) -> Result<RequestLine<'_>, Refusal> {
    let end = memchr(b'\n', head).ok_or(Refusal::Malformed)?;
    let line = head[..end].strip_suffix(b"\r").unwrap_or(&head[..end]);
    let mut words = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refusal::Malformed);
    };
    let is_11 = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Refusal::Version);
        }
        _ => return Err(Refusal::Malformed),
    };
    if target.is_empty() || target.iter().any(|&byte| byte <= b' ' || byte == 0x7f) {
        return Err(Refusal::Malformed);
    }
    Ok(RequestLine { method, target, is_11, len: end + 1 })
}

/// What the fields say of the message and its connection.
#[derive(Default)]
struct Seen<'h> {
    host: Option<&'h [u8]>,
    length: Option<Result<u64, Refusal>>,
    coding: Option<&'h [u8]>,
    has_two_hosts: bool,
    has_two_codings: bool,
    announces_framing: bool,
    has_expectation: bool,
    has_continue: bool,
    has_close: bool,
    has_keep_alive: bool,
    /// The first `Pragma` is `no-cache`.
    is_uncached: Option<bool>,
}

/// The lines as fields, whose values stay where they are.
fn fields<'h>(head: &Bytes, lines: &[Header<'h>]) -> Result<(HeaderMap, Seen<'h>), Refusal> {
    let (mut fields, mut seen) = (HeaderMap::with_capacity(lines.len()), Seen::default());
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| Refusal::Malformed)?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(line.value));
        seen.note(&name, line.value.trim_ascii());
        fields.append(name, value.map_err(|_| Refusal::Malformed)?);
    }
    Ok((fields, seen))
}

impl<'h> Seen<'h> {
    fn note(&mut self, name: &HeaderName, value: &'h [u8]) {
        if *name == header::HOST {
            self.has_two_hosts = self.host.replace(value).is_some();
        } else if *name == header::CONNECTION {
            self.has_close |= has_token(value, b"close");
            self.has_keep_alive |= has_token(value, b"keep-alive");
        } else if *name == header::CONTENT_LENGTH {
            let length = content_length(value);
            // Repeated equal ones are one (RFC 9110 section 8.6).
            let is_same = self.length.is_none_or(|other| other == length);
            self.length = Some(if is_same { length } else { Err(Refusal::Malformed) });
        } else if *name == header::TRANSFER_ENCODING {
            self.has_two_codings = self.coding.replace(value).is_some();
        } else if *name == header::TRAILER {
            self.announces_framing |= NEVER_TRAILERS.iter().any(|name| has_token(value, name));
        } else if *name == header::EXPECT {
            self.has_expectation |= !value.is_empty();
            self.has_continue |= has_token(value, b"100-continue");
        } else if *name == header::PRAGMA {
            self.is_uncached.get_or_insert(value == b"no-cache");
        }
    }

    /// At most one Host in any version, one in HTTP/1.1, and no byte that no host has (RFC 9112 section 3.2).
    fn check_host(&self, is_required: bool) -> Result<(), Refusal> {
        match self.host {
            None if is_required => Err(Refusal::HostMissing),
            Some(_) if self.has_two_hosts => Err(Refusal::Malformed),
            Some(host) if !host.iter().copied().all(is_host_byte) => Err(Refusal::HostMalformed),
            _ => Ok(()),
        }
    }

    fn framing(&self, is_11: bool) -> Result<Framing, Refusal> {
        let length = self.length.unwrap_or(Ok(0))?;
        match self.coding {
            None => return Ok(Framing::Length(length)),
            // A chunked body that an HTTP/1.0 intermediary took for something else is how requests are smuggled.
            Some(_) if !is_11 => return Err(Refusal::Malformed),
            Some(coding) if self.has_two_codings || !coding.eq_ignore_ascii_case(b"chunked") => {
                return Err(Refusal::Coding);
            }
            Some(_) => {}
        }
        if self.announces_framing { Err(Refusal::Malformed) } else { Ok(Framing::Chunked) }
    }

    /// Whether `100-continue` is expected; anything else that is expected is refused (RFC 9110 section 10.1.1).
    fn expects_continue(&self) -> Result<bool, Refusal> {
        match self.has_expectation && !self.has_continue {
            true => Err(Refusal::Expectation),
            false => Ok(self.has_continue),
        }
    }
}

/// At most 2^63 - 1, as in Go.
fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    let length = digits.and_then(|text| text.parse::<i64>().ok()).ok_or(Refusal::Malformed)?;
    Ok(length.unsigned_abs())
}

/// Whether a target can be a URI as it is.
fn is_plain(target: &[u8]) -> bool {
    target.len() <= TARGET_BYTES_PLAIN
        && target.starts_with(b"/")
        && target.iter().all(|&byte| is_plain_target_byte(byte))
}

/// Bytes that are the same to us and to `http::Uri`.
fn is_plain_target_byte(byte: u8) -> bool {
    // `matches!` and not a search: this looks at every byte of every request's target.
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\''
        | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@' | b'/' | b'?' | b'%')
}

/// The URI of any other target, escaped where a URI must be.
fn restore(method: &Method, target: &[u8]) -> Result<Uri, Refusal> {
    // `http::Uri` is UTF-8, and so is what guests are promised.
    let text = std::str::from_utf8(target).map_err(|_| Refusal::Malformed)?;
    let target = Target::parse(method.as_str(), text).map_err(|_| Refusal::Malformed)?;
    uri(&target, method == Method::CONNECT).ok_or(Refusal::Malformed)
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

/// The fields of a trailer section that was found to be well-formed.
pub(super) fn trailers(section: &Bytes) -> HeaderMap {
    let mut lines = vec![EMPTY_HEADER; HEADERS_MAX];
    match httparse::parse_headers(section, &mut lines) {
        Ok(Status::Complete((_, lines))) => {
            fields(section, lines).map_or_else(|_| HeaderMap::new(), |(fields, _)| fields)
        }
        _ => HeaderMap::new(),
    }
}

fn has_token(value: &[u8], token: &[u8]) -> bool {
    value.split(|&byte| byte == b',').any(|other| other.trim_ascii().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests;
