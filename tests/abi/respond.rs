//! `respond` and `response_interim`.

use super::script::{Op, SCRATCH, Script, block};
use super::{Call, REFUSED, caller, check, check_traps};

fn respond(status: u32, fields: &[(&str, &str)], body: &str) -> Script {
    Script::new().respond(status, fields, body)
}

#[test]
fn respond_statuses_and_order() {
    let server = caller();
    check(
        &server,
        vec![
            ("no call at all", Script::new(), "", 200, ""),
            ("plain", respond(200, &[], "hello"), "0", 200, "hello"),
            ("highest status", respond(999, &[], "x"), "0", 999, "x"),
            ("informational", respond(100, &[], "x"), "-3", 200, ""),
            ("just below", respond(199, &[], "x"), "-3", 200, ""),
            ("just above", respond(1000, &[], "x"), "-3", 200, ""),
            ("zero", respond(0, &[], "x"), "-3", 200, ""),
            ("not cut to 16 bits", respond(65_536 + 200, &[], "x"), "-3", 200, ""),
            ("negative", respond(u32::MAX, &[], "x"), "-3", 200, ""),
            ("an error has no effect", respond(1, &[], "x").respond(201, &[], "y"), "-3 0", 201, "y"),
            ("twice", respond(201, &[], "one").respond(202, &[], "two"), "0 -2", 201, "one"),
            ("after a start", Script::new().start(201, &[]).respond(202, &[], "x"), "0 -2", 201, ""),
            ("start after it", respond(201, &[], "x").start(200, &[]), "0 -2", 201, "x"),
            ("write after it", respond(201, &[], "x").write("y"), "0 -2", 201, "x"),
            ("flush after it", respond(201, &[], "x").flush(), "0 -2", 201, "x"),
            ("trailers after it", respond(201, &[], "x").trailers(&[]), "0 -2", 201, "x"),
            ("204 with a body", respond(204, &[], "x"), "-6", 200, ""),
            ("204 without", respond(204, &[], ""), "0", 204, ""),
            ("304 with a body", respond(304, &[], "x"), "-6", 200, ""),
            ("304 without", respond(304, &[], ""), "0", 304, ""),
            ("no field block", Script::new().raw(Op::Respond, &[202, 0, 0, 0, 0]), "0", 202, ""),
        ],
    );
}

#[test]
fn respond_checks_fields() {
    let server = caller();
    let field = |name, value| respond(200, &[(name, value)], "x");
    let mut cases = vec![
        ("plain", field("a", "b"), "0", 200, "x"),
        ("upper case", field("X-A", "b"), "0", 200, "x"),
        ("tab and obs-text", field("a", "b\tc é"), "0", 200, "x"),
        ("empty value", field("a", ""), "0", 200, "x"),
    ];
    for name in ["", "a b", "a:", "a\n", "é", "a\0", "(a)"] {
        cases.push(("name", field(name, "v"), "-3", 200, ""));
    }
    for value in ["a\nb", "a\rb", "a\0b", "\x7f", "\x01"] {
        cases.push(("value", field("n", value), "-3", 200, ""));
    }
    for length in ["-1", "+1", "1x", "1, 1", "", " ", "0x1", "99999999999999999999999"] {
        cases.push(("length", field("Content-Length", length), "-3", 200, ""));
    }
    let lengths = respond(200, &[("Content-Length", "1"), ("content-length", "2")], "x");
    cases.push(("two lengths", lengths, "-3", 200, ""));
    let lengths = respond(200, &[("Content-Length", "9"), ("content-length", "9")], "x");
    cases.push(("the same length twice", lengths, "0", 200, "x"));
    check(&server, cases);
}

#[test]
fn respond_limits_fields() {
    let server = caller();
    let (script, len) = Script::new().many_fields(500);
    let most = script.raw(Op::Respond, &[200, SCRATCH, len, 0, 0]);
    let (script, len) = Script::new().many_fields(501);
    let too_many = script.raw(Op::Respond, &[200, SCRATCH, len, 0, 0]);
    let too_long = Script::new().raw(Op::Respond, &[200, SCRATCH, 65_537, 0, 0]);
    check(
        &server,
        vec![
            ("500 fields", most, "0 0 0", 200, ""),
            ("501 fields", too_many, "0 0 -4", 500, REFUSED),
            ("beyond 64 KiB", too_long, "-4", 500, REFUSED),
        ],
    );
}

