//! What a guest can do to others and to the host: nothing. Isolation, time, memory, instances, and what the log says.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::support::{Server, Site};

/// `bad.wat` reads from its pattern how to misbehave.
fn bad() -> Server {
    let routes = r#"
        [server]
        threads = 2
        [handlers]
        bad = { wasm = "bad.wat", limits = { timeout = "500ms", memory = "128KiB" } }
        sleep = { wasm = "sleep.wat", limits = { timeout = "500ms" } }
        [routes]
        "/s" = "bad"
        "/t" = "bad"
        "/r" = "bad"
        "/g" = "bad"
        "/d" = "bad"
        "/x" = "bad"
        "/h" = "bad"
        "/sleep/{ms}" = "sleep"
        "/fixed" = { respond = "fixed" }
    "#;
    Site::new(routes).guest("bad").guest("sleep").serve()
}

#[test]
fn every_request_has_an_instance_of_its_own() {
    let routes = "[server]\ninstances = 1\n[handlers.c]\nwasm = \"count.wat\"\n[routes]\n\"/\" = \"c\"\n";
    let server = Site::new(routes).guest("count").serve();
    let mut conn = server.connect();
    for round in 0..20 {
        conn.request("GET", "/", &[], b"");
        assert_eq!(conn.response().text(), "4", "round {round}");
    }
}

/// The guest looks at every byte and global before it answers, then writes to as many as it is told.
#[test]
fn every_request_finds_memory_and_globals_as_they_were() {
    const REQUESTS: usize = 60;
    let routes = "[server]\ninstances = 3\n[handlers.p]\nwasm = \"pristine.wat\"\n[handlers.q]\nwasm = \"pristine.wat\"\n\
                  [routes]\n\"/p\" = \"p\"\n\"/q\" = \"q\"\n";
    let server = Site::new(routes).guest("pristine").serve();
    std::thread::scope(|scope| {
        for client in 0..5 {
            let server = &server;
            scope.spawn(move || {
                for round in 0..REQUESTS {
                    // To all of the memory, here and there, to one byte, to new pages; or also with a trap in the end.
                    let how = [b"a", b"s", b"b", b"s", b"b", b"g", b"t"][(client + round) % 7];
                    let path = if round % 9 == 8 { "/q" } else { "/p" };
                    let response = server.request("POST", path, &[], how);
                    let status = if how == b"t" { 500 } else { 200 };
                    assert_eq!(response.status, status, "{client} {round}: {}", response.text());
                    assert!(status == 500 || response.text() == "pristine", "{client} {round}");
                }
            });
        }
    });
    assert_eq!(server.log.count("!demand"), 0, "those that trap do so in the end");
}

