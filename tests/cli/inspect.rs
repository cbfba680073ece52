//! `wasmux inspect`.

use serde_json::{Value, json};

use super::{FIXED, code, err, out};
use crate::support::Site;

#[test]
fn a_handler() {
    let site = Site::new(FIXED).guest("sleep");
    let output = site.run(&["inspect", "sleep.wat", "--json"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let inspection: Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(inspection["kind"], "serve-http");
    assert_eq!(inspection["memory"], json!({ "initial": 65_536 }));
    assert_eq!(inspection["exports"], json!(["memory (memory)", "serve_http"]));
    assert_eq!(inspection["problems"], json!([]));
    assert_eq!(inspection["reset"], json!({ "in_place": true }));
    assert!(inspection["size"].as_u64().is_some_and(|size| size > 100), "{inspection}");
    let imports = inspection["imports"].as_array().unwrap();
    let names: Vec<_> = imports.iter().map(|import| (&import["module"], &import["name"])).collect();
    assert_eq!(names[0], (&json!("wasmux:http/1"), &json!("request_head")));
    assert_eq!(names[2], (&json!("wasi_snapshot_preview1"), &json!("poll_oneoff")));
    assert!(
        imports
            .iter()
            .all(|import| import["provider"].as_str().is_some_and(|name| name.starts_with("wasmux")))
    );

    let text = out(&site.run(&["inspect", "sleep.wat"]));
    for part in [
        "core module, serve_http handler",
        "wasmux:http/1 request_head",
        "can be run as it is",
        "64 KiB",
        "reset    in place",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

/// How a module is made as new after a request.
#[test]
fn what_cannot_be_put_back() {
    let dropping =
        r#"(module (memory (export "memory") 1) (data $d "x") (func (export "serve_http") (data.drop $d)))"#;
    let forging = r#"(module (memory (export "memory") 1) (export "wasmux:restore/memory" (memory 0))
        (func (export "serve_http")))"#;
    let site = Site::new(FIXED).file("dropping.wat", dropping).file("forging.wat", forging);
    let inspection: Value =
        serde_json::from_str(&out(&site.run(&["inspect", "dropping.wat", "--json"]))).unwrap();
    let reason = "it has the instruction `data.drop`";
    assert_eq!(inspection["reset"], json!({ "in_place": false, "reason": reason }));
    let text = out(&site.run(&["inspect", "dropping.wat"]));
    assert!(text.contains(&format!("reset    by a new instance: {reason}\n")), "{text}");
    // Nobody passes for what was proved.
    let output = site.run(&["inspect", "forging.wat"]);
    assert_eq!(code(&output), 1);
    assert!(
        out(&output).contains("names that begin with `wasmux:restore/` are the host's own"),
        "{}",
        out(&output)
    );
}

#[test]
fn what_cannot_be_run() {
    let site = Site::new(FIXED)
        .file("command.wat", r#"(module (memory (export "memory") 1 2) (func (export "_start")))"#)
        .file(
            "foreign.wat",
            r#"(module (import "env" "f" (func)) (memory (export "memory") 1) (func (export "serve_http")))"#,
        )
        .file("component.wat", "(component)")
        .file("run.wat", r#"(component (instance $i) (export "wasi:cli/run@0.2.3" (instance $i)))"#)
        .file(
            "draft.wat",
            r#"(component (instance $i) (export "wasi:http/incoming-handler@0.2.0-rc-2023-11-10" (instance $i)))"#,
        )
        .file("empty.wat", "(module)")
        .file("text", "hello");
    for (name, kind, problem) in [
        ("command.wat", "command", "exports `_start`"),
        ("foreign.wat", "serve-http", "imports `env` `f`, which nobody provides"),
        ("component.wat", "component", "so no request can be given to it; it exports nothing"),
        ("run.wat", "component", "it exports `wasi:cli/run@0.2.3`: it is a program, not a handler"),
        ("draft.wat", "component", "`, which is a draft: build it again with a newer SDK"),
        ("empty.wat", "module", "does not export `serve_http`"),
    ] {
        let output = site.run(&["inspect", name, "--json"]);
        assert_eq!(code(&output), 1, "{name}");
        let inspection: Value = serde_json::from_str(&out(&output)).unwrap();
        assert_eq!(inspection["kind"], kind, "{inspection}");
        let problems: Vec<_> =
            inspection["problems"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
        assert!(problems.iter().any(|text| text.contains(problem)), "{problems:?}");
        let text = out(&site.run(&["inspect", name]));
        assert!(text.contains("cannot be run:") && text.contains(problem), "{text}");
    }
    let inspection = out(&site.run(&["inspect", "command.wat", "--json"]));
    let inspection: Value = serde_json::from_str(&inspection).unwrap();
    assert_eq!(inspection["memory"], json!({ "initial": 65_536, "maximum": 131_072 }));
    for name in ["text", "nothing.wasm"] {
        let output = site.run(&["inspect", name]);
        assert_eq!(code(&output), 1);
        assert!(err(&output).starts_with(&format!("wasmux: {name}: ")), "{}", err(&output));
    }
}
