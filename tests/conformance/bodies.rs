//! Bodies and trailers both ways.

use super::Framing::Chunked;
use super::responses::pattern;
use super::{Case, case, check};

#[test]
fn a_body_comes_back() {
    let sizes = [
        ("0 B", 0),
        ("1 B", 1),
        ("4095 B", 4095),
        ("4096 B", 4096),
        ("4097 B", 4097),
        ("64 KiB", 65_536),
        ("100 kB", 100_000),
        ("1 MB", 1_000_000),
    ];
    let cases: Vec<_> = sizes
        .into_iter()
        .flat_map(|(name, size)| {
            let whole = case(name, "read:all,echo,state").sends(pattern(size));
            let mut back = pattern(size);
            back.extend(b"end=eof\n");
            let streamed =
                (size <= 100_000).then(|| case(name, "pipe").sends(pattern(size)).body(pattern(size)));
            [Some(whole.body(back)), streamed]
        })
        .flatten()
        .collect();
    check(&cases);
}

/// An HTTP/1 request with a chunked body.
fn chunked(name: &'static str, bytes: &'static [u8]) -> Case {
    case(name, "").wire(bytes)
}

#[test]
fn chunks_and_trailers_come_in() {
    check(&[
        chunked(
            "chunks",
            b"POST /?ops=read:all,echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
              3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
        )
        .body("abcde"),
        chunked(
            "trailers",
            b"POST /?ops=read:all,trailers HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\
              Trailer: X-Sum, X-Other\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-Other: \xff\r\nX-Sum: 2\r\n\r\n",
        )
        .body("x-other: \\xff\nx-sum: 1\nx-sum: 2\n"),
        chunked(
            "trailers of nothing",
            b"POST /?ops=read:all,trailers HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\
              Trailer: X-Sum\r\n\r\n0\r\nX-Sum: 1\r\n\r\n",
        )
        .body("x-sum: 1\n"),
        chunked(
            "no trailers",
            b"POST /?ops=read:all,trailers,text:none HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
              0\r\n\r\n",
        )
        .body("none"),
        chunked(
            "broken chunks",
            b"POST /?ops=read:all,state HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
              3\r\nabcX\r\n",
        )
        .body("end=error\n"),
    ]);
}

#[test]
fn trailers_go_out() {
    check(&[
        case("announced", "trailer:X-Sum:42,text:body,flush,text:more")
            .framing(Chunked)
            .has("trailer", "X-Sum")
            .body("bodymore")
            .trailer("x-sum", "42"),
        case("not announced", "text:body,flush,utrailer:X-Sum:42")
            .framing(Chunked)
            .body("body")
            .trailer("x-sum", "42"),
        case("several", "text:body,flush,utrailer:X-B:2,utrailer:X-A:1,utrailer:X-B:%FF")
            .body("body")
            .trailer("x-a", "1")
            .trailer("x-b", "2")
            .trailer_bytes("x-b", b"\xff"),
        case("of nothing", "flush,utrailer:X-Sum:42").body("").trailer("x-sum", "42"),
        case("framing is none", "text:body,flush,utrailer:Content-Length:3,utrailer:X-Sum:42")
            .body("body")
            .trailer("x-sum", "42"),
        case("with a length", "cl:4,text:body,utrailer:X-Sum:42")
            .body("body")
            .has("content-length", "4")
            .http1(),
    ]);
}

#[test]
fn continue_is_sent_when_the_guest_reads() {
    let asks = |name, bytes| chunked(name, bytes);
    let mut reads = asks(
        "who reads",
        b"POST /?ops=read:all,echo HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody",
    )
    .body("body");
    reads.expected.interim = vec![100];
    check(&[
        reads,
        asks(
            "who does not",
            b"POST /?ops=text:no HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
        )
        .body("no"),
    ]);
}

#[test]
fn request_bodies_have_a_limit() {
    let reads = |name, size: usize| case(name, "read:all,state").path("/small").sends(pattern(size));
    check(&[
        reads("at it", 10).body("end=eof\n"),
        reads("declared beyond it", 11).http1().status(413),
        case("undeclared beyond it", "")
            .wire(
                b"POST /small?ops=read:all,state HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
                  8\r\n12345678\r\n8\r\n12345678\r\n0\r\n\r\n",
            )
            .body("end=error\n"),
        reads("undeclared beyond it, over HTTP/2", 11).http2().body("end=error\n"),
    ]);
}

#[test]
fn response_bodies_have_a_limit() {
    check(&[
        case("at it", "write:10").path("/small").body(pattern(10)),
        case("beyond it", "write:11").path("/small").status(500),
        case("beyond it, later", "write:10,flush,sleep:5,write:1").path("/small").breaks_off(),
    ]);
}
