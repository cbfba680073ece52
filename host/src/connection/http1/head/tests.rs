use super::*;

fn judge(head: &str) -> Result<Head, Refusal> {
    parse(&Bytes::copy_from_slice(head.as_bytes()))
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
    assert_eq!(expects("Expect:\r\nContent-Length: 1\r\n"), Ok(false));
    assert_eq!(expects("Expect: other\r\nContent-Length: 1\r\n"), Err(Refusal::Expectation));
}

#[test]
fn fields_are_kept_as_they_came() {
    let head =
        judge("GET / HTTP/1.1\r\nHost: h\r\nX-A:  one \r\nx-a: two\r\nX-B:\r\nX-C: \u{e9}\r\n\r\n").unwrap();
    let fields = &head.parts.headers;
    assert_eq!(fields.get_all("x-a").iter().collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(fields["x-b"], "");
    assert_eq!(fields["x-c"].as_bytes(), "\u{e9}".as_bytes());
    let cached = |line: &str| {
        let head = judge(&format!("GET / HTTP/1.1\r\nHost: h\r\n{line}\r\n")).unwrap();
        head.parts.headers.get(header::CACHE_CONTROL).cloned()
    };
    assert_eq!(cached("Pragma: no-cache\r\n").unwrap(), "no-cache");
    assert_eq!(cached("Pragma: no-cache\r\nCache-Control: x\r\n").unwrap(), "x");
    assert_eq!(cached("Pragma: x\r\nPragma: no-cache\r\n"), None, "the first counts");
}

#[test]
fn connections_persist_by_version_and_field() {
    let persists = |version: &str, fields: &str| {
        judge(&format!("GET / {version}\r\nHost: h\r\n{fields}\r\n")).unwrap().keep_alive
    };
    assert!(persists("HTTP/1.1", ""));
    assert!(!persists("HTTP/1.1", "Connection: x, Close\r\n"));
    assert!(!persists("HTTP/1.1", "Connection: keep-alive\r\nConnection: close\r\n"));
    assert!(!persists("HTTP/1.0", ""));
    assert!(persists("HTTP/1.0", "Connection: Keep-Alive\r\n"));
    assert!(!persists("HTTP/1.0", "Connection: keep-alive, close\r\n"));
    for fields in [
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let head = judge(&format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n")).unwrap();
        assert!(!head.keep_alive, "requests are smuggled behind these");
        assert!(!head.parts.headers.contains_key(header::CONTENT_LENGTH), "a length that does not count");
    }
}

#[test]
fn targets_that_no_uri_holds_are_kept_beside_it() {
    let parts = |line: &str| judge(&format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n")).unwrap().parts;
    let plain = parts("GET /plain?q=%zz");
    assert_eq!(plain.uri, "/plain?q=%zz");
    assert!(plain.extensions.get::<RawTarget>().is_none());
    for (line, uri) in [
        ("GET /a?q=<\">", "/a?q=%3C%22%3E"),
        ("GET /a#f", "/a%23f"),
        ("GET http://x.test/p?q", "http://x.test/p?q"),
        ("GET http://x.test", "http://x.test/"),
        ("CONNECT h:443", "h:443"),
        ("CONNECT /p", "/p"),
        ("OPTIONS *", "*"),
    ] {
        let parts = parts(line);
        let (method, target) = line.split_once(' ').unwrap();
        assert_eq!((parts.method.as_str(), parts.uri.to_string().as_str()), (method, uri), "{line}");
        assert_eq!(parts.extensions.get::<RawTarget>().unwrap().0, target, "{line}");
    }
}

#[test]
fn trailers_are_fields() {
    let fields = trailers(&Bytes::from_static(b"X-T: one\r\nX-U:\r\n\r\n"));
    assert_eq!(
        (fields.len(), &fields["x-t"], &fields["x-u"]),
        (2, &"one".parse().unwrap(), &"".parse().unwrap())
    );
    assert!(trailers(&Bytes::from_static(b"\r\n")).is_empty());
}