#[test]
fn loops_end_at_the_deadline_and_disturb_nobody() {
    let server = bad();
    let started = Instant::now();
    // More guests that never wait than the server has threads.
    let mut looping: Vec<_> = (0..6).map(|_| server.connect()).collect();
    for (index, conn) in looping.iter_mut().enumerate() {
        conn.request("GET", if index % 2 == 0 { "/s" } else { "/h" }, &[], b"");
    }
    for _ in 0..5 {
        assert_eq!(server.get("/fixed").text(), "fixed");
        assert_eq!(server.get("/sleep/1").text(), "slept\n");
    }
    for mut conn in looping {
        let response = conn.response();
        assert_eq!(response.status, 504, "{response:?}");
        assert!(response.text().starts_with("the handler took too long (request "), "{response:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    server.log.wait_for(&["the handler's `timeout` has passed", "handler=\"bad\"", "reason=\"timeout\""]);
}

#[test]
fn sleepers_end_at_the_deadline() {
    let server = bad();
    let started = Instant::now();
    assert_eq!(server.get("/sleep/60000").status, 504);
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(490) && took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn traps_are_500s_with_a_backtrace_in_the_log() {
    let server = bad();
    for (path, cause) in [("/t", "unreachable"), ("/d", "integer divide by zero"), ("/x", "exit")] {
        let id = format!("trap{}", path.replace('/', "-"));
        let response = server.request("GET", path, &[&format!("X-Request-Id: {id}")], b"");
        assert_eq!(response.status, 500, "{path}");
        assert_eq!(response.text(), format!("the handler failed (request {id})\n"), "and no internals");
        assert_eq!(response.header("x-request-id"), Some(id.as_str()));
        server.log.wait_for(&[&format!("request_id=\"{id}\""), "reason=\"trapped\""]);
        let log = server.log.all().join("\n");
        assert!(log.contains(cause), "{path}: {log}");
    }
    let log = server.log.all().join("\n");
    let at = |name: &str| log.find(name).unwrap_or_else(|| panic!("{name} is not in the backtrace: {log}"));
    assert!(at("!inner") < at("!middle") && at("!middle") < at("!outer") && at("!outer") < at("!serve"));
    assert_eq!(server.get("/fixed").status, 200);
}

/// Function names come from the module, which may be anybody's.
#[test]
fn backtraces_cannot_forge_lines() {
    let module = r#"(module (memory (export "memory") 1)
      (func $"x\nFORGED line\1b[31m" unreachable)
      (func (export "serve_http") (call $"x\nFORGED line\1b[31m")))"#;
    let routes = "[handlers.f]\nwasm = \"forge.wat\"\n[routes]\n\"/\" = \"f\"\n";
    let server = Site::new(routes).file("forge.wat", module).serve();
    assert_eq!(server.get("/").status, 500);
    server.log.wait_for(&["reason=\"trapped\""]);
    let lines = server.log.all();
    assert!(lines.iter().any(|line| line.contains("FORGED")), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.starts_with("FORGED") || line.contains('\x1b')), "{lines:#?}");
}

#[test]
fn memory_is_limited() {
    let server = bad();
    let response = server.get("/g");
    assert_eq!(response.status, 500);
    assert!(response.text().starts_with("the handler ran out of memory (request "), "{response:?}");
    server.log.wait_for(&["the handler's `memory` limit"]);
    server.log.wait_for(&["handler=\"bad\"", "reason=\"memory\""]);
    let log = server.log.all().join("\n");
    assert!(log.contains("note: limit `memory` is 128 KiB") && log.contains("!serve"), "{log}");
    assert_eq!(server.get("/fixed").status, 200);
}

#[test]
fn the_stack_is_limited() {
    let server = bad();
    let response = server.get("/r");
    assert_eq!(response.status, 500);
    assert!(response.text().starts_with("the handler ran out of stack (request "), "{response:?}");
    server.log.wait_for(&["beyond `stack` in [server]", "call stack exhausted"]);
    server.log.wait_for(&["handler=\"bad\"", "reason=\"stack\""]);
    assert!(server.log.all().join("\n").contains("!recurse"), "and says where");
    assert_eq!(server.get("/fixed").status, 200);
}

/// 8 KiB of elements are 64 KiB of memory, which is what its limit leaves beside the one page it has.
#[test]
fn tables_count_as_memory() {
    const TABLES: &str = r#"(module
      (memory (export "memory") 1)
      (table $t 0 funcref)
      (func (export "serve_http")
        (if (i32.ne (table.grow $t (ref.null func) (i32.const 8192)) (i32.const 0)) (then unreachable))
        (if (i32.ne (table.grow $t (ref.null func) (i32.const 1)) (i32.const -1)) (then (return)))
        unreachable))"#;
    let routes =
        "[handlers.t]\nwasm = \"t.wat\"\nlimits = { memory = \"128KiB\" }\n[routes]\n\"/\" = \"t\"\n";
    let server = Site::new(routes).file("t.wat", TABLES).serve();
    assert_eq!(server.get("/").status, 500);
    server.log.wait_for(&["reason=\"memory\""]);
    let more = routes.replace("128KiB", "256KiB");
    assert_eq!(
        Site::new(&more).file("t.wat", TABLES).serve().get("/").status,
        200,
        "the second growth succeeds"
    );
}

#[test]
fn what_is_logged_is_limited() {
    const LOGS: &str = r#"(module
      (import "wasmux:log/1" "log" (func $log (param i32 i32 i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "a line of the guest")
      (func (export "serve_http") (local $count i32)
        (loop $again
          (call $log (i32.const 3) (i32.const 0) (i32.const 19))
          (local.set $count (i32.add (local.get $count) (i32.const 1)))
          (br_if $again (i32.lt_u (local.get $count) (i32.const 100))))))"#;
    let routes = "[handlers.l]\nwasm = \"l.wat\"\nlimits = { log = \"1KiB\" }\n[routes]\n\"/\" = \"l\"\n";
    let server = Site::new(routes).file("l.wat", LOGS).serve();
    for round in 1..=2 {
        assert_eq!(server.get("/").status, 200, "the request goes on");
        server.log.wait_for_many("reason=\"log\"", round);
        assert_eq!(server.log.count("a line of the guest"), 8 * round, "1024 / (19 + 100)");
        assert_eq!(server.log.count("the rest is left out"), round, "said once");
    }
}

/// Whatever runs before the handler does, runs for a request and within its limits.
#[test]
fn starting_is_limited_too() {
    const STARTS: &str = r#"(module (memory (export "memory") 1)
      (func $start BODY) ENTRY (func (export "serve_http")))"#;
    let entries = ["(start $start)", "(export \"_initialize\" (func $start))"];
    let bodies = [
        ("(loop $spin (br $spin))", 504, "reason=\"timeout\""),
        ("unreachable", 500, "reason=\"trapped\""),
        ("call $start", 500, "reason=\"stack\""),
    ];
    for entry in entries {
        for (body, status, reason) in bodies {
            let routes = "[handlers.s]\nwasm = \"s.wat\"\nlimits = { timeout = \"300ms\" }\n[routes]\n\"/\" = \"s\"\n\
                \"/fixed\" = { respond = \"fixed\" }\n";
            let module = STARTS.replace("BODY", body).replace("ENTRY", entry);
            let server = Site::new(routes).file("s.wat", module).serve();
            assert_eq!(server.get("/").status, status, "{entry} {body}");
            server.log.wait_for(&[reason]);
            assert_eq!(server.get("/fixed").status, 200);
        }
    }
}

