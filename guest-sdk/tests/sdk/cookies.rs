use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wasmux_sdk::{Cookie, Recorder, Request, SameSite, TestRequest};

/// Cookies of a request, as name, value, and whether it was quoted.
fn read(request: TestRequest) -> Vec<(String, String, bool)> {
    let read = std::cell::RefCell::default();
    let handler = |_: &mut wasmux_sdk::ResponseWriter, r: &mut Request| {
        let cookies = r.cookies().into_iter().map(|cookie| (cookie.name, cookie.value, cookie.quoted));
        *read.borrow_mut() = cookies.collect();
        Ok(())
    };
    let _ = Recorder::serve(handler, request);
    read.into_inner()
}

#[test]
fn cookie_headers() {
    type Row = (&'static [&'static str], &'static [(&'static str, &'static str, bool)]);
    let table: [Row; 12] = [
        (&["Cookie-1=v$1", "c2=v2"], &[("Cookie-1", "v$1", false), ("c2", "v2", false)]),
        (&["Cookie-1=v$1; c2=v2"], &[("Cookie-1", "v$1", false), ("c2", "v2", false)]),
        (&["Cookie-1=\"v$1\"; c2=\"v2\""], &[("Cookie-1", "v$1", true), ("c2", "v2", true)]),
        (&["a=1; a=2"], &[("a", "1", false), ("a", "2", false)]),
        (&["a=1;b=2;;  ;\tc=3\t"], &[("a", "1", false), ("b", "2", false), ("c", "3", false)]),
        (&["empty="], &[("empty", "", false)]),
        (&["lonely"], &[("lonely", "", false)]),
        (&["quoted=\"\""], &[("quoted", "", true)]),
        (&["half=\"x", "a=b"], &[("a", "b", false)]),
        (&["a b=c; =d; ü=e; ok=1"], &[("ok", "1", false)]),
        (&["bad=a\\b; bad=a\"b; sp=a b, c"], &[("sp", "a b, c", false)]),
        (&[""], &[]),
    ];
    for (lines, want) in table {
        let request = lines.iter().fold(Request::get("/"), |request, line| request.header("cookie", line));
        let want: Vec<_> = want.iter().map(|(n, v, q)| ((*n).to_owned(), (*v).to_owned(), *q)).collect();
        assert_eq!(read(request), want, "{lines:?}");
    }
}

#[test]
fn the_strict_reader_refuses_what_the_other_one_passes_over() {
    let all = Cookie::parse(" a=1;b=\"2\" ; c=; d=\"\"").expect("valid");
    let all: Vec<_> = all.iter().map(|c| (c.name.as_str(), c.value.as_str(), c.quoted)).collect();
    assert_eq!(all, [("a", "1", false), ("b", "2", true), ("c", "", false), ("d", "", true)]);
    let many = |count| vec!["a=b"; count].join(";");
    assert_eq!(Cookie::parse(&many(3000)).expect("not too many").len(), 3000);
    for (line, want) in [
        ("", "blank cookie"),
        (" \t", "blank cookie"),
        ("a", "'=' not found in cookie"),
        ("a=1;", "'=' not found in cookie"),
        ("a=1;;b=2", "'=' not found in cookie"),
        ("=1", "invalid cookie name"),
        ("a =1", "invalid cookie name"),
        ("ä=1", "invalid cookie name"),
        ("a=\"", "invalid cookie value"),
        ("a=b\\c", "invalid cookie value"),
        ("a=ä", "invalid cookie value"),
        (&many(3001), "too many cookies"),
    ] {
        let error = Cookie::parse(line).expect_err("not valid");
        assert_eq!((error.status().as_u16(), error.message()), (400, want));
    }
}

#[test]
fn three_thousand_cookies_are_the_most() {
    assert_eq!(read(Request::get("/").header("cookie", vec!["a=b"; 3000].join(";"))).len(), 3000);
    assert_eq!(read(Request::get("/").header("cookie", vec!["a=b"; 3001].join(";"))).len(), 0);
}

#[test]
fn one_cookie_by_name() {
    let handler = |_: &mut wasmux_sdk::ResponseWriter, r: &mut Request| {
        assert_eq!(r.cookie("b").map(|cookie| cookie.value).as_deref(), Some("2"));
        assert_eq!(r.cookie("c"), None);
        Ok(())
    };
    let _ = Recorder::serve(handler, Request::get("/").cookie("a", "1").cookie("b", "2").cookie("b", "3"));
}

fn at(seconds: u64) -> Option<SystemTime> {
    Some(UNIX_EPOCH + Duration::from_secs(seconds))
}

