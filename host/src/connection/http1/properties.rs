//! Properties of what reads a client's bytes first, for inputs that nobody thought of: no panic, nothing that depends on
//! how the bytes were split, no other idea of a request's end than that of an independent reader.

use std::future::poll_fn;
use std::io;

use bytes::{Bytes, BytesMut};
use httparse::{EMPTY_HEADER, Status};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio::time::Instant;

use super::chunks::{Chunks, Malformed, Piece};
use super::clock::Clocks;
use super::head::{self, Framing, HEADERS_MAX};
use super::inbound::{Inbound, Part};

/// First lines of requests, right and wrong.
const REQUEST_LINES: [&str; 7] = [
    "GET / HTTP/1.1\r\n",
    "POST /a?b=c HTTP/1.1\r\n",
    "CONNECT h:1 HTTP/1.1\r\n",
    "OPTIONS * HTTP/1.1\r\n",
    "GET http://h/<> HTTP/1.0\r\n",
    "GET /%zz HTTP/1.1\r\n",
    "PRI * HTTP/2.0\r\n",
];

/// Fields that say where a request ends and what becomes of its connection, right and wrong.
const FIELD_LINES: [&str; 17] = [
    "Host: h\r\n",
    "Content-Length: 3\r\n",
    "Content-Length: 03\r\n",
    "Content-Length: 4\r\n",
    "Content-Length: 2\r\n",
    "content-length:3 \n",
    "Content-Length: 9999999999999999999\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding:\tChunked \r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Trailer: X\r\n",
    "Trailer: content-length\r\n",
    "Expect: 100-continue\r\n",
    "Expect: 100-continue, x\r\n",
    "Connection: close\r\n",
    " folded\r\n",
    "X-\u{e9}: \u{e9}\r\n",
];

/// What frames a chunked body, right and wrong, and separators of all kinds.
const FRAMING: [&str; 17] = [
    "0\r\n",
    "00\r\n",
    "3\r\nabc\r\n",
    "3;x=\"y\"\r\nabc\r\n",
    "A  \r\n0123456789\r\n",
    "FFFFFFFFFFFFFFFF\r\n",
    "3",
    "abc",
    ";",
    ":",
    " ",
    "\0",
    "\x0c",
    "\r",
    "\n",
    "\r\n",
    "\r\n\r\n",
];

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(words).prop_map(|word| word.as_bytes().to_vec())
}

/// Something like a client's bytes: mostly words, and now and then any byte.
fn gibberish() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![one_of(&REQUEST_LINES), one_of(&FIELD_LINES), one_of(&FRAMING)];
    let piece = prop_oneof![9 => word, 1 => vec(any::<u8>(), 1..4)];
    vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

/// Something like a head: whole lines of which any may be wrong or too many.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    (one_of(&REQUEST_LINES), vec(one_of(&FIELD_LINES), 0..4))
        .prop_map(|(line, fields)| [&line, &b"Host: h\r\n"[..], &fields.concat(), b"\r\n"].concat())
}

/// Takes away, puts in or replaces something where it hurts most: beside a byte that separates.
fn edited(bytes: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (bytes, any::<prop::sample::Index>(), 0..3usize, prop_oneof![Just(Vec::new()), one_of(&FRAMING)])
        .prop_map(|(bytes, place, skip, word)| {
            let places: Vec<usize> = (0..bytes.len()).filter(|&at| b"\r\n;: ".contains(&bytes[at])).collect();
            let at = places.get(place.index(places.len().max(1))).copied().unwrap_or_default();
            [&bytes[..at], &word, &bytes[(at + skip).min(bytes.len())..]].concat()
        })
}

/// A field that may stand in a request.
fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("Accept: */*".to_owned()),
        Just("Connection: keep-alive".to_owned()),
        Just("X-Empty:".to_owned()),
        ("X-[A-Za-z0-9-]{1,8}", "[!-~]{1,8}").prop_map(|(name, value)| format!("{name}: {value}")),
    ]
}

