//! [`detect_content_type`]: the WHATWG MIME sniffing table, as far as net/http follows it.

/// Only this much of the data is looked at.
const SNIFF_BYTES: usize = 512;

/// Guesses the media type of `data` from its first 512 bytes; net/http's `DetectContentType`.
///
/// The answer is always a valid type: `application/octet-stream` when nothing better is known, and
/// `text/plain; charset=utf-8` for data without control bytes, which includes no data at all.
///
/// ```
/// # use wasmux_sdk::detect_content_type;
/// assert_eq!(detect_content_type(b"<html><body>"), "text/html; charset=utf-8");
/// assert_eq!(detect_content_type(b"\0asm\x01\0\0\0"), "application/wasm");
/// ```
#[must_use]
pub fn detect_content_type(data: &[u8]) -> &'static str {
    let data = &data[..data.len().min(SNIFF_BYTES)];
    let is_space = |byte: &u8| matches!(byte, b'\t' | b'\n' | 0x0c | b'\r' | b' ');
    let text = &data[data.iter().take_while(|byte| is_space(byte)).count()..];
    if text.first() == Some(&b'<') {
        if HTML_TAGS.iter().any(|tag| is_tag(text, tag)) {
            return "text/html; charset=utf-8";
        }
        if text.starts_with(b"<?xml") {
            return "text/xml; charset=utf-8";
        }
    }
    // Texts mostly begin with a byte that no signature does, and then there is little to compare.
    let may_begin =
        data.first().is_some_and(|&byte| BEGINNINGS[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1);
    let mut signatures =
        SIGNATURES.iter().filter(|(signature, _)| may_begin || signature.beginning().is_none());
    if let Some((_, found)) = signatures.find(|(signature, _)| signature.matches(data)) {
        return found;
    }
    if has_binary(text) { "application/octet-stream" } else { "text/plain; charset=utf-8" }
}

/// Whether there is a byte that texts do not have (WHATWG MIME sniffing, section 3: binary data byte).
fn has_binary(text: &[u8]) -> bool {
    // A bit for each of them: 0 to 8, 0x0b, 0x0e to 0x1a, 0x1c to 0x1f. One look at a byte, not a comparison with each range.
    const BINARY: u32 = 0xf7ff_c9ff;
    text.iter().any(|&byte| byte < 0x20 && BINARY >> byte & 1 == 1)
}

/// Tags that make a text HTML when a space or `>` follows.
const HTML_TAGS: [&[u8]; 17] = [
    b"<!DOCTYPE HTML",
    b"<HTML",
    b"<HEAD",
    b"<SCRIPT",
    b"<IFRAME",
    b"<H1",
    b"<DIV",
    b"<FONT",
    b"<TABLE",
    b"<A",
    b"<STYLE",
    b"<TITLE",
    b"<B",
    b"<BODY",
    b"<BR",
    b"<P",
    b"<!--",
];

fn is_tag(text: &[u8], tag: &[u8]) -> bool {
    let Some((start, rest)) = text.split_at_checked(tag.len()) else { return false };
    matches!(rest.first(), Some(b' ' | b'>')) && start.eq_ignore_ascii_case(tag)
}

