use alloc::format;
use alloc::string::{String, ToString};

use super::*;

/// `host|path|query`, or the error.
fn parse(method: &str, target: &str) -> String {
    match Target::parse(method, target) {
        Ok(Target { authority, path, query }) => {
            format!("{}|{path}|{}", authority.unwrap_or("-"), query.unwrap_or("-"))
        }
        Err(error) => format!("{error:?}"),
    }
}

#[test]
fn forms() {
    let table = [
        ("/", "-|/|-"),
        ("/a?", "-|/a|"),
        ("/a?x=1&y?", "-|/a|x=1&y?"),
        ("/a?%zz", "-|/a|%zz"),
        ("//a//b", "-|//a//b|-"),
        ("*", "-|*|-"),
        ("http://example.com", "example.com||-"),
        ("http://example.com?a", "example.com||a"),
        ("HTTP://u:p@example.com:8080/x?y=1", "example.com:8080|/x|y=1"),
        ("h2+x.y-z://[::1]:80//", "[::1]:80|//|-"),
        ("http:///x", "-|/x|-"),
        ("http:/x", "-|/x|-"),
        ("http://h:/x", "h:|/x|-"),
        ("", "Form"),
        ("foo", "Form"),
        ("foo/bar", "Form"),
        ("?x", "Form"),
        ("**", "Form"),
        ("mailto:x", "Form"),
        ("1http://x/", "Form"),
        (":/x", "Form"),
        ("h_:/x", "Form"),
        ("http://h:x/", "Authority"),
        ("http://h{/", "Authority"),
        ("http://é/", "Authority"),
        ("http://[::1/", "Authority"),
        ("http://a[::1]/", "Authority"),
        ("http://[::1]x/", "Authority"),
        ("/%zz", "Escape"),
        ("/a/%", "Escape"),
        ("http://h/%2", "Escape"),
        ("/a b", "Control"),
        ("/a?\n", "Control"),
        ("/\x7f", "Control"),
    ];
    for (target, expected) in table {
        assert_eq!(parse("GET", target), expected, "{target}");
    }
}

#[test]
fn connect() {
    let table = [
        ("h:443", "h:443||-"),
        ("[::1]:443", "[::1]:443||-"),
        ("h", "h||-"),
        ("/path", "-|/path|-"),
        ("h:443/a?b", "h:443|/a|b"),
        ("*", "*||-"),
        ("h:x", "Authority"),
    ];
    for (target, expected) in table {
        assert_eq!(parse("CONNECT", target), expected, "{target}");
    }
}

#[test]
fn escapes_what_the_client_should_have() {
    let table = [
        ("/a%2Fb%2fc;x=1,@:&$+!'()*[]~", "/a%2Fb%2fc;x=1,@:&$+!'()*[]~"),
        ("/a#f", "/a%23f"),
        ("/{x}", "/%7Bx%7D"),
        ("/é", "/%C3%A9"),
        ("/%61%2F%25{!", "/a/%25%7B%21"),
        ("/\"<>\\^`|", "/%22%3C%3E%5C%5E%60%7C"),
    ];
    for (target, path) in table {
        assert_eq!(Target::parse("GET", target).unwrap().path, path);
    }
}

#[test]
fn errors_are_sentences() {
    for error in [BadTarget::Form, BadTarget::Control, BadTarget::Escape, BadTarget::Authority] {
        assert!(error.to_string().starts_with("the "), "{error}");
    }
}

#[test]
fn the_authority_replaces_the_host() {
    let target = Target::parse("GET", "http://a/x?q").unwrap();
    assert_eq!(
        target.request("GET", "b"),
        Request { method: "GET", host: "a", path: "/x", query: Some("q") }
    );
    let target = Target::parse("GET", "/x").unwrap();
    assert_eq!(target.request("GET", "b").host, "b");
}
