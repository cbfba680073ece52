//! What the host lets a guest have beside its request: its environment, a log, time and chance, and nothing else.

use super::{Abi, case, check};

#[test]
fn the_environment_is_the_handlers_own() {
    check(&[
        case("variables", "probe:env").body("EMPTY=\nGREETING=Hello\nUMLAUT=ü\n"),
        case("another handler's", "text:x,probe:env").path("/small").body("x"),
        case("arguments", "probe:args").body("args=0\n"),
    ]);
}

#[test]
fn output_becomes_log_lines() {
    check(&[case("both", "out:to%20stdout,err:to%20stderr,text:done")
        .body("done")
        .logs(&["INFO", "guest: to stdout"])
        .logs(&["WARN", "guest: to stderr"])]);
}

#[test]
fn clocks_and_random_numbers_work() {
    check(&[case("both", "probe:clock,probe:random").body("clock=works\nrandom=works\n")]);
}

#[test]
fn nothing_is_granted() {
    check(&[
        case("files", "probe:files").body("files=none\n"),
        case("sockets", "probe:sockets").body("sockets=none\n"),
    ]);
    check(&[case("requests", "fetch:example.test,fetch:example.test")
        .body("denied\ndenied\n")
        .logs(&["WARN", "a request to http://example.test/ was refused: nothing is granted to this handler"])
        .but(Abi::ServeHttp, "it has no import for that", |expected| {
            expected.body =
                Some(b"this ABI has no requests of its own\nthis ABI has no requests of its own\n".into());
            expected.log.clear();
        })]);
}

#[test]
fn traps_are_500s() {
    check(&[
        case("before the response", "panic").status(500).logs(&["reason=\"trapped\""]),
        case("behind its beginning", "text:part,flush,sleep:5,panic")
            .breaks_off()
            .logs(&["reason=\"trapped\""]),
    ]);
}
