//! Modules that are hard to compile: the host says so in time, and serves meanwhile.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{DEADLINE, Server, Site};

fn leb(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while value > 0x7f {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// A handler whose one function takes minutes to compile, in less than 100 KB: loops within loops that hand a thousand
/// locals around, so that each loop has to merge them all.
fn takes_minutes() -> Vec<u8> {
    const LOOPS: usize = 7_500;
    const LOCALS: usize = 1_000;
    let mut code = [leb(1), leb(LOCALS), vec![0x7f]].concat();
    for index in 0..LOOPS {
        code.extend([0x03, 0x40, 0x20]);
        code.extend(leb(index % LOCALS));
        code.push(0x21);
        code.extend(leb(index * 7 % LOCALS));
    }
    code.extend([0x20, 0x00, 0x0d, 0x00, 0x0b].repeat(LOOPS));
    code.push(0x0b);
    let code = [leb(1), leb(code.len()), code].concat();
    let exports = b"\x02\x06memory\x02\0\x0aserve_http\0\0";
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    let sections: [(u8, &[u8]); 5] =
        [(1, b"\x01\x60\0\0"), (3, b"\x01\0"), (5, b"\x01\0\x01"), (7, exports), (10, &code)];
    for (id, contents) in sections {
        module.push(id);
        module.extend(leb(contents.len()));
        module.extend(contents);
    }
    module
}

const ROUTES: &str = r#"
    [server]
    cache = "off"
    compile_timeout = "1s"
    [handlers.h]
    wasm = "h.wat"
    [routes]
    "/" = "h"
    "#;

const HELLO: &str = r#"(module
  (import "wasmux:http/1" "respond" (func $respond (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "hello")
  (func (export "serve_http")
    (drop (call $respond (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 5)))))"#;

/// The processes that this one has started.
fn children(pid: u32) -> Vec<u32> {
    let listed = Command::new("ps").args(["-o", "pid=", "--ppid", &pid.to_string()]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    listed.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// Waits until a process compiles for this one.
fn wait_for_child(pid: u32) -> u32 {
    let started = Instant::now();
    loop {
        if let Some(&child) = children(pid).first() {
            return child;
        }
        assert!(started.elapsed() < DEADLINE, "nothing compiles");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn wait_for_end(pid: u32) {
    let started = Instant::now();
    // What has ended and was not waited for is of no concern: it takes nothing.
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_else(|_| ") Z".into());
    while !state().rsplit(") ").next().unwrap().starts_with('Z') {
        assert!(started.elapsed() < DEADLINE, "process {pid} goes on");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A server with a good deployment, which is then told to reload one that takes minutes to compile.
fn reloading(timeout: &str) -> Server {
    let routes = ROUTES.replace("\"1s\"", &format!("{timeout:?}"));
    let server = Site::new(&routes).file("h.wat", HELLO).serve();
    assert_eq!(server.get("/").text(), "hello");
    std::fs::write(server.site.path("h.wat"), takes_minutes()).unwrap();
    server.signal("HUP");
    server
}

#[test]
fn a_compilation_has_limited_time() {
    let started = Instant::now();
    let output = Site::new(ROUTES).file("h.wat", takes_minutes()).run(&["check"]);
    assert!(started.elapsed() < DEADLINE, "{:?}", started.elapsed());
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    let sentence = "handler `h` (h.wat): compiling it takes longer than `compile_timeout` (1s) in [server]";
    assert!(message.contains(sentence), "{message}");
}

#[test]
fn a_compilation_has_limited_memory() {
    let routes = ROUTES.replace("compile_timeout = \"1s\"", "compile_memory = \"256MiB\"");
    // Each function is compiled by itself; what is made of all of them has to be held together.
    let function = format!("(func {})", "(i32.store (i32.const 0) (i32.load (i32.const 4)))".repeat(100_000));
    let module = HELLO.replace("(data", &format!("{} (data", function.repeat(2)));
    let output = Site::new(&routes).file("h.wat", module).run(&["check"]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("compiling it takes more memory than `compile_memory` (256 MiB)"), "{message}");
}

#[test]
fn requests_are_answered_while_a_monster_is_compiled() {
    let server = reloading("1s");
    let child = wait_for_child(server.pid());
    let mut answered = 0;
    while server.log.count("not reloaded: 1 problem; deployment 1 goes on") == 0 {
        assert_eq!(server.get("/").text(), "hello");
        answered += 1;
    }
    assert!(answered > 10, "only {answered} requests were answered meanwhile");
    server.log.wait_for(&["ERROR", "compiling it takes longer than `compile_timeout` (1s)"]);
    wait_for_end(child);
    assert!(children(server.pid()).is_empty(), "all were waited for");
    // And the next good one is taken.
    std::fs::write(server.site.path("h.wat"), HELLO.replace("hello", "again")).unwrap();
    server.signal("HUP");
    server.log.wait_for(&["reloaded", "deployment 2"]);
    assert_eq!(server.get("/").text(), "again");
}

#[test]
fn a_host_that_ends_does_not_wait_for_its_compiler() {
    for signal in ["TERM", "KILL"] {
        let mut server = reloading("10m");
        let (pid, started) = (server.pid(), Instant::now());
        let child = wait_for_child(pid);
        assert_eq!(server.get("/").text(), "hello");
        server.signal(signal);
        let status = server.wait_for_first();
        assert_eq!(status.success(), signal == "TERM", "{signal}: {status}");
        wait_for_end(child);
        assert!(started.elapsed() < DEADLINE, "{signal}: {:?}", started.elapsed());
    }
}

#[test]
fn a_compiler_that_dies_is_a_sentence() {
    let server = reloading("10m");
    let child = wait_for_child(server.pid());
    crate::support::server::kill(child, "ABRT");
    server.log.wait_for(&["ERROR", "the compiler failed (signal: 6 (SIGABRT))"]);
    server.log.wait_for(&["not reloaded: 1 problem; deployment 1 goes on"]);
    assert_eq!(server.get("/").text(), "hello");
}

/// Nobody is meant to call it, and it says so.
#[test]
fn the_compiler_works_for_its_parent_only() {
    let site = Site::new("");
    let help = String::from_utf8(site.run(&["--help"]).stdout).unwrap();
    assert!(!help.contains("compile "), "{help}");
    let args =
        ["compile", "--stack-bytes-max", "524288", "--memory-bytes-max", "1000000000", "--parent", "1"];
    let output = site.run(&args);
    assert_eq!(output.status.code(), Some(10));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the process that asked for it has ended"));
}
