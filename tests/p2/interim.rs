//! Interim responses, which are an unstable part of 0.2.

use crate::support::{Server, Site, http2};

fn serve() -> Server {
    let routes = "[handlers]\ninterim = { wasm = \"interim.wat\" }\n[routes]\n\"/\" = \"interim\"\n";
    Site::new(routes).guest("interim").serve()
}

#[test]
fn they_come_before_the_response() {
    let server = serve();
    let mut conn = server.connect();
    conn.request("GET", "/", &[], b"");
    let hints = conn.head();
    assert_eq!((hints.status, hints.header("link")), (103, Some("</a.css>; rel=preload")));
    assert_eq!(conn.head().status, 102);
    let response = conn.response();
    assert_eq!((response.status, response.header("link")), (204, None));
}

/// HTTP/1.0 has none (RFC 9110 section 15.2), and over HTTP/2 they are left out.
#[test]
fn guests_need_not_know_who_gets_none() {
    let server = serve();
    let mut conn = server.connect();
    conn.send("GET / HTTP/1.0\r\n\r\n");
    let response = conn.response();
    assert_eq!((response.status, response.interim), (204, vec![]));
    http2::run(async {
        let (client, _connection) = http2::connect(server.address()).await;
        assert_eq!(http2::get(&client, "/").await.0, 204);
    });
}
