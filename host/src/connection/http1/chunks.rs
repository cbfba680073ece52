//! Chunked request bodies: which bytes are content, and where they end. Nothing passes that two readers could understand
//! differently (RFC 9112 section 7.1).

use httparse::EMPTY_HEADER;

/// A chunk-size line with its extensions (Go: net/http/internal.maxLineLength).
const LINE_BYTES_MAX: usize = 4096;

/// What a body may spend on framing beside its data: this much, 16 bytes for each chunk, and as much as twice its data
/// (Go: net/http/internal.chunkedReader).
const OVERHEAD_BYTES_MAX: u64 = 16 * 1024;

/// The trailer section (net/http's is that of its read buffer).
const TRAILERS_BYTES_MAX: usize = 4096;

/// Lines in the trailer section.
const TRAILER_LINES_MAX: usize = 100;

/// Where in a chunked body the next byte belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    Done,
}

/// The body is not what it should be; what follows it cannot be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// What comes next of a body, in bytes. None is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Lines around the content, for nobody.
    Framing(usize),
    Content(usize),
    /// The trailer section with its empty line: the end.
    Trailers(usize),
}

/// Follows one chunked body.
#[derive(Debug)]
pub(super) struct Chunks {
    place: Place,
    /// Bytes of framing beyond what is forgiven.
    overhead: u64,
}

impl Chunks {
    pub(super) fn new() -> Self {
        Self { place: Place::Size, overhead: 0 }
    }

    /// What `bytes`, which follow what was taken so far, begin with; `None` when there have to be more of them to tell, and
    /// behind the end. What is returned counts as taken.
    pub(super) fn next(&mut self, bytes: &[u8]) -> Result<Option<Piece>, Malformed> {
        match self.place {
            Place::Done => Ok(None),
            Place::Data(_) if bytes.is_empty() => Ok(None),
            Place::Data(left) => {
                let count = left.min(bytes.len() as u64);
                self.place = if count == left { Place::DataEnd } else { Place::Data(left - count) };
                Ok(Some(Piece::Content(count as usize)))
            }
            Place::DataEnd => match bytes {
                [b'\r', b'\n', ..] => {
                    self.place = Place::Size;
                    Ok(Some(Piece::Framing(2)))
                }
                [] | [b'\r'] => Ok(None),
                _ => Err(Malformed),
            },
            Place::Size => Ok(self.size_line(bytes)?.map(Piece::Framing)),
            Place::Trailers => {
                let section = trailers(bytes)?;
                if section.is_some() {
                    self.place = Place::Done;
                }
                Ok(section.map(Piece::Trailers))
            }
        }
    }

    /// The length of the size line, once it is complete.
    fn size_line(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else {
            return if bytes.len() >= LINE_BYTES_MAX { Err(Malformed) } else { Ok(None) };
        };
        let line = bytes[..end].strip_suffix(b"\r").ok_or(Malformed)?;
        if end >= LINE_BYTES_MAX || line.iter().any(|&byte| byte == b'\r' || byte == 0) {
            return Err(Malformed);
        }
        let size = line.split(|&byte| byte == b';').next().unwrap_or_default();
        // Spaces and tabs only: to others, a form feed is none.
        let digits_end = size.iter().rposition(|byte| !b" \t".contains(byte)).map_or(0, |last| last + 1);
        let digits = &size[..digits_end];
        if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(Malformed);
        }
        let text = std::str::from_utf8(digits).map_err(|_| Malformed)?;
        let size = u64::from_str_radix(text, 16).map_err(|_| Malformed)?;
        self.overhead =
            (self.overhead + end as u64 + 1).saturating_sub(size.saturating_mul(2).saturating_add(16));
        if self.overhead > OVERHEAD_BYTES_MAX {
            return Err(Malformed);
        }
        self.place = if size == 0 { Place::Trailers } else { Place::Data(size) };
        Ok(Some(end + 1))
    }
}

