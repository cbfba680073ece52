//! What operators see: `/metrics`, the access log, lines of guests, traces that a collector gets.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::{Conn, DEADLINE, Server, Site};

mod collector;
mod lines;
mod metrics;
mod traces;

/// Answers with its own request's head, as it gets it.
const MIRROR: &str = r#"(module
  (import "wasmux:http/1" "request_head" (func $head (param i32 i32) (result i32)))
  (import "wasmux:http/1" "respond" (func $respond (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasmux:log/1" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "a line")
  (func (export "serve_http") (local $len i32)
    (call $log (i32.const 2) (i32.const 16) (i32.const 6))
    (local.set $len (call $head (i32.const 4096) (i32.const 65536)))
    (drop (call $respond (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 4096) (local.get $len)))))"#;

/// Traps.
const TRAP: &str = r#"(module (memory (export "memory") 1) (func (export "serve_http") unreachable))"#;

fn admin(server: &Server) -> SocketAddr {
    let line = server.out.wait_for(&["admin on http://"]);
    line["admin on http://".len()..].parse().unwrap()
}

fn page(server: &Server) -> String {
    let mut conn = Conn::tcp(admin(server));
    conn.request("GET", "/metrics", &[], b"");
    conn.response().text()
}

/// The value of a series, if it is there.
fn value(page: &str, series: &str) -> Option<f64> {
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}

/// Waits until the page is as it must become.
fn wait_for(server: &Server, what: &str, is_so: impl Fn(&str) -> bool) -> String {
    let until = Instant::now() + DEADLINE;
    loop {
        let page = page(server);
        if is_so(&page) {
            return page;
        }
        assert!(Instant::now() < until, "not {what} in:\n{page}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The first 12 digits of the SHA-256 of what the file has in it.
fn version(text: &str) -> String {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(text)[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn site(routes: &str) -> Site {
    Site::new(routes).file("mirror.wat", MIRROR).file("trap.wat", TRAP).guest("echo").guest("sleep")
}
