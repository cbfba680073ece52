use alloc::format;
use alloc::string::{String, ToString};

use super::*;

/// The text of an error after `parsing "…": `.
fn error(text: &str) -> String {
    let error = Pattern::parse(text).unwrap_err();
    assert!(error.offset() <= text.len(), "{error}");
    assert_eq!(error.pattern(), text);
    format!("{}: {}", error.offset(), error.reason())
}

#[test]
fn errors() {
    let unclean = "4: non-CONNECT pattern with unclean path can never match";
    let table = [
        ("", "0: empty pattern"),
        ("A=B /", "0: invalid method \"A=B\""),
        ("/ {x}", "0: invalid method \"/\""),
        ("GET,POST /x", "0: invalid method \"GET,POST\""),
        (" ", "1: host/path missing /"),
        ("x", "0: host/path missing /"),
        ("GET example.com", "4: host/path missing /"),
        ("GET \t example.com", "6: host/path missing /"),
        ("{a}/b", "0: host contains '{' (missing initial '/'?)"),
        ("GET a{/b", "5: host contains '{' (missing initial '/'?)"),
        ("/x{w}", "1: bad wildcard segment (must start with '{')"),
        ("/{w}x", "1: bad wildcard segment (must end with '}')"),
        ("/{wx", "1: bad wildcard segment (must end with '}')"),
        ("/{", "1: bad wildcard segment (must end with '}')"),
        ("/a/{/}/c", "3: bad wildcard segment (must end with '}')"),
        ("/{}", "1: empty wildcard"),
        ("/{...}", "1: empty wildcard"),
        ("/{..}", "1: bad wildcard name \"..\""),
        ("POST a.com/x/{}/y", "13: empty wildcard"),
        ("/{a$}", "1: bad wildcard name \"a$\""),
        ("/{$...}", "1: bad wildcard name \"$\""),
        ("/{1a}", "1: bad wildcard name \"1a\""),
        ("/a/{%61}/c", "3: bad wildcard name \"%61\""),
        ("/{{a}}", "1: bad wildcard name \"{a}\""),
        ("/{\n}", "1: bad wildcard name \"\\n\""),
        ("/{$}/", "1: {$} not at end"),
        ("/{$}/x", "1: {$} not at end"),
        ("/abc/{$}/x", "5: {$} not at end"),
        ("/{a...}/", "1: {...} wildcard not at end"),
        ("/{a...}/x", "1: {...} wildcard not at end"),
        ("/{...}/x", "1: {...} wildcard not at end"),
        ("/a/{x}/b/{x...}", "9: duplicate wildcard name \"x\""),
        ("GET //", unclean),
        ("GET /a/../b", unclean),
        ("GET /.", unclean),
    ];
    for (text, expected) in table {
        assert_eq!(error(text), expected, "{text}");
    }
    assert_eq!(error(&"/a".repeat(256)), "511: more than 255 segments");
    assert!(Pattern::parse(&"/a".repeat(255)).is_ok());
}

#[test]
fn errors_in_full() {
    let display = |text| Pattern::parse(text).unwrap_err().to_string();
    assert_eq!(display(""), "http: invalid pattern: empty pattern");
    assert_eq!(display("/\"{"), r#"parsing "/\"{": at offset 1: bad wildcard segment (must start with '{')"#);
    assert!("/{".parse::<Pattern>().is_err());
}

/// The parts of a pattern, in one line.
fn parts(text: &str) -> String {
    let pattern = Pattern::parse(text).unwrap();
    assert_eq!(pattern.as_str(), text);
    assert_eq!(pattern.to_string(), text);
    let mut parts = format!("{} {}", pattern.method().unwrap_or("-"), pattern.host().unwrap_or("-"));
    for segment in pattern.segments() {
        parts += &match segment {
            Segment::Literal(_) if segment.is_end() => " $".to_string(),
            Segment::Literal(text) => format!(" \"{}\"", text.escape_ascii()),
            Segment::Wildcard(name) => format!(" {name}"),
            Segment::Rest(name) => format!(" {name}..."),
        };
    }
    parts
}

#[test]
fn parses() {
    let table = [
        ("/", "- - ..."),
        ("/a", "- - \"a\""),
        ("/a/", "- - \"a\" ..."),
        ("/{x}", "- - x"),
        ("/{$}", "- - $"),
        ("/%2F", "- - $"),
        ("/path/to/{$}", "- - \"path\" \"to\" $"),
        ("/a/{x...}", "- - \"a\" x..."),
        (" /x", "- - \"x\""),
        ("GET /x ", "GET - \"x \""),
        ("GET \t /", "GET - ..."),
        ("get a.com:80/{id}/o/{ob_j1...}", "get a.com:80 id \"o\" ob_j1..."),
        ("[::1]/", "- [::1] ..."),
        ("/%61%2fb/%zz/}", "- - \"a/b\" \"%zz\" \"}\""),
        ("/{é}/{_}/é", "- - é _ \"\\xc3\\xa9\""),
        ("//x/", "- - \"\" \"x\" ..."),
        ("CONNECT /a/../b", "CONNECT - \"a\" \"..\" \"b\""),
        ("GET /%2e%2e", "GET - \"..\""),
    ];
    for (text, expected) in table {
        assert_eq!(parts(text), expected, "{text}");
    }
}

#[test]
fn names_are_in_order() {
    let pattern = Pattern::parse("/{b}/x/{a}/").unwrap();
    assert!(pattern.names().eq(["b", "a"]));
    assert_eq!(format!("{pattern:?}"), "Pattern(\"/{b}/x/{a}/\")");
}
