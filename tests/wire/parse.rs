//! A strict parser of HTTP/1 responses. A lenient client would hide what the next one trips over.

use sha2::{Digest as _, Sha256};

use super::case::{Body, Field, Framing, Interim, Response, values};

/// A body that is longer than this many bytes, or not plain text, is kept as its hash.
const TEXT_BYTES_MAX: usize = 1500;

/// Why there is no response.
#[derive(Debug)]
pub(super) enum Stop {
    /// The bytes are no well-formed response.
    Bad(String),
    /// It is not finished; these are the interim responses in front of it.
    More(Vec<Interim>),
}

enum Fault {
    Bad(String),
    More,
}

fn bad<T>(what: &str, bytes: &[u8]) -> Result<T, Fault> {
    Err(Fault::Bad(format!("{what}: \"{}\"", bytes[..bytes.len().min(60)].escape_ascii())))
}

/// Parses the interim responses and the final one at `at`; returns it and where it ends. With `eof`, a response
/// that the end of the connection cut off is returned with `complete` false.
pub(super) fn response(data: &[u8], at: usize, method: &str, eof: bool) -> Result<(Response, usize), Stop> {
    let mut reader = Reader { data, at, eof };
    let mut interim = Vec::new();
    match reader.response(method, &mut interim) {
        Ok(response) => Ok((Response { interim, ..response }, reader.at)),
        Err(Fault::More) => Err(Stop::More(interim)),
        Err(Fault::Bad(why)) => Err(Stop::Bad(why)),
    }
}

struct Reader<'d> {
    data: &'d [u8],
    at: usize,
    eof: bool,
}

impl<'d> Reader<'d> {
    fn response(&mut self, method: &str, interim: &mut Vec<Interim>) -> Result<Response, Fault> {
        let (version, status, headers) = loop {
            let (version, status) = status_line(self.line()?)?;
            let headers = self.fields()?;
            if status >= 200 || status == 101 {
                break (version, status, headers);
            }
            interim.push(Interim { status, headers: normal(headers) });
        };
        let framing = framing(method, version, status, &headers)?;
        let (mut body, mut trailers, mut complete) = (Vec::new(), Vec::new(), true);
        match framing {
            Framed::None => {}
            Framed::Chunked => match self.chunks(&mut body) {
                Ok(fields) => trailers = fields,
                Err(Fault::More) if self.eof => {
                    complete = false;
                    self.at = self.data.len();
                }
                Err(fault) => return Err(fault),
            },
            Framed::Length(length) => {
                let there = self.data.len() - self.at;
                complete = there as u64 >= length;
                if !complete && !self.eof {
                    return Err(Fault::More);
                }
                body = self.take(length).to_vec();
            }
            Framed::Close if self.eof => body = self.take(u64::MAX).to_vec(),
            Framed::Close => return Err(Fault::More),
        }
        Ok(Response {
            status,
            version: version.to_owned(),
            headers: normal(headers),
            framing: framing.name(),
            body: record(&body),
            complete,
            trailers: normal(trailers),
            interim: Vec::new(),
        })
    }

    /// One line, without its CRLF.
    fn line(&mut self) -> Result<&'d [u8], Fault> {
        let rest = &self.data[self.at..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return Err(Fault::More) };
        match rest[..end].split_last() {
            Some((b'\r', line)) if !line.contains(&b'\r') => {
                self.at += end + 1;
                Ok(line)
            }
            _ => bad("a line that one CRLF does not end", &rest[..end]),
        }
    }

    /// Field lines up to and with the empty line.
    fn fields(&mut self) -> Result<Vec<Field>, Fault> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let Some(colon) = line.iter().position(|byte| *byte == b':') else {
                return bad("a header line without a colon", line);
            };
            let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
            if name.is_empty() || !name.iter().copied().all(is_token) {
                return bad("a bad header name", line);
            }
            if value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
                return bad("a control byte in a header", line);
            }
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            fields.push((name, value.iter().map(|byte| char::from(*byte)).collect()));
        }
    }

    /// Collects a chunked body, also when it is not finished; returns its trailers.
    fn chunks(&mut self, body: &mut Vec<u8>) -> Result<Vec<Field>, Fault> {
        loop {
            let line = self.line()?;
            let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
            let hex = !size.is_empty() && size.len() <= 16 && size.iter().all(u8::is_ascii_hexdigit);
            let size = std::str::from_utf8(size).ok().and_then(|size| u64::from_str_radix(size, 16).ok());
            let Some(size) = size.filter(|_| hex) else { return bad("a bad chunk size", line) };
            if size == 0 {
                return self.fields();
            }
            let finished = (self.data.len() - self.at) as u64 >= size.saturating_add(2);
            body.extend_from_slice(self.take(size));
            if !finished {
                return Err(Fault::More);
            }
            if self.take(2) != b"\r\n" {
                return bad("a chunk that no CRLF ends", line);
            }
        }
    }

    /// The next bytes: this many, or all there are.
    fn take(&mut self, count: u64) -> &'d [u8] {
        let rest = &self.data[self.at..];
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(rest.len());
        self.at += count;
        &rest[..count]
    }
}

