use std::io::Write;

use wasmux_sdk::{CrossOriginProtection, Recorder, Request, ResponseWriter, Result, StatusCode, TestRequest};

fn ok(w: &mut ResponseWriter, _: &mut Request) -> Result<()> {
    Ok(write!(w, "ok")?)
}

const FETCH_SITE: &str = "cross-origin request detected from Sec-Fetch-Site header\n";
const OLD_BROWSER: &str = "cross-origin request detected, and/or browser is out of date: Sec-Fetch-Site is missing, \
                           and Origin does not match Host\n";

/// A request to `example.com` with these values of `Sec-Fetch-Site` and `Origin`.
fn request(method: &str, path: &str, site: &str, origin: &str) -> TestRequest {
    let mut request = Request::builder(&method.parse().expect("a method"), path);
    for (name, value) in [("sec-fetch-site", site), ("origin", origin)] {
        if !value.is_empty() {
            request = request.header(name, value);
        }
    }
    request
}

#[test]
fn browsers_say_where_a_request_comes_from() {
    let protected = CrossOriginProtection::new().handler(ok);
    let table = [
        ("POST", "same-origin", "", "ok"),
        ("POST", "none", "", "ok"),
        ("POST", "cross-site", "", FETCH_SITE),
        ("POST", "same-site", "", FETCH_SITE),
        ("POST", "Same-Origin", "", FETCH_SITE),
        ("POST", "same-origin", "https://attacker.example", "ok"),
        ("POST", "cross-site", "https://example.com", FETCH_SITE),
        ("POST", "", "", "ok"),
        ("POST", "", "https://example.com", "ok"),
        ("POST", "", "http://example.com", "ok"),
        ("POST", "", "https://example.com:8443", OLD_BROWSER),
        ("POST", "", "https://attacker.example", OLD_BROWSER),
        ("POST", "", "https://example.com.attacker.example", OLD_BROWSER),
        ("POST", "", "null", OLD_BROWSER),
        ("POST", "", "example.com", OLD_BROWSER),
        ("PUT", "cross-site", "", FETCH_SITE),
        ("DELETE", "", "https://attacker.example", OLD_BROWSER),
        ("get", "cross-site", "", FETCH_SITE),
        ("GET", "cross-site", "https://attacker.example", "ok"),
        ("HEAD", "cross-site", "", ""),
        ("OPTIONS", "cross-site", "", "ok"),
    ];
    for (method, site, origin, want) in table {
        let response = Recorder::serve(&protected, request(method, "/", site, origin));
        assert_eq!(response.text(), want, "{method} {site} {origin}");
        assert_eq!(response.status(), if want.len() > 2 { 403 } else { 200 });
    }
    let no_host = request("POST", "/", "", "null").host("");
    assert_eq!(Recorder::serve(&protected, no_host).status(), 403, "null is no host, not even the empty one");
}

#[test]
fn trusted_origins_are_compared_as_they_are() {
    let mut protection = CrossOriginProtection::new();
    protection.add_trusted_origin("https://trusted.example").expect("an origin");
    let protected = protection.handler(ok);
    let table = [
        ("cross-site", "https://trusted.example", 200),
        ("", "https://trusted.example", 200),
        ("cross-site", "http://trusted.example", 403),
        ("cross-site", "https://trusted.example:443", 403),
        ("cross-site", "https://trusted.example/", 403),
        ("cross-site", "https://attacker.example", 403),
        ("cross-site", "", 403),
    ];
    for (site, origin, want) in table {
        let response = Recorder::serve(&protected, request("POST", "/", site, origin));
        assert_eq!(response.status(), want, "{site} {origin}");
    }
}

#[test]
fn only_origins_can_be_trusted() {
    let table = [
        ("https://example.com", ""),
        ("https://example.com:8080", ""),
        ("http://localhost:3000", ""),
        ("https://[::1]:8443", ""),
        ("https://[::1]", ""),
        ("app+x://host", ""),
        ("", "write it as scheme://host"),
        ("null", "write it as scheme://host"),
        ("example.com", "write it as scheme://host"),
        ("https:example.com", "write it as scheme://host"),
        ("://example.com", "scheme is required"),
        ("1a://example.com", "scheme is required"),
        ("https://", "host is required"),
        ("https://:80", "host is required"),
        ("https:///path", "host is required"),
        ("https://example.com/", "path, query, and fragment are not allowed"),
        ("https://example.com/path", "path, query, and fragment are not allowed"),
        ("https://example.com?query", "path, query, and fragment are not allowed"),
        ("https://example.com#fragment", "path, query, and fragment are not allowed"),
        ("https://exa mple.com", "host or port is not valid"),
        ("https://ann@example.com", "host or port is not valid"),
        ("https://example.com:http", "host or port is not valid"),
    ];
    for (origin, want) in table {
        let added = CrossOriginProtection::new().add_trusted_origin(origin);
        let text = added.err().map(|error| error.to_string()).unwrap_or_default();
        let want = if want.is_empty() { String::new() } else { format!("invalid origin {origin:?}: {want}") };
        assert_eq!(text, want);
    }
}

#[test]
fn bypass_patterns_match_directly() {
    let mut protection = CrossOriginProtection::new();
    for pattern in ["/bypass/", "/only/{foo}", "/no-slash", "POST /post-only/", "/end/{$}"] {
        protection.add_insecure_bypass_pattern(pattern).expect(pattern);
    }
    protection.add_insecure_bypass_pattern("/{").expect_err("no pattern");
    let protected = protection.handler(ok);
    let table = [
        ("POST", "/bypass/", 200),
        ("POST", "/bypass/sub", 200),
        ("POST", "/bypass", 403),       // would be redirected
        ("POST", "/x/../bypass/", 403), // the same
        ("POST", "//bypass/", 403),
        ("POST", "/bypass/../x", 403),
        ("POST", "/only/123", 200),
        ("POST", "/only/123/", 403),
        ("POST", "/only/", 403),
        ("POST", "/no-slash", 200),
        ("POST", "/no-slash/", 403),
        ("POST", "/post-only/x", 200),
        ("PUT", "/post-only/x", 403),
        ("POST", "/post-only", 403),
        ("POST", "/end/", 200),
        ("POST", "/end/x", 403),
        ("POST", "/other", 403),
    ];
    for (method, path, want) in table {
        for (site, origin) in [("cross-site", ""), ("", "https://attacker.example")] {
            let response = Recorder::serve(&protected, request(method, path, site, origin));
            assert_eq!(response.status(), want, "{method} {path}");
        }
    }
}

#[test]
fn a_deny_handler_answers_instead() {
    let mut protection = CrossOriginProtection::new();
    protection.set_deny_handler(|w: &mut ResponseWriter, _: &mut Request| {
        w.write_header(StatusCode::IM_A_TEAPOT);
        Ok(write!(w, "no")?)
    });
    let protected = protection.handler(ok);
    let response = Recorder::serve(&protected, request("POST", "/", "cross-site", ""));
    assert_eq!((response.status().as_u16(), response.text()), (418, "no"));
    assert_eq!(Recorder::serve(&protected, request("POST", "/", "none", "")).status(), 200);
}
