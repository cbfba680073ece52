//! The operations, and how the query names them.

use std::time::Duration;

use crate::probe::Probe;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// `read:all`: read the body to its end.
    ReadAll,
    /// `read:N`: read until N more bytes came, or the body ends.
    Read(u64),
    /// `status:N`: interim for 1xx, else it fixes the head.
    Status(u16),
    /// `hdr:NAME:VALUE`: add a header line.
    Header(Vec<u8>, Vec<u8>),
    /// `cl:STR`: set the `Content-Length`, whatever it says.
    ContentLength(Vec<u8>),
    /// `write:N`: N bytes of the pattern in one write.
    Write(usize),
    /// `text:STR`: write it.
    Text(Vec<u8>),
    /// `echo`: write the body bytes read so far, in one write.
    Echo,
    /// `digest`: write the count and hash of the body bytes read so far.
    Digest,
    /// `state`: write how the last read stopped.
    State,
    /// `see`: write the request as one line of JSON.
    See,
    /// `flush`: send what there is.
    Flush,
    /// `sleep:N`: wait N milliseconds.
    Sleep(Duration),
    /// `trailer:NAME:VALUE`: announce and send it.
    Trailer(Vec<u8>, Vec<u8>),
    /// `utrailer:NAME:VALUE`: send it without an announcement.
    UnannouncedTrailer(Vec<u8>, Vec<u8>),
    /// `tell`: write the request's head, in lines.
    Tell,
    /// `trailers`: write the request's trailers, in lines; behind `read:all` or `pipe`.
    Trailers,
    /// `pipe`: write the body piece by piece as it is read, to its end.
    Pipe,
    /// `probe:clock`, `random`, `files`, `sockets`, `env`, `args`: write what is there.
    Probe(Probe),
    /// `out:STR`: a line on standard output.
    Out(Vec<u8>),
    /// `err:STR`: a line on standard error.
    Err(Vec<u8>),
    /// `fetch:HOST`: send `GET http://HOST/` and write what became of it.
    Fetch(Vec<u8>),
    /// `panic`: trap.
    Panic,
}

/// The operations that a raw query asks for; `None` when one of them is unknown or its argument unusable.
#[must_use]
pub fn parse(query: &[u8]) -> Option<Vec<Op>> {
    let given = query.split(|byte| *byte == b'&').find_map(|part| part.strip_prefix(b"ops="));
    let list = given.filter(|list| !list.is_empty()).unwrap_or(b"text:ok%0A");
    list.split(|byte| *byte == b',').map(parse_op).collect()
}

fn parse_op(item: &[u8]) -> Option<Op> {
    let (name, argument) = split(item).map_or((item, None), |(name, argument)| (name, Some(argument)));
    Some(match (name, argument) {
        (b"read", Some(b"all")) => Op::ReadAll,
        (b"read", Some(count)) => Op::Read(number(count)?),
        (b"status", Some(code)) => {
            Op::Status(u16::try_from(number(code)?).ok().filter(|code| (100..1000).contains(code))?)
        }
        (b"hdr", Some(field)) => field_of(field, Op::Header)?,
        (b"cl", Some(text)) => Op::ContentLength(unescape(text)),
        (b"write", Some(count)) => Op::Write(usize::try_from(number(count)?).ok()?),
        (b"text", Some(text)) => Op::Text(unescape(text)),
        (b"echo", None) => Op::Echo,
        (b"digest", None) => Op::Digest,
        (b"state", None) => Op::State,
        (b"see", None) => Op::See,
        (b"flush", None) => Op::Flush,
        (b"sleep", Some(ms)) => Op::Sleep(Duration::from_millis(number(ms)?)),
        (b"trailer", Some(field)) => field_of(field, Op::Trailer)?,
        (b"utrailer", Some(field)) => field_of(field, Op::UnannouncedTrailer)?,
        (b"tell", None) => Op::Tell,
        (b"trailers", None) => Op::Trailers,
        (b"pipe", None) => Op::Pipe,
        (b"probe", Some(name)) => Op::Probe(Probe::named(name)?),
        (b"out", Some(text)) => Op::Out(unescape(text)),
        (b"err", Some(text)) => Op::Err(unescape(text)),
        (b"fetch", Some(host)) => Op::Fetch(unescape(host)),
        (b"panic", None) => Op::Panic,
        _ => return None,
    })
}

fn field_of(text: &[u8], op: fn(Vec<u8>, Vec<u8>) -> Op) -> Option<Op> {
    let (name, value) = split(text)?;
    Some(op(unescape(name), unescape(value)))
}

/// What is before the first colon, and what is behind it.
fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = text.iter().position(|byte| *byte == b':')?;
    Some((&text[..colon], &text[colon + 1..]))
}

fn number(text: &[u8]) -> Option<u64> {
    let digits = str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

/// Decodes `%XX`; broken escapes and `+` stay as they are.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = match tail {
            [high, low, ..] if first == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        bytes.push(escaped.map_or(first, |(high, low)| high << 4 | low));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    bytes
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
