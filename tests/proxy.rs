//! The `proxy` handler: what passes, what does not, and what a client is told when an upstream fails.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::channel;

use crate::support::upstream::{Upstream, ok, read_head};
use crate::support::{DEADLINE, Server, Site};

mod safety;
mod upgrade;
mod upstreams;

/// A server that passes everything on, as these settings say.
fn proxy(settings: &str) -> Server {
    Site::new(&format!("[routes]\n\"/\" = {{ proxy = {settings} }}\n")).log_level("debug").serve()
}

fn to(upstream: &Upstream) -> Server {
    proxy(&format!("{:?}", upstream.url()))
}

/// An upstream that answers with the request's head.
fn mirror() -> Upstream {
    Upstream::answering(ok)
}

fn line<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

#[test]
fn requests_are_passed_on_without_what_is_the_connections() {
    let (upstream, fields) = (
        mirror(),
        [
            "X-Own: 1",
            "Connection: close-not, X-Hop",
            "X-Hop: 1",
            "Keep-Alive: timeout=5",
            "Proxy-Authorization: Basic x",
            "TE: trailers, deflate",
            "X-Forwarded-For: 6.6.6.6",
            "X-Forwarded-Proto: https",
            "Forwarded: for=6.6.6.6",
            "X-Request-Id: my-id",
        ],
    );
    let server = to(&upstream);
    let seen = server.request("GET", "/a%2Fb/?q=%20;x", &fields, b"").text();
    assert!(seen.starts_with("GET /a%2Fb/?q=%20;x HTTP/1.1\r\n"), "{seen}");
    assert_eq!(line(&seen, "x-own"), Some("1"));
    assert_eq!(line(&seen, "te"), Some("trailers"));
    for gone in ["x-hop", "keep-alive", "proxy-authorization", "connection", "forwarded"] {
        assert_eq!(line(&seen, gone), None, "{seen}");
    }
    assert_eq!(line(&seen, "host"), Some(&*upstream.address.to_string()));
    assert_eq!(line(&seen, "x-forwarded-for"), Some("127.0.0.1"), "what the client claims is dropped");
    assert_eq!(line(&seen, "x-forwarded-proto"), Some("http"));
    assert!(line(&seen, "x-forwarded-host").is_some());
    assert_eq!(line(&seen, "x-request-id"), Some("my-id"));
}

#[test]
fn the_settings_change_what_is_passed_on() {
    let upstream = mirror();
    let settings = format!(
        concat!(
            r#"{{ to = "{}/base", strip_prefix = "/api", host = "preserve", trust_forwarded = true, forwarded = true, "#,
            r#"request_headers = {{ x-set = "new", x-gone = "" }}, response_headers = {{ x-answer = "set" }} }}"#,
        ),
        upstream.url()
    );
    let server = Site::new(&format!("[routes]\n\"/api/\" = {{ proxy = {settings} }}\n")).serve();
    let fields = ["Host: front.test", "X-Set: old", "X-Gone: 1", "X-Forwarded-For: 1.2.3.4"];
    let mut conn = server.connect();
    conn.send(format!("GET /api/x?y HTTP/1.1\r\n{}\r\n\r\n", fields.join("\r\n")));
    let response = conn.response();
    assert_eq!(response.header("x-answer"), Some("set"));
    let seen = response.text();
    assert!(seen.starts_with("GET /base/x?y HTTP/1.1\r\n"), "{seen}");
    assert_eq!(line(&seen, "host"), Some("front.test"));
    assert_eq!(line(&seen, "x-set"), Some("new"));
    assert_eq!(line(&seen, "x-gone"), None);
    assert_eq!(line(&seen, "x-forwarded-for"), Some("1.2.3.4, 127.0.0.1"));
    assert_eq!(line(&seen, "forwarded"), Some("for=127.0.0.1;host=\"front.test\";proto=http"));
}

