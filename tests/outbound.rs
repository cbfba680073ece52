//! Calls of guests: through the SDK, from a module and from a component, to servers of the tests and to other handlers.

use std::io::{Read as _, Write as _};
use std::sync::mpsc::channel;

use crate::support::guests::{component, guest_folder};
use crate::support::upstream::{Upstream, ok, read_head};
use crate::support::{Server, Site};

mod calls;
mod clocks;
mod names;
mod tls;

const FORMS: [&str; 2] = ["Host: module.test", "Host: component.test"];

/// The guest `caller` as a module on `/` and as a component for the host `component.test`, which may call these; and what follows.
fn serve(outbound: &str, settings: &str, rest: &str) -> Server {
    site(outbound, settings, rest).serve()
}

fn site(outbound: &str, settings: &str, rest: &str) -> Site {
    let (module, component) = (guest_folder("caller"), component("caller"));
    let handler = |name: &str, wasm: &str| {
        format!("[handlers.{name}]\nwasm = {wasm}\noutbound = {outbound}\n{settings}\n")
    };
    let routes = format!(
        "{}{}{rest}\n[routes]\n\"/\" = \"module\"\n\"component.test/\" = \"component\"\n",
        handler("module", &format!("{module:?}")),
        handler("component", &format!("{component:?}")),
    );
    Site::new(&routes).log_level("debug")
}

/// Granted: one server of the test.
fn serve_for(upstream: &Upstream, settings: &str) -> Server {
    serve(&format!("[{:?}]", upstream.url()), settings, "")
}

/// What both forms of the guest say.
fn ask(server: &Server, query: &str) -> String {
    let answers = FORMS.map(|host| ask_as(server, host, query, &[], b""));
    assert_eq!(answers[0], answers[1], "{query}");
    answers[0].clone()
}

fn ask_as(server: &Server, host: &str, query: &str, fields: &[&str], body: &[u8]) -> String {
    let fields: Vec<_> = [host].into_iter().chain(fields.iter().copied()).collect();
    let method = if body.is_empty() { "GET" } else { "POST" };
    server.request(method, &format!("/?{query}"), &fields, body).text().trim_end().to_owned()
}

#[test]
fn a_call_goes_out_and_its_response_comes_back() {
    let upstream = Upstream::answering(ok);
    let server = serve_for(&upstream, "");
    for host in FORMS {
        let query = format!("do=get&url={}/path%3Fq=1", upstream.url());
        let told = ask_as(&server, host, &query, &[], b"");
        assert!(told.starts_with("200 GET /path?q=1 HTTP/1.1\r\n"), "{told}");
        // The host undoes gzip for modules; the standard leaves it to components.
        assert_eq!(told.contains("accept-encoding: gzip"), host == FORMS[0], "{told}");
        let fields = ["X-Send-X-Own: mine", "X-Send-Connection: close, x-own-hop"];
        let told = ask_as(&server, host, &format!("do=get&url={}/", upstream.url()), &fields, b"");
        assert!(told.contains("x-own: mine"), "{told}");
        assert!(told.contains("user-agent: wasmux/"), "{told}");
        let told = ask_as(&server, host, &query, &["X-Send-User-Agent: own/1"], b"");
        assert!(told.contains("user-agent: own/1") && !told.contains("wasmux/"), "{told}");
        assert!(!told.contains("x-own-hop"), "fields of the connection are not the guest's: {told}");
    }
    assert!(upstream.connections() <= 2, "each handler has used its connection again");
}

#[test]
fn bodies_stream_both_ways() {
    let upstream = Upstream::start(|_, mut stream| {
        let mut head = read_head(&mut stream).unwrap();
        head.make_ascii_lowercase();
        let mut body = Vec::new();
        if head.contains("transfer-encoding: chunked") {
            while !body.ends_with(b"\r\n0\r\n\r\n") {
                let mut piece = [0; 4096];
                let count = stream.read(&mut piece).unwrap();
                body.extend_from_slice(&piece[..count]);
            }
        } else {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            body.resize(length.parse().unwrap(), 0);
            stream.read_exact(&mut body).unwrap();
        }
        let count = body.iter().filter(|&&byte| byte == b'x').count();
        let _ = stream.write_all(ok(&count.to_string()).as_bytes());
    });
    let server = serve_for(&upstream, "");
    let large = vec![b'x'; 3_000_000];
    for host in FORMS {
        for (what, body) in [("post", &b"xxx"[..]), ("post", &large), ("stream", &large)] {
            let told = ask_as(&server, host, &format!("do={what}&url={}/", upstream.url()), &[], body);
            assert_eq!(told, format!("200 {}", body.len()), "{host} {what}");
        }
    }
}

