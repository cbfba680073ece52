//! What net/http does in corners that no recorded case looks into.

use crate::support::guests::puppet_site;

#[test]
fn bodies_and_expectations() {
    let server = puppet_site("").serve();
    let mut conn = server.connect();
    let expecting = ["Expect: 100-Continue", "Transfer-Encoding: chunked"];
    conn.request("POST", "/puppet?ops=read:all,echo", &expecting, b"");
    assert_eq!(conn.head().status, 100);
    conn.send("2\r\nhi\r\n0\r\n\r\n");
    let response = conn.response();
    assert_eq!((response.text().as_str(), response.header("connection")), ("hi", None), "all of it was read");

    // A handler that says it by itself has said it.
    let expecting = ["Expect: 100-continue", "Content-Length: 2"];
    conn.request("POST", "/puppet?ops=status:100,read:all,echo", &expecting, b"hi");
    let response = conn.response();
    assert_eq!((&response.interim[..], response.text().as_str()), (&[100][..], "hi"));

    // A client that stalls in a body that nobody reads gets its response all the same.
    conn.request("POST", "/puppet?ops=text:no", &["Content-Length: 5"], b"abc");
    let response = conn.response();
    assert_eq!((response.text().as_str(), response.header("connection")), ("no", Some("close")));
    conn.finish();
    assert!(conn.is_closed());
}

#[test]
fn http_1_0_closes_where_it_is_told_both() {
    let server = puppet_site("").serve();
    let mut conn = server.connect();
    conn.send("GET /puppet?ops=text:x HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n");
    let response = conn.response();
    assert_eq!((response.version.as_str(), response.header("connection")), ("HTTP/1.0", None));
    assert!(conn.is_closed());
}

#[test]
fn targets_and_headers() {
    let server = puppet_site("").serve();
    let mut conn = server.connect();
    conn.request("GET", "http://h.test", &[], b"");
    let response = conn.response();
    assert_eq!((response.status, response.header("location")), (307, Some("/")), "its path is empty");
    let target = format!("/puppet?ops=see&long={}&odd=<\">|^", "x".repeat(70_000));
    conn.request("GET", &target, &[], b"");
    assert!(conn.response().text().contains(&target.replace('"', "\\u0022")), "byte for byte");
    conn.request("GET", "/puppet?ops=see", &["Pragma: no-cache"], b"");
    assert!(conn.response().text().contains("[\"Cache-Control\",\"no-cache\"]"));
    conn.request("CONNECT", "/puppet?ops=text:tunnel", &[], b"");
    assert_eq!(conn.response().text(), "tunnel", "a handler like any other");
    conn.request("GET", "/puppet?ops=status:799,text:x", &[], b"");
    assert_eq!(conn.response().status, 799);
}
