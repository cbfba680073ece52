//! net/http's routing, rule by rule: a table of patterns, requests and outcomes.
//!
//! A request is `METHOD target`, and perhaps ` @host`. An outcome is `→PATTERN name=value…`, `307 LOCATION`,
//! `405 METHODS`, `404` or `400`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use wasmux_mux::{Found, Mux, Target};

#[track_caller]
fn check(patterns: &[&str], cases: &[(&str, &str)]) {
    let mut mux = Mux::new();
    for pattern in patterns {
        mux.insert(pattern, ()).unwrap();
    }
    for (request, expected) in cases {
        assert_eq!(&outcome(&mux, request), expected, "{request} with {patterns:?}");
    }
}

fn outcome(mux: &Mux<()>, request: &str) -> String {
    let (request, host) = request.split_once(" @").unwrap_or((request, "h"));
    let (method, target) = request.split_once(' ').unwrap();
    let Ok(target) = Target::parse(method, target) else {
        return "400".to_owned();
    };
    match mux.find(&target.request(method, host)) {
        Found::Match(found) => {
            let values = found.values().map(|(name, value)| format!(" {name}={}", value.escape_ascii()));
            format!("→{}{}", found.pattern(), values.collect::<String>())
        }
        Found::Redirect(redirect) => format!("307 {}", redirect.location()),
        Found::MethodNotAllowed(allow) => format!("405 {allow}"),
        Found::NotFound => "404".to_owned(),
        Found::BadRequest => "400".to_owned(),
    }
}

#[test]
fn literals_and_subtrees() {
    check(&["/"], &[("GET /", "→/"), ("GET /any/thing", "→/"), ("POST /x", "→/")]);
    check(&["/{$}"], &[("GET /", "→/{$}"), ("GET /x", "404")]);
    check(
        &["/a"],
        &[
            ("GET /a", "→/a"),
            ("GET /%61", "→/a"),
            ("GET /a/", "404"),
            ("GET /A", "404"),
            ("GET /a%2F", "404"),
            ("GET /a#f", "404"),
            ("GET /a;x=1", "404"),
        ],
    );
    check(&["/%62"], &[("GET /b", "→/%62"), ("GET /%62", "→/%62")]);
    check(&["/%7B/%7D"], &[("GET /{/}", "→/%7B/%7D"), ("GET /%7b/}", "→/%7B/%7D")]);
    check(
        &["/p%2Fq/"],
        &[
            ("GET /p%2Fq/r", "→/p%2Fq/"),
            ("GET /p%2fq/r", "→/p%2Fq/"),
            ("GET /p/q/r", "404"),
            ("GET /p%2Fq", "307 /p%2Fq/"),
        ],
    );
    check(&["/%zz"], &[("GET /%25zz", "→/%zz"), ("GET /%zz", "400")]);
    check(&["/é"], &[("GET /%C3%A9", "→/é"), ("GET /é", "→/é")]);
    check(&["GET /x "], &[("GET /x%20", "→GET /x "), ("GET /x", "404")]);
    check(&[], &[("GET /", "404")]);
}

#[test]
fn slash_redirects() {
    check(
        &["/a/"],
        &[
            ("GET /a", "307 /a/"),
            ("GET /a?x=1&y", "307 /a/?x=1&y"),
            ("GET /a?", "307 /a/"),
            ("GET /a??", "307 /a/??"),
            ("POST /a", "307 /a/"),
            ("HEAD /a", "307 /a/"),
            ("GET /a/b/c", "→/a/"),
        ],
    );
    check(&["/a/", "/a"], &[("GET /a", "→/a"), ("GET /a/", "→/a/")]);
    check(&["/a/", "/"], &[("GET /a", "307 /a/"), ("GET /ab", "→/")]);
    check(&["/tree/", "GET /tree"], &[("GET /tree", "→GET /tree"), ("POST /tree", "307 /tree/")]);
    check(&["/a/{$}"], &[("GET /a/", "→/a/{$}"), ("GET /a", "307 /a/"), ("GET /a/b", "404")]);
    check(&["/dir/"], &[("GET /dir/.. @google.com", "307 /")]);
    check(
        &["/r/{p...}"],
        &[("GET /r", "307 /r/"), ("GET /r/", "→/r/{p...} p="), ("GET /r/a%2Fb/c", "→/r/{p...} p=a/b/c")],
    );
}

#[test]
fn wildcards() {
    check(
        &["/b/{bucket}/o/{obj...}"],
        &[
            ("GET /b/x/o/p/q", "→/b/{bucket}/o/{obj...} bucket=x obj=p/q"),
            ("GET /b/x/o/", "→/b/{bucket}/o/{obj...} bucket=x obj="),
            ("GET /b/x/o", "307 /b/x/o/"),
            ("GET /b/x%2Fy/o/p%2Fq/r", "→/b/{bucket}/o/{obj...} bucket=x/y obj=p/q/r"),
            ("GET /b//o/x", "307 /b/o/x"),
            ("GET /b/o/x", "404"),
        ],
    );
    check(
        &["/b/{bucket}/{$}"],
        &[("GET /b/x/", "→/b/{bucket}/{$} bucket=x"), ("GET /b/x", "307 /b/x/"), ("GET /b/x/y", "404")],
    );
    check(
        &["/{x}"],
        &[
            ("GET /", "404"),
            ("GET /a/", "404"),
            ("GET /a%2Fb", "→/{x} x=a/b"),
            ("GET /%2e%2e", "→/{x} x=.."),
            ("GET /%00", "→/{x} x=\\x00"),
            ("GET /a%20b", "→/{x} x=a b"),
            ("GET /%2F", "404"),
        ],
    );
    check(&["/a/b/z", "/a/{x}/c"], &[("GET /a/b/c", "→/a/{x}/c x=b")]);
    check(
        &["/a/b/{$}", "/a/b/{y}", "/a/b/{rest...}"],
        &[
            ("GET /a/b/", "→/a/b/{$}"),
            ("GET /a/b/c", "→/a/b/{y} y=c"),
            ("GET /a/b/c/d", "→/a/b/{rest...} rest=c/d"),
            ("GET /a/b", "307 /a/b/"),
        ],
    );
    check(
        &["/u/{id}", "/u/{id}/"],
        &[("GET /u/5", "→/u/{id} id=5"), ("GET /u/5/", "→/u/{id}/ id=5"), ("GET /u/5/x", "→/u/{id}/ id=5")],
    );
}

