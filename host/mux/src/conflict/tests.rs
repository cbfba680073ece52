use alloc::format;
use alloc::string::{String, ToString};

use crate::Mux;

use super::*;

/// What is said when `second` is registered after `first`; empty if it may be.
fn explanation(first: &str, second: &str) -> String {
    let mut mux = Mux::new();
    mux.insert(first, ()).unwrap();
    match mux.insert(second, ()) {
        Ok(()) => String::new(),
        Err(InsertError::Conflict(conflict)) => {
            assert_eq!((conflict.with(), conflict.with_pattern(), conflict.pattern()), (0, first, second));
            conflict.explanation().into()
        }
        Err(error) => panic!("{error}"),
    }
}

fn overlap(p: &str, q: &str, [both, only_p, only_q]: [&str; 3]) -> String {
    format!(
        "{p} and {q} both match some paths, like \"{both}\".\n\
         But neither is more specific than the other.\n\
         {p} matches \"{only_p}\", but {q} doesn't.\n\
         {q} matches \"{only_q}\", but {p} doesn't."
    )
}

#[test]
fn same_requests() {
    let table = [
        ("/a", "/a"),
        ("/{x}", "/{y}"),
        ("/", "/{m...}"),
        ("/%61", "/a"),
        ("/a/{x}/", "/a/{y}/{z...}"),
        ("GET /a", "GET \t/a"),
        ("h/", "h/{x...}"),
    ];
    for (first, second) in table {
        assert_eq!(explanation(first, second), format!("{second} matches the same requests as {first}"));
    }
}

#[test]
fn overlapping_paths() {
    let table = [
        ("/{y}/b", "/a/{x}", ["/a/b", "/a/x", "/y/b"]),
        ("/a/{x}", "/{y}/b", ["/a/b", "/y/b", "/a/x"]),
        ("/posts/{id}", "/{res}/latest", ["/posts/latest", "/res/latest", "/posts/id"]),
        ("/a/", "/{z}/{$}", ["/a/", "/z/", "/a/x"]),
        ("/a/{rest...}", "/{z}/{$}", ["/a/", "/z/", "/a/rest"]),
        ("/{z}/a/", "/a/{z}/{m...}", ["/a/a/", "/a/z/", "/z/a/"]),
        ("/{b}/b", "/b/{x}", ["/b/b", "/b/x", "/bx/b"]),
        ("/{a}/{b}", "/c/", ["/c/b", "/c/", "/a/b"]),
        ("/c/", "/{a}/{b}", ["/c/b", "/a/b", "/c/"]),
        ("/{x}/p%2Fq%3F", "/é/{y}", ["/é/p%2Fq%3F", "/é/y", "/x/p%2Fq%3F"]),
        ("/{x}/b/", "/a/{y}/{z}/d", ["/a/b/z/d", "/a/y/z/d", "/x/b/"]),
        ("example.com/a/{x}", "example.com/{y}/b", ["/a/b", "/y/b", "/a/x"]),
    ];
    for (first, second, paths) in table {
        assert_eq!(explanation(first, second), overlap(second, first, paths));
    }
}

#[test]
fn methods_against_paths() {
    let more = |p, q| format!("{p} matches more methods than {q}, but has a more specific path pattern");
    let fewer = |p, q| format!("{p} matches fewer methods than {q}, but has a more general path pattern");
    for (general, specific) in
        [("GET /", "/foo"), ("HEAD /", "GET /foo"), ("POST /", "/a"), ("GET /{x}", "/a")]
    {
        assert_eq!(explanation(general, specific), more(specific, general));
        assert_eq!(explanation(specific, general), fewer(general, specific));
    }
}

#[test]
fn no_conflict() {
    let table = [
        ("/{x}", "/a"),
        ("/", "GET /"),
        ("GET /x", "HEAD /x"),
        ("GET /a", "POST /a"),
        ("/a/{$}", "/a/"),
        ("/a/{x}", "/a/{$}"),
        ("/{x}/{y}", "/{x}/a/"),
        ("/a", "example.com/{x}"),
        ("a.com/x", "b.com/x"),
    ];
    for (first, second) in table {
        assert_eq!(explanation(first, second), "");
        assert_eq!(explanation(second, first), "");
    }
}

#[test]
fn in_full() {
    let mut mux = Mux::new();
    mux.insert("/", 0).unwrap();
    mux.insert("/a\"", 1).unwrap();
    mux.insert("/b", 2).unwrap();
    let error = mux.insert("GET /{x}", 3).unwrap_err();
    let InsertError::Conflict(conflict) = &error else { panic!("{error}") };
    assert_eq!(conflict.with(), 1, "the earliest");
    assert_eq!(
        error.to_string(),
        "pattern \"GET /{x}\" conflicts with pattern \"/a\\\"\":\n\
         GET /{x} matches fewer methods than /a\", but has a more general path pattern"
    );
    assert_eq!(mux.iter().count(), 3, "a refused pattern leaves nothing behind");
    mux.insert("POST /{x}/", 4).unwrap();
}
