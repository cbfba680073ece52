//! Follows a response to its end: by `Content-Length`, or chunk by chunk (RFC 9112 section 6).

use std::io::{self, Read};

use httparse::Status;

/// The largest response of any row, with its head, in bytes.
const BYTES_MAX: usize = 256 << 10;

/// Far more than any of the servers sends.
const FIELDS_MAX: usize = 32;

/// One response at a time, as far as it has arrived.
pub(crate) struct Reply {
    buffer: Box<[u8]>,
    read: usize,
    rest: Rest,
}

/// What is known of the rest.
enum Rest {
    /// The head is not complete.
    Head,
    /// It ends here.
    Until(usize),
    /// The next chunk begins here.
    ChunkAt(usize),
}

impl Reply {
    pub(crate) fn new() -> Self {
        Self { buffer: vec![0; BYTES_MAX].into(), read: 0, rest: Rest::Head }
    }

    /// Reads once, and says whether the response is complete; then the next one may be read. Nothing may follow it, as
    /// each connection has one request at a time.
    ///
    /// # Errors
    /// Those of the connection, also that there is nothing to be read now.
    ///
    /// # Panics
    /// When it is no response with status 200.
    pub(crate) fn read(&mut self, stream: &mut impl Read) -> io::Result<bool> {
        let count = stream.read(&mut self.buffer[self.read..])?;
        assert!(count > 0, "the server closed a connection, or its answer is too long");
        self.read += count;
        let Some(end) = self.end() else { return Ok(false) };
        assert_eq!(end, self.read, "bytes behind the response");
        (self.read, self.rest) = (0, Rest::Head);
        Ok(true)
    }

    /// Where the response ends, if that has arrived.
    fn end(&mut self) -> Option<usize> {
        let arrived = &self.buffer[..self.read];
        if matches!(self.rest, Rest::Head) {
            self.rest = head(arrived)?;
        }
        loop {
            match self.rest {
                Rest::Head => return None,
                Rest::Until(end) => return (arrived.len() >= end).then_some(end),
                Rest::ChunkAt(at) => {
                    let line = arrived.get(at..)?;
                    let Ok(Status::Complete((line, size))) = httparse::parse_chunk_size(line) else {
                        return None;
                    };
                    let next = at + line + usize::try_from(size).expect("a small chunk") + 2;
                    // Behind the last one comes an empty line: none of the rows has trailers.
                    self.rest = if size == 0 { Rest::Until(next) } else { Rest::ChunkAt(next) };
                }
            }
        }
    }
}

/// What the head says of the body, if it is complete.
fn head(arrived: &[u8]) -> Option<Rest> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let Status::Complete(size) = response.parse(arrived).expect("a response") else { return None };
    assert_eq!(response.code, Some(200), "{}", arrived.escape_ascii());
    let length = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|field| std::str::from_utf8(field.value).ok()?.parse::<usize>().ok());
    // Without a length it can only be chunked: connections are kept.
    Some(length.map_or(Rest::ChunkAt(size), |length| Rest::Until(size + length)))
}
