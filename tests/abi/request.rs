//! `request_read` and `request_trailers`.

use super::script::{Op, SCRATCH, Script};
use super::{Call, caller};

fn read(len: u32) -> Script {
    Script::new().raw(Op::RequestRead, &[SCRATCH, len])
}

fn chunked(call: Call<'_>) -> Call<'_> {
    call.method("POST").field("Transfer-Encoding: chunked")
}

#[test]
fn reads_to_the_end_and_stays_there() {
    let server = caller();
    let script = read(4).raw(Op::RequestRead, &[SCRATCH + 4, 0]).raw(Op::RequestRead, &[SCRATCH + 4, 100]);
    let script =
        script.raw(Op::RequestRead, &[SCRATCH, 9]).raw(Op::RequestRead, &[SCRATCH, 9]).show(SCRATCH, 10);
    let call = Call::new(&server, script).method("POST");
    let response = call.send(b"0123456789");
    assert_eq!((response.text().as_str(), call.results().as_str()), ("0123456789", "4 0 6 0 0 0"));

    let call = Call::new(&server, read(9).raw(Op::RequestRead, &[SCRATCH, 9]));
    call.send(b"");
    assert_eq!(call.results(), "0 0", "no body");

    let call = Call::new(&server, Script::new().read_all()).method("POST");
    call.send(&vec![b'x'; 300_000]);
    assert_eq!(call.results(), "300000");

    let call = chunked(Call::new(&server, Script::new().read_all()));
    call.send(b"3\r\nabc\r\n5;ext=1\r\n12345\r\n0\r\n\r\n");
    assert_eq!(call.results(), "8");
}

#[test]
fn writes_only_what_it_read() {
    let server = caller();
    let script =
        Script::new().raw(Op::Fill, &[SCRATCH, b'.'.into(), 12]).raw(Op::RequestRead, &[SCRATCH + 2, 5]);
    let call = Call::new(&server, script.show(SCRATCH, 12)).method("POST");
    assert_eq!(call.send(b"abcdefgh").text(), "..abcde.....");
}

#[test]
fn the_body_limit_counts_what_arrives() {
    let server = caller();
    let script = || Script::new().read_all().raw(Op::RequestRead, &[SCRATCH, 9]).respond(201, &[], "");
    let call = Call::new(&server, script()).at("small").method("POST");
    assert_eq!((call.send(b"ten bytes!").status, call.results().as_str()), (201, "10 0 0"));

    // Declared: the guest is not even started.
    let call = Call::new(&server, script()).at("small").method("POST");
    let response = call.send(b"11 bytes!!!");
    assert_eq!((response.status, response.header("connection")), (413, Some("close")), "{response:?}");
    assert_eq!(response.header("x-request-id"), Some(call.id.as_str()));

    // Not declared: reading fails, again and again.
    let call = chunked(Call::new(&server, script()).at("small"));
    let response = call.send(b"b\r\n11 bytes!!!\r\n0\r\n\r\n");
    assert_eq!((response.status, call.results().as_str()), (201, "-4 -4 0"));
    let call = chunked(Call::new(&server, script()).at("small"));
    call.send(b"6\r\n123456\r\n5\r\n12345\r\n0\r\n\r\n");
    assert_eq!(call.results(), "-4 -4 0");
}

#[test]
fn a_malformed_body_is_broken() {
    let server = caller();
    let script = || Script::new().read_all().raw(Op::RequestRead, &[SCRATCH, 9]).raw(Op::ClientGone, &[]);
    for body in ["3\r\nabcX\r\n", "zz\r\n", "3\r\nabc\r\nffffffffffffffffff\r\n"] {
        let call = chunked(Call::new(&server, script()));
        call.send(body.as_bytes());
        assert_eq!(call.results(), "-5 -5 0", "{body:?}");
    }
}

#[test]
fn a_body_that_ends_early_is_broken() {
    let server = caller();
    let script = Script::new().read_all().raw(Op::RequestRead, &[SCRATCH, 9]).respond(400, &[], "short");
    for (field, body) in [("Content-Length: 9", "12345"), ("Transfer-Encoding: chunked", "9\r\n12345")] {
        let call = Call::new(&server, script.clone()).at("finish");
        let mut conn = server.connect();
        conn.request("POST", &call.path, &[field, &format!("X-Request-Id: {}", call.id)], body.as_bytes());
        conn.finish();
        assert_eq!(call.results(), "-5 -5 0", "{field}");
    }
}

#[test]
fn trailers_come_after_the_end() {
    let server = caller();
    let trailers = |ptr, len| Script::new().raw(Op::RequestTrailers, &[ptr, len]);
    let body = b"3\r\nabc\r\n0\r\nX-Sum: 42\r\nX-Sum: 43\r\n\r\n";

    let call = chunked(Call::new(
        &server,
        trailers(SCRATCH, 99).raw(Op::RequestRead, &[SCRATCH, 9]).raw(Op::RequestTrailers, &[SCRATCH, 99]),
    ));
    call.send(body);
    assert_eq!(call.results(), "-2 3 -2", "the end was not reached yet");

    // A buffer that is too small learns the size and is left alone.
    let wanted = super::script::block(&[("x-sum", "42"), ("x-sum", "43")]);
    let size = wanted.len() as u32;
    let script = Script::new().read_all().raw(Op::Fill, &[SCRATCH, b'.'.into(), 64]);
    let script =
        script.raw(Op::RequestTrailers, &[SCRATCH, size - 1]).raw(Op::RequestTrailers, &[SCRATCH, 0]);
    let call = chunked(Call::new(&server, script.clone().show(SCRATCH, 64)).field("TE: trailers"));
    assert_eq!(call.send(body).text(), ".".repeat(64));
    assert_eq!(call.results(), format!("3 0 {size} {size} 0"));

    let script = script.raw(Op::RequestTrailers, &[SCRATCH, size]).show(SCRATCH, size + 2);
    let call = chunked(Call::new(&server, script));
    assert_eq!(call.send(body).body, [&wanted[..], b".."].concat());

    let script =
        Script::new().read_all().raw(Op::Fill, &[SCRATCH, 1, 6]).raw(Op::RequestTrailers, &[SCRATCH, 6]);
    let call = Call::new(&server, script.show(SCRATCH, 6)).method("POST");
    assert_eq!(call.send(b"abc").body, [0, 0, 0, 0, 1, 1], "no trailers: a block of no fields");
    assert_eq!(call.results(), "3 0 4 0");

    let call = Call::new(&server, trailers(SCRATCH, 9));
    call.send(b"");
    assert_eq!(call.results(), "-2", "even when there is no body, its end must be read");
}

#[test]
fn reading_makes_the_host_say_100_continue() {
    let server = caller();
    let mut conn = server.connect();
    let script = Script::new().read_all().respond(200, &[], "thanks");
    let path = format!("/call/{}", script.encode());
    conn.request("POST", &path, &["Expect: 100-continue", "Content-Length: 3"], b"");
    assert_eq!(conn.head().status, 100);
    conn.send("abc");
    assert_eq!(conn.response().text(), "thanks");

    let mut conn = server.connect();
    let script = Script::new().respond(403, &[], "no");
    let path = format!("/call/{}", script.encode());
    conn.request("POST", &path, &["Expect: 100-continue", "Content-Length: 3"], b"");
    assert_eq!(conn.response().status, 403, "a guest that does not read does not ask for the body");
}
