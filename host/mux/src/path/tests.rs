use super::*;

#[test]
fn cleans() {
    let table = [
        ("", "/"),
        ("//", "/"),
        ("a", "/a"),
        ("a/", "/a/"),
        ("/.", "/"),
        ("/..", "/"),
        ("/../../c", "/c"),
        ("/c/.", "/c"),
        ("/c//", "/c/"),
        ("/c/d/..", "/c"),
        ("/c/d/../", "/c/"),
        ("/x/../c", "/c"),
        ("/c/..", "/"),
        ("/c/../", "/"),
        ("//a%2Fb", "/a%2Fb"),
        ("/a/./b/../é//", "/a/é/"),
    ];
    for (path, expected) in table {
        let clean = clean_path(path);
        assert_eq!(clean, expected, "{path}");
        assert!(matches!(clean, Cow::Owned(_)), "{path}");
    }
    for path in ["/", "/a", "/a/", "/%2e%2e/b", "/...", "/.a/..b/c.", "/%2F/"] {
        assert!(matches!(clean_path(path), Cow::Borrowed(clean) if clean == path), "{path}");
    }
}

#[test]
fn decodes() {
    assert!(matches!(percent_decode("a+b"), Some(Cow::Borrowed(b"a+b"))));
    assert_eq!(percent_decode("%61%2fB%2F%00%ff").as_deref(), Some(&b"a/B/\x00\xff"[..]));
    for bad in ["%", "a%2", "%zz", "%+1", "%61%", "%é"] {
        assert_eq!(percent_decode(bad), None, "{bad}");
        assert_eq!(*decode_or_keep(bad), *bad.as_bytes());
    }
}

#[test]
fn strips_ports() {
    let table = [
        ("", ""),
        ("h", "h"),
        ("h:80", "h"),
        ("h:", "h"),
        (":80", ""),
        ("h:http", "h"),
        ("h:1:2", "h:1:2"),
        ("[::1]:80", "::1"),
        ("[::1]:", "::1"),
        ("[::1]", "[::1]"),
        ("::1", "::1"),
        ("[::1", "[::1"),
        ("[]:1", ""),
        ("[::1]80", "[::1]80"),
        ("[::1]a:80", "[::1]a:80"),
        ("[a]:[b", "[a]:[b"),
        ("[[a]:1", "[[a]:1"),
        ("[a]]:1", "[a]]:1"),
        ("a]:1", "a]:1"),
        ("a[:1", "a[:1"),
        ("a:]", "a:]"),
    ];
    for (host, expected) in table {
        assert_eq!(strip_port(host), expected, "{host}");
    }
}

fn segments(mut path: Path<'_>) -> Vec<Vec<u8>> {
    let mut segments = Vec::new();
    while let Some((segment, rest)) = path.split_first() {
        segments.push(segment.into_owned());
        path = rest;
    }
    segments
}

#[test]
fn splits() {
    let table: [(&str, &[&str], &[&str]); 7] = [
        ("", &[], &["/"]),
        ("/a", &["a"], &["a", "/"]),
        ("/a%2Fb/%zz", &["a/b", "%zz"], &["a/b", "%zz", "/"]),
        ("/", &["/"], &["", "/"]),
        ("/a/", &["a", "/"], &["a", "", "/"]),
        ("//a", &["", "a"], &["", "a", "/"]),
        ("a/b", &[], &[]),
    ];
    for (text, plain, slashed) in table {
        assert_eq!(
            segments(Path::new(text)),
            plain.iter().map(|s| s.as_bytes()).collect::<Vec<_>>(),
            "{text}"
        );
        let with_slash = segments(Path::with_slash(text));
        assert_eq!(with_slash, slashed.iter().map(|s| s.as_bytes()).collect::<Vec<_>>(), "{text}");
        if !text.starts_with('a') {
            assert_eq!(Path::new(text).segment_count(), plain.len(), "{text}");
            assert_eq!(Path::with_slash(text).segment_count(), slashed.len(), "{text}");
        }
    }
}