#[test]
fn methods() {
    check(
        &["GET /x"],
        &[
            ("GET /x", "→GET /x"),
            ("HEAD /x", "→GET /x"),
            ("POST /x", "405 GET, HEAD"),
            ("OPTIONS /x", "405 GET, HEAD"),
            ("get /x", "405 GET, HEAD"),
        ],
    );
    check(
        &["GET /x", "POST /x", "DELETE /x"],
        &[("PUT /x", "405 DELETE, GET, HEAD, POST"), ("OPTIONS /x", "405 DELETE, GET, HEAD, POST")],
    );
    check(&["GET /h", "HEAD /h"], &[("HEAD /h", "→HEAD /h"), ("PUT /h", "405 GET, HEAD")]);
    check(
        &["GET /x/", "POST /y"],
        &[("POST /x", "405 GET, HEAD"), ("GET /x", "307 /x/"), ("GET /y", "405 POST"), ("GET /y/", "404")],
    );
    check(&["POST /x", "/x/"], &[("GET /x", "307 /x/"), ("POST /x", "→POST /x"), ("POST /x/1", "→/x/")]);
    check(
        &["/items/", "/items/{$}", "/items/{id}", "GET /items/{id}", "POST /items/{id}"],
        &[
            ("GET /items/7", "→GET /items/{id} id=7"),
            ("POST /items/7", "→POST /items/{id} id=7"),
            ("PUT /items/7", "→/items/{id} id=7"),
            ("GET /items/", "→/items/{$}"),
            ("GET /items/7/8", "→/items/"),
            ("GET /items", "307 /items/"),
        ],
    );
}

#[test]
fn hosts() {
    check(
        &["example.com/", "/"],
        &[
            ("GET / @example.com", "→example.com/"),
            ("GET / @example.com:8080", "→example.com/"),
            ("GET / @EXAMPLE.com", "→/"),
            ("GET / @example.com.", "→/"),
            ("GET / @other", "→/"),
            ("GET http://example.com/p @zzz", "→example.com/"),
        ],
    );
    check(
        &["POST example.com/x", "/x"],
        &[("GET /x @example.com", "→/x"), ("POST /x @example.com", "→POST example.com/x")],
    );
    check(
        &["GET example.com/", "PUT example.com/", "POST /x"],
        &[
            ("DELETE /x @example.com", "405 GET, HEAD, POST, PUT"),
            ("DELETE /y @example.com", "405 GET, HEAD, PUT"),
        ],
    );
    check(&["[::1]/v6", "::1/v6"], &[("GET /v6 @[::1]", "→[::1]/v6"), ("GET /v6 @[::1]:80", "→::1/v6")]);
    check(
        &["example.com:8080/"],
        &[("GET / @example.com:8080", "404"), ("CONNECT / @example.com:8080", "→example.com:8080/")],
    );
    check(
        &["codesearch.google.com/", "/search"],
        &[
            ("GET /search/foo @codesearch.google.com", "→codesearch.google.com/"),
            ("GET /search/ @images.google.com", "404"),
        ],
    );
}

#[test]
fn cleaning() {
    check(
        &["/c"],
        &[
            ("GET //c", "307 /c"),
            ("GET /x/../c", "307 /c"),
            ("GET /./c", "307 /c"),
            ("GET /c/.", "307 /c"),
            ("GET /../../c", "307 /c"),
            ("GET //c?q=1", "307 /c?q=1"),
            ("GET /nope//x", "307 /nope/x"),
            ("GET /nope/x", "404"),
            ("GET /c/%2e%2e/c", "404"),
            ("GET //a%2Fb", "307 /a%2Fb"),
        ],
    );
    check(
        &["/c/"],
        &[
            ("GET /c//", "307 /c/"),
            ("GET /x/../c", "307 /c/"),
            ("GET /c/d/..", "307 /c/"),
            ("GET /c/d/../", "307 /c/"),
        ],
    );
    check(&["GET /only"], &[("POST //only", "307 /only"), ("POST /only", "405 GET, HEAD")]);
}

#[test]
fn odd_targets() {
    check(
        &["/"],
        &[
            ("GET *", "400"),
            ("GET http://example.com", "307 /"),
            ("GET http://example.com/x?y=1", "→/"),
            ("GET foo", "400"),
            ("CONNECT h:443", "404"),
        ],
    );
    check(&["GET /"], &[("CONNECT h:443", "405 GET, HEAD")]);
    check(&["CONNECT /a/../b"], &[("CONNECT /a/../b", "→CONNECT /a/../b")]);
    check(&["/dir/"], &[("CONNECT /dir", "307 /dir/"), ("CONNECT /dir/..", "→/dir/")]);
    check(&["/foo/", "/bar/", "/"], &[("CONNECT /foo/../bar/./..//baz", "→/foo/")]);
}