#[test]
fn connections_to_an_upstream_are_used_again() {
    let upstream = Upstream::named("a");
    let server = to(&upstream);
    for _ in 0..20 {
        assert_eq!(server.get("/").text(), "a");
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn bodies_and_trailers_stream_both_ways() {
    let upstream = Upstream::start(|_, mut stream| {
        let head = read_head(&mut stream).unwrap();
        assert_eq!(line(&head, "transfer-encoding"), Some("chunked"), "{head}");
        stream.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n").unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n").unwrap();
        // What comes goes back as it is, chunk by chunk.
        let (mut seen, mut buffer) = (Vec::new(), [0; 1000]);
        while !seen.ends_with(b"X-Sum: 7\r\n\r\n") && !seen.ends_with(b"x-sum: 7\r\n\r\n") {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "it broke off");
            seen.extend(&buffer[..count]);
            stream.write_all(&buffer[..count]).unwrap();
        }
    });
    let server = to(&upstream);
    let mut conn = server.connect();
    conn.send(
        "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    assert_eq!(conn.head().status, 103);
    assert_eq!(conn.head().status, 200);
    for part in ["one", "two"] {
        conn.send_chunk(part.as_bytes());
        assert_eq!(conn.chunk().as_deref(), Some(part.as_bytes()), "it comes while the request goes on");
    }
    conn.send("0\r\nX-Sum: 7\r\n\r\n");
    assert_eq!(conn.chunk().as_deref(), Some(&b""[..]));
    let rest = String::from_utf8(conn.some()).unwrap();
    assert!(rest.contains("X-Sum: 7"), "{rest:?}");
}

#[test]
fn who_fails_is_named_and_the_client_gets_a_short_sentence() {
    let stalling = Upstream::start(|_, mut stream| {
        read_head(&mut stream);
        let _ = stream.read(&mut [0]);
    });
    let closing = Upstream::start(|_, mut stream| drop(read_head(&mut stream)));
    let breaking = Upstream::answering(|_| "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".to_owned());
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let site = Site::new(&format!(
        r#"
        [routes]
        "/stalling" = {{ proxy = {{ to = "{}", response_header_timeout = "200ms" }} }}
        "/closing" = {{ proxy = "{}" }}
        "/breaking" = {{ proxy = {{ to = "{}", body_idle_timeout = "200ms" }} }}
        "/nobody" = {{ proxy = "http://{nobody}" }}
        "#,
        stalling.url(),
        closing.url(),
        breaking.url()
    ));
    let server = site.serve();
    for (path, status, sentence, logged) in [
        ("/stalling", 504, "the upstream took too long", "no response in time"),
        ("/closing", 502, "the upstream failed", "closed before there was a response"),
        ("/nobody", 502, "the upstream failed", "cannot connect"),
    ] {
        let response = server.get(path);
        assert_eq!(response.status, status, "{path}");
        assert!(response.text().starts_with(sentence), "{}", response.text());
        server.log.wait_for(&[logged]);
    }
    let response = server.get("/breaking");
    assert_eq!((response.status, response.complete), (200, false), "what broke off is not made whole");
    server.log.wait_for(&["body paused for too long"]);
}

#[test]
fn a_client_that_leaves_takes_its_upstream_request_along() {
    let (sender, closed) = channel();
    let upstream = Upstream::start(move |_, mut stream| {
        read_head(&mut stream);
        sender.send("here").unwrap();
        let ended = matches!(stream.read(&mut [0]), Ok(0) | Err(_));
        sender.send(if ended { "gone" } else { "talking" }).unwrap();
    });
    let server = to(&upstream);
    let mut conn = server.connect();
    conn.request("GET", "/", &[], b"");
    assert_eq!(closed.recv_timeout(DEADLINE), Ok("here"));
    conn.reset();
    assert_eq!(closed.recv_timeout(DEADLINE), Ok("gone"));
}

#[test]
fn upstreams_take_turns_and_those_that_are_away_are_left_out() {
    let (a, b) = (Upstream::named("a"), Upstream::named("b"));
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = proxy(&format!(r#"{{ to = ["{}", "{}"] }}"#, a.url(), b.url()));
    let mut answers: Vec<_> = (0..6).map(|_| server.get("/").text()).collect();
    answers.sort();
    assert_eq!(answers, ["a", "a", "a", "b", "b", "b"]);
    let server = proxy(&format!(r#"{{ to = ["http://{nobody}", "{}"], fail_timeout = "10m" }}"#, a.url()));
    for _ in 0..6 {
        let response = server.request("POST", "/", &[], b"");
        assert_eq!((response.status, &*response.text()), (200, "a"), "nothing was sent to the other");
    }
    assert_eq!(server.log.count("trying another upstream"), 1, "it is remembered");
}

#[test]
fn a_request_that_may_have_been_seen_is_only_repeated_when_that_is_safe() {
    let closing = Upstream::start(|_, mut stream| drop(read_head(&mut stream)));
    let good = Upstream::named("good");
    let settings = format!(r#"{{ to = ["{}", "{}"], fail_timeout = "1ms" }}"#, closing.url(), good.url());
    let server = proxy(&settings);
    let statuses = |method: &str, body: &[u8]| {
        let all: Vec<_> = (0..4).map(|_| server.request(method, "/", &[], body).status).collect();
        all
    };
    assert_eq!(statuses("GET", b""), [200; 4]);
    assert!(statuses("POST", b"x").contains(&502));
}

#[test]
fn an_upstream_that_is_ill_gets_nothing_until_it_is_well() {
    let ill = Upstream::answering(|head| match head.starts_with("GET /healthz ") {
        true => "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_owned(),
        false => ok("ill"),
    });
    let well = Upstream::named("well");
    let server = proxy(&format!(
        r#"{{ to = ["{}", "{}"], health = {{ path = "/healthz", interval = "50ms" }} }}"#,
        ill.url(),
        well.url()
    ));
    server.get("/");
    server.log.wait_for(&["upstream is ill", "it answers 503 to /healthz"]);
    for _ in 0..6 {
        assert_eq!(server.get("/").text(), "well");
    }
}

#[test]
fn unix_sockets_and_handlers_in_front_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("app.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            let _ = stream.write_all(
                ok("by socket").replace("200 OK\r\n", "200 OK\r\nConnection: close\r\n").as_bytes(),
            );
        }
    });
    let routes = format!(
        r#"
        [handlers.backend]
        proxy = "unix:{}"
        [handlers.front]
        wasm = "forward.wat"
        next = "backend"
        [routes]
        "/direct" = "backend"
        "/fe/{{name}}" = "front"
        "#,
        socket.display()
    );
    let server = Site::new(&routes).guest("forward").serve();
    assert_eq!(server.get("/direct").text(), "by socket");
    assert_eq!(server.get("/fe/x").text(), "by socket");
}

#[test]
fn large_bodies_pass_without_being_kept() {
    const PIECES: usize = 200;
    let piece = vec![b'x'; 1 << 20];
    let upstream = Upstream::start(move |_, mut stream| {
        read_head(&mut stream);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", PIECES << 20);
        let _ = stream.write_all(head.as_bytes());
        for _ in 0..PIECES {
            if stream.write_all(&piece).is_err() {
                return;
            }
        }
    });
    let server = to(&upstream);
    server.get("/nothing-yet-warm");
    let before = server.resident_bytes();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let (mut buffer, mut count, mut peak) = (vec![0; 1 << 20], 0, 0);
    loop {
        let read = stream.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        count += read;
        peak = peak.max(server.resident_bytes());
    }
    assert!(count > PIECES << 20, "{count}");
    assert!(peak.saturating_sub(before) < 32 << 20, "{} bytes more", peak - before);
}

#[test]
fn mistakes_in_the_settings_have_lines() {
    let routes = r#"
        [outbound]
        resolver = "dns.test"
        max_idel = 3
        [routes]
        "/a" = { proxy = "ftp://a" }
        "/b" = { proxy = { to = [] } }
        "/c" = { proxy = { to = "http://u:secret@a" } }
        "/d" = { proxy = { to = "http://a", balance = "random", hots = "preserve" } }
        "/e" = { proxy = { to = "http://a", dial_timeout = "off", idle_timeout = "off" } }
        "/f/" = { proxy = "http://a", strip_prefix = "/g" }
        "/h" = { proxy = { to = "http://a", health = { timeout = "0s", interval = "1x" } } }
        "/i/" = "p"
        [handlers.p]
        proxy = { to = "http://a", strip_prefix = "/j" }
        wasm = "p.wat"
        limits = {}
    "#;
    let many: Vec<_> = (0..101).map(|count| format!("x-{count} = \"\"")).collect();
    let many = many.join(", ");
    let routes =
        format!("{routes}[routes.\"/k\"]\nproxy = {{ to = \"http://a\", request_headers = {{ {many} }} }}\n");
    let output = Site::new(&routes).run(&["check"]);
    let shown =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    for part in [
        ":3: `resolver`: \"dns.test\" must be an address such as \"127.0.0.1:53\" [bad-value]\n",
        ":4: unknown key `max_idel` in [outbound] (did you mean `max_idle`?) [unknown-key]\n",
        ":6: `proxy`: \"ftp://a\" must begin with http://, https://, h2c:// or unix: [bad-value]\n",
        ":7: `proxy` needs from 1 to 64 upstreams: { to = [\"http://127.0.0.1:3000\"] } [bad-value]\n",
        ":8: `proxy`: a user or password in the URL would show in logs; set `authorization` in `request_headers` instead [bad-value]\n",
        ":9: `balance` is \"random\", but must be \"round_robin\" or \"least_connections\" [bad-value]\n",
        ":9: unknown key `hots` in `proxy` of route \"/d\" (did you mean `host`?) [unknown-key]\n",
        ":10: `dial_timeout`: `off` is not a duration; write a number and a unit, such as \"250ms\", \"30s\", \"5m\" or \"1h\"; it cannot be \"off\" [bad-value]\n",
        ":10: `idle_timeout`: `off` is not a duration; write a number and a unit, such as \"250ms\", \"30s\", \"5m\" or \"1h\"; it cannot be \"off\" [bad-value]\n",
        ":11: `strip_prefix` is \"/g\", with which no path of \"/f/\" begins [bad-value]\n",
        ":12: `timeout` must be longer than nothing [bad-value]\n",
        ":12: `interval`: `1x` is not a duration; write a number and a unit, such as \"250ms\", \"30s\", \"5m\" or \"1h\" [bad-value]\n",
        ":13: route \"/i/\" names the proxy `p`, whose `strip_prefix` is \"/j\", with which no path of it begins [bad-value]\n",
        ":16: [handlers.p] is a proxy; `wasm` is for guests: leave out one of them [bad-value]\n",
        ":17: [handlers.p] is a proxy; `limits` is for guests: leave out one of them [bad-value]\n",
        ":19: `request_headers` has more than 100 fields [bad-value]\n",
    ] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    assert!(!shown.contains("secret"), "{shown}");
}
