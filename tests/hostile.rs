//! Clients, guests and surroundings that mean harm, or behave as if: what they hold is taken back.

mod fixtures;
mod guests;
mod loading;
mod neighbour;
mod output;

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::frames::Client;
use crate::support::{Server, Site, http2};

/// Far less than the clocks that a test does not set, 60 s each.
const SOON: Duration = Duration::from_secs(20);

/// Responds with 4 KiB at once.
const PAGE: &str = r#"(module
  (import "wasmux:http/1" "respond" (func $respond (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "serve_http")
    (drop (call $respond (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 4096)))))"#;

/// Whole and streamed responses; one instance, and a time limit for guests that is of no help.
fn stalling(server: &str) -> Server {
    let routes = format!(
        r#"
        [server]
        access_log = "json"
        instances = 1
        {server}
        [defaults]
        timeout = "10m"
        [handlers]
        page = {{ wasm = "page.wat" }}
        flood = {{ wasm = "flood.wat" }}
        ticks = {{ wasm = "ticks.wat" }}
        [routes]
        "/page" = "page"
        "/flood" = "flood"
        "/ticks" = "ticks"
        "/fixed" = {{ respond = "{}" }}
        "/files/" = {{ files = "folder", strip_prefix = "/files" }}
        "#,
        "x".repeat(4096)
    );
    let site = Site::new(&routes).file("page.wat", PAGE).file("folder/small", "small");
    site.guest("flood").guest("ticks").serve()
}

/// The server must close a connection that asks for `path` and never opens its window.
fn assert_stall_ends(server: &Server, path: &str, window: u32) {
    let started = Instant::now();
    let mut client = Client::connect(server.address(), window, true);
    client.get(1, path);
    client.read_head(1);
    assert_eq!(server.get("/fixed").status, 200);
    let received = client.read_to_end();
    assert_eq!(received, window as usize, "{path}");
    assert!(started.elapsed() < SOON, "{path}, window {window}: {:?}", started.elapsed());
    assert_eq!(server.get("/page").body.len(), 4096, "{path}: the instance is free");
}

#[test]
fn http2_windows_that_stay_closed_end_the_connection() {
    // The keep-alive PINGs of a short idle timeout are acknowledged; that must not help the client.
    for settings in ["stall_timeout = \"300ms\"", "stall_timeout = \"300ms\"\nidle_timeout = \"200ms\""] {
        let server = stalling(settings);
        for path in ["/fixed", "/page", "/flood", "/ticks"] {
            assert_stall_ends(&server, path, 0);
        }
    }
}

#[test]
fn http2_windows_that_open_a_crack_end_streams() {
    let server = stalling("stall_timeout = \"300ms\"");
    for path in ["/flood", "/ticks"] {
        assert_stall_ends(&server, path, 1);
    }
}

/// The connection takes such a body at once, although it cannot send it, and is idle then.
#[test]
fn http2_windows_that_open_a_crack_end_whole_responses() {
    let server = stalling("stall_timeout = \"300ms\"\n        idle_timeout = \"300ms\"");
    for path in ["/page", "/fixed"] {
        assert_stall_ends(&server, path, 1);
    }
}

#[test]
fn a_client_that_never_reads_is_cut_off() {
    const LARGE: u64 = 256 << 20;
    let server = stalling("stall_timeout = \"300ms\"");
    std::fs::File::create(server.site.path("folder/large")).unwrap().set_len(LARGE).unwrap();
    for path in ["/files/large", "/flood"] {
        let started = Instant::now();
        let mut conn = server.connect();
        conn.request("GET", path, &[], b"");
        let line = server.out.wait_for(&[path, "\"complete\":false"]);
        assert!(started.elapsed() < SOON, "{:?}: {line}", started.elapsed());
        assert_eq!(server.get("/page").status, 200, "{path}: the instance is free");
        assert!((conn.rest().len() as u64) < LARGE, "{path}");
    }
}

/// A guest that may read a folder must not use up the descriptors of the process.
#[test]
fn a_guest_opens_no_more_files_than_it_may() {
    const OPENS: &str = r#"(module
      (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 64) "file")
      (func (export "serve_http")
        (loop $again
          (br_if $again (i32.eqz (call $open
            (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 4) (i32.const 0)
            (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 128)))))
        unreachable))"#;
    let routes = "[handlers.opens]\nwasm = \"opens.wat\"\nfiles = { \"/a\" = \"folder\" }\n[routes]\n\"/\" = \"opens\"\n";
    let server = Site::new(routes).file("opens.wat", OPENS).file("folder/file", "").serve();
    assert_eq!(server.get("/").status, 500);
    server.log.wait_for(&["holds more than the handler's `handles` limit: resource table has no free keys"]);
    server.log.wait_for(&["handler=\"opens\"", "reason=\"handles\""]);
    assert_eq!(server.get("/").status, 500, "what it had open is closed");
}

/// A stall is a client that takes nothing, not a handler that says nothing.
#[test]
fn slow_handlers_do_not_stall() {
    let routes = r#"
        [server]
        stall_timeout = "100ms"
        [handlers.sleep]
        wasm = "sleep.wat"
        [routes]
        "/sleep/{ms}" = "sleep"
    "#;
    let server = Site::new(routes).guest("sleep").serve();
    assert_eq!(server.get("/sleep/700").text(), "slept\n");
    http2::run(async {
        let (client, _) = http2::connect(server.address()).await;
        assert_eq!(http2::get(&client, "/sleep/700").await, (200, "slept\n".to_owned()));
    });
}