#[test]
fn output_becomes_log_lines_and_env_is_the_handlers_own() {
    let routes = r#"
        [handlers.print]
        wasm = "print.wat"
        env = { GREETING = "Hello", EMPTY = "" }
        [routes]
        "/" = "print"
    "#;
    let server = Site::new(routes).guest("print").serve();
    let response = server.request("GET", "/", &["X-Request-Id: p-1"], b"");
    assert_eq!(response.text(), "GREETING=Hello\0EMPTY=\0");
    let whose = "handler=\"print\" version=";
    for (level, line) in [
        ("INFO", "first line"),
        ("INFO", "second line"),
        ("INFO", "\\u{1b}[31mforged"),
        ("WARN", "to stderr, no newline"),
    ] {
        server.log.wait_for(&[&format!("{level} guest: {line} {whose}"), "request_id=\"p-1\""]);
    }
}

/// No arguments, no environment but its own, no files, no sockets, no input; clocks and random numbers.
#[test]
fn wasi_offers_no_more_than_it_must() {
    const BADF: u32 = 8;
    const INVAL: u32 = 28;
    let routes = "[handlers.w]\nwasm = \"wasi.wat\"\n[routes]\n\"/\" = \"w\"\n";
    let server = Site::new(routes).guest("wasi").serve();
    let tries = || {
        let body = server.get("/").body;
        body.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect::<Vec<_>>()
    };
    let (first, second) = (tries(), tries());
    assert_eq!(first[..4], [0, 0, 0, 0], "no arguments, no variables");
    assert_eq!(first[4..7], [BADF, BADF, BADF], "no folder, no file, no socket");
    assert_eq!(first[7..9], [0, 0], "standard input is at its end");
    assert_eq!((first[9], second[9]), (0, 0));
    assert_ne!(first[10], second[10], "random numbers");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32;
    assert!(first[11] == 0 && now.abs_diff(first[12]) < 60, "the time of day");
    assert_eq!(first[13..], [0, INVAL], "64 KiB of random bytes, and not one more");
}

#[test]
fn when_all_instances_are_busy_requests_wait_and_then_are_shed() {
    let routes = r#"
        [server]
        instances = 1
        [handlers.sleep]
        wasm = "sleep.wat"
        [routes]
        "/sleep/{ms}" = "sleep"
        "/fixed" = { respond = "fixed" }
    "#;
    let server = Site::new(routes).guest("sleep").serve();
    // A short wait is not noticed.
    let (mut first, mut second) = (server.connect(), server.connect());
    first.request("GET", "/sleep/200", &[], b"");
    second.request("GET", "/sleep/1", &[], b"");
    assert_eq!((first.response().status, second.response().status), (200, 200));

    let mut first = server.connect();
    first.request("GET", "/sleep/5000", &[], b"");
    let mut shed = 0;
    while shed == 0 {
        let response = server.get("/sleep/1");
        if response.status == 503 {
            assert_eq!(response.header("retry-after"), Some("1"), "{response:?}");
            assert!(response.text().starts_with("too busy, try again later (request "), "{response:?}");
            shed += 1;
        }
        assert_eq!(server.get("/fixed").text(), "fixed", "what needs no instance is answered");
    }
    assert_eq!(first.response().status, 200);
    server.log.wait_for(&["all guest instances are in use", "reason=\"instances\""]);
    assert_eq!(server.get("/sleep/1").status, 200);
}

#[test]
fn request_bodies_are_limited() {
    let routes = r#"
        [handlers.read]
        wasm = "read.wat"
        limits = { request_body = "1KiB" }
        [routes]
        "/" = "read"
    "#;
    let server = Site::new(routes).guest("read").serve();
    assert_eq!(server.request("POST", "/", &[], &[0; 1024]).status, 200);
    let response = server.request("POST", "/", &[], &[0; 1025]);
    assert_eq!((response.status, response.header("connection")), (413, Some("close")));
    assert!(response.text().starts_with("the request body is too large (request "), "{response:?}");
}
