//! Any chunked body in any pieces: no panic, nothing beyond what is there, one end and one content however it is split, and no
//! other than httparse's.

use httparse::{EMPTY_HEADER, Status};

// The host's own file: in its crate it is private.
#[path = "../../src/connection/http1/chunks.rs"]
#[allow(dead_code, unreachable_pub, reason = "made for the host, which uses all of it")]
mod scanner;

use scanner::{Chunks, Malformed, Piece};

/// Input: one byte, the length of the pieces; the rest is the body and what follows it.
pub fn chunks(input: &[u8]) {
    let Some((&step, bytes)) = input.split_first() else { return };
    let end = scan(bytes, bytes.len().max(1));
    assert_eq!(scan(bytes, usize::from(step).max(1)), end);
    if let Ok(Some(end)) = end {
        assert_eq!(scan_with_httparse(bytes), Some(end));
    }
}

/// Where the body ends, if it does, when it arrives in pieces of `step` bytes; and its content.
fn scan(bytes: &[u8], step: usize) -> Result<Option<(usize, Vec<u8>)>, Malformed> {
    let (mut chunks, mut at, mut seen, mut content) = (Chunks::new(), 0, 0, Vec::new());
    while seen < bytes.len() {
        seen = (seen + step).min(bytes.len());
        while let Some(next) = chunks.next(&bytes[at..seen])? {
            let (Piece::Framing(count) | Piece::Content(count) | Piece::Trailers(count)) = next;
            assert!((1..=seen - at).contains(&count));
            match next {
                Piece::Content(_) => content.extend_from_slice(&bytes[at..at + count]),
                Piece::Trailers(_) => return Ok(Some((at + count, content))),
                Piece::Framing(_) => {}
            }
            at += count;
        }
    }
    Ok(None)
}

fn scan_with_httparse(bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
    let (mut at, mut content) = (0, Vec::new());
    loop {
        let Ok(Status::Complete((line, size))) = httparse::parse_chunk_size(&bytes[at..]) else {
            return None;
        };
        at += line;
        if size == 0 {
            let mut lines = [EMPTY_HEADER; 200];
            return match httparse::parse_headers(&bytes[at..], &mut lines) {
                Ok(Status::Complete((len, _))) => Some((at + len, content)),
                _ => None,
            };
        }
        let end = at.checked_add(usize::try_from(size).ok()?)?;
        content.extend_from_slice(bytes.get(at..end)?);
        at = end;
        at += bytes.get(at..)?.starts_with(b"\r\n").then_some(2)?;
    }
}
