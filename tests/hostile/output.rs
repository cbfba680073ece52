//! What is written and where it goes: logs without end, outputs that nobody reads, files that lie.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::Instant;

use super::SOON;
use crate::support::lines::Lines;
use crate::support::server::{kill, wasmux};
use crate::support::{Conn, Site};

/// A process that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_guest_that_logs_for_ever_is_held_to_a_mebibyte() {
    const LINE: &str = "01234567890123456789012345678901234567890123456789"; // 50 bytes
    let log = |import: &str, call: &str| {
        format!(
            r#"(module {import} (memory (export "memory") 1)
              (data (i32.const 0) "\10\00\00\00" "\e9\03\00\00") ;; 1001 bytes at 16
              (data (i32.const 16) "{}\n")
              (func (export "serve_http") (loop $again {call} (br $again))))"#,
            LINE.repeat(20)
        )
    };
    let logged = log(
        r#"(import "wasmux:log/1" "log" (func $log (param i32 i32 i32)))"#,
        "(call $log (i32.const 3) (i32.const 16) (i32.const 1000))",
    );
    let printed = log(
        r#"(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))"#,
        "(drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))",
    );
    let routes = r#"
        [defaults]
        timeout = "1s"
        [handlers]
        logged = { wasm = "logged.wat" }
        printed = { wasm = "printed.wat" }
        [routes]
        "/logged" = "logged"
        "/printed" = "printed"
    "#;
    let server = Site::new(routes).file("logged.wat", logged).file("printed.wat", printed).serve();
    for name in ["logged", "printed"] {
        let handler = format!("handler=\"{name}\"");
        assert_eq!(server.get(&format!("/{name}")).status, 504, "{name}");
        server.log.wait_for(&["the rest is left out", &handler]);
        server.log.wait_for(&["reason=\"timeout\"", &handler]);
        let lines = server.log.all();
        let of_guest = lines.iter().filter(|line| line.contains(LINE) && line.contains(&handler));
        let bytes: usize = of_guest.map(|line| line.matches(LINE).count() * LINE.len()).sum();
        assert!((1 << 19..=1 << 20).contains(&bytes), "{name}: {bytes} bytes");
        let announced = lines.iter().filter(|line| line.contains("is left out") && line.contains(&handler));
        assert_eq!(announced.count(), 1, "{name}");
    }
}

/// Lines of which a whole number fits leave nothing of the limit.
#[test]
fn a_log_that_fills_its_limit_exactly_is_announced_too() {
    let module = r#"(module
      (import "wasmux:log/1" "log" (func $log (param i32 i32 i32)))
      (memory (export "memory") 1)
      (func (export "serve_http")
        (loop $again (call $log (i32.const 3) (i32.const 0) (i32.const 1024)) (br $again))))"#;
    let routes = "[defaults]\ntimeout = \"1s\"\n[handlers.l]\nwasm = \"log.wat\"\n[routes]\n\"/\" = \"l\"\n";
    let server = Site::new(routes).file("log.wat", module).serve();
    assert_eq!(server.get("/").status, 504);
    server.log.wait_for(&["reason=\"timeout\""]);
    // The lines are in order, so it would be there.
    assert!(server.log.all().iter().any(|line| line.contains("the rest is left out")));
}

#[test]
fn an_access_log_that_nobody_reads_holds_nothing_up() {
    let site = Site::new("[server]\naccess_log = \"json\"\n[routes]\n\"/\" = { respond = \"ok\" }\n");
    let mut command = wasmux(&site.path(""));
    command.args(["serve", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut server = Killed(command.spawn().unwrap());
    let log = Lines::collect(server.0.stderr.take().unwrap());
    // The address is read, and whatever comes with it; the pipe stays open.
    let mut out = BufReader::new(server.0.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("listening on http://").unwrap().parse().unwrap();
    let mut conn = Conn::tcp(address);
    // Some 300 bytes of log each: many times what a pipe holds.
    for _ in 0..2000 {
        conn.request("GET", "/", &[], b"");
        assert_eq!(conn.response().text(), "ok");
    }
    let started = Instant::now();
    kill(server.0.id(), "TERM");
    log.wait_for_end();
    let status = server.0.wait().unwrap();
    assert!(status.success(), "{status}");
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    drop(out);
}

#[test]
fn problems_that_nobody_can_be_told_are_still_an_exit_code() {
    let site = Site::new("").file("bad.toml", "[routes]\n\"/\" = \"nobody\"\n");
    let run = |stderr: Stdio| {
        let mut command = wasmux(&site.path(""));
        command.args(["check", "-c", "bad.toml"]).stdout(Stdio::null()).stderr(stderr);
        command.status().unwrap().code()
    };
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(run(writer.into()), Some(1), "a pipe without a reader");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(run(full.into()), Some(1), "a full disk");
    let mut shell = std::process::Command::new("sh");
    shell.current_dir(site.path("")).args(["-c", "exec \"$0\" check -c bad.toml 2>&-"]);
    let status = shell.arg(env!("CARGO_BIN_EXE_wasmux")).stdout(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(1), "closed");
}

/// `wasmux check` must find this one problem in a route.
fn assert_refused(route: &str, message: &str) {
    let site = Site::new(&format!("[routes]\n{route}\n")).file("folder/file", "");
    let output = site.run(&["check", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{route}");
    let problems: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let found = problems.iter().any(|problem| {
        problem["kind"] == "bad-value"
            && problem["line"] == 2
            && problem["message"].as_str().unwrap().contains(message)
    });
    assert!(found, "{route}: no {message:?}: {problems:#?}");
}

#[test]
fn routes_cannot_break_the_framing() {
    for (name, value) in [
        ("content-length", "0"),
        ("Content-Length", "1"),
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
        ("upgrade", "h2c"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("keep-alive", "timeout=5"),
    ] {
        let route = format!("\"/\" = {{ respond = \"x\", headers = {{ {name} = \"{value}\" }} }}");
        assert_refused(&route, "belongs to the connection");
    }
    for status in [204, 304] {
        let route = format!("\"/\" = {{ respond = \"x\", status = {status} }}");
        assert_refused(&route, "has no body");
    }
    let fields = |count: usize| {
        let fields: Vec<_> = (0..count).map(|index| format!("x-{index} = \"v\"")).collect();
        format!("\"/\" = {{ respond = \"x\", headers = {{ {} }} }}", fields.join(", "))
    };
    assert_refused(&fields(101), "at most 100 fields");
    let allowed = Site::new(&format!("[routes]\n{}\n", fields(100))).run(&["check"]);
    assert!(allowed.status.success(), "{}", String::from_utf8_lossy(&allowed.stderr));
    assert_refused("\"/{x}/\" = { files = \"folder\", strip_prefix = \"/{x}\" }", "taken literally");
    assert_refused("\"/\" = { respond = \"x\", redirect = \"/y\" }", "choose one");
    assert_refused("\"/\" = { redirect = \"/y\", files = \"folder\" }", "choose one");
}
