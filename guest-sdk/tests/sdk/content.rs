use std::{
    cell::Cell,
    io::{self, Cursor, Read, Seek, SeekFrom},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use wasmux_sdk::{Recorder, Request, ResponseWriter, Result, TestRequest, header, serve_content};

/// `Last-Modified` of the content in most of these tests.
const DATE: &str = "Wed, 25 Jun 2014 17:12:18 GMT";
const EARLIER: &str = "Wed, 25 Jun 2014 17:12:17 GMT";
const LATER: &str = "Wed, 25 Jun 2014 17:12:19 GMT";

fn date() -> Option<SystemTime> {
    Some(UNIX_EPOCH + Duration::from_millis(1_403_716_338_700))
}

/// Serves ten digits with these headers set before.
fn digits(request: TestRequest, set: &[(&str, &str)], modified: Option<SystemTime>) -> Recorder {
    let handler = |w: &mut ResponseWriter, r: &mut Request| -> Result<()> {
        set.iter().for_each(|(name, value)| w.set_header(name, value));
        serve_content(w, r, "digits.txt", modified, Cursor::new("0123456789"))
    };
    Recorder::serve(handler, request)
}

fn get(fields: &[(&str, &str)]) -> TestRequest {
    fields.iter().fold(Request::get("/"), |request, (name, value)| request.header(name, value))
}

#[test]
fn the_whole_has_a_length_a_type_and_a_date() {
    for (request, body) in
        [(Request::get("/"), "0123456789"), (Request::head("/"), ""), (Request::post("/"), "0123456789")]
    {
        let response = digits(request, &[], date());
        assert_eq!((response.status().as_u16(), response.text()), (200, body));
        assert_eq!((response.header("content-length"), response.header("accept-ranges")), ("10", "bytes"));
        assert_eq!(response.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!((response.header("last-modified"), response.header("content-range")), (DATE, ""));
    }
    for unknown in [None, Some(UNIX_EPOCH), Some(UNIX_EPOCH - Duration::from_secs(1))] {
        assert_eq!(digits(get(&[]), &[], unknown).header("last-modified"), "");
    }
}

#[test]
fn ranges() {
    let table = [
        ("bytes=0-4", 206, "01234", "bytes 0-4/10"),
        ("bytes=2-", 206, "23456789", "bytes 2-9/10"),
        ("bytes=-5", 206, "56789", "bytes 5-9/10"),
        ("bytes=-11", 206, "0123456789", "bytes 0-9/10"),
        ("bytes=3-7,", 206, "34567", "bytes 3-7/10"),
        ("bytes=9-9", 206, "9", "bytes 9-9/10"),
        ("bytes=5-1000", 206, "56789", "bytes 5-9/10"),
        ("bytes=0-,1-,2-,3-,4-", 200, "0123456789", ""),
        ("bytes=0-9", 206, "0123456789", "bytes 0-9/10"),
        ("bytes=", 200, "0123456789", ""),
        ("bytes=10-", 416, "invalid range: failed to overlap\n", "bytes */10"),
        ("bytes=10-20,30-", 416, "invalid range: failed to overlap\n", "bytes */10"),
        ("bytes=0-4,5", 416, "invalid range\n", ""),
        ("bytes=5-4", 416, "invalid range\n", ""),
        ("bytes=--2", 416, "invalid range\n", ""),
        ("lines=0-4", 416, "invalid range\n", ""),
    ];
    for (range, status, body, content_range) in table {
        let set = [("etag", "\"v1\""), ("cache-control", "no-store")];
        let response = digits(get(&[("range", range)]), &set, date());
        assert_eq!((response.status().as_u16(), response.text()), (status, body), "{range}");
        assert_eq!(response.header("content-range"), content_range, "{range}");
        assert_eq!(response.header("content-length"), body.len().to_string(), "{range}");
        // What was said about the content is not true of an error.
        let about = if status == 416 { ("", "", "") } else { ("\"v1\"", DATE, "no-store") };
        let got =
            (response.header("etag"), response.header("last-modified"), response.header("cache-control"));
        assert_eq!(got, about, "{range}");
        let head = Request::head("/").header("range", range);
        let head = digits(head, &set, date());
        assert_eq!((head.status().as_u16(), head.text()), (status, ""), "{range}");
        assert_eq!(head.header("content-length"), response.header("content-length"), "{range}");
    }
}

#[test]
fn several_ranges_are_a_multipart() {
    let response = digits(get(&[("range", "bytes=1-2, 15-20 ,-3")]), &[("content-type", "image/png")], None);
    assert_eq!((response.status().as_u16(), response.header("content-range")), (206, ""));
    let content_type = response.header("content-type");
    let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").expect("a multipart");
    let part = |range: &str, body: &str| {
        format!(
            "--{boundary}\r\nContent-Range: bytes {range}/10\r\nContent-Type: image/png\r\n\r\n{body}\r\n"
        )
    };
    let want = part("1-2", "12") + &part("7-9", "789") + &format!("--{boundary}--\r\n");
    assert_eq!(response.text(), want);
    assert_eq!(response.header("content-length"), want.len().to_string());
    let other = digits(get(&[("range", "bytes=1-2,-3")]), &[], None);
    assert_ne!(other.header("content-type"), content_type, "nobody can know the boundary before");
    let head =
        digits(Request::head("/").header("range", "bytes=1-2,-3"), &[("content-type", "image/png")], None);
    assert_eq!((head.text(), head.header("content-length")), ("", response.header("content-length")));
}

#[test]
fn conditions() {
    type Fields = &'static [(&'static str, &'static str)];
    let (tag, weak) = ("\"v1\"", "W/\"v1\"");
    let table: &[(Fields, &str, u16)] = &[
        (&[("if-match", "\"v1\"")], tag, 200),
        (&[("if-match", "*")], tag, 200),
        (&[("if-match", "\"v0\" , \"v1\"")], tag, 200),
        (&[("if-match", "\"v0\"")], tag, 412),
        (&[("if-match", "\"v1\"")], "", 412),
        (&[("if-match", "W/\"v1\"")], weak, 412),
        (&[("if-match", "v1, \"v1\"")], tag, 412),
        (&[("if-match", "\"v1\""), ("if-unmodified-since", EARLIER)], tag, 200),
        (&[("if-unmodified-since", DATE)], "", 200),
        (&[("if-unmodified-since", LATER)], "", 200),
        (&[("if-unmodified-since", EARLIER)], "", 412),
        (&[("if-unmodified-since", "yesterday")], "", 200),
        (&[("if-none-match", "\"v1\"")], tag, 304),
        (&[("if-none-match", "\"v1\"")], weak, 304),
        (&[("if-none-match", "W/\"v1\"")], tag, 304),
        (&[("if-none-match", "*")], "", 304),
        (&[("if-none-match", ",, \"v0\",\"v1\"")], tag, 304),
        (&[("if-none-match", "\"v0\"")], tag, 200),
        (&[("if-none-match", "\"v0\""), ("if-modified-since", LATER)], tag, 200),
        (&[("if-modified-since", DATE)], "", 304),
        (&[("if-modified-since", "Wednesday, 25-Jun-14 17:12:18 GMT")], "", 304),
        (&[("if-modified-since", "Wed Jun 25 17:12:18 2014")], "", 304),
        (&[("if-modified-since", LATER)], "", 304),
        (&[("if-modified-since", EARLIER)], "", 200),
        (&[("if-modified-since", "yesterday")], "", 200),
        (&[("range", "bytes=0-4"), ("if-range", "\"v1\"")], tag, 206),
        (&[("range", "bytes=0-4"), ("if-range", "\"v0\"")], tag, 200),
        (&[("range", "bytes=0-4"), ("if-range", "W/\"v1\"")], weak, 200),
        (&[("range", "bytes=0-4"), ("if-range", DATE)], tag, 206),
        (&[("range", "bytes=0-4"), ("if-range", LATER)], tag, 200),
        (&[("range", "bytes=0-4"), ("if-range", "yesterday")], tag, 200),
        (&[("range", "bytes=0-4"), ("if-none-match", "\"v1\"")], tag, 304),
    ];
    for (fields, tag, status) in table {
        let set = [("etag", *tag), ("content-encoding", "")];
        let response = digits(get(fields), &set, date());
        assert_eq!(response.status().as_u16(), *status, "{fields:?} {tag}");
        if *status == 304 {
            assert_eq!((response.text(), response.header("content-type")), ("", ""));
            assert!(!response.headers().contains_key(header::CONTENT_ENCODING));
            assert_eq!(
                response.header("last-modified"),
                if tag.is_empty() { DATE } else { "" },
                "{fields:?}"
            );
        }
        if *status == 412 {
            assert_eq!(response.text(), "");
        }
    }
}

#[test]
fn conditions_of_other_methods_and_without_a_date() {
    let post = |name: &str, value: &str| Request::post("/").header(name, value);
    assert_eq!(digits(post("if-none-match", "\"v1\""), &[("etag", "\"v1\"")], date()).status(), 412);
    assert_eq!(digits(post("if-modified-since", LATER), &[], date()).status(), 200);
    for name in ["if-modified-since", "if-unmodified-since"] {
        assert_eq!(digits(get(&[(name, LATER)]), &[], None).status(), 200);
    }
    let fields = [("range", "bytes=0-4"), ("if-range", DATE)];
    assert_eq!(digits(get(&fields), &[], None).status(), 200);
}

#[test]
fn the_type_is_the_handlers_or_the_names_or_guessed() {
    let serve = |given: Option<&'static str>, name: &'static str| {
        let handler = move |w: &mut ResponseWriter, r: &mut Request| {
            if let Some(given) = given {
                w.set_header("content-type", given);
            }
            serve_content(w, r, name, None, Cursor::new("<html><p>"))
        };
        Recorder::serve(handler, Request::get("/"))
    };
    for (given, name, want) in [
        (Some("a/b"), "x.css", "a/b"),
        (Some(""), "x.css", ""),
        (None, "x.css", "text/css; charset=utf-8"),
        (None, "x.unknown", "text/html; charset=utf-8"),
        (None, "", "text/html; charset=utf-8"),
    ] {
        let response = serve(given, name);
        assert_eq!((response.header("content-type"), response.text()), (want, "<html><p>"), "{name}");
    }
}

#[test]
fn encoded_content_is_sent_without_a_length_unless_in_part() {
    let set = [("content-encoding", "gzip")];
    let response = digits(get(&[]), &set, None);
    assert_eq!((response.status().as_u16(), response.text()), (200, "0123456789"));
    let response = digits(get(&[("range", "bytes=0-1")]), &set, None);
    assert_eq!((response.header("content-length"), response.header("content-encoding")), ("2", "gzip"));
}

#[test]
fn nothing_has_no_ranges() {
    for range in ["bytes=0-128", "bytes=1-", "bytes=-5", ""] {
        let handler =
            |w: &mut ResponseWriter, r: &mut Request| serve_content(w, r, "a.txt", None, io::empty());
        let response = Recorder::serve(handler, Request::get("/").header("range", range));
        assert_eq!((response.status().as_u16(), response.header("content-length")), (200, "0"), "{range}");
    }
}

/// Content of a size it does not have, and which fails where it is told to.
struct Odd<'t> {
    size: u64,
    seeks_left: &'t Cell<u32>,
}

impl Read for Odd<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = into.len().min(self.size as usize).min(3);
        into[..count].fill(b'x');
        self.size = 0;
        Ok(count)
    }
}

impl Seek for Odd<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let left = self.seeks_left.get().checked_sub(1).ok_or(io::ErrorKind::Unsupported)?;
        self.seeks_left.set(left);
        Ok(if matches!(to, SeekFrom::End(_)) { self.size } else { 0 })
    }
}

#[test]
fn content_that_fails_is_no_success() {
    for (seeks, range, status) in [(0, "", 500), (1, "", 500), (2, "bytes=1-2", 416)] {
        let left = Cell::new(seeks);
        let handler = |w: &mut ResponseWriter, r: &mut Request| {
            serve_content(w, r, "a.txt", None, Odd { size: 100, seeks_left: &left })
        };
        let response = Recorder::serve(handler, Request::get("/").header("range", range));
        assert_eq!((response.status().as_u16(), response.text()), (status, "seeker can't seek\n"));
    }
    let left = Cell::new(9);
    let short = |w: &mut ResponseWriter, r: &mut Request| {
        serve_content(w, r, "a.txt", None, Odd { size: 5000, seeks_left: &left })
    };
    let response = Recorder::serve(short, Request::get("/"));
    assert!(response.is_broken_off() || response.status() == 500, "{response:?}");
}
