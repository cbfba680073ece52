//! `response_timeout`.

use super::script::{MEMORY, Op, Script};
use super::{Call, caller, check, check_traps};

/// Long enough that a slow machine is done with everything else before.
const LATER: u32 = 60_000;

const PREPARED: (&str, &str) = ("x-prepared", "yes");

fn timeout(ms: u32) -> Script {
    Script::new().timeout(ms, PREPARED, "late")
}

#[test]
fn guests_that_take_too_long_are_replaced() {
    let server = caller();
    // `WaitGone` computes for ever, `RequestRead` waits for a body that does not come.
    let computing = timeout(1).raw(Op::WaitGone, &[]);
    let given = timeout(1).respond(200, &[], "whole").raw(Op::WaitGone, &[]);
    let started = timeout(1).start(200, &[("x-started", "yes")]).raw(Op::WaitGone, &[]);
    let shortened = timeout(LATER).timeout(1, PREPARED, "late").raw(Op::WaitGone, &[]);
    let refused = timeout(1).raw(Op::ResponseTimeout, &[LATER, 0, 0, 0, 65_537]).raw(Op::WaitGone, &[]);
    for script in [computing, given, started, shortened, refused] {
        let shown = format!("{script:?}");
        let response = Call::new(&server, script).send(b"");
        assert_eq!((response.status, response.text().as_str()), (503, "late"), "{shown}");
        assert_eq!(
            (response.header("x-prepared"), response.header("content-length")),
            (Some("yes"), Some("4"))
        );
        assert_eq!(response.header("x-started"), None);
    }
    let call = Call::new(&server, timeout(1).raw(Op::WaitGone, &[])).method("HEAD");
    let response = call.send(b"");
    assert_eq!(
        (response.status, response.body.len(), response.header("content-length")),
        (503, 0, Some("4"))
    );
}

#[test]
fn a_guest_that_waits_is_replaced_too() {
    let server = caller();
    let call = Call::new(&server, timeout(1).read_all());
    let mut conn = server.connect();
    conn.send(format!("GET {} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabc", call.path));
    let response = conn.response();
    assert_eq!((response.status, response.text().as_str()), (503, "late"));
}

#[test]
fn guests_that_are_done_or_on_their_way_are_left_alone() {
    let server = caller();
    let prepared = |script: Script| timeout(LATER).join(script);
    let answer = Script::new().respond(200, &[], "done");
    let forget = Script::new().raw(Op::ResponseTimeout, &[0, 0, 0, 0, 0]);
    let long = Script::new().raw(Op::ResponseTimeout, &[LATER, 0, 0, 0, 65_537]);
    let streamed = Script::new().start(200, &[]).write("a").timeout(LATER, PREPARED, "late").write("b");
    check(
        &server,
        vec![
            ("done", prepared(answer.clone()), "0 0", 200, "done"),
            ("forgotten", prepared(forget.clone()).join(answer.clone()), "0 0 0", 200, "done"),
            ("nothing to forget", forget.join(answer), "0 0", 200, "done"),
            ("too large", long, "-4", 200, ""),
            ("after a byte", streamed, "0 0 -2 0", 200, "ab"),
            ("twice", timeout(LATER).timeout(LATER, PREPARED, "late"), "0 0", 200, ""),
        ],
    );
    // The time comes in the middle of a stream, and means nothing any more: the guest runs until its client goes.
    let script =
        Script::new().start(200, &[]).timeout(500, PREPARED, "late").write("a").raw(Op::WaitGone, &[]);
    let call = Call::new(&server, script).at("finish");
    let mut conn = server.connect();
    conn.request("GET", &call.path, &[&format!("X-Request-Id: {}", call.id)], b"");
    assert_eq!(conn.head().status, 200);
    std::thread::sleep(std::time::Duration::from_millis(700)); // until after the prepared time
    drop(conn);
    assert_eq!(call.results(), "0 0 0 1");
}

#[test]
fn the_prepared_response_is_checked_at_once() {
    let server = caller();
    let field = |name, value| Script::new().timeout(LATER, (name, value), "late");
    check(
        &server,
        vec![
            ("bad field", field("a b", "c"), "-3", 200, ""),
            ("bad length", field("content-length", "x"), "-3", 200, ""),
        ],
    );
    check_traps(
        &server,
        vec![
            ("response_timeout", Script::new().raw(Op::ResponseTimeout, &[LATER, MEMORY, 1, 0, 0])),
            ("response_timeout", Script::new().raw(Op::ResponseTimeout, &[LATER, 0, 0, MEMORY, 1])),
            ("response_timeout", Script::new().raw(Op::ResponseTimeout, &[0, MEMORY, 1, 0, 0])),
            ("response_timeout", Script::new().raw(Op::ResponseTimeout, &[LATER, 0, 3, 0, 0])),
        ],
    );
}
