//! What a module must look like (ABI.md section 1): what is refused when it is loaded, and when its code runs.

use serde_json::Value;

use crate::support::Site;

const MEMORY: &str = r#"(memory (export "memory") 1)"#;
const HANDLER: &str = r#"(func (export "serve_http"))"#;

/// Name of the handler, what its module holds, and what must be said about it.
fn refused() -> Vec<(&'static str, String, &'static str)> {
    let ok = format!("{MEMORY} {HANDLER}");
    vec![
        ("empty", String::new(), "does not export `serve_http`"),
        ("no-handler", MEMORY.to_owned(), "does not export `serve_http`"),
        ("no-memory", HANDLER.to_owned(), "does not export its linear memory as `memory`"),
        ("memory-name", format!(r#"(memory (export "mem") 1) {HANDLER}"#), "linear memory as `memory`"),
        (
            "memory-kind",
            format!(r#"(func (export "memory")) (memory 1) {HANDLER}"#),
            "linear memory as `memory`",
        ),
        (
            "handler-kind",
            format!(r#"{MEMORY} (global (export "serve_http") i32 (i32.const 0))"#),
            "`serve_http`",
        ),
        (
            "takes",
            format!(r#"{MEMORY} (func (export "serve_http") (param i32))"#),
            "must be a function () -> ()",
        ),
        (
            "returns",
            format!(r#"{MEMORY} (func (export "serve_http") (result i32) i32.const 0)"#),
            "must be a function () -> ()",
        ),
        (
            "initialize",
            format!(r#"{ok} (func (export "_initialize") (param i32))"#),
            "export `_initialize` must be",
        ),
        ("command", format!(r#"{ok} (func (export "_start"))"#), "exports `_start`"),
        (
            "unknown-module",
            format!(r#"(import "env" "f" (func)) {ok}"#),
            "imports `env` `f`, which nobody provides",
        ),
        (
            "unknown-function",
            format!(r#"(import "wasmux:http/1" "nothing" (func)) {ok}"#),
            "imports `wasmux:http/1` `nothing`, which nobody provides",
        ),
        (
            "later-version",
            format!(r#"(import "wasmux:http/2" "respond" (func)) {ok}"#),
            "this host is too old for it",
        ),
        (
            "import-type",
            format!(r#"(import "wasmux:http/1" "client_gone" (func)) {ok}"#),
            "incompatible import type for `wasmux:http/1::client_gone`",
        ),
        (
            "import-kind",
            format!(r#"(import "wasmux:http/1" "respond" (global i32)) {ok}"#),
            "imports `wasmux:http/1` `respond`, which nobody provides",
        ),
        (
            "imported-memory",
            format!(r#"(import "env" "memory" (memory 1)) (export "memory" (memory 0)) {HANDLER}"#),
            "imports `env` `memory`, which nobody provides",
        ),
        ("memory64", format!(r#"(memory (export "memory") i64 1) {HANDLER}"#), "not valid WebAssembly"),
        ("two-memories", format!("{ok} (memory 1)"), "not valid WebAssembly"),
        ("shared-memory", format!(r#"(memory (export "memory") 1 1 shared) {HANDLER}"#), "memory"),
        (
            "too-big",
            format!(r#"(memory (export "memory") 1025) {HANDLER}"#),
            "but its `memory` limit is 65536 KiB",
        ),
        ("big-table", format!("{ok} (table 30000 funcref)"), "30000"),
        ("two-tables", format!("{ok} (table 1 funcref) (table 1 funcref)"), "table"),
        ("invalid", format!("{ok} (func (result i32))"), "not valid WebAssembly"),
        ("text", format!("{ok} (func"), "not valid WebAssembly"),
    ]
}

#[test]
fn what_cannot_be_run_is_refused_with_a_sentence() {
    let mut routes = "[routes]\n[handlers]\n".to_owned();
    let cases = refused();
    for (name, ..) in &cases {
        routes.push_str(&format!("{name} = {{ wasm = \"{name}.wat\" }}\n"));
    }
    let mut site = Site::new(&routes);
    for (name, module, _) in &cases {
        site = site.file(&format!("{name}.wat"), format!("(module {module})"));
    }
    let output = site.run(&["check", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let problems: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let mut failures = Vec::new();
    for (index, (name, _, expected)) in cases.iter().enumerate() {
        let line = index + 3;
        let found = problems.iter().filter(|problem| problem["line"] == line);
        let sentences: Vec<_> = found.map(|problem| problem["message"].as_str().unwrap()).collect();
        if !sentences.iter().any(|sentence| sentence.contains(expected)) {
            failures.push(format!("{name}: {sentences:?}, without {expected:?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(problems.iter().all(|problem| problem["kind"] == "module-invalid"), "{problems:#?}");
}

#[test]
fn components_are_named_as_such() {
    let site =
        Site::new("[handlers.c]\nwasm = \"c.wat\"\n[routes]\n\"/\" = \"c\"\n").file("c.wat", "(component)");
    let output = site.run(&["check", "--json"]);
    let problems: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(problems[0]["message"].as_str().unwrap().contains("component"), "{problems:#?}");
}

/// `_initialize` runs before each request; what it leaves in memory and globals is there.
#[test]
fn initialize_runs_first() {
    let site = Site::new("[handlers.i]\nwasm = \"initialize.wat\"\n[routes]\n\"/\" = \"i\"\n");
    let server = site.guest("abi/initialize").serve();
    for _ in 0..2 {
        assert_eq!(server.get("/").text(), "initialized: 1");
    }
}

/// A trap before `serve_http` is like any other.
#[test]
fn start_functions_and_initialize_may_trap() {
    let routes = r#"
        [handlers]
        start = { wasm = "start.wat" }
        early = { wasm = "early.wat" }
        initialize = { wasm = "initialize.wat" }
        [routes]
        "/start" = "start"
        "/early" = "early"
        "/initialize" = "initialize"
    "#;
    let head = r#"(import "wasmux:http/1" "request_head" (func $head (param i32 i32) (result i32)))"#;
    let server = Site::new(routes)
        .file("start.wat", format!("(module {MEMORY} {HANDLER} (func $start unreachable) (start $start))"))
        .file(
            "early.wat",
            format!("(module {head} {MEMORY} {HANDLER} (start $s) (func $s (drop (call $head (i32.const 0) (i32.const 0)))))"),
        )
        .file("initialize.wat", format!(r#"(module {MEMORY} {HANDLER} (func (export "_initialize") unreachable))"#))
        .serve();
    for (path, expected) in [
        ("/start", "unreachable"),
        ("/early", "host calls that take memory are not available in the module's start function"),
        ("/initialize", "unreachable"),
    ] {
        assert_eq!(server.get(path).status, 500, "{path}");
        server.log.wait_for(&["the guest trapped", expected]);
    }
    assert_eq!(server.log.wait_for_many("reason=\"trapped\"", 3).len(), 3);
}
