//! What becomes of the head that a guest sends.

use super::Framing::{Chunked, Length, None};
use super::{Abi, case, check};

#[test]
fn statuses() {
    let mut cases: Vec<_> = [
        ("200", 200),
        ("201", 201),
        ("299", 299),
        ("301", 301),
        ("400", 400),
        ("404", 404),
        ("418", 418),
        ("451", 451),
        ("500", 500),
        ("503", 503),
        ("599", 599),
        ("600", 600),
        ("999", 999),
    ]
    .into_iter()
    .map(|(name, status)| {
        let row =
            case(name, format!("status:{status},text:body")).status(status).body("body").framing(Length);
        match status {
            600.. => {
                row.but(Abi::P3, "set-status-code takes none above 599", |expected| expected.status = 200)
            }
            _ => row,
        }
    })
    .collect();
    cases.push(case("204", "status:204").status(204).body("").framing(None));
    cases.push(case("205", "status:205").status(205).body("").framing(Length));
    cases.push(case("304", "status:304").status(304).body("").framing(None));
    cases.push(case("204 with a body", "status:204,text:body").status(204).body("").framing(None));
    cases.push(case("304 with a body", "status:304,text:body").status(304).body("").framing(None));
    // net/http sends no length with it, over HTTP/1.
    cases.push(case("304 with a length", "status:304,cl:42").status(304).body(""));
    check(&cases);
}

/// Over HTTP/2 nobody gets them.
#[test]
fn interim_responses() {
    let mut hints =
        case("hints", "hdr:X-Hint:1,status:103,status:102,text:done").http1().has("x-hint", "1").body("done");
    hints.expected.interim = vec![103, 102];
    check(&[hints
        .but(Abi::P2, "unstable in 0.2, and not in its bindings: see the tests of p2", |expected| {
            expected.interim.clear();
        })
        .but(Abi::P3, "0.3 has none", |expected| expected.interim.clear())]);
}

#[test]
fn header_fields() {
    check(&[
        case("repeats, in their order", "hdr:X-B:2,hdr:X-A:1,hdr:X-B:1,hdr:x-b:3")
            .has("x-a", "1")
            .has("x-b", "2")
            .has("x-b", "1")
            .has("x-b", "3"),
        case("values are bytes", "hdr:X-Bytes:a%FF%E4 z".replace(' ', "%20"))
            .has_bytes("x-bytes", b"a\xff\xe4 z"),
        case("nothing", "hdr:X-None:").has("x-none", ""),
        case("a type", "hdr:Content-Type:image/png,text:x").has("content-type", "image/png"),
        case("cookies", "hdr:Set-Cookie:a%3D1").has("set-cookie", "a=1"),
        case("a date", "hdr:Date:Thu%2C%2001%20Jan%201970%2000:00:00%20GMT")
            .has("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ]);
}

#[test]
fn what_belongs_to_the_connection_is_not_sent() {
    let script = "hdr:Connection:X-Hop,hdr:Keep-Alive:timeout%3D5,hdr:Transfer-Encoding:gzip,hdr:TE:trailers,\
                  hdr:Upgrade:h2c,hdr:Proxy-Connection:x,hdr:X-End:1,text:body";
    check(&[case("hop by hop", script)
        .has("x-end", "1")
        .body("body")
        .lacks("connection")
        .lacks("keep-alive")
        .lacks("te")
        .lacks("upgrade")
        .lacks("proxy-connection")]);
    check(&[
        case("a wish to close", "hdr:Connection:close,text:body")
            .http1()
            .has("connection", "close")
            .body("body"),
        case("a wish to close, over HTTP/2", "hdr:Connection:close,text:body")
            .http2()
            .lacks("connection")
            .body("body"),
    ]);
}

#[test]
fn framing() {
    check(&[
        case("in one piece", "text:hello").framing(Length).has("content-length", "5").body("hello"),
        case("in several writes", "text:a,text:b,text:c")
            .framing(Length)
            .has("content-length", "3")
            .body("abc"),
        case("nothing", "status:200").framing(Length).body(""),
        case("an empty write", "text:").framing(Length).body(""),
        case("declared", "cl:5,text:hello").framing(Length).has("content-length", "5").body("hello"),
        case("declared, in pieces", "cl:5,text:he,flush,text:llo")
            .framing(Length)
            .has("content-length", "5")
            .body("hello"),
        case("streamed", "text:a,flush,sleep:5,text:b").body("ab"),
        case("large", "write:1000000").body(pattern(1_000_000)),
        case("large, declared", "cl:1000000,write:1000000").framing(Length).body(pattern(1_000_000)),
        case("large, in pieces", "write:70000,write:70000,flush,write:70000")
            .framing(Chunked)
            .body(pattern(210_000)),
    ]);
}

#[test]
fn lengths_that_are_wrong() {
    const UNFLUSHED: &str = "it cannot flush, so the head waits for the body, whose length wasmtime checks";
    check(&[
        case("too short", "cl:10,text:part,flush").body("part").breaks_off().but(
            Abi::P3,
            UNFLUSHED,
            |expected| expected.fails = true,
        ),
        case("nothing of it", "cl:10")
            .body("")
            .breaks_off()
            .but(Abi::P3, UNFLUSHED, |expected| expected.fails = true),
        case("too long", "cl:4,text:part%20and%20more").body("").breaks_off().but(
            Abi::P3,
            UNFLUSHED,
            |expected| expected.fails = true,
        ),
        case("too long, later", "cl:4,text:part,flush,text:more").framing(Length).body("part").but(
            Abi::P3,
            UNFLUSHED,
            |expected| expected.fails = true,
        ),
        case("no number", "cl:x,text:body").body("body"),
        case("negative", "cl:-1,text:body").body("body"),
        case("plus", "cl:%2B4,text:body").body("body"),
        case("the last of two", "cl:5,cl:4,text:body")
            .framing(Length)
            .has("content-length", "4")
            .body("body"),
    ]);
}

#[test]
fn head_has_no_body() {
    check(&[
        case("HEAD", "text:hello").method("HEAD").body(""),
        case("HEAD, declared", "cl:5").method("HEAD").has("content-length", "5").body(""),
        case("HEAD, declared and written", "cl:5,text:hello")
            .method("HEAD")
            .has("content-length", "5")
            .body(""),
        case("HEAD, streamed", "text:a,flush,text:b").method("HEAD").body(""),
        case("HEAD, large", "write:200000").method("HEAD").body(""),
        case("HEAD, 404", "status:404").method("HEAD").status(404).body(""),
    ]);
}

pub(super) fn pattern(count: usize) -> Vec<u8> {
    const LETTERS: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    (0..count).map(|k| LETTERS[(k + k / LETTERS.len()) % LETTERS.len()]).collect()
}