#[test]
fn respond_makes_this_head() {
    let server = caller();
    let fields = [("X-B", "2"), ("X-A", "1"), ("x-b", "3"), ("Content-Length", "77")];
    let response = Call::new(&server, respond(200, &fields, "body")).send(b"");
    assert_eq!(response.header("content-length"), Some("4"), "{response:?}");
    assert!(response.header("date").is_some_and(|date| date.ends_with("GMT")), "{response:?}");
    assert_eq!(response.header("content-type"), None, "{response:?}");
    let mine: Vec<_> = response.headers.iter().filter(|(name, _)| name.starts_with("x-")).collect();
    let values: Vec<_> = mine.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let of = |name: &str| values.iter().filter(|field| field.starts_with(name)).cloned().collect::<Vec<_>>();
    assert_eq!(of("x-b"), ["x-b=2", "x-b=3"], "{response:?}");
    assert_eq!(of("x-a"), ["x-a=1"], "{response:?}");

    let date = "Thu, 01 Jan 1970 00:00:00 GMT";
    let response = Call::new(&server, respond(200, &[("date", date)], "")).send(b"");
    let dates: Vec<_> = response.headers.iter().filter(|(name, _)| name == "date").collect();
    assert_eq!(dates, [&("date".to_owned(), date.to_owned())]);
}

