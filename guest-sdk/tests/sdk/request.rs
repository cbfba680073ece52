use std::time::Duration;

use wasmux_sdk::{Recorder, Request, Result, TestRequest};

/// Looks at a request from inside a handler.
fn look(request: TestRequest, check: impl Fn(&mut Request)) {
    let handler = |_: &mut wasmux_sdk::ResponseWriter, r: &mut Request| -> Result<()> {
        check(r);
        Ok(())
    };
    let _ = Recorder::serve(handler, request);
}

#[test]
fn the_target_in_pieces() {
    look(Request::post("/a%20b/%2F?c=d&e=%20f"), |r| {
        assert_eq!(r.method(), "POST");
        assert_eq!(r.target(), "/a%20b/%2F?c=d&e=%20f");
        assert_eq!((r.path(), r.escaped_path()), ("/a b//", "/a%20b/%2F"));
        assert_eq!(r.raw_query(), "c=d&e=%20f");
        assert_eq!((r.query_value("c"), r.query_value("e"), r.query_value("x")), ("d", " f", ""));
        assert_eq!(r.query().get("x"), None);
    });
}

#[test]
fn where_it_comes_from_and_goes_to() {
    let request = Request::get("/").host("a.example:8080").scheme("https").protocol("HTTP/2.0");
    look(request.remote_addr("[2001:db8::1]:5").request_id("r-1").time_limit(Duration::from_secs(3)), |r| {
        assert_eq!((r.host(), r.scheme(), r.protocol()), ("a.example:8080", "https", "HTTP/2.0"));
        assert_eq!(
            (r.remote_addr(), r.local_addr(), r.request_id()),
            ("[2001:db8::1]:5", "192.0.2.80:80", "r-1")
        );
        assert!(r.time_remaining() > Duration::from_secs(1) && r.time_remaining() <= Duration::from_secs(3));
    });
}

#[test]
fn headers_keep_order_repetitions_and_bytes() {
    let request = Request::get("/").header("Accept", "a").header("x-raw", b"\xff").header("accept", "b");
    look(request, |r| {
        assert_eq!((r.header("ACCEPT"), r.header("x-raw"), r.header("none")), ("a", "", ""));
        let accepted: Vec<_> = r.headers().get_all("accept").iter().collect();
        assert_eq!(accepted, ["a", "b"]);
        assert_eq!(r.headers()["x-raw"].as_bytes(), b"\xff");
    });
}

#[test]
fn a_long_head_is_no_different() {
    look(Request::get("/").header("x-long", "v".repeat(10_000)), |r| {
        assert_eq!(r.header("x-long").len(), 10_000);
        assert_eq!(r.path(), "/");
    });
}

#[test]
fn path_values_come_from_the_pattern_and_can_be_set() {
    let request = Request::get("/b/x%2Fy/o/p%2Fq/r").pattern("/b/{bucket}/o/{obj...}");
    look(request, |r| {
        assert_eq!(r.pattern(), "/b/{bucket}/o/{obj...}");
        assert_eq!((r.path_value("bucket"), r.path_value("obj"), r.path_value("no")), ("x/y", "p/q/r", ""));
        assert_eq!(r.path_value_bytes("no"), None);
        r.set_path_value("bucket", "other");
        r.set_path_value("new", "1");
        r.set_path_value("new", "2");
        assert_eq!((r.path_value("bucket"), r.path_value("new")), ("other", "2"));
    });
    look(Request::get("/%ff").pattern("/{x}"), |r| {
        assert_eq!((r.path_value("x"), r.path_value_bytes("x")), ("", Some(&b"\xff"[..])));
    });
    look(Request::get("/").path_value("id", "7"), |r| assert_eq!(r.path_value("id"), "7"));
}

#[test]
#[should_panic(expected = "does not match GET /b")]
fn a_pattern_that_does_not_match_is_a_mistake_in_the_test() {
    look(Request::get("/b").pattern("/a"), |_| {});
}

#[test]
fn basic_auth_as_net_http_reads_it() {
    let table = [
        ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Some(("Aladdin", "open sesame"))),
        ("BASIC QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Some(("Aladdin", "open sesame"))),
        ("basic QWxhZGRpbjpvcGVuOnNlc2FtZQ==", Some(("Aladdin", "open:sesame"))),
        ("Basic Og==", Some(("", ""))),
        ("BasicQWxhZGRpbjpvcGVuIHNlc2FtZQ==", None),
        ("QWxhZGRpbjpvcGVuIHNlc2FtZQ==", None),
        ("Basic ", None),
        ("Basic Ukn#!", None),
        ("Digest a:b", None),
        ("", None),
    ];
    for (value, want) in table {
        look(Request::get("/").header("authorization", value), |r| {
            let got = r.basic_auth();
            assert_eq!(
                got.as_ref().map(|(user, password)| (user.as_str(), password.as_str())),
                want,
                "{value}"
            );
        });
    }
    look(Request::get("/").basic_auth("me", "pass"), |r| {
        assert_eq!(r.basic_auth(), Some(("me".into(), "pass".into())));
    });
}

#[test]
fn the_subject_of_a_certificate_is_there_or_not() {
    for (request, want) in [
        (Request::get("/"), None),
        (Request::get("/").client_subject("CN=Ann,O=Example"), Some("CN=Ann,O=Example")),
    ] {
        look(request, |r| assert_eq!(r.client_subject(), want));
    }
}

#[test]
fn bytes_are_there_where_text_is_not() {
    look(Request::get("/a%FF%2Fb?q=%FF&\u{e9}"), |r| {
        assert_eq!(r.path_bytes(), &b"/a\xff/b"[..]);
        assert_eq!(r.path(), "/a\u{fffd}/b");
        assert_eq!(r.raw_query_bytes(), "q=%FF&\u{e9}".as_bytes());
        assert_eq!(r.target_bytes(), "/a%FF%2Fb?q=%FF&\u{e9}".as_bytes());
    });
}
