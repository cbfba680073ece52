//! The bytes of a response around its content: head, chunk sizes, trailers. Pure, but for the clock in `Date`.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use coarsetime::{Duration, Instant};
use http::header::{self, HeaderName};
use http::{HeaderMap, StatusCode, Version};

use crate::hop_by_hop::may_trail;

/// What asks a client for the body of its request (RFC 9110 section 15.2.1).
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// How the content is delimited for the client (RFC 9112 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none, whatever the fields say: the answer to HEAD, 204, 304.
    Bodiless,
    /// By a Content-Length.
    Length(u64),
    Chunked,
    /// By the end of the connection.
    Close,
}

/// What becomes of the connection, as far as it has to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    /// What the version has by default.
    Default,
    KeepAlive,
    Close,
    /// It becomes another protocol's.
    Upgrade,
}

/// Appends a head with its empty line. Of the fields, those that the connection is responsible for are left out.
pub(super) fn push_head(
    out: &mut Vec<u8>,
    (version, status): (Version, StatusCode),
    fields: &HeaderMap,
    framing: Framing,
    persistence: Persistence,
) {
    out.reserve(256);
    out.extend_from_slice(if version == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(status.as_str().as_bytes());
    match status.canonical_reason() {
        Some(reason) => {
            out.push(b' ');
            out.extend_from_slice(reason.as_bytes());
        }
        // net/http's words for a status without any.
        None => {
            out.extend_from_slice(b" status code ");
            out.extend_from_slice(status.as_str().as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
    let may_have_length = framing == Framing::Bodiless && status != StatusCode::NO_CONTENT;
    let mut has_date = false;
    for (name, value) in fields {
        let is_ours = *name == header::CONNECTION
            || *name == header::TRANSFER_ENCODING
            || (*name == header::CONTENT_LENGTH && !may_have_length);
        if is_ours {
            continue;
        }
        has_date |= *name == header::DATE;
        push_name(out, name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    match framing {
        Framing::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            push_decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Framing::Bodiless | Framing::Close => {}
    }
    match persistence {
        Persistence::Default => {}
        Persistence::KeepAlive => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        Persistence::Close => out.extend_from_slice(b"Connection: close\r\n"),
        Persistence::Upgrade => out.extend_from_slice(b"Connection: Upgrade\r\n"),
    }
    if !has_date {
        push_date(out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends what goes before a chunk of this size, which is not zero.
pub(super) fn push_chunk_size(out: &mut Vec<u8>, size: usize) {
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        out.push(b"0123456789abcdef"[size >> (4 * digit) & 15]);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the last chunk, with the trailer section. Left out is what a client that merges it into the header would believe.
pub(super) fn push_last_chunk(out: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten().filter(|(name, _)| may_trail(name)) {
        push_name(out, name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// As net/http writes them: each word with a capital letter (Go: net/textproto.CanonicalMIMEHeaderKey).
fn push_name(out: &mut Vec<u8>, name: &HeaderName) {
    let start = out.len();
    out.extend_from_slice(name.as_str().as_bytes());
    let mut is_first = true;
    for byte in &mut out[start..] {
        if is_first {
            byte.make_ascii_uppercase();
        }
        is_first = *byte == b'-';
    }
}

fn push_decimal(out: &mut Vec<u8>, mut number: u64) {
    let (mut digits, mut at) = ([0; 20], 20);
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends the Date field, which is written out once a second in each thread. By the coarse clock, which costs a tenth of
/// the other one, it may be wrong for the first 10 ms of a second.
fn push_date(out: &mut Vec<u8>) {
    thread_local! {
        static LINE: RefCell<(Option<Instant>, String)> = const { RefCell::new((None, String::new())) };
    }
    let now = Instant::now();
    LINE.with_borrow_mut(|(until, line)| {
        if until.is_none_or(|until| until <= now) {
            let time = SystemTime::now();
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            *until = Some(now + Duration::from_millis(u64::from(1000 - since.subsec_millis())));
            *line = format!("Date: {}\r\n", httpdate::fmt_http_date(time));
        }
        out.extend_from_slice(line.as_bytes());
    });
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn head(status: StatusCode, fields: &[(HeaderName, &'static str)], framing: Framing) -> String {
        let fields = fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        let date = (header::DATE, HeaderValue::from_static("now"));
        let mut out = Vec::new();
        let fields: HeaderMap = fields.chain([date]).collect();
        push_head(&mut out, (Version::HTTP_11, status), &fields, framing, Persistence::Default);
        String::from_utf8(out).unwrap().replace("Date: now\r\n", "")
    }

    #[test]
    fn names_are_written_as_net_http_does() {
        let fields = [(HeaderName::from_static("x-a1-bc"), "v"), (header::ETAG, "\"e\"")];
        assert_eq!(
            head(StatusCode::OK, &fields, Framing::Length(0)),
            "HTTP/1.1 200 OK\r\nX-A1-Bc: v\r\nEtag: \"e\"\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn the_framing_is_ours() {
        let lies = [
            (header::CONTENT_LENGTH, "7"),
            (header::TRANSFER_ENCODING, "gzip"),
            (header::CONNECTION, "upgrade"),
        ];
        let of = |status, framing| head(status, &lies, framing);
        let ok = StatusCode::OK;
        assert_eq!(of(ok, Framing::Length(12)), "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n");
        assert_eq!(of(ok, Framing::Chunked), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(of(ok, Framing::Close), "HTTP/1.1 200 OK\r\n\r\n");
        assert_eq!(of(ok, Framing::Bodiless), "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", "as for GET");
        assert_eq!(of(StatusCode::NO_CONTENT, Framing::Bodiless), "HTTP/1.1 204 No Content\r\n\r\n");
    }

    #[test]
    fn every_status_has_words() {
        let unknown = StatusCode::from_u16(799).unwrap();
        assert_eq!(head(unknown, &[], Framing::Close), "HTTP/1.1 799 status code 799\r\n\r\n");
    }

    #[test]
    fn chunk_sizes_are_hexadecimal() {
        for size in [1, 9, 15, 16, 255, 256, 65_536, usize::MAX] {
            let mut out = Vec::new();
            push_chunk_size(&mut out, size);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{size:x}\r\n"));
        }
        let mut out = Vec::new();
        push_decimal(&mut out, u64::MAX);
        push_decimal(&mut out, 0);
        assert_eq!(String::from_utf8(out).unwrap(), format!("{}0", u64::MAX));
    }

    #[test]
    fn trailers_are_no_header() {
        let fields = [("x-sum", "7"), ("content-length", "9"), ("set-cookie", "a=b"), ("proxy-status", "x")];
        let fields =
            fields.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut out = Vec::new();
        push_last_chunk(&mut out, Some(&fields.into_iter().collect()));
        assert_eq!(String::from_utf8(out).unwrap(), "0\r\nX-Sum: 7\r\n\r\n");
    }

    #[test]
    fn the_date_is_there_unless_the_handler_has_one() {
        let mut out = Vec::new();
        let version = (Version::HTTP_10, StatusCode::OK);
        push_head(&mut out, version, &HeaderMap::new(), Framing::Close, Persistence::Close);
        let head = String::from_utf8(out).unwrap();
        let date = head.strip_prefix("HTTP/1.0 200 OK\r\nConnection: close\r\nDate: ").unwrap();
        assert!(httpdate::parse_http_date(date.trim_end()).is_ok(), "{date}");
    }
}
