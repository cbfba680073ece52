//! What a call may not do: pass half a body for a whole one, redirect without end, be larger than it may, reach what is not named.

use std::io::Read as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use super::{FORMS, ask_as, serve, serve_for};
use crate::support::DEADLINE;
use crate::support::guests::guest_folder;
use crate::support::upstream::{Upstream, ok, read_head};
use crate::support::{Server, Site};

/// Whatever way a guest gives a body up, its server learns that it has not got all of it.
#[test]
fn a_body_that_was_given_up_is_not_whole() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let upstream = Upstream::start(move |_, mut stream| {
        let head = read_head(&mut stream).unwrap().to_lowercase();
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        let (tell, mut seen, mut buffer) = (tell.lock().unwrap().clone(), Vec::new(), [0; 100]);
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            seen.extend_from_slice(&buffer[..count]);
            let _ = tell.send((false, seen.clone()));
        }
        let _ = tell.send((true, seen));
    });
    let server = serve_for(&upstream, "");
    for how in ["trap", "leave", "drop", "gone"] {
        let mut conn = server.connect();
        let path = format!("/?do=abandon&how={how}&url={}/", upstream.url());
        conn.send(format!("POST {path} HTTP/1.1\r\n{}\r\nContent-Length: 2\r\n\r\n", FORMS[0]));
        while !told.recv_timeout(DEADLINE).unwrap().1.ends_with(b"half\r\n") {}
        match how {
            "gone" => conn.reset(),
            _ => conn.send("go"), // the guest waits for a body
        }
        let (has_ended, seen) = told.recv_timeout(DEADLINE).unwrap();
        let seen = String::from_utf8(seen).unwrap();
        assert!(has_ended && seen == "4\r\nhalf\r\n", "{how}: {seen:?}");
    }
}

/// A server that redirects to itself, and how many requests it has seen.
fn round() -> (Upstream, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let upstream = Upstream::answering(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        "HTTP/1.1 302 Found\r\nLocation: /round\r\nContent-Length: 0\r\n\r\n".to_owned()
    });
    (upstream, asked)
}

#[test]
fn redirects_are_counted() {
    let (upstream, asked) = round();
    let follow = |server: &Server| {
        ask_as(server, FORMS[0], &format!("do=get&redirects=1000000&url={}/", upstream.url()), &[], b"")
    };
    let told = follow(&serve_for(&upstream, ""));
    assert!(told.starts_with("Failed: ") && told.ends_with("stopped after 20"), "{told}");
    assert_eq!(asked.swap(0, Ordering::SeqCst), 21);
    let server = serve_for(&upstream, "limits = { outbound_rate = 5 }");
    let told = follow(&server);
    assert!(told.starts_with("Limit: "), "{told}");
    assert!((5..15).contains(&asked.load(Ordering::SeqCst)), "{asked:?}");
    server.log.wait_for(&["WARN", "more calls in a second than its `outbound_rate`"]);
}

#[test]
fn what_is_too_large_is_a_limit() {
    let upstream = Upstream::answering(|head| match head.split(' ').nth(1).unwrap() {
        "/header" => ok("").replace("\r\n\r\n", &format!("\r\nX-A: {}\r\n\r\n", "a".repeat(9000))),
        _ => ok("123456"),
    });
    let limits =
        "response_header_bytes = \"8KiB\", response_body_bytes = \"5B\", request_body_bytes = \"5B\"";
    let server = serve(&format!("{{ to = [{:?}], {limits} }}", upstream.url()), "", "");
    let get = |what: &str, path: &str, body: &[u8]| {
        ask_as(&server, FORMS[0], &format!("do={what}&url={}{path}", upstream.url()), &[], body)
    };
    for (told, start) in [
        (get("get", "/header", b""), "Limit: "),
        (get("get", "/", b""), "200 Limit: "),
        (get("post", "/", b"123456"), "Limit: "),
    ] {
        assert!(told.starts_with(start) && told.ends_with("is too large"), "{told}");
    }
}

#[test]
fn all_names_are_not_this_machine() {
    let here = Upstream::named("here");
    let port = here.address.port();
    let server = serve(&format!("[\"http://*:{port}\"]"), "", "");
    for host in FORMS {
        for name in ["localhost", "LocalHost", "2130706433", "127.1", "0x7f.1"] {
            let told = ask_as(&server, host, &format!("do=get&url=http://{name}:{port}/"), &[], b"");
            assert!(told.starts_with("Denied"), "{host} {name}: {told}");
        }
    }
    let line = server.log.wait_for(&["WARN", "was refused", "is not a public address"]);
    assert!(["127.0.0.1/32", "::1/128"].iter().any(|entry| line.contains(entry)), "{line}");
    let named = serve(&format!("[\"http://localhost:{port}\"]"), "", "");
    let told = ask_as(&named, FORMS[0], &format!("do=get&url=http://localhost:{port}/"), &[], b"");
    assert_eq!(told, "200 here");
    // A `Host` with a user in front is read in more than one way.
    let fields = [format!("X-Send-Host: user@localhost:{port}")];
    let fields: Vec<_> = fields.iter().map(String::as_str).collect();
    let told = ask_as(&named, FORMS[0], &format!("do=get&url=http://localhost:{port}/"), &fields, b"");
    assert!(told.starts_with("Denied: "), "{told}");
    assert_eq!(here.connections(), 1);
}

#[test]
fn handlers_are_called_in_any_case() {
    let folder = guest_folder("caller");
    let routes = |more: &str| {
        format!(
            "[handlers.front]\nwasm = {folder:?}\noutbound = [\"http://Back.handler\"]\n\
             [handlers.BACK]\nwasm = \"echo.wat\"\n{more}[routes]\n\"/\" = \"front\"\n"
        )
    };
    let server = Site::new(&routes("")).guest("echo").serve();
    for name in ["BACK.handler", "back.handler", "Back.Handler."] {
        let told = server.get(&format!("/?do=get&url=http://{name}/")).text();
        assert!(told.starts_with("200 "), "{name}: {told}");
    }
    let twice = Site::new(&routes("[handlers.back]\nwasm = \"echo.wat\"\n")).guest("echo").run(&["check"]);
    let errors = String::from_utf8(twice.stderr).unwrap();
    let said = "`outbound` names the handler `back`, which is `BACK` or `back`: hosts know no capitals";
    assert!(
        errors.contains(said) || errors.contains(&said.replace("`BACK` or `back`", "`back` or `BACK`")),
        "{errors}"
    );
}