#[test]
fn respond_leaves_framing_to_the_host() {
    let server = caller();
    let fields = [
        ("Transfer-Encoding", "gzip"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("Upgrade", "websocket"),
        ("Connection", "keep-alive, X-Hop"),
    ];
    let response = Call::new(&server, respond(200, &fields, "x")).send(b"");
    for (name, _) in fields {
        assert_eq!(response.header(&name.to_ascii_lowercase()), None, "{response:?}");
    }
    assert_eq!(response.text(), "x");

    let mut conn = server.connect();
    let script = respond(200, &[("Connection", "close")], "x");
    conn.request("GET", &format!("/call/{}", script.encode()), &[], b"");
    assert_eq!(conn.response().header("connection"), Some("close"));
    assert!(conn.is_closed());
}

#[test]
fn respond_to_head_keeps_the_length() {
    let server = caller();
    let with = |length: &str| respond(200, &[("Content-Length", length)], "");
    let response = Call::new(&server, with("1234")).method("HEAD").send(b"");
    assert_eq!(response.status, 200);
    let mut conn = server.connect();
    conn.request("HEAD", &format!("/call/{}", with("1234").encode()), &[], b"");
    let first = conn.response();
    assert_eq!(first.header("content-length"), Some("1234"), "{first:?}");
    conn.request("HEAD", &format!("/call/{}", respond(200, &[], "12345").encode()), &[], b"");
    let second = conn.response();
    assert_eq!(second.header("content-length"), Some("5"), "{second:?}");
    conn.request(
        "GET",
        &format!("/call/{}", respond(304, &[("Content-Length", "99")], "").encode()),
        &[],
        b"",
    );
    let third = conn.response();
    assert_eq!((third.status, third.complete), (304, true), "{third:?}");
    conn.request(
        "HEAD",
        &format!("/call/{}", respond(200, &[("Content-Length", "99")], "12345").encode()),
        &[],
        b"",
    );
    let fourth = conn.response();
    assert_eq!(
        fourth.header("content-length"),
        Some("99"),
        "a given length is kept, whatever the body: {fourth:?}"
    );
    conn.request("GET", &format!("/call/{}", respond(200, &[], "last").encode()), &[], b"");
    assert_eq!(conn.response().text(), "last", "the connection goes on after bodiless answers");
}

#[test]
fn respond_is_held_back_until_the_guest_returns() {
    let server = caller();
    let call = Call::new(&server, respond(200, &[], "too early").trap());
    let response = call.send(b"");
    assert_eq!(response.status, 500);
    assert!(response.text().starts_with("the handler failed"), "{response:?}");
    assert!(call.failure().contains("unreachable"), "{}", call.failure());
}

#[test]
fn respond_is_held_to_the_body_limit() {
    let server = caller();
    let call = Call::new(&server, respond(200, &[], "ten bytes!")).at("small");
    assert_eq!((call.send(b"").text(), call.results()), ("ten bytes!".to_owned(), "0".to_owned()));
    let call = Call::new(&server, respond(200, &[], "11 bytes!!!")).at("small");
    let response = call.send(b"");
    assert_eq!((response.status, call.results().as_str()), (500, "-4"));
    assert!(call.failure().contains("`response_body` limit"), "{}", call.failure());
}

#[test]
fn respond_takes_up_to_64_kib() {
    let server = caller();
    let script = |len| Script::new().raw(Op::Respond, &[200, 0, 0, 0, len]).respond(201, &[], "small");
    let call = Call::new(&server, script(1 << 16));
    assert_eq!((call.send(b"").body.len(), call.results().as_str()), (1 << 16, "0 -2"));
    let call = Call::new(&server, script((1 << 16) + 1));
    assert_eq!((call.send(b"").text().as_str(), call.results().as_str()), ("small", "-4 0"));
}

/// ABI.md section 2, rule 8: status, then fields, then what is allowed at this point.
#[test]
fn checks_come_in_order() {
    let server = caller();
    let after = |script: Script| {
        respond(200, &[], "x").start(1, &[]).respond(1, &[], "").interim(1, &[]).join(script)
    };
    let bad_field = Script::new().start(200, &[("", "")]).interim(103, &[("", "")]).trailers(&[("", "")]);
    let (script, len) = Script::new().many_fields(501);
    let both = script.raw(Op::ResponseStart, &[1, SCRATCH, len]).raw(Op::ResponseStart, &[200, SCRATCH, len]);
    check(
        &server,
        vec![
            ("all of it, too late", after(bad_field), "0 -3 -3 -3 -3 -3 -3", 200, "x"),
            ("status before the number of fields", both, "0 0 -3 -4", 500, REFUSED),
        ],
    );
}

#[test]
fn malformed_blocks_trap() {
    let server = caller();
    let good = block(&[("name", "value")]);
    let shorter = &good[..good.len() - 1];
    let longer = [&good[..], b"x"].concat();
    let mut more = good.clone();
    more[0] = 2;
    let mut fewer = good.clone();
    fewer[0] = 0;
    let mut huge = good.clone();
    huge[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut wraps = good.clone();
    wraps[4..8].copy_from_slice(&0xffff_fffc_u32.to_le_bytes());
    wraps[8..12].copy_from_slice(&13_u32.to_le_bytes());
    let count = u32::MAX.to_le_bytes();
    let blocks: [&[u8]; 10] =
        [shorter, &longer, &more, &fewer, &huge, &wraps, &count, &[0], &[0, 0, 0], &[0, 0, 0, 0, 0]];
    let mut cases = Vec::new();
    for bytes in blocks {
        cases.push((
            "response_start: the lengths",
            Script::new().with_bytes(Op::ResponseStart, &[200], bytes),
        ));
        let interim = Script::new().with_bytes(Op::ResponseInterim, &[103], bytes);
        cases.push(("response_interim: the lengths", interim));
        let trailers = Script::new().start(200, &[]).with_bytes(Op::ResponseTrailers, &[], bytes);
        cases.push(("response_trailers: the lengths", trailers));
        // `respond` has its block in the middle of its arguments: put it where it is known to be.
        let respond = Script::new().with_bytes(Op::Log, &[5], bytes);
        cases.push(("respond: the lengths", respond.respond_with_last_log(200)));
    }
    check_traps(&server, cases);
}

#[test]
fn interim_responses_come_before_the_final_one() {
    let server = caller();
    let hints = Script::new().interim(103, &[("Link", "</a.css>; rel=preload"), ("Content-Length", "7")]);
    let call = Call::new(&server, hints.interim(102, &[]).respond(200, &[], "final"));
    let mut conn = server.connect();
    conn.send(format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", call.path));
    let early = conn.head();
    assert_eq!((early.status, early.header("link")), (103, Some("</a.css>; rel=preload")));
    assert_eq!(early.header("content-length"), None, "that is the final response's");
    let response = conn.response();
    assert_eq!((&response.interim[..], response.status, &*response.text()), (&[102][..], 200, "final"));
    conn.send(format!("GET {} HTTP/1.0\r\nHost: x\r\n\r\n", call.path));
    assert_eq!(conn.head().status, 200, "HTTP/1.0 has none");
}

#[test]
fn interim_is_checked() {
    let server = caller();
    let interim = |status| Script::new().interim(status, &[("Link", "</a.css>; rel=preload")]);
    let then = |script: Script| script.respond(200, &[], "final");
    check(
        &server,
        vec![
            ("early hints", then(interim(103)), "0 0", 200, "final"),
            ("lowest", then(interim(100)), "0 0", 200, "final"),
            ("highest", then(interim(199)), "0 0", 200, "final"),
            ("switching protocols", then(interim(101)), "-3 0", 200, "final"),
            ("too low", then(interim(99)), "-3 0", 200, "final"),
            ("final", then(interim(200)), "-3 0", 200, "final"),
            ("negative", then(interim(u32::MAX)), "-3 0", 200, "final"),
            ("bad name", then(Script::new().interim(103, &[("a b", "c")])), "-3 0", 200, "final"),
            ("bad value", then(Script::new().interim(103, &[("a", "\n")])), "-3 0", 200, "final"),
            ("after the response", Script::new().respond(200, &[], "x").interim(103, &[]), "0 -2", 200, "x"),
            ("after the start", Script::new().start(200, &[]).interim(103, &[]), "0 -2", 200, ""),
            (
                "too long",
                then(Script::new().raw(Op::ResponseInterim, &[103, SCRATCH, 65_537])),
                "-4 0",
                200,
                "final",
            ),
        ],
    );
}