#[test]
fn several_calls_at_a_time() {
    // Whoever comes first is answered last.
    let (arrived, waiting) = channel();
    let waiting = std::sync::Mutex::new(waiting);
    let upstream = Upstream::start(move |_, mut stream| {
        while let Some(head) = read_head(&mut stream) {
            let name = head.split(' ').nth(1).unwrap()[1..].to_owned();
            if name == "late" {
                waiting.lock().unwrap().recv().unwrap();
            } else if name == "early" {
                let _ = arrived.send(());
            }
            stream.write_all(ok(&name).as_bytes()).unwrap();
        }
    });
    let server = serve_for(&upstream, "");
    let url = upstream.url();
    let told = ask(&server, &format!("do=join&url={url}/late&url={url}/early"));
    assert_eq!(told, "200 late\n200 early");
    let silent = Upstream::start(|_, mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let server = serve(&format!("[{:?}, {:?}]", upstream.url(), silent.url()), "", "");
    assert_eq!(ask(&server, &format!("do=select&url={}/&url={url}/x", silent.url())), "Some(1)");
    assert_eq!(ask(&server, &format!("do=select&ms=50&url={}/&url={}/", silent.url(), silent.url())), "None");
    assert_eq!(ask_as(&server, FORMS[0], &format!("do=many&url={}/", silent.url()), &[], b""), "[Limit]");
}

#[test]
fn what_was_not_granted_is_refused() {
    let (upstream, other) = (Upstream::named("granted"), Upstream::named("other"));
    let server = serve(&format!("[{:?}, \"http://*.example.test\"]", upstream.url()), "", "");
    for host in FORMS {
        let told =
            ask_as(&server, host, &format!("do=get&url={}/", other.url()), &["X-Request-Id: other."], b"");
        assert!(told.starts_with("Denied: "), "{told}");
    }
    let line = server.log.wait_for(&[
        "WARN",
        "handler=\"module\"",
        "other.",
        "was refused: it is not in `outbound`",
    ]);
    assert!(line.contains(&format!("a request to {}/", other.url())), "{line}");
    // A name does not open the way to an address, whatever it resolves to.
    let port = other.address.port();
    let told = ask_as(&server, FORMS[0], &format!("do=get&url=http://localhost:{port}/"), &[], b"");
    assert!(told.starts_with("Denied: "), "{told}");
    // Nor does another host on a server that may be called.
    for host in FORMS {
        let fields = ["X-Send-Host: other.test"];
        let told = ask_as(&server, host, &format!("do=get&url={}/", upstream.url()), &fields, b"");
        assert!(told.starts_with("Denied: "), "{told}");
    }
    // And nobody is told of passwords and queries.
    let secret = format!("do=get&url=http://user:secret@127.0.0.1:{port}/path%3Fkey=secret");
    assert!(ask_as(&server, FORMS[0], &secret, &["X-Request-Id: secret."], b"").starts_with("Denied: "));
    server.log.wait_for(&["secret.", &format!("a request to http://127.0.0.1:{port}/path was refused")]);
    assert_eq!(server.log.all().iter().filter(|line| line.contains("=secret")).count(), 0);
    assert_eq!(other.connections(), 0);

    let folder = guest_folder("caller");
    let site = Site::new(&format!("[handlers.c]\nwasm = {folder:?}\n[routes]\n\"/\" = \"c\"\n"));
    let errors = String::from_utf8(site.run(&["check"]).stderr).unwrap();
    assert!(
        errors.contains("it imports `wasmux:client/1`, which it was not granted: name whom it may call"),
        "{errors}"
    );
}

#[test]
fn redirects_are_checked_again() {
    let inside = Upstream::named("inside");
    let target = inside.url();
    let upstream = Upstream::answering(move |head| match head.split(' ').nth(1).unwrap() {
        "/away" => format!("HTTP/1.1 302 Found\r\nLocation: {target}/\r\nContent-Length: 0\r\n\r\n"),
        "/here" => "HTTP/1.1 303 See Other\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "/round" => "HTTP/1.1 302 Found\r\nLocation: /round\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "/again" => "HTTP/1.1 308 Again\r\nLocation: whole\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "/whole" => ok(head),
        path => ok(path),
    });
    let server = serve_for(&upstream, "");
    for host in FORMS {
        let get = |path: &str, more: &str| {
            ask_as(&server, host, &format!("do=get&url={}{path}{more}", upstream.url()), &[], b"")
        };
        assert_eq!(get("/here", ""), "200 /there");
        assert_eq!(get("/here", "&redirects=0"), "303");
        assert!(get("/away", "").starts_with(&format!("Denied: GET {}/away: ", upstream.url())));
        assert_eq!(inside.connections(), 0);
        let round = get("/round", "");
        assert!(round.starts_with("Failed: ") && round.contains("stopped after 10"), "{round}");
        let post = format!("do=post&url={}/again", upstream.url());
        let told = ask_as(&server, host, &post, &[], b"four").to_ascii_lowercase();
        assert!(told.starts_with("200 ") && told.contains("post /whole http/1.1"), "{told}");
        assert!(told.contains("content-length: 4") && told.contains("/again"), "with its Referer: {told}");
    }
}

#[test]
fn failures_are_a_gateways() {
    let closing = Upstream::start(|_, stream| drop(stream));
    let server = serve_for(&closing, "");
    for host in FORMS {
        let response = server.request("GET", &format!("/?do=gateway&url={}/", closing.url()), &[host], b"");
        assert_eq!(response.status, 502, "{response:?}");
    }
}

/// Whatever way a request ends, its calls end with it.
#[test]
fn calls_end_with_their_request() {
    let (tell, told) = channel();
    let upstream = Upstream::start(move |_, mut stream| {
        // A call may end before it has sent anything.
        if read_head(&mut stream).is_some() {
            let _ = tell.send("begun");
            let _ = stream.read_to_end(&mut Vec::new());
            let _ = tell.send("ended");
        }
    });
    let next = || told.recv_timeout(crate::support::DEADLINE).unwrap();
    for isolation in ["request", "reuse"] {
        let server = serve_for(&upstream, &format!("isolation = \"{isolation}\""));
        for host in FORMS {
            for what in ["leave", "trap"] {
                let mut conn = server.connect();
                let path = format!("/?do={what}&url={}/", upstream.url());
                conn.send(format!("POST {path} HTTP/1.1\r\n{host}\r\nContent-Length: 2\r\n\r\n"));
                assert_eq!(next(), "begun");
                conn.send("go"); // the guest waits for a body
                assert_eq!(next(), "ended", "{host} {what}");
            }
            let mut conn = server.connect();
            conn.request("GET", &format!("/?do=get&url={}/", upstream.url()), &[host], b"");
            assert_eq!(next(), "begun");
            drop(conn);
            assert_eq!(next(), "ended", "{host}: the client has gone away");
        }
    }
}

#[test]
fn other_handlers_are_called_without_a_socket() {
    let (module, component) = (guest_folder("caller"), component("caller"));
    let routes = format!(
        r#"
        [handlers.a]
        wasm = {module:?}
        outbound = ["http://b.handler", "http://c.handler", "http://a.handler"]
        [handlers.b]
        wasm = {component:?}
        outbound = ["http://a.handler", "http://b.handler"]
        [handlers.c]
        wasm = "echo.wat"
        [routes]
        "/" = "a"
        "b.test/" = "b"
        "#
    );
    let server = Site::new(&routes).guest("echo").log_level("debug").serve();
    let get = |query: &str| server.get(&format!("/?{query}")).text();
    assert_eq!(get("do=post&url=http://c.handler/x"), "200 \n");
    let through = "do=get&url=http://b.handler/%3Fdo=select%26ms=1%26url=http://b.handler/none";
    assert!(get(through).starts_with("200 "), "{}", get(through));
    assert!(get("do=get&url=http://b.handler/%3Fdo=none").starts_with("404"), "its status is the call's");
    assert!(get("do=get&url=http://d.handler/").starts_with("Denied: "));
    assert!(get("do=get&url=https://b.handler/").starts_with("Denied: "));
    assert_eq!(
        server
            .request("GET", "/?do=get&url=http://c.handler/", &["Host: b.test"], b"")
            .text()
            .split(':')
            .next(),
        Some("Denied")
    );
}

/// `/` calls itself with the same query until somebody stops it.
#[test]
fn loops_are_noticed() {
    const LOOP: &str = r#"(module
      (import "wasmux:client/1" "send" (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
      (import "wasmux:client/1" "wait" (func $wait (param i32 i32 i32) (result i32)))
      (import "wasmux:client/1" "head" (func $head (param i32 i32 i32) (result i32)))
      (import "wasmux:client/1" "read" (func $read (param i32 i32 i32) (result i32)))
      (import "wasmux:http/1" "respond" (func $respond (param i32 i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "GET")
      (data (i32.const 8) "http://it.handler/")
      (func (export "serve_http")
        (i32.store (i32.const 64)
          (call $send (i32.const 0) (i32.const 3) (i32.const 8) (i32.const 18) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
        (drop (call $wait (i32.const 64) (i32.const 1) (i32.const -1)))
        (if (i32.lt_s (call $head (i32.load (i32.const 64)) (i32.const 128) (i32.const 1000)) (i32.const 0))
          (then (drop (call $respond (i32.const 508) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))))
          (else (drop (call $respond (i32.load (i32.const 128)) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 0)))))))"#;
    let routes =
        "[handlers.it]\nwasm = \"it.wat\"\noutbound = [\"http://it.handler\"]\n[routes]\n\"/\" = \"it\"\n";
    let server = Site::new(routes).file("it.wat", LOOP).serve();
    assert_eq!(server.get("/").status, 508);
    let chain = ["it"; 9].join(" → ");
    server.log.wait_for(&["WARN", "handlers call one another more than 8 deep", &chain]);
    assert_eq!(server.get("/").status, 508, "and it goes on");
}

#[test]
fn a_handler_calls_only_so_much() {
    let upstream = Upstream::named("fast");
    let server = serve_for(&upstream, "limits = { outbound_rate = 3 }");
    let told: Vec<_> = (0..6)
        .map(|_| ask_as(&server, FORMS[0], &format!("do=get&url={}/", upstream.url()), &[], b""))
        .collect();
    assert!(told.iter().any(|told| told.starts_with("Limit: ")), "{told:?}");
    assert_eq!(told[0], "200 fast");
    server.log.wait_for(&["WARN", "more calls in a second than its `outbound_rate`"]);
    let silent = Upstream::start(|_, mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let server = serve_for(&silent, "limits = { outbound_concurrency = 1 }");
    let told =
        ask_as(&server, FORMS[0], &format!("do=select&ms=5000&url={0}/&url={0}/", silent.url()), &[], b"");
    assert!(told.starts_with("Some("), "one of them has failed at once: {told}");
    server.log.wait_for(&["WARN", "handler=\"module\"", "`outbound_concurrency`"]);
}

#[test]
fn mistakes_are_told_with_their_lines() {
    let routes = "[handlers.h]\nwasm = \"h.wat\"\noutbound = [\"api.test\", \"http://gone.handler\", \"https://a/b\"]\n\
                  limits = { outbound_rate = 0 }\n[handlers.i]\nwasm = \"h.wat\"\n\
                  outbound = { timeout = \"1x\", max_idle = 1 }\n[routes]\n\"/\" = \"h\"\n";
    let site = Site::new(routes).file("h.wat", "(module)");
    let errors = String::from_utf8(site.run(&["check"]).stderr).unwrap();
    for said in [
        "routes.toml:3: `outbound` has \"api.test\": an entry is a scheme and a host",
        "routes.toml:3: `outbound` names the handler `gone`, which is not defined",
        "routes.toml:3: `outbound` has \"https://a/b\": what is granted is a whole host; leave out the path",
        "routes.toml:4: `outbound_rate` must be a whole number from 1",
        "routes.toml:7: `outbound` needs `to`: { to = [\"https://api.example.com\"] }",
        "routes.toml:7: `timeout`",
        "routes.toml:7: unknown key `max_idle`",
    ] {
        assert!(errors.contains(said), "{said}\n{errors}");
    }
}