/// `HTTP/1.x NNN`, and a space and a reason, which may be left out.
fn status_line(line: &[u8]) -> Result<(&'static str, u16), Fault> {
    let (version, rest) = match line.split_at_checked(9) {
        Some((b"HTTP/1.0 ", rest)) => ("1.0", rest),
        Some((b"HTTP/1.1 ", rest)) => ("1.1", rest),
        _ => return bad("a bad status line", line),
    };
    match rest {
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9']
        | [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b' ', ..] => {
            let digits = [a, b, c].into_iter().map(|digit| u16::from(digit - b'0'));
            Ok((version, digits.fold(0, |sum, digit| sum * 10 + digit)))
        }
        _ => bad("a bad status line", line),
    }
}

#[derive(Clone, Copy)]
enum Framed {
    None,
    Chunked,
    /// In bytes.
    Length(u64),
    Close,
}

impl Framed {
    fn name(self) -> Framing {
        match self {
            Self::None => Framing::None,
            Self::Chunked => Framing::Chunked,
            Self::Length(_) => Framing::Cl,
            Self::Close => Framing::Close,
        }
    }
}

/// RFC 9112 section 6.3, without what it forgives.
fn framing(method: &str, version: &str, status: u16, headers: &[Field]) -> Result<Framed, Fault> {
    let lengths: Vec<_> = values(headers, "content-length").collect();
    let codings: Vec<_> = values(headers, "transfer-encoding").collect();
    let length = match lengths[..] {
        [] => None,
        [length] if length.bytes().all(|byte| byte.is_ascii_digit()) => match length.parse() {
            Ok(length) => Some(length),
            Err(_) => return bad("a bad Content-Length", length.as_bytes()),
        },
        _ => return bad("a bad Content-Length", lengths.join(", ").as_bytes()),
    };
    if length.is_some() && !codings.is_empty() {
        return bad("both Content-Length and Transfer-Encoding", codings.join(", ").as_bytes());
    }
    if !codings.is_empty() && (codings != ["chunked"] || version == "1.0") {
        return bad("a bad Transfer-Encoding", codings.join(", ").as_bytes());
    }
    Ok(match length {
        _ if method == "HEAD" || matches!(status, 101 | 204 | 304) => Framed::None,
        _ if !codings.is_empty() => Framed::Chunked,
        Some(length) => Framed::Length(length),
        None => Framed::Close,
    })
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+.^_`|~-".contains(&byte)
}

fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Sorted by name, repeated ones in their order, the value of Date masked.
fn normal(mut fields: Vec<Field>) -> Vec<Field> {
    for (_, value) in fields.iter_mut().filter(|(name, value)| name == "date" && !value.is_empty()) {
        *value = "DATE".to_owned();
    }
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    fields
}

fn record(body: &[u8]) -> Body {
    let plain = |byte: &u8| matches!(byte, 0x20..=0x7e | b'\t' | b'\n');
    if body.len() <= TEXT_BYTES_MAX && body.iter().all(plain) {
        let text = String::from_utf8_lossy(body).into_owned();
        return Body { len: body.len(), text: Some(text), sha256: None };
    }
    Body { len: body.len(), text: None, sha256: Some(format!("{:x}", Sha256::digest(body))) }
}