/// The length of the trailer section with its empty line, once it is complete.
fn trailers(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    if bytes.starts_with(b"\r\n") {
        return Ok(Some(2));
    }
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let Some(len) = end.map(|end| end + 4).filter(|&len| len <= TRAILERS_BYTES_MAX) else {
        let too_long = bytes.len() >= TRAILERS_BYTES_MAX || end.is_some();
        return if too_long { Err(Malformed) } else { Ok(None) };
    };
    let mut lines = [EMPTY_HEADER; TRAILER_LINES_MAX];
    match httparse::parse_headers(&bytes[..len], &mut lines) {
        Ok(httparse::Status::Complete((parsed, _))) if parsed == len => Ok(Some(len)),
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `body` in pieces of `step` bytes; says how many bytes were the body's.
    fn run(body: &[u8], step: usize) -> Result<Option<usize>, Malformed> {
        Ok(read(body, step)?.map(|(end, _)| end))
    }

    /// The same, with the content.
    fn read(body: &[u8], step: usize) -> Result<Option<(usize, Vec<u8>)>, Malformed> {
        let (mut chunks, mut at, mut seen, mut content) = (Chunks::new(), 0, 0, Vec::new());
        while seen < body.len() {
            seen = (seen + step).min(body.len());
            while let Some(piece) = chunks.next(&body[at..seen])? {
                match piece {
                    Piece::Framing(count) => at += count,
                    Piece::Content(count) => {
                        content.extend_from_slice(&body[at..at + count]);
                        at += count;
                    }
                    Piece::Trailers(count) => return Ok(Some((at + count, content))),
                }
            }
        }
        Ok(None)
    }

    #[test]
    fn content_is_what_is_between_the_lines() {
        let body = b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nX-T: one\r\n\r\nGET";
        for step in 1..=body.len() {
            let (end, content) = read(body, step).unwrap().unwrap();
            assert_eq!((end, &content[..]), (body.len() - 3, &b"abc0123456789"[..]), "by {step}");
        }
    }

    #[test]
    fn finds_the_end_at_every_split() {
        let bodies: [&[u8]; 6] = [
            b"0\r\n\r\n",
            b"3\r\nabc\r\n0\r\n\r\n",
            b"a;name=\"v\"\r\n0123456789\r\n00\r\n\r\n",
            b"3  \r\nabc\r\n0\r\nX-T: one\r\nX-U:\r\n\r\n",
            b"000000000000000F\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\n\r\n0\r\n\r\n",
            b"1\r\n\r\r\n1\r\n\n\r\n0\r\n\r\n",
        ];
        for body in bodies {
            for step in 1..=body.len() {
                let with_more = [body, b"GET / HTTP/1.1\r\n"].concat();
                let expected = Ok(Some(body.len()));
                assert_eq!(
                    run(&with_more, step),
                    expected,
                    "{:?} by {step}",
                    body.escape_ascii().to_string()
                );
            }
        }
    }

    #[test]
    fn refuses_what_is_ambiguous() {
        let long_line = [b"1;".as_slice(), &[b'x'; 5000], b"\r\na\r\n"].concat();
        let bodies: [&[u8]; 19] = [
            b"zz\r\nabc\r\n",
            b"\r\nabc\r\n",
            b" 3\r\nabc\r\n",
            b"+3\r\nabc\r\n",
            b"0x3\r\nabc\r\n",
            b"3\nabc\r\n",
            b"3\x0c\r\nabc\r\n",
            b"3\x0c;a\r\nabc\r\n",
            b"3;a\rb\r\nabc\r\n",
            b"3\r\nabcd\r\n",
            b"3\r\nabc\n0\r\n\r\n",
            b"3\r\nabc0\r\n\r\n",
            b"00000000000000003\r\nabc\r\n",
            b"0\r\nno colon\r\n\r\n",
            b"0\r\n: empty\r\n\r\n",
            b"0\r\n folded\r\n\r\n",
            b"0\r\nX-T: a\r\n b\r\n\r\n",
            b"0\r\nX T: a\r\n\r\n",
            &long_line,
        ];
        for body in bodies {
            for step in [1, 2, 7, body.len()] {
                assert_eq!(
                    run(body, step),
                    Err(Malformed),
                    "{:?} by {step}",
                    body.escape_ascii().to_string()
                );
            }
        }
    }

    #[test]
    fn framing_is_limited_but_small_chunks_are_fine() {
        let small = b"1\r\nx\r\n".repeat(100_000);
        assert_eq!(run(&small, 8192), Ok(None));
        let padded = [b"1;".as_slice(), &[b'x'; 100], b"\r\nx\r\n"].concat().repeat(1000);
        assert_eq!(run(&padded, 8192), Err(Malformed));
        let trailers = [b"0\r\nX: ".as_slice(), &[b'x'; 5000], b"\r\n\r\n"].concat();
        assert_eq!(run(&trailers, 512), Err(Malformed));
    }
}