/// What the first bytes of a format look like.
enum Signature {
    /// Exactly these bytes.
    Start(&'static [u8]),
    /// These bytes and, behind them, this many more of any kind.
    StartAndMore(&'static [u8], usize),
    /// Four bytes, a length in four bytes of any kind, then more of the signature.
    Chunk(&'static [u8; 4], &'static [u8]),
    /// Bytes at an offset.
    At(usize, &'static [u8]),
    /// See [`is_mp4`].
    Mp4,
}

impl Signature {
    fn matches(&self, data: &[u8]) -> bool {
        match self {
            Self::Start(start) => data.starts_with(start),
            Self::StartAndMore(start, more) => data.starts_with(start) && data.len() >= start.len() + more,
            Self::Chunk(id, kind) => {
                data.starts_with(*id) && data.get(8..).is_some_and(|rest| rest.starts_with(kind))
            }
            Self::At(offset, bytes) => data.get(*offset..).is_some_and(|rest| rest.starts_with(bytes)),
            Self::Mp4 => is_mp4(data),
        }
    }

    /// The first byte, where only one will do.
    const fn beginning(&self) -> Option<u8> {
        match self {
            Self::Start(start) | Self::StartAndMore(start, _) => Some(start[0]),
            Self::Chunk(id, _) => Some(id[0]),
            Self::At(..) | Self::Mp4 => None,
        }
    }
}

use Signature::{At, Chunk, Mp4, Start, StartAndMore};

/// In net/http's order, which decides where two match.
const SIGNATURES: [(Signature, &str); 32] = [
    (Start(b"%PDF-"), "application/pdf"),
    (Start(b"%!PS-Adobe-"), "application/postscript"),
    (StartAndMore(b"\xfe\xff", 2), "text/plain; charset=utf-16be"),
    (StartAndMore(b"\xff\xfe", 2), "text/plain; charset=utf-16le"),
    (StartAndMore(b"\xef\xbb\xbf", 1), "text/plain; charset=utf-8"),
    (Start(b"\x00\x00\x01\x00"), "image/x-icon"),
    (Start(b"\x00\x00\x02\x00"), "image/x-icon"),
    (Start(b"BM"), "image/bmp"),
    (Start(b"GIF87a"), "image/gif"),
    (Start(b"GIF89a"), "image/gif"),
    (Chunk(b"RIFF", b"WEBPVP"), "image/webp"),
    (Start(b"\x89PNG\r\n\x1a\n"), "image/png"),
    (Start(b"\xff\xd8\xff"), "image/jpeg"),
    (Chunk(b"FORM", b"AIFF"), "audio/aiff"),
    (Start(b"ID3"), "audio/mpeg"),
    (Start(b"OggS\x00"), "application/ogg"),
    (Start(b"MThd\x00\x00\x00\x06"), "audio/midi"),
    (Chunk(b"RIFF", b"AVI "), "video/avi"),
    (Chunk(b"RIFF", b"WAVE"), "audio/wave"),
    (Mp4, "video/mp4"),
    (Start(b"\x1a\x45\xdf\xa3"), "video/webm"),
    (At(34, b"LP"), "application/vnd.ms-fontobject"),
    (Start(b"\x00\x01\x00\x00"), "font/ttf"),
    (Start(b"OTTO"), "font/otf"),
    (Start(b"ttcf"), "font/collection"),
    (Start(b"wOFF"), "font/woff"),
    (Start(b"wOF2"), "font/woff2"),
    (Start(b"\x1f\x8b\x08"), "application/x-gzip"),
    (Start(b"PK\x03\x04"), "application/zip"),
    (Start(b"Rar!\x1a\x07\x00"), "application/x-rar-compressed"),
    (Start(b"Rar!\x1a\x07\x01\x00"), "application/x-rar-compressed"),
    (Start(b"\x00asm"), "application/wasm"),
];

/// A bit for each first byte of a signature.
const BEGINNINGS: [u64; 4] = {
    let (mut bits, mut at) = ([0; 4], 0);
    while at < SIGNATURES.len() {
        if let Some(byte) = SIGNATURES[at].0.beginning() {
            bits[(byte >> 6) as usize] |= 1 << (byte & 63);
        }
        at += 1;
    }
    bits
};

/// An ISO base media file with an `mp4` brand (WHATWG MIME sniffing, section 6.2.1).
fn is_mp4(data: &[u8]) -> bool {
    let Some(size) = data.first_chunk::<4>().map(|size| u32::from_be_bytes(*size) as usize) else {
        return false;
    };
    if data.len() < 12 || size % 4 != 0 || data.len() < size || data[4..8] != *b"ftyp" {
        return false;
    }
    // Behind the first brand, at 8, comes the minor version, which is not a brand.
    (8..size).step_by(4).filter(|at| *at != 12).any(|at| data[at..].starts_with(b"mp4"))
}