#[test]
fn a_silent_http2_connection_does_not_hold_up_the_end() {
    for acks in [false, true] {
        let mut server = stalling("shutdown_timeout = \"60s\"");
        let mut client = Client::connect(server.address(), 65_535, acks);
        client.get(1, "/fixed");
        client.read_response(1);
        let started = Instant::now();
        server.signal("TERM");
        assert!(server.wait().success(), "exit code 0");
        assert!(started.elapsed() < SOON, "acks: {acks}: {:?}", started.elapsed());
        client.read_to_end();
    }
}

#[test]
fn idle_http2_connections_are_closed() {
    let server = stalling("idle_timeout = \"200ms\"");
    for (acks, requests) in [(false, 1), (true, 1), (true, 0)] {
        let started = Instant::now();
        let mut client = Client::connect(server.address(), 65_535, acks);
        if requests > 0 {
            client.get(1, "/fixed");
            client.read_response(1);
        }
        client.read_to_end();
        assert!(started.elapsed() < SOON, "acks: {acks}: {:?}", started.elapsed());
    }
}

/// Opening a named pipe waits for a writer, who never comes.
#[test]
fn named_pipes_are_no_files() {
    let server = stalling("");
    for name in ["pipe", "other.gz"] {
        let made = Command::new("mkfifo").arg(server.site.path(&format!("folder/{name}"))).status();
        assert!(made.unwrap().success());
    }
    let mut conn = server.connect();
    for round in 0..600 {
        conn.request("GET", "/files/pipe", &[], b"");
        assert_eq!(conn.response().status, 404, "round {round}");
    }
    assert_eq!(server.request("GET", "/files/other", &["Accept-Encoding: gzip"], b"").status, 404);
    assert_eq!(server.get("/files/small").text(), "small");
}

#[test]
fn head_does_not_wait_for_a_body_without_end() {
    let routes = r#"
        [handlers.ticks]
        wasm = "ticks.wat"
        limits = { timeout = "10m" }
        [routes]
        "/ticks" = "ticks"
    "#;
    let server = Site::new(routes).guest("ticks").serve();
    let started = Instant::now();
    let mut conn = server.connect();
    for round in 0..3 {
        conn.request("HEAD", "/ticks", &[], b"");
        let response = conn.response();
        assert_eq!((response.status, response.body.len()), (200, 0), "round {round}");
    }
    http2::run(async {
        let (client, _) = http2::connect(server.address()).await;
        let mut client = client.ready().await.unwrap();
        let (response, _) = client.send_request(http2::request("HEAD", "/ticks"), true).unwrap();
        assert_eq!(response.await.unwrap().status(), 200);
    });
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
}

#[test]
fn proc_exit_after_a_response() {
    let module = |code: u32| {
        format!(
            r#"(module
              (import "wasmux:http/1" "respond" (func $respond (param i32 i32 i32 i32 i32) (result i32)))
              (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
              (memory (export "memory") 1)
              (data (i32.const 0) "done")
              (func (export "serve_http")
                (drop (call $respond (i32.const 201) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 4)))
                (call $proc_exit (i32.const {code}))))"#
        )
    };
    let routes = r#"
        [handlers]
        zero = { wasm = "zero.wat" }
        one = { wasm = "one.wat" }
        [routes]
        "/zero" = "zero"
        "/one" = "one"
    "#;
    let server = Site::new(routes).file("zero.wat", module(0)).file("one.wat", module(1)).serve();
    let response = server.get("/zero");
    assert_eq!((response.status, response.text().as_str()), (201, "done"));
    assert_eq!(server.get("/one").status, 500);
}

/// Fields that belong to the connection, and a length of what is not sent.
#[test]
fn a_guests_framing_does_not_reach_the_wire() {
    let module = |call: &str| {
        format!(
            r#"(module
              (import "wasmux:http/1" "respond" (func $respond (param i32 i32 i32 i32 i32) (result i32)))
              (import "wasmux:http/1" "response_start" (func $start (param i32 i32 i32) (result i32)))
              (memory (export "memory") 1)
              (data (i32.const 0) "\02\00\00\00" "\02\00\00\00" "\04\00\00\00" "te" "gzip"
                "\0e\00\00\00" "\01\00\00\00" "content-length" "5")
              (func (export "serve_http") (drop {call})))"#
        )
    };
    let whole =
        module("(call $respond (i32.const 204) (i32.const 0) (i32.const 41) (i32.const 0) (i32.const 0))");
    let streamed = module("(call $start (i32.const 204) (i32.const 0) (i32.const 41))");
    let routes = r#"
        [handlers]
        whole = { wasm = "whole.wat" }
        streamed = { wasm = "streamed.wat" }
        [routes]
        "/whole" = "whole"
        "/streamed" = "streamed"
        "/fixed" = { respond = "fixed" }
    "#;
    let server = Site::new(routes).file("whole.wat", whole).file("streamed.wat", streamed).serve();
    for path in ["/whole", "/streamed"] {
        for method in ["GET", "HEAD"] {
            let mut conn = server.connect();
            conn.request(method, path, &[], b"");
            let response = conn.response();
            assert_eq!(response.status, 204, "{method} {path}");
            for name in ["te", "content-length", "transfer-encoding"] {
                assert_eq!(response.header(name), None, "{method} {path}: {response:?}");
            }
            conn.request("GET", "/fixed", &[], b"");
            assert_eq!(conn.response().text(), "fixed", "{method} {path}: the connection goes on");
        }
        http2::run(async {
            let (client, _) = http2::connect(server.address()).await;
            assert_eq!(http2::get(&client, path).await, (204, String::new()));
            assert_eq!(http2::get(&client, "/fixed").await.1, "fixed");
        });
    }
}
