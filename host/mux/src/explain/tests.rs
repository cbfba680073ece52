use alloc::string::ToString;

use super::*;

/// Patterns, a request as `METHOD host path`, and the explanation.
#[track_caller]
fn check(patterns: &[&str], request: &str, expected: &[&str]) {
    let mut mux = Mux::new();
    for pattern in patterns {
        mux.insert(pattern, ()).unwrap();
    }
    let [method, host, path] = *request.split(' ').collect::<Vec<_>>() else { panic!("{request}") };
    let explanation = mux.explain(&Request { method, host, path, query: None });
    assert_eq!(explanation.to_string(), expected.join("\n  not "));
}

#[test]
fn precedence() {
    let patterns = ["/", "/a/{x}", "/a/b", "h/", "GET /a/b", "/a/", "/c/d", "POST /a/b", "/{y...}", "i/a/b"];
    check(
        &[&patterns[..8], &patterns[9..]].concat(),
        "GET h:80 /a/b",
        &[
            "\"h/\" matches.",
            "\"/\": \"h/\" names the host \"h\".",
            "\"/a/{x}\": \"h/\" names the host \"h\".",
            "\"/a/b\": \"h/\" names the host \"h\".",
            "\"GET /a/b\": \"h/\" names the host \"h\".",
            "\"/a/\": \"h/\" names the host \"h\".",
            "\"POST /a/b\": it is for the method POST.",
            "\"i/a/b\": it is for the host \"i\", and the request is for \"h\".",
        ],
    );
    check(
        &patterns[..8],
        "HEAD other /a/b",
        &[
            "\"GET /a/b\" matches.",
            "\"/\": \"GET /a/b\" has \"a\" where it has a wildcard.",
            "\"/a/{x}\": \"GET /a/b\" has \"b\" where it has a wildcard.",
            "\"/a/b\": \"GET /a/b\" names the method GET.",
            "\"h/\": it is for the host \"h\", and the request is for \"other\".",
            "\"/a/\": \"GET /a/b\" has \"b\" where it has a wildcard.",
            "\"POST /a/b\": it is for the method POST.",
        ],
    );
    check(
        &["/{x}/", "/{x}/{y}", "/{x}/{$}", "/a/b/c"],
        "GET h /a/b",
        &[
            "\"/{x}/{y}\" matches.",
            "\"/{x}/\": \"/{x}/{y}\" takes one segment where it takes all that follow.",
        ],
    );
}

#[test]
fn slashes() {
    check(
        &["/a/", "/", "/a/{$}", "POST /a", "/a/{x}"],
        "GET h /a",
        &[
            "Redirected to \"/a/\", where \"/a/{$}\" matches: 307.",
            "\"/a/\": \"/a/{$}\" ends where the path does, and it does not.",
            "\"/\": \"/a/{$}\" has \"a\" where it has a wildcard.",
            "\"POST /a\": it is for the method POST.",
        ],
    );
    check(
        &["/a/", "/a"],
        "GET h /a",
        &["\"/a\" matches.", "\"/a/\": it needs a slash at the end of the path."],
    );
    check(
        &["/a/", "/a"],
        "GET h /a/",
        &["\"/a/\" matches.", "\"/a\": it has no slash at its end, and the path does."],
    );
}

#[test]
fn nothing_matches() {
    check(&["/a"], "GET h /b", &["No pattern matches: 404."]);
    check(&["/a"], "GET h *", &["The target \"*\" is no path: 400."]);
    check(
        &["POST /a", "/a/b"],
        "GET h /a",
        &["The path does not allow \"GET\": 405, Allow: POST.", "\"POST /a\": it is for the method POST."],
    );
    check(&["/a"], "GET h //b", &["Redirected to \"/b\", the clean path, where no pattern matches: 307."]);
    check(
        &["/a"],
        "GET h //a/",
        &[
            "Redirected to \"/a/\", the clean path, where no pattern matches: 307.",
            "\"/a\": it has no slash at its end, and the path does.",
        ],
    );
    check(&["/"], "CONNECT h foo", &["No pattern matches: 404."]);
}

#[test]
fn parts() {
    let mut mux = Mux::new();
    mux.insert("/", ()).unwrap();
    mux.insert("/a", ()).unwrap();
    let explanation = mux.explain(&Request { method: "GET", host: "", path: "/a", query: None });
    assert_eq!(explanation.winner().map(Pattern::as_str), Some("/a"));
    assert_eq!(explanation.verdict(), "\"/a\" matches.");
    assert_eq!(explanation.runners_up()[0].pattern.as_str(), "/");
}
