//! Guests that are started when they are loaded: what their instances begin with, and every start that no snapshot can hold.

use std::path::PathBuf;

use crate::support::guests::guest_folder;
use crate::support::{Server, Site};

/// A module whose start is to be filled in: `START` in its `_initialize`. Its answer is 16 bytes at 32, its memory's size in
/// pages, and 8 bytes at 64 that it fills with what it draws while it serves.
const FRAME: &str = r#"(module
  (import "wasmux:http/1" "respond" (func $respond (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasmux:http/1" "request_head" (func $head (param i32 i32) (result i32)))
  (import "wasmux:log/1" "log" (func $log (param i32 i32 i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (table 1 funcref)
  (data (i32.const 16) "a line of it")
  (func $inner START)
  (func (export "_initialize") (call $inner))
  (func (export "serve_http")
    (i32.store16 (i32.const 48) (i32.add (i32.const 12336) (memory.size)))
    (drop (call $random (i32.const 64) (i32.const 8)))
    (drop (call $respond (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 32) (i32.const 40)))))"#;

fn guest(start: &str) -> String {
    FRAME.replace("START", start)
}

fn routes(settings: &str) -> String {
    format!(
        "[server]\ncache = \"cache\"\n[handlers.h]\nwasm = \"h.wat\"\n{settings}\n[routes]\n\"/\" = \"h\"\n"
    )
}

fn site(settings: &str, start: &str) -> Site {
    Site::new(&routes(settings)).file("h.wat", guest(start))
}

/// What `wasmux check` has against it.
fn refusal(site: &Site) -> String {
    let output = site.run(&["check"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    text
}

fn cached(server: &Server, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(server.site.path("cache")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

#[test]
fn a_warm_guest_answers_as_a_fresh_one_does() {
    let folder = guest_folder("tables");
    let text = format!(
        "[server]\ncache = \"cache\"\n[handlers.fresh]\nwasm = {folder:?}\nenv = {{ NAME = \"fresh\" }}\n\
         [handlers.warm]\nwasm = {folder:?}\nenv = {{ NAME = \"warm\" }}\nsnapshot = true\n\
         [routes]\n\"GET /fresh/{{what}}\" = \"fresh\"\n\"GET /warm/{{what}}\" = \"warm\"\n"
    );
    let site = Site::new(&text);
    let built = site.run(&["build"]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let server = site.serve();
    server.log.wait_for(&["guest", "148933 primes", "handler=\"warm\""]);
    server.log.wait_for(&["of WebAssembly are", "handler=\"warm\""]);
    for (what, wanted) in [("0", "false"), ("7919", "true"), ("1999993", "true"), ("1999995", "false")] {
        for handler in ["fresh", "warm"] {
            assert_eq!(server.get(&format!("/{handler}/{what}")).text(), wanted, "{handler} {what}");
        }
    }
    assert_eq!(server.get("/warm/2000000").status, 404);
    for request in 0..3 {
        assert_eq!(server.get("/fresh/instance").text(), "warmed up 0, request 1", "{request}");
        assert_eq!(server.get("/warm/instance").text(), "warmed up 1, request 1", "{request}");
        assert_eq!(server.get("/warm/clock").text(), "true");
    }
    for handler in ["fresh", "warm"] {
        let random = || server.get(&format!("/{handler}/random")).text();
        assert_ne!(random(), random(), "{handler}");
        assert_eq!(server.get(&format!("/{handler}/env")).text(), handler);
    }
}

#[test]
fn what_no_snapshot_can_hold_is_refused() {
    let table = [
        (
            "(drop (call $random (i32.const 32) (i32.const 8)))",
            "it draws random numbers while it starts (`random_get`)",
        ),
        (
            "(drop (call $clock (i32.const 0) (i64.const 1) (i32.const 32)))",
            "it reads the time of day while it starts (`clock_time_get`)",
        ),
        (
            "(drop (call $head (i32.const 0) (i32.const 0)))",
            "for the request while it starts (`wasmux:http/1` `request_head`)",
        ),
        (
            "(drop (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 0) (i64.const 0) \
             (i32.const 0) (i32.const 0)))",
            "it opens or reads files while it starts (`path_open`)",
        ),
        ("(drop (call $close (i32.const 1)))", "it opens or reads files while it starts (`fd_close`)"),
        (
            "(drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))",
            "it waits while it starts (`poll_oneoff`)",
        ),
        ("(call $exit (i32.const 0))", "it ends itself while it starts (`proc_exit`)"),
        ("unreachable", "its start fails: wasm trap: wasm `unreachable` instruction executed"),
        ("(call $inner)", "its start fails: wasm trap: call stack exhausted"),
        (
            "(if (i32.eq (memory.grow (i32.const 100)) (i32.const -1)) (then unreachable))",
            "its start fails at its limit `memory` (1024 KiB)",
        ),
        ("(loop (br 0))", "its start takes longer than its limit `timeout` (200ms)"),
    ];
    for (start, wanted) in table {
        let settings = "snapshot = true\nlimits = { memory = \"1MiB\", timeout = \"200ms\" }";
        let text = refusal(&site(settings, start));
        assert!(text.contains("no snapshot of it can be taken: "), "{start}: {text}");
        assert!(text.contains(wanted), "{start}: {text}");
        assert!(text.contains("!inner\n"), "{start}: where it does it, {text}");
    }
    // Not by what it does, but by what it could do.
    let text = refusal(&site("snapshot = true", "(table.set (i32.const 0) (ref.null func))"));
    assert!(text.contains("unsupported `table.set` instruction"), "{text}");
}

#[test]
fn a_refusal_says_what_the_guest_has_said() {
    let start = "(call $log (i32.const 3) (i32.const 16) (i32.const 12)) unreachable";
    let text = refusal(&site("snapshot = true", start));
    assert!(text.contains("it said:\na line of it"), "{text}");
    // And it is in the log when all goes well.
    let start = "(call $log (i32.const 3) (i32.const 16) (i32.const 12))";
    let server = site("snapshot = true", start).serve();
    server.log.wait_for(&["INFO guest: a line of it", "handler=\"h\""]);
}

#[test]
fn what_is_accepted_by_name_is_frozen() {
    let start = "(drop (call $random (i32.const 32) (i32.const 8))) \
        (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 40)))";
    let settings = |freeze: &str| format!("snapshot = {{ freeze = {freeze} }}");
    assert!(refusal(&site(&settings("\"random\""), start)).contains("snapshot = { freeze = [\"clock\"] }"));
    assert!(refusal(&site(&settings("\"clock\""), start)).contains("snapshot = { freeze = [\"random\"] }"));
    let server = site(&settings("[\"random\", \"clock\"]"), start).serve();
    let (first, second) = (server.get("/").body, server.get("/").body);
    assert_eq!(first[..16], second[..16]);
    assert!(first[..8] != [0; 8] && first[8..16] != [0; 8], "{first:?}");
    assert_ne!(first[32..], second[32..], "what is drawn later is not");
}

#[test]
fn memory_that_the_start_has_taken_is_there() {
    let start = "(drop (memory.grow (i32.const 3))) (i64.store (i32.const 200000) (i64.const 7))";
    let server = site("snapshot = true\nlimits = { memory = \"512KiB\" }", start).serve();
    for _ in 0..2 {
        assert_eq!(server.get("/").body[16..18], *b"40", "four pages");
    }
    server.log.wait_for(&["and 64 KiB of memory at the start 256 KiB"]);
}

#[test]
fn a_snapshot_is_taken_once_for_all_that_it_depends_on() {
    let first = site("snapshot = true", "").serve();
    first.log.wait_for(&["snapshot taken"]);
    let again = || Site::at(&first.site.path("")).serve();
    again().log.wait_for(&["snapshot found"]);
    assert_eq!(cached(&first, "snapshot").len(), 1);
    for (count, settings) in [
        (2, "snapshot = true\nenv = { NAME = \"value\" }"),
        (3, "snapshot = true\nlimits = { memory = \"1MiB\" }"),
        (4, "snapshot = { freeze = [\"random\"] }"),
    ] {
        std::fs::write(first.site.path("routes.toml"), routes(settings)).unwrap();
        again().log.wait_for(&["snapshot taken"]);
        assert_eq!(cached(&first, "snapshot").len(), count, "{settings}");
    }
}

#[test]
fn a_damaged_snapshot_is_taken_again() {
    let first = site("snapshot = true", "(i64.store (i32.const 32) (i64.const 0x3131313131313131))").serve();
    assert!(first.get("/").body.starts_with(b"11111111"));
    let file = cached(&first, "snapshot").remove(0);
    let whole = std::fs::read(&file).unwrap();
    for damaged in [&whole[..whole.len() - 20], &whole[..10], b"", &[&whole[..], b"more"].concat()] {
        std::fs::write(&file, damaged).unwrap();
        let second = Site::at(&first.site.path("")).serve();
        second.log.wait_for(&["WARN", "a cached snapshot is unusable, taking it again"]);
        assert!(second.get("/").body.starts_with(b"11111111"));
        assert_eq!(std::fs::read(&file).unwrap(), whole);
    }
}

#[test]
fn a_reload_takes_a_new_one_or_changes_nothing() {
    let store = |digit: char| {
        guest(&format!("(i32.store (i32.const 32) (i32.const 0x{0}{0}{0}{0}))", format!("3{digit}")))
    };
    let server = Site::new(&routes("snapshot = true")).file("h.wat", store('1')).serve();
    assert!(server.get("/").body.starts_with(b"1111"));
    std::fs::write(server.site.path("h.wat"), guest("(loop (br 0))")).unwrap();
    std::fs::write(
        server.site.path("routes.toml"),
        routes("snapshot = true\nlimits = { timeout = \"100ms\" }"),
    )
    .unwrap();
    server.signal("HUP");
    server.log.wait_for(&["its start takes longer than its limit `timeout` (100ms)"]);
    assert!(server.get("/").body.starts_with(b"1111"));
    std::fs::write(server.site.path("h.wat"), store('2')).unwrap();
    server.signal("HUP");
    server.log.wait_for(&["reloaded", "deployment 2"]);
    assert!(server.get("/").body.starts_with(b"2222"));
}

#[test]
fn it_is_for_modules() {
    let component = std::fs::read(crate::support::guests::component("proxy")).unwrap();
    let text = refusal(&Site::new(&routes("snapshot = true")).file("h.wat", component));
    assert!(text.contains("`snapshot` is for core modules, and this is a component"), "{text}");
    let text = refusal(&site("snapshot = \"yes\"", ""));
    assert!(text.contains("`snapshot` must be true, false, or a table"), "{text}");
    let text = refusal(&site("snapshot = { freeze = [\"randem\"] }", ""));
    assert!(text.contains("`freeze` has \"randem\"") && text.contains("did you mean `random`?"), "{text}");
}

#[test]
fn what_has_started_can_be_written_to_a_file() {
    let start = "(i64.store (i32.const 32) (i64.const 0x3131313131313131))";
    let site = site("env = { NAME = \"value\" }", start);
    let built = site.run(&["build", "--snapshot", "h"]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    assert!(String::from_utf8(built.stdout).unwrap().contains("h.snapshot.wasm"));
    // It needs no start any more, here or elsewhere.
    let inspected = site.run(&["inspect", "h.snapshot.wasm"]);
    let text = String::from_utf8(inspected.stdout).unwrap();
    assert!(text.contains("can be run as it is") && !text.contains("_initialize"), "{text}");
    std::fs::write(site.path("routes.toml"), routes("").replace("h.wat", "h.snapshot.wasm")).unwrap();
    assert!(site.serve().get("/").body.starts_with(b"11111111"));

    let site = Site::new(&routes("")).file("h.wat", guest("unreachable"));
    let refused = site.run(&["build", "--snapshot", "./h.wat"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("its start fails: wasm trap"));
    let nothing = site.run(&["build", "--snapshot"]);
    assert!(String::from_utf8(nothing.stdout).unwrap().contains("no handler has `snapshot`"));
}
