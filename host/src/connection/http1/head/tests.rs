use super::*;

fn judge(head: &str) -> Result<Accepted, Refusal> {
    check(BytesMut::from(head.as_bytes()))
}

fn refusal(head: &str) -> Option<Refusal> {
    judge(head).err()
}

#[test]
fn request_lines() {
    for line in [
        "GET / HTTP/1.1",
        "get /a?b HTTP/1.1",
        "FOO /a%2Fb HTTP/1.0",
        "GET * HTTP/1.1",
        "GET /{\"<> HTTP/1.1",
    ] {
        assert_eq!(refusal(&format!("{line}\r\nHost: h\r\n\r\n")), None, "{line}");
    }
    for line in [
        "",
        "GET",
        "GET /",
        " GET / HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /a b HTTP/1.1",
        "GE(T / HTTP/1.1",
        "GET foo HTTP/1.1",
        "GET /\u{1} HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/2",
        "GET / HTTP/1.10",
        "GET / HTTP/+1.1",
        "GET\t/ HTTP/1.1",
        "GET /%zz{ HTTP/1.1",
        "GET http:// HTTP/1",
    ] {
        assert_eq!(refusal(&format!("{line}\r\nHost: h\r\n\r\n")), Some(Refusal::Malformed), "{line}");
    }
    for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/3.0"] {
        assert_eq!(refusal(&format!("GET / {version}\r\nHost: h\r\n\r\n")), Some(Refusal::Version));
    }
}

#[test]
fn hosts() {
    assert_eq!(refusal("GET / HTTP/1.1\r\n\r\n"), Some(Refusal::HostMissing));
    assert_eq!(refusal("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), Some(Refusal::Malformed));
    assert_eq!(refusal("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"), Some(Refusal::Malformed));
    assert_eq!(refusal("GET / HTTP/1.1\r\nHost: a{b\r\n\r\n"), Some(Refusal::HostMalformed));
    for head in ["GET / HTTP/1.0\r\n\r\n", "CONNECT h:1 HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost:\r\n\r\n"]
    {
        assert_eq!(refusal(head), None, "{head}");
    }
    for host in ["::1", "[::1]:80", "foo-bar_baz.com", "[::1%25en0]:80"] {
        assert_eq!(refusal(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")), None, "{host}");
    }
}

#[test]
fn framings() {
    let framing =
        |fields: &str| judge(&format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n")).map(|head| head.framing);
    assert_eq!(framing(""), Ok(Framing::Length(0)));
    assert_eq!(framing("Content-Length: 5\r\n"), Ok(Framing::Length(5)));
    assert_eq!(framing("Content-Length: 5\r\nContent-Length: 5\r\n"), Ok(Framing::Length(5)));
    assert_eq!(framing("Content-Length: 9223372036854775807\r\n"), Ok(Framing::Length(i64::MAX as u64)));
    assert_eq!(framing("Transfer-Encoding: CHUNKED\r\n"), Ok(Framing::Chunked));
    assert_eq!(framing("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), Ok(Framing::Chunked));
    for length in ["", "+3", "-3", "0x3", "3,3", "3 3", "9223372036854775808"] {
        let field = format!("Content-Length: {length}\r\n");
        assert_eq!(framing(&field), Err(Refusal::Malformed), "{length:?}");
        assert_eq!(
            framing(&format!("Transfer-Encoding: chunked\r\n{field}")),
            Err(Refusal::Malformed),
            "{length:?}"
        );
    }
    assert_eq!(framing("Content-Length: 5\r\nContent-Length: 6\r\n"), Err(Refusal::Malformed));
    for coding in ["gzip", "identity", "gzip, chunked", "chunked, chunked", "", "xchunked"] {
        assert_eq!(framing(&format!("Transfer-Encoding: {coding}\r\n")), Err(Refusal::Coding), "{coding}");
    }
    assert_eq!(framing("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), Err(Refusal::Coding));
    assert_eq!(
        framing("Transfer-Encoding: chunked\r\nTrailer: A, Content-Length\r\n"),
        Err(Refusal::Malformed)
    );
    let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(refusal(old), Some(Refusal::Malformed));
}

#[test]
fn fields() {
    for field in ["X Y: 1", "X : 1", ": 1", "no colon", " folded: 1", "X: a\u{0}b", "X: a\rb", "X: a\r\n b"] {
        assert_eq!(
            refusal(&format!("GET / HTTP/1.1\r\nHost: h\r\n{field}\r\n\r\n")),
            Some(Refusal::Malformed),
            "{field:?}"
        );
    }
    let lines =
        |count: usize| refusal(&format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(count - 1)));
    assert_eq!(lines(500), None);
    assert_eq!(lines(501), Some(Refusal::HeadTooLarge));
}

#[test]
fn expectations() {
    let expects = |fields: &str| {
        judge(&format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n")).map(|head| head.expects_continue)
    };
    assert_eq!(expects("Expect: 100-Continue\r\nContent-Length: 1\r\n"), Ok(true));
    assert_eq!(expects("Expect: x, 100-continue\r\nContent-Length: 1\r\n"), Ok(true));
    assert_eq!(expects("Expect: 100-continue\r\n"), Ok(false));
    for line in ["POST / HTTP/1.1", "POST /# HTTP/1.1", "CONNECT / HTTP/1.1"] {
        let head = format!("{line}\r\nHost: h\r\nExpect: 100-continue, x\r\nContent-Length: 1\r\n\r\n");
        let forwarded = judge(&head).unwrap().bytes;
        assert!(
            forwarded.ends_with(b"Content-Length: 1\r\nExpect: 100-continue\r\n\r\n"),
            "{line}: what hyper heeds"
        );
    }
    assert_eq!(expects("Expect:\r\nContent-Length: 1\r\n"), Ok(false));
    assert_eq!(expects("Expect: other\r\nContent-Length: 1\r\n"), Err(Refusal::Expectation));
}

#[test]
fn what_hyper_cannot_hold_is_restored() {
    let restored = |line: &str| judge(&format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n")).unwrap();
    assert!(restored("GET /plain?q=%zz").restored.is_none());
    for (line, forwarded, uri) in [
        ("GET /a?q=<\">", "GET / HTTP/1.1", "/a?q=%3C%22%3E"),
        ("GET /a#f", "GET / HTTP/1.1", "/a%23f"),
        ("GET http://x.test/p?q", "GET / HTTP/1.1", "http://x.test/p?q"),
        ("GET http://x.test", "GET / HTTP/1.1", "http://x.test/"),
        ("CONNECT h:443", "X-CONNECT / HTTP/1.1", "h:443"),
        ("CONNECT /p", "X-CONNECT / HTTP/1.1", "/p"),
        ("OPTIONS *", "OPTIONS / HTTP/1.1", "*"),
    ] {
        let accepted = restored(line);
        assert!(accepted.bytes.starts_with(format!("{forwarded}\r\nHost: h\r\n").as_bytes()), "{line}");
        let restored = accepted.restored.unwrap();
        assert_eq!(restored.uri.to_string(), uri, "{line}");
        assert_eq!(restored.raw, line.split_once(' ').unwrap().1, "{line}");
        assert_eq!(restored.method.as_str(), line.split_once(' ').unwrap().0);
    }
}
