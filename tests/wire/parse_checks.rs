//! The parser refuses what is not to the letter, and says when more is to come.

use super::case::{Framing, Response};
use super::parse::{Stop, response};

fn parse(text: &str, method: &str, eof: bool) -> Result<(Response, usize), Stop> {
    response(text.as_bytes(), 0, method, eof)
}

/// Parses all of a text.
fn whole(text: &str) -> Response {
    let (response, end) = parse(text, "GET", true).unwrap_or_else(|stop| panic!("{text:?}: {stop:?}"));
    assert_eq!(end, text.len(), "{text:?}");
    response
}

#[test]
fn bodies_end_where_their_framing_says() {
    let length = whole("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!((length.framing, length.body.text.as_deref()), (Framing::Cl, Some("hello")));
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nX-T: 1\r\n\r\n";
    let chunked = whole(chunked);
    assert_eq!((chunked.framing, chunked.body.text.as_deref()), (Framing::Chunked, Some("hello")));
    assert_eq!(chunked.trailers, [("x-t".to_owned(), "1".to_owned())]);
    let close = whole("HTTP/1.0 200\r\n\r\nhello");
    assert_eq!(
        (close.framing, close.body.text.as_deref(), close.status),
        (Framing::Close, Some("hello"), 200)
    );
    for status in ["204 No Content", "304 Not Modified", "101 Switching Protocols"] {
        assert_eq!(whole(&format!("HTTP/1.1 {status}\r\n\r\n")).framing, Framing::None);
    }
    let (head, end) = parse("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP", "HEAD", false).unwrap();
    assert_eq!((head.framing, end), (Framing::None, 38));
    let long = whole(&format!("HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n{}", "a".repeat(2000)));
    assert_eq!((long.body.len, long.body.text, long.body.sha256.unwrap().len()), (2000, None, 64));
}

#[test]
fn heads_are_sorted_and_dates_masked() {
    let text = "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nX-B: 2\r\nDate: today\r\nX-A:  1\t\r\nx-b: 1\r\nContent-Length: 0\r\n\r\n";
    let response = whole(text);
    let fields: Vec<_> =
        response.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let wanted = [("content-length", "0"), ("date", "DATE"), ("x-a", "1"), ("x-b", "2"), ("x-b", "1")];
    assert_eq!(fields, wanted);
    assert_eq!((response.interim[0].status, response.interim.len()), (103, 1));
}

#[test]
fn unfinished_ones_are_waited_for() {
    let texts = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    ];
    for text in texts {
        for end in 0..text.len() {
            let stop = parse(&text[..end], "GET", false).expect_err(&text[..end]);
            assert!(matches!(stop, Stop::More(_)), "{:?}: {stop:?}", &text[..end]);
        }
        let head = text.rfind("\r\n\r\n").unwrap();
        for end in text.find("\r\n\r\n").unwrap() + 4..head.min(text.len() - 1) {
            if let Ok((response, _)) = parse(&text[..end], "GET", true) {
                assert!(!response.complete, "{:?}", &text[..end]);
            }
        }
    }
    let Stop::More(pending) = parse("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 2", "GET", true).unwrap_err()
    else {
        panic!("there is nothing wrong with it")
    };
    assert_eq!(pending.len(), 1);
    let (cut, _) = parse("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", "GET", true).unwrap();
    assert_eq!((cut.complete, cut.body.text.as_deref()), (false, Some("hel")));
    let cut = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n9\r\nll";
    let (cut, _) = parse(cut, "GET", true).unwrap();
    assert_eq!((cut.complete, cut.body.text.as_deref()), (false, Some("hell")));
}

#[test]
fn breaches_are_found() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunks = |text: &str| format!("{chunked}{text}");
    let bad = [
        // Lines.
        "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\n",
        // Status lines.
        "HTTP/1.2 200 OK\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 020 OK\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        // Fields.
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: no name\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : space\r\n\r\n",
        "HTTP/1.1 200 OK\r\n X: folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\x01b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\x7fb\r\n\r\n",
        // Framing.
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        // Chunks.
        &chunks("x\r\n"),
        &chunks("\r\n"),
        &chunks("-1\r\n"),
        &chunks("5 \r\nhello\r\n"),
        &chunks("0x5\r\nhello\r\n"),
        &chunks("00000000000000005\r\nhello\r\n"),
        &chunks("5\nhello\r\n"),
        &chunks("4\r\nhello\r\n"),
        &chunks("5\r\nhello\n\n0\r\n\r\n"),
        &chunks("0\r\nbad trailer\r\n\r\n"),
    ];
    for text in bad {
        for eof in [false, true] {
            let stop = parse(text, "GET", eof);
            assert!(matches!(stop, Err(Stop::Bad(_))), "{text:?}: {stop:?}");
        }
    }
    let (_, end) = parse("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 2", "GET", false).unwrap();
    assert_eq!(end, 40, "what follows is of the next one");
}
