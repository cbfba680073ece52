//! `wasmux:log/1`.

use super::script::{Op, SCRATCH, Script};
use super::{Call, caller, caller_with_log};

#[test]
fn levels_are_taken_as_the_nearest() {
    let server = caller_with_log("trace");
    let levels = [
        (1, "ERROR"),
        (2, "WARN"),
        (3, "INFO"),
        (4, "DEBUG"),
        (5, "TRACE"),
        (0, "ERROR"),
        (6, "TRACE"),
        (1000, "TRACE"),
        (u32::MAX, "ERROR"), // −1
    ];
    let script = levels.iter().fold(Script::new(), |script, (level, _)| {
        script.log(*level, format!("this is level {level}.").as_bytes())
    });
    let call = Call::new(&server, script);
    call.send(b"");
    for (level, name) in levels {
        let line = server.log.wait_for(&[&format!("this is level {level}."), &call.id]);
        assert!(line.contains(&format!(" {name} guest: ")), "{line}");
        assert!(line.contains("handler=\"caller\""), "{line}");
    }
}

#[test]
fn enabled_says_what_would_be_written() {
    let enabled = || (0..=6).fold(Script::new(), |script, level| script.raw(Op::Enabled, &[level]));
    for (level, results) in
        [("info", "1 1 1 1 0 0 0"), ("warn,guest=info", "1 1 1 1 0 0 0"), ("guest=trace", "1 1 1 1 1 1 1")]
    {
        let server = caller_with_log(level);
        let call = Call::new(&server, enabled());
        call.send(b"");
        assert_eq!(call.results(), results, "{level}");
    }
}

#[test]
fn text_is_cut_and_cannot_forge_lines() {
    let server = caller();
    let script = Script::new()
        .log(3, b"one\ntwo\r\x1b[31mred\x00 \xff.")
        .raw(Op::Fill, &[SCRATCH, b'x'.into(), 9000])
        .raw(Op::Log, &[3, SCRATCH, 9000])
        .raw(Op::Log, &[3, SCRATCH, 8192])
        .log(3, b"");
    let call = Call::new(&server, script);
    call.send(b"");
    assert_eq!(call.results(), "0 0 0 0 0");
    let line = server.log.wait_for(&["guest: one", &call.id]);
    assert!(line.contains("one\\ntwo\\r\\u{1b}[31mred\\u{0} \u{fffd}."), "{line}");
    let cut = server.log.wait_for(&["xxxx… (808 bytes cut)", &call.id]);
    assert_eq!(cut.matches('x').count(), 8192);
    let whole = server.log.wait_for(&["xxxx handler=", &call.id]);
    assert_eq!(whole.matches('x').count(), 8192);
}
