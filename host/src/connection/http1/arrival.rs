//! A request head on its way in: where it ends, since when it has been coming, and what is answered when it stops.
//!
//! Reads nothing itself: it looks at what was received. Looking costs each byte once, however it is cut up.

use bytes::{Buf as _, BytesMut};
use memchr::memchr;
use tokio::time::Instant;

use super::clock::Clocks;
use super::refusal::Refusal;

/// Empty lines that are skipped behind a POST, in bytes (Go: net/http.conn.readRequest).
const BLANK_BYTES_MAX: usize = 4;

/// The next request has begun when this much of it is there (net/http peeks as much).
const BEGUN_BYTES: usize = 4;

/// Why nothing more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The client has ended its side of the stream.
    End,
    /// Our patience has ended.
    Timeout,
}

/// The head that is awaited or being read.
#[derive(Debug)]
pub(super) struct Arrival {
    /// Bytes received that hold no end of a head.
    searched: usize,
    /// Since when a request is awaited.
    awaited_since: Instant,
    /// Since when a head is being read.
    begun: Option<Instant>,
    /// Bytes of empty lines that may still be skipped.
    blanks: usize,
}

impl Arrival {
    /// The first one of a connection, which has begun when the connection has.
    pub(super) fn new(ready: Instant) -> Self {
        Self { searched: 0, awaited_since: ready, begun: Some(ready), blanks: 0 }
    }

    /// A response is out: from now on the next request is awaited.
    pub(super) fn await_next(&mut self) {
        self.awaited_since = Instant::now();
    }

    pub(super) fn awaited_since(&self) -> Instant {
        self.awaited_since
    }

    /// Behind a POST, old clients send an empty line that they do not count (RFC 9112 section 2.2).
    pub(super) fn expect_blanks(&mut self) {
        self.blanks = BLANK_BYTES_MAX;
    }

    /// The length of the head at the beginning of `received`, if all of it is there.
    pub(super) fn look(&mut self, received: &mut BytesMut) -> Option<usize> {
        while self.blanks > 0 && matches!(received.first(), Some(b'\r' | b'\n')) {
            received.advance(1);
            self.blanks -= 1;
        }
        if !received.is_empty() {
            self.blanks = 0;
        }
        while let Some(found) = memchr(b'\n', &received[self.searched..]) {
            let line_end = self.searched + found;
            let before = received[..line_end].strip_suffix(b"\r").unwrap_or(&received[..line_end]);
            if before.is_empty() || before.ends_with(b"\n") {
                self.searched = line_end; // whoever looks again finds the same
                return Some(line_end + 1);
            }
            self.searched = line_end + 1;
        }
        self.searched = received.len();
        if self.begun.is_none() && received.len() >= BEGUN_BYTES {
            self.begun = Some(Instant::now());
        }
        None
    }

    /// The head is complete and taken out of what was received. Says when it began; `None` when it came in one piece, just
    /// now.
    pub(super) fn take(&mut self) -> Option<Instant> {
        self.searched = 0;
        self.begun.take()
    }

    /// Until when the head has to be there, and the name of that limit.
    pub(super) fn deadline(&self, clocks: &Clocks) -> (Option<Instant>, &'static str) {
        let Some(begun) = self.begun else {
            return (clocks.idle.map(|limit| self.awaited_since + limit), "idle_timeout");
        };
        let limits = [(clocks.read_header, "read_header_timeout"), (clocks.read, "read_timeout")];
        let set = limits.into_iter().filter_map(|(limit, name)| Some((limit?, name)));
        match set.min_by_key(|(limit, _)| *limit) {
            Some((limit, name)) => (Some(begun + limit), name),
            None => (None, ""),
        }
    }

    /// What is answered to a head that stops in the middle: nothing while no request has begun, and nothing where
    /// nothing is wrong with what came before a timeout, as net/http does, which parses the line at which it stopped.
    pub(super) fn stopped(&self, received: &[u8], why: Stop) -> Option<Refusal> {
        if self.begun.is_none() || received.is_empty() {
            return None;
        }
        let (is_first, line) = match received.iter().rposition(|&byte| byte == b'\n') {
            Some(end) => (false, &received[end + 1..]),
            None => (true, received),
        };
        let is_fine = match is_first {
            true => line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0"),
            false => line.is_empty() || line.contains(&b':') && !line.ends_with(b"\r"),
        };
        (why == Stop::End || !is_fine).then_some(Refusal::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the head of `bytes` ends when they arrive in pieces of `step`.
    fn end(arrival: &mut Arrival, bytes: &[u8], step: usize) -> Option<usize> {
        let mut received = BytesMut::new();
        bytes.chunks(step).find_map(|piece| {
            received.extend_from_slice(piece);
            arrival.look(&mut received)
        })
    }

    #[test]
    fn heads_end_at_the_first_empty_line_at_every_split() {
        let cases: [(&[u8], Option<usize>); 7] = [
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET", Some(27)),
            (b"GET / HTTP/1.1\nHost: a\n\nrest", Some(24)),
            (b"GET / HTTP/1.1\r\nHost: a\n\r\n", Some(26)),
            (b"\r\nGET / HTTP/1.1\r\n\r\n", Some(2)),
            (b"GET / HTTP/1.1\r\nHost: a\r\n", None),
            (b"GET / HTTP/1.1\r\r\n\r\r\n", None),
            (b"", None),
        ];
        for (bytes, expected) in cases {
            for step in 1..=bytes.len().max(1) {
                let found = end(&mut Arrival::new(Instant::now()), bytes, step);
                assert_eq!(found, expected, "{} by {step}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn blanks_are_skipped_where_they_are_expected_and_no_more_than_four() {
        let mut received = BytesMut::from(&b"\r\n\r\nGET / HTTP/1.1\r\n\r\n"[..]);
        let mut arrival = Arrival::new(Instant::now());
        arrival.expect_blanks();
        assert_eq!(arrival.look(&mut received), Some(18));
        assert_eq!(arrival.look(&mut received), Some(18), "until it is taken");
        assert!(received.starts_with(b"GET"));
        arrival.take();
        arrival.expect_blanks();
        let mut received = BytesMut::from(&b"\r\n\r\n\r\nGET"[..]);
        assert_eq!(arrival.look(&mut received), Some(2), "an empty line is a head, and a bad one");
    }

    #[test]
    fn a_head_that_stops_is_answered_if_something_is_wrong_with_it() {
        let arrival = Arrival::new(Instant::now());
        let malformed = Some(Refusal::Malformed);
        for (bytes, at_timeout) in [
            (&b""[..], None),
            (b"GET / HTTP/1.1", None),
            (b"GET / HTTP/1.1\r\n", None),
            (b"GET / HTTP/1.1\r\nHost: a", None),
            (b"GET /", malformed),
            (b"GET / HTTP/1.1\r\nHost", malformed),
            (b"GET / HTTP/1.1\r\nHost: a\r", malformed),
        ] {
            let at_end = malformed.filter(|_| !bytes.is_empty());
            assert_eq!(arrival.stopped(bytes, Stop::Timeout), at_timeout, "{}", bytes.escape_ascii());
            assert_eq!(arrival.stopped(bytes, Stop::End), at_end, "{}", bytes.escape_ascii());
        }
        let mut idle = Arrival::new(Instant::now());
        idle.take();
        assert_eq!(idle.look(&mut BytesMut::from(&b"GET"[..])), None);
        assert_eq!(idle.stopped(b"GET", Stop::End), None, "less than four bytes are no request yet");
    }
}
