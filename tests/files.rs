//! The `files` handler: what may be served, how, and what never leaves its folder.

use crate::support::{Server, Site};

fn files() -> Server {
    let routes = r#"
        [routes]
        "/static/" = { files = "public", strip_prefix = "/static" }
        "/docs/" = { files = "site" }
    "#;
    let site = Site::new(routes)
        .file("secret.txt", "secret")
        .file("public/hello.txt", "Hello, files!")
        .file("public/page.html", "<p>page</p>")
        .file("public/sub/index.html", "<p>index</p>")
        .file("public/empty/none", "")
        .file("public/app.js", "let plain;")
        .file("public/app.js.gz", "pretend gzip")
        .file("public/a b%.txt", "odd name")
        .file("public/..hidden", "dots")
        .file("outside/other.txt", "other")
        .file("site/docs/here.txt", "whole path");
    let link = |from: &str, to: &str| std::os::unix::fs::symlink(to, site.path(from)).unwrap();
    link("public/leak.txt", "../secret.txt");
    link("public/leak", "../outside");
    link("public/inner.txt", "hello.txt");
    link("public/leak.js.gz", "../secret.txt");
    link("public/dangling", "nothing");
    std::fs::write(site.path("public/leak.js"), "plain").unwrap();
    std::fs::create_dir(site.path("public/trap")).unwrap();
    link("public/trap/index.html", "../../secret.txt");
    site.serve()
}

#[test]
fn files_have_types_lengths_and_dates() {
    let server = files();
    let response = server.get("/static/hello.txt");
    assert_eq!((response.status, response.text().as_str()), (200, "Hello, files!"));
    assert_eq!(response.header("content-type"), Some("text/plain"));
    assert_eq!(response.header("content-length"), Some("13"));
    assert_eq!(response.header("accept-ranges"), Some("bytes"));
    assert!(response.header("last-modified").is_some_and(|date| date.ends_with("GMT")));
    assert_eq!(server.get("/static/page.html").header("content-type"), Some("text/html"));
    assert_eq!(server.get("/static/a%20b%25.txt").text(), "odd name");
    assert_eq!(server.get("/static/..hidden").text(), "dots");
    assert_eq!(
        server.get("/docs/here.txt").text(),
        "whole path",
        "without strip_prefix the whole path counts"
    );

    let mut conn = server.connect();
    conn.request("HEAD", "/static/hello.txt", &[], b"");
    let head = conn.response();
    assert_eq!((head.status, head.header("content-length")), (200, Some("13")));
    conn.request("GET", "/static/hello.txt", &[], b"");
    assert_eq!(conn.response().text(), "Hello, files!");
}

#[test]
fn ranges() {
    let server = files();
    let range = |range: &str| server.request("GET", "/static/hello.txt", &[&format!("Range: {range}")], b"");
    for (asked, body, content_range) in [
        ("bytes=0-4", "Hello", "bytes 0-4/13"),
        ("bytes=7-", "files!", "bytes 7-12/13"),
        ("bytes=-6", "files!", "bytes 7-12/13"),
        ("bytes=7-999", "files!", "bytes 7-12/13"),
    ] {
        let response = range(asked);
        assert_eq!((response.status, response.text().as_str()), (206, body), "{asked}");
        assert_eq!(response.header("content-range"), Some(content_range), "{asked}");
    }
    let beyond = range("bytes=13-");
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */13")));
}

#[test]
fn conditional_requests() {
    let server = files();
    let modified = server.get("/static/hello.txt").header("last-modified").unwrap().to_owned();
    let with = |field: &str| server.request("GET", "/static/hello.txt", &[field], b"");
    let unchanged = with(&format!("If-Modified-Since: {modified}"));
    assert_eq!((unchanged.status, unchanged.text().as_str()), (304, ""));
    assert_eq!(with("If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT").status, 200);
    assert_eq!(with("If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT").status, 412);
    assert_eq!(with(&format!("If-Unmodified-Since: {modified}")).status, 200);
}

#[test]
fn precompressed_variants() {
    let server = files();
    let gzip = server.request("GET", "/static/app.js", &["Accept-Encoding: gzip"], b"");
    assert_eq!((gzip.text().as_str(), gzip.header("content-encoding")), ("pretend gzip", Some("gzip")));
    assert!(gzip.header("content-type").is_some_and(|kind| kind.contains("javascript")), "{gzip:?}");
    assert!(gzip.header("vary").is_some_and(|vary| vary.eq_ignore_ascii_case("accept-encoding")), "{gzip:?}");
    let plain = server.get("/static/app.js");
    assert_eq!((plain.text().as_str(), plain.header("content-encoding")), ("let plain;", None));
}

#[test]
fn folders() {
    let server = files();
    let redirect = server.get("/static/sub?q=1");
    assert_eq!((redirect.status, redirect.header("location")), (307, Some("/static/sub/?q=1")));
    let index = server.get("/static/sub/");
    assert_eq!((index.status, index.text().as_str()), (200, "<p>index</p>"));
    assert_eq!(server.get("/static/empty/").status, 404, "folders are not listed");
    assert_eq!(server.get("/static").header("location"), Some("/static/"));
    assert_eq!(server.get("/static/").status, 404);
}

#[test]
fn nothing_outside_the_folder() {
    let server = files();
    for path in [
        "/static/../secret.txt",
        "/static/%2e%2e/secret.txt",
        "/static/%2E%2E%2Fsecret.txt",
        "/static/sub/..%2f..%2fsecret.txt",
        "/static/..%5csecret.txt",
        "/static//secret.txt",
        "/static/%2fetc/passwd",
        "/static/%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2fetc/passwd",
        "/static/hello.txt%00.html",
        "/static/hello.txt/",
        "/static/leak.txt",
        "/static/leak/other.txt",
        "/static/leak/",
        "/static/trap/",
        "/static/dangling",
        "/static/%ff",
        &format!("/static/{}", "a".repeat(300)),
    ] {
        let mut response = server.get(path);
        if response.status == 307 {
            response = server.get(response.header("location").unwrap());
        }
        assert_eq!(response.status, 404, "{path}: {response:?}");
        assert!(!response.text().contains("secret") && !response.text().contains("root:"), "{path}");
        assert!(response.header("x-request-id").is_some(), "{path}: our own 404");
    }
    let variant = server.request("GET", "/static/leak.js", &["Accept-Encoding: gzip"], b"");
    assert!(!variant.text().contains("secret"), "{variant:?}");
    assert_eq!(server.get("/static/inner.txt").text(), "Hello, files!", "links that stay inside are fine");
}

#[test]
fn only_get_and_head() {
    let server = files();
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let response = server.request(method, "/static/hello.txt", &[], b"");
        let allow = response.header("allow").map(|allow| allow.replace(' ', ""));
        assert_eq!((response.status, allow.as_deref()), (405, Some("GET,HEAD")), "{method}: {response:?}");
    }
}