/// A chunked body, with extensions and trailers.
fn chunked() -> impl Strategy<Value = Vec<u8>> {
    let extension = prop_oneof![3 => Just(""), 1 => Just(";a=b"), 1 => Just(" ; a=\"b;c\""), 1 => Just("  ")];
    let chunk = (vec(any::<u8>(), 1..40), extension, any::<bool>());
    let trailers = vec(field(), 0..3);
    (vec(chunk, 0..6), trailers).prop_map(|(chunks, trailers)| {
        let mut body = Vec::new();
        for (data, extension, is_upper) in chunks {
            let size = if is_upper { format!("{:X}", data.len()) } else { format!("0{:x}", data.len()) };
            body.extend_from_slice(format!("{size}{extension}\r\n").as_bytes());
            body.extend_from_slice(&data);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\n");
        trailers.iter().for_each(|line| body.extend_from_slice(format!("{line}\r\n").as_bytes()));
        body.extend_from_slice(b"\r\n");
        body
    })
}

/// A request that nothing is wrong with.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let body = prop_oneof![
        Just((String::new(), Vec::new())),
        vec(any::<u8>(), 0..100).prop_map(|body| (format!("Content-Length: {}\r\n", body.len()), body)),
        chunked().prop_map(|body| ("Transfer-Encoding: chunked\r\n".to_owned(), body)),
    ];
    ("(GET|POST|PUT|X-Y)", "/[a-z0-9/._~-]{0,12}", vec(field(), 0..6), body).prop_map(
        |(method, path, fields, (framing, body))| {
            let fields: String = fields.iter().map(|line| format!("{line}\r\n")).collect();
            let head = format!("{method} {path} HTTP/1.1\r\nHost: h\r\n{fields}{framing}\r\n");
            [head.as_bytes(), &body].concat()
        },
    )
}

