//! Clients that go away while a guest streams to them: it is told, and then it ends.

use super::{commit, new_id, serve};
use crate::support::{Server, http2};

/// With one instance in all, a guest that does not end keeps the next one out for more than a second, which is 503.
fn serve_one() -> Server {
    serve(
        "instances = 1",
        &[("p2", ""), ("finish", "on_disconnect = \"finish\"\nlimits = { timeout = \"2s\" }")],
    )
}

/// Begins a response that has no end, reads some of it and goes away.
fn leave(server: &Server, handler: &str, fault: &str) -> String {
    let id = new_id();
    let mut conn = server.connect();
    conn.request("GET", &format!("/{handler}?fault={fault}"), &[&format!("X-Request-Id: {id}")], b"");
    assert_eq!(conn.head().status, 200);
    assert!(!conn.some().is_empty());
    conn.reset();
    id
}

#[test]
fn its_write_fails() {
    let server = serve_one();
    let id = leave(&server, "p2", "stream");
    server.log.wait_for(&["guest: stream: closed", &id]);
    server.log.wait_for(&["guest: stream: returns", &id]);
    assert_eq!(commit(&server, "p2", "count").0.text(), "1\n");
}

#[test]
fn then_it_is_stopped() {
    let server = serve_one();
    let id = leave(&server, "p2", "stream:loop");
    server.log.wait_for(&["guest: stream: closed", &id]);
    assert_eq!(commit(&server, "p2", "count").0.text(), "1\n", "the one instance is free");
}

#[test]
fn unless_it_may_finish() {
    let server = serve_one();
    let id = leave(&server, "finish", "stream:loop");
    server.log.wait_for(&["guest: stream: closed", &id]);
    assert_eq!(commit(&server, "p2", "count").0.status, 503, "it has its time until the handler's `timeout`");
    while commit(&server, "p2", "count").0.status == 503 {}
}

#[test]
fn streams_that_are_reset_are_told_too() {
    let server = serve_one();
    let id = new_id();
    http2::run(async {
        let (client, _connection) = http2::connect(server.address()).await;
        let mut client = client.ready().await.unwrap();
        let mut request = http2::request("GET", "/p2?fault=stream");
        request.headers_mut().insert("x-request-id", id.parse().unwrap());
        let (response, mut stream) = client.send_request(request, true).unwrap();
        let mut body = response.await.unwrap().into_body();
        assert!(body.data().await.unwrap().is_ok());
        stream.send_reset(h2::Reason::CANCEL);
    });
    server.log.wait_for(&["guest: stream: closed", &id]);
    assert_eq!(commit(&server, "p2", "count").0.text(), "1\n");
}

/// A client that does not read suspends the guest, which holds its place until its deadline and no longer.
#[test]
fn clients_that_do_not_read_hold_the_guest_back() {
    let server = serve("instances = 1", &[("hasty", "limits = { timeout = \"1s\" }"), ("p2", "")]);
    assert_eq!(commit(&server, "p2", "count").0.text(), "1\n");
    let before = server.resident_bytes();
    let mut conn = server.connect();
    conn.request("GET", "/hasty?fault=stream", &[], b"");
    assert_eq!(conn.head().status, 200);
    while commit(&server, "p2", "count").0.status == 503 {}
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "grown by {grown} bytes");
    assert!(conn.rest().len() < 32 << 20, "and the response has broken off");
}

/// A guest that reads a body which does not come is ended when the client has gone.
#[test]
fn guests_that_read_are_ended() {
    let server = serve_one();
    for _ in 0..3 {
        let mut conn = server.connect();
        conn.request("POST", "/p2?ops=flush,text:x,flush,read:all", &["Content-Length: 100"], b"part");
        assert_eq!(conn.head().status, 200);
        conn.reset();
    }
    assert_eq!(commit(&server, "p2", "count").0.text(), "1\n");
}
