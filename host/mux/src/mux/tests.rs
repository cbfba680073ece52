use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::*;

fn mux(patterns: &[&'static str]) -> Mux<&'static str> {
    let mut mux = Mux::new();
    for pattern in patterns {
        mux.insert(pattern, *pattern).unwrap();
    }
    mux
}

fn get(path: &str) -> Request<'_> {
    Request { method: "GET", host: "h", path, query: None }
}

#[test]
fn values_are_borrowed_unless_decoded() {
    let mux = mux(&["/b/{bucket}/o/{object...}"]);
    let Found::Match(found) = mux.find(&get("/b/x/o/p%2Fq/r")) else { panic!() };
    let values: Vec<_> = found.values().collect();
    assert!(matches!(&values[0], ("bucket", Cow::Borrowed(b"x"))));
    assert!(matches!(&values[1], ("object", Cow::Owned(value)) if value == b"p/q/r"));
    assert_eq!(values.len(), 2);
    assert_eq!(found.value_of("object"), Some(Cow::Borrowed(&b"p/q/r"[..])));
    assert_eq!(found.value_of("o"), None);
    assert_eq!(*found.value(), found.pattern().as_str());
}

#[test]
fn values_are_bytes() {
    let mux = mux(&["/{x}"]);
    let Found::Match(found) = mux.find(&get("/%ff%00")) else { panic!() };
    assert_eq!(found.value_of("x").as_deref(), Some(&b"\xff\x00"[..]));
}

#[test]
fn paths_that_cannot_be_decoded_stand_for_themselves() {
    let mux = mux(&["/{x}/%zz", "/r/s/{y...}"]);
    let Found::Match(found) = mux.find(&get("/%6/%zz")) else { panic!() };
    assert_eq!(found.value_of("x").as_deref(), Some(&b"%6"[..]));
    let Found::Match(found) = mux.find(&get("/r/s/%61/%")) else { panic!() };
    assert_eq!(found.value_of("y").as_deref(), Some(&b"%61/%"[..]));
}

#[test]
fn a_location_is_a_header_value() {
    let mux = mux(&["/a/"]);
    let request = Request { query: Some("é=\r\n&{%20}"), ..get("/b//\u{1}{é}") };
    let Found::Redirect(redirect) = mux.find(&request) else { panic!() };
    assert_eq!(redirect.location(), "/b/%01{%C3%A9}?%C3%A9=%0D%0A&{%20}");
    assert_eq!(redirect.pattern(), None);
}

#[test]
fn a_redirect_names_the_pattern_it_leads_to() {
    let mux = mux(&["/a/", "/"]);
    let pattern = |path| match mux.find(&get(path)) {
        Found::Redirect(redirect) => redirect.pattern().map(Pattern::to_string),
        _ => panic!("{path}"),
    };
    assert_eq!(pattern("/a").as_deref(), Some("/a/"));
    assert_eq!(pattern("//a/b").as_deref(), Some("/a/"));
    assert_eq!(pattern("/a/..").as_deref(), Some("/"));
}

#[test]
fn an_empty_segment_acts_as_a_wildcard() {
    let both = mux(&["//foo/{y...}", "/bar"]);
    let found = |method, path| match both.find(&Request { method, ..get(path) }) {
        Found::Match(found) => format!("{} {:?}", found.pattern(), found.value_of("y")),
        other => format!("{other:?}"),
    };
    assert_eq!(found("GET", "/x/foo/z"), format!("//foo/{{y...}} {:?}", Some(b"z")));
    assert_eq!(found("CONNECT", "//foo/z"), format!("//foo/{{y...}} {:?}", Some(b"z")));
    for [first, second] in [["//foo", "/{x}/foo"], ["/{x}/foo", "//foo"], ["//", "/{x}/{y...}"]] {
        let mut mux = mux(&[first]);
        let conflict = mux.insert(second, second).unwrap_err().to_string();
        assert!(conflict.contains("match the same requests"), "{first} {second}: {conflict}");
        assert_eq!(mux.iter().len(), 1);
    }
}

#[test]
fn connect_values_after_an_unclean_path() {
    let mux = mux(&["/{x}/{y}/z", "/{r...}"]);
    let values = |path| -> Vec<String> {
        let Found::Match(found) = mux.find(&Request { method: "CONNECT", ..get(path) }) else {
            panic!("{path}")
        };
        found.values().map(|(name, value)| format!("{name}={}", value.escape_ascii())).collect()
    };
    assert_eq!(values("/..//z"), ["x=..", "y="]);
    assert_eq!(values("//a/./"), ["r=/a/./"]);
}

#[test]
fn a_path_without_a_slash_matches_nothing() {
    let mux = mux(&["/{x...}"]);
    let connect = |path| mux.find(&Request { method: "CONNECT", ..get(path) });
    assert!(matches!(connect("foo"), Found::NotFound));
    assert!(matches!(connect(""), Found::NotFound));
    assert!(matches!(connect("*"), Found::BadRequest));
}

#[test]
fn copies_do_not_need_values_that_can() {
    struct NotClone;
    let mut mux = Mux::default();
    mux.insert("/", NotClone).unwrap();
    let Found::Match(found) = mux.find(&get("/")) else { panic!() };
    let copy = found;
    assert_eq!(found.pattern(), copy.pattern());
}
