//! Counts responses in what a server has sent, with a reader of its own.

use httparse::{EMPTY_HEADER, Response, Status};

/// HTTP/1: final responses, of which the last may have been cut off; `None` when these bytes are no sequence of
/// responses, or go on behind one that closes the connection.
pub(super) fn count_http1(mut bytes: &[u8]) -> Option<usize> {
    let mut count = 0;
    while !bytes.is_empty() {
        let mut fields = [EMPTY_HEADER; 100];
        let mut response = Response::new(&mut fields);
        let Ok(Status::Complete(head)) = response.parse(bytes) else { return None };
        bytes = &bytes[head..];
        let status = response.code?;
        if status < 200 {
            continue;
        }
        count += 1;
        let field = |name: &str| response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        let closes = field("connection").is_some_and(|field| field.value.eq_ignore_ascii_case(b"close"));
        let rest = if status == 204 || status == 304 {
            Some(bytes)
        } else if let Some(length) = field("content-length") {
            let length: usize = std::str::from_utf8(length.value).ok()?.parse().ok()?;
            bytes.get(length..)
        } else if field("transfer-encoding").is_some() {
            behind_chunks(bytes)?
        } else {
            // Up to the end of the connection.
            Some(&[][..])
        };
        let Some(rest) = rest else { return Some(count) };
        bytes = rest;
        if closes && !bytes.is_empty() {
            return None;
        }
    }
    Some(count)
}

/// What follows a chunked body, if it is whole; `None` when it is malformed.
fn behind_chunks(mut bytes: &[u8]) -> Option<Option<&[u8]>> {
    loop {
        let (line, size) = match httparse::parse_chunk_size(bytes).ok()? {
            Status::Complete(found) => found,
            Status::Partial => return Some(None),
        };
        bytes = &bytes[line..];
        if size == 0 {
            let mut fields = [EMPTY_HEADER; 100];
            return match httparse::parse_headers(bytes, &mut fields).ok()? {
                Status::Complete((trailers, _)) => Some(Some(&bytes[trailers..])),
                Status::Partial => Some(None),
            };
        }
        let Some(rest) = bytes.get(usize::try_from(size).ok()?..) else { return Some(None) };
        let Some(rest) = rest.get(2..) else { return Some(None) };
        if !bytes[usize::try_from(size).ok()?..].starts_with(b"\r\n") {
            return None;
        }
        bytes = rest;
    }
}

/// HTTP/2: streams that got a HEADERS frame (RFC 9113 section 6.2) in these frames, whoever has sent them.
pub(super) fn count_http2(mut bytes: &[u8]) -> usize {
    const FRAME_HEADER_BYTES: usize = 9;
    const HEADERS: u8 = 1;
    let mut streams = std::collections::BTreeSet::new();
    while let Some((header, rest)) = bytes.split_at_checked(FRAME_HEADER_BYTES) {
        let length = usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
        if header[3] == HEADERS {
            streams.insert(&header[5..]);
        }
        bytes = rest.get(length..).unwrap_or_default();
    }
    streams.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_counted() {
        let full = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab";
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
        let closing = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let interim = "HTTP/1.1 100 Continue\r\n\r\n";
        for (parts, count) in [
            (&[][..], Some(0)),
            (&[full, chunked, interim, full], Some(3)),
            (&[full, closing], Some(2)),
            (&[closing, full], None),
            (&[full, "x"], None),
            (&[&chunked[..chunked.len() - 5]], Some(1)),
            (&[full, "x", full], None),
        ] {
            assert_eq!(count_http1(parts.concat().as_bytes()), count, "{parts:?}");
        }
    }

    #[test]
    fn streams_are_counted() {
        let frame = |kind: u8, stream: u8| vec![0, 0, 1, kind, 0, 0, 0, 0, stream, 7];
        let frames = [frame(4, 0), frame(1, 1), frame(0, 1), frame(1, 1), frame(1, 3)].concat();
        assert_eq!(count_http2(&frames), 2);
        assert_eq!(count_http2(&frames[..5]), 0);
    }
}