#[test]
fn set_cookie_is_written_as_net_http_writes_it() {
    let cookie = |name: &str, value: &str| Cookie::new(name, value);
    let table = [
        (cookie("cookie-1", "v$1"), "cookie-1=v$1"),
        (Cookie { max_age: Some(3600), ..cookie("cookie-2", "two") }, "cookie-2=two; Max-Age=3600"),
        (
            Cookie { domain: ".example.com".into(), ..cookie("cookie-3", "three") },
            "cookie-3=three; Domain=example.com",
        ),
        (
            Cookie { path: "/restricted/".into(), ..cookie("cookie-4", "four") },
            "cookie-4=four; Path=/restricted/",
        ),
        (Cookie { domain: "wrong;bad.abc".into(), ..cookie("cookie-5", "five") }, "cookie-5=five"),
        (Cookie { domain: "bad-.abc".into(), ..cookie("cookie-6", "six") }, "cookie-6=six"),
        (
            Cookie { domain: "127.0.0.1".into(), ..cookie("cookie-7", "seven") },
            "cookie-7=seven; Domain=127.0.0.1",
        ),
        (Cookie { domain: "::1".into(), ..cookie("cookie-8", "eight") }, "cookie-8=eight"),
        (
            Cookie { expires: at(1_257_894_000), ..cookie("cookie-9", "expiring") },
            "cookie-9=expiring; Expires=Tue, 10 Nov 2009 23:00:00 GMT",
        ),
        (Cookie { expires: at(300_000_000_000), ..cookie("cookie-10", "far") }, "cookie-10=far"),
        (Cookie { max_age: Some(0), ..cookie("gone", "") }, "gone=; Max-Age=0"),
        (Cookie { max_age: Some(-1), ..cookie("gone", "") }, "gone=; Max-Age=0"),
        (Cookie { same_site: Some(SameSite::Lax), ..cookie("c", "v") }, "c=v; SameSite=Lax"),
        (Cookie { same_site: Some(SameSite::Strict), ..cookie("c", "v") }, "c=v; SameSite=Strict"),
        (
            Cookie { same_site: Some(SameSite::None), secure: true, partitioned: true, ..cookie("c", "v") },
            "c=v; Secure; SameSite=None; Partitioned",
        ),
        (Cookie { http_only: true, secure: true, ..cookie("c", "v") }, "c=v; HttpOnly; Secure"),
        (Cookie { quoted: true, ..cookie("quoted", "v") }, "quoted=\"v\""),
        (cookie("special-1", "a z"), "special-1=\"a z\""),
        (cookie("special-2", ",z"), "special-2=\",z\""),
        (cookie("special-3", "a\"b\\c;d\n"), "special-3=abcd"),
        (cookie("empty", ""), "empty="),
        (Cookie { quoted: true, ..cookie("empty", "") }, "empty="),
        (Cookie { quoted: true, ..cookie("emptied", "\"\\") }, "emptied="),
        (Cookie { domain: "example.com.".into(), ..cookie("d", "v") }, "d=v; Domain=example.com."),
        (Cookie { domain: "..example.com".into(), ..cookie("d", "v") }, "d=v"),
        (Cookie { domain: "exa_mple.com".into(), ..cookie("d", "v") }, "d=v"),
        (Cookie { domain: "a".repeat(64) + ".com", ..cookie("d", "v") }, "d=v"),
        (Cookie { domain: "123.456".into(), ..cookie("d", "v") }, "d=v"),
        (cookie("", ""), ""),
        (cookie("\t", "x"), ""),
        (cookie("a\nb", "x"), ""),
        (Cookie { path: "/a;b\u{1}c".into(), ..cookie("p", "") }, "p=; Path=/abc"),
    ];
    for (cookie, want) in table {
        assert_eq!(cookie.to_string(), want, "{cookie:?}");
    }
}

#[test]
fn set_cookie_is_read_back() {
    let all = "session=\"a b\"; Path=/; Domain=example.com; Expires=Tue, 10 Nov 2009 23:00:00 GMT; Max-Age=60; \
               HttpOnly; Secure; SameSite=Lax; Partitioned";
    let cookie = Cookie::parse_set_cookie(all).expect("valid");
    assert_eq!(cookie.to_string(), all);
    let table = [
        (
            "a=b; expires=Wed, 23-Nov-2011 01:05:03 GMT",
            Cookie { expires: at(1_322_010_303), ..Cookie::new("a", "b") },
        ),
        ("a=b; MAX-AGE=0", Cookie { max_age: Some(0), ..Cookie::new("a", "b") }),
        ("a=b; max-age=-5", Cookie { max_age: Some(0), ..Cookie::new("a", "b") }),
        ("a=b; max-age=07; max-age=x", Cookie::new("a", "b")),
        ("a=b; max-age=00", Cookie { max_age: Some(0), ..Cookie::new("a", "b") }),
        ("a=b; SECURE; HttpOnly=x; path", Cookie { secure: true, http_only: true, ..Cookie::new("a", "b") }),
        ("a=b; path=\"/x\"; domain=a b", Cookie { domain: "a b".into(), ..Cookie::new("a", "b") }),
        ("a=b; samesite=odd; unknown=1; ; =", Cookie::new("a", "b")),
        (" a = b", Cookie::new("a", " b")),
    ];
    for (line, want) in table {
        assert_eq!(Cookie::parse_set_cookie(line).expect(line), want, "{line}");
    }
    for (line, want) in [
        ("", "blank cookie"),
        ("a", "'=' not found in cookie"),
        (";a=b", "'=' not found in cookie"),
        ("a b=c", "invalid cookie name"),
        ("=c", "invalid cookie name"),
        ("a=\"b", "invalid cookie value"),
    ] {
        let error = Cookie::parse_set_cookie(line).expect_err(line);
        assert_eq!((error.status().as_u16(), error.message()), (400, want), "{line}");
    }
}