/// `bytes` in pieces of these lengths, again and again.
fn split<'b>(mut bytes: &'b [u8], lengths: &[usize]) -> Vec<&'b [u8]> {
    let mut pieces = Vec::new();
    for &length in lengths.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at(length.min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

fn lengths() -> impl Strategy<Value = Vec<usize>> {
    vec(1..50usize, 1..8)
}

/// Where a chunked body ends, if it does within `bytes`, and its content.
fn scan(bytes: &[u8], lengths: &[usize]) -> Result<Option<(usize, Vec<u8>)>, Malformed> {
    let (mut chunks, mut at, mut seen, mut content) = (Chunks::new(), 0, 0, Vec::new());
    for piece in split(bytes, lengths) {
        seen += piece.len();
        while let Some(next) = chunks.next(&bytes[at..seen])? {
            let (Piece::Framing(count) | Piece::Content(count) | Piece::Trailers(count)) = next;
            assert!((1..=seen - at).contains(&count), "{count} of {}", seen - at);
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

/// The same by httparse, which many readers are no stricter than.
fn scan_with_httparse(bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
    let (mut at, mut content) = (0, Vec::new());
    loop {
        let Ok(Status::Complete((line, size))) = httparse::parse_chunk_size(&bytes[at..]) else {
            return None;
        };
        at += line;
        if size == 0 {
            let mut lines = [EMPTY_HEADER; HEADERS_MAX];
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

/// The head at the beginning of `bytes`: up to and with the first empty line.
fn first_head(bytes: &[u8]) -> Option<&[u8]> {
    let mut end = 0;
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        end += line.len();
        if line == b"\n" || line == b"\r\n" {
            return Some(&bytes[..end]);
        }
    }
    None
}

/// What stands in the way of agreement between `parse` and a reader of the fields that were received.
fn judge(received: &[u8]) {
    let Ok(accepted) = head::parse(&Bytes::copy_from_slice(received)) else { return };
    let line_len = received.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let mut lines = [EMPTY_HEADER; HEADERS_MAX];
    let parsed = httparse::parse_headers(&received[line_len..], &mut lines).unwrap();
    let Status::Complete((len, fields)) = parsed else { panic!("an incomplete head was accepted") };
    assert_eq!(line_len + len, received.len(), "nothing behind the head belongs to it");
    let is_dropped =
        |name: &str| accepted.framing == Framing::Chunked && name.eq_ignore_ascii_case("content-length");
    let kept = fields.iter().filter(|field| !is_dropped(field.name));
    assert_eq!(accepted.parts.headers.len(), kept.clone().count());
    for field in kept {
        let mut values = accepted.parts.headers.get_all(field.name).iter();
        assert!(values.any(|value| value.as_bytes() == field.value), "{field:?}");
    }

    let named = |name: &'static str| fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
    let framing = match named("transfer-encoding").count() {
        0 => {
            let mut lengths = named("content-length")
                .map(|field| std::str::from_utf8(field.value).unwrap().trim().parse::<u64>().unwrap());
            let first = lengths.next().unwrap_or(0);
            assert!(lengths.all(|other| other == first), "lengths that differ");
            Framing::Length(first)
        }
        count => {
            assert_eq!((count, accepted.parts.version), (1, http::Version::HTTP_11));
            Framing::Chunked
        }
    };
    assert_eq!(accepted.framing, framing);
}

/// Requests of a client that sends `bytes` in such pieces, as far as they come, and how it ends.
fn read(bytes: &[u8], lengths: &[usize]) -> (Vec<Vec<u8>>, Option<io::ErrorKind>) {
    let pieces = split(bytes, lengths);
    let (client, server) = tokio::io::duplex(1 << 20);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { tokio::join!(read_all(server), send(client, &pieces)).0 })
}

/// One piece at each turn, so that it is read before the next.
async fn send(mut client: DuplexStream, pieces: &[&[u8]]) {
    for piece in pieces {
        // The server may have hung up.
        if client.write_all(piece).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn read_all(mut stream: DuplexStream) -> (Vec<Vec<u8>>, Option<io::ErrorKind>) {
    let clocks =
        Clocks { read_header: None, read: None, write: None, idle: None, stall: std::time::Duration::MAX };
    let mut inbound = Inbound::new(BytesMut::new(), Instant::now(), 1 << 16);
    let mut requests = Vec::new();
    loop {
        match poll_fn(|cx| inbound.poll_head(&mut stream, cx, &clocks, None)).await {
            Ok(true) => {
                let (head, _) = inbound.take_head().unwrap();
                let text = format!("{} {} {:?}\n", head.parts.method, head.parts.uri, head.parts.headers);
                requests.push(text.into_bytes());
            }
            Ok(false) => return (requests, None),
            Err(error) => return (requests, Some(error.kind())),
        }
        loop {
            let request = requests.last_mut().unwrap();
            match poll_fn(|cx| inbound.poll_part(&mut stream, cx, None)).await {
                Ok(Part::Content(content)) => request.extend_from_slice(&content),
                Ok(Part::End(trailers)) => {
                    request.extend_from_slice(format!("\n{trailers:?}").as_bytes());
                    break;
                }
                Err(error) => return (requests, Some(error.kind())),
            }
        }
        inbound.await_next();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn chunked_bodies_end_where_they_end(body in chunked(), behind in gibberish(), lengths in lengths()) {
        let bytes = [&body[..], &behind].concat();
        prop_assert_eq!(scan(&bytes, &lengths), scan(&bytes, &[bytes.len()]));
        prop_assert_eq!(scan(&bytes, &lengths).unwrap().unwrap().0, body.len());
        prop_assert_eq!(scan_with_httparse(&bytes), scan(&bytes, &lengths).unwrap());
    }

    #[test]
    fn any_chunked_body_is_read_in_one_way(
        start in chunked(),
        cut in any::<prop::sample::Index>(),
        rest in gibberish(),
        damaged in edited(chunked()),
        lengths in lengths(),
    ) {
        let cut = [&start[..cut.index(start.len())], &rest].concat();
        for bytes in [cut, damaged] {
            let found = scan(&bytes, &[bytes.len().max(1)]);
            prop_assert_eq!(scan(&bytes, &lengths), found.clone());
            if let Ok(Some(end)) = found {
                prop_assert_eq!(scan_with_httparse(&bytes), Some(end));
            }
        }
    }

    #[test]
    fn no_head_is_too_strange(bytes in vec(any::<u8>(), 0..200), words in gibberish()) {
        // Whatever the verdict.
        let _ = head::parse(&Bytes::copy_from_slice(&bytes));
        let _ = head::parse(&Bytes::copy_from_slice(&words));
        let _ = head::parse(&[b"GET / HTTP/1.1\r\n", &bytes[..]].concat().into());
    }

    #[test]
    fn accepted_heads_mean_the_same_to_others(
        valid in request(), damaged in edited(request()), lines in lines(), edited_lines in edited(lines())
    ) {
        for bytes in [&valid, &damaged, &lines, &edited_lines] {
            first_head(bytes).into_iter().for_each(judge);
        }
    }

    #[test]
    fn requests_are_found_however_they_are_split(
        requests in vec(request(), 1..5), lengths in lengths()
    ) {
        let bytes = requests.concat();
        let (found, end) = read(&bytes, &lengths);
        prop_assert_eq!((found.len(), end), (requests.len(), None));
        prop_assert_eq!(read(&bytes, &[bytes.len()]).0, found);
    }

    #[test]
    fn what_is_read_does_not_depend_on_splits(
        requests in vec(request(), 0..3),
        damaged in edited(request()),
        rest in gibberish(),
        lengths in lengths(),
    ) {
        let bytes = [requests.concat(), damaged, rest].concat();
        let (at_once, end) = read(&bytes, &[bytes.len().max(1)]);
        let (in_pieces, end_in_pieces) = read(&bytes, &lengths);
        prop_assert_eq!(end, end_in_pieces);
        prop_assert_eq!(in_pieces.len(), at_once.len());
        // Of a body that breaks off, what came before the bad byte may have been passed on.
        let whole = in_pieces.len() - usize::from(end.is_some());
        prop_assert_eq!(&in_pieces[..whole], &at_once[..whole]);
    }
}
