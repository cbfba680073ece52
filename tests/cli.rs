//! The commands: what they print, what they make, how they end.

mod build;
mod doctor;
mod inspect;

use std::process::Output;

use crate::support::Site;

const FIXED: &str = "[routes]\n\"/\" = { respond = \"ok\" }\n";

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn wrong_usage_is_2() {
    let site = Site::new(FIXED);
    for args in [
        &["frobnicate"][..],
        &[],
        &["serve", "--nonsense"],
        &["serve", "--listen", "8080"],
        &["serve", "--config", "routes.toml", "x.wasm"],
        &["routes", "explain"],
        &["routes", "explain", "GET"],
        &["inspect"],
        &["invoke", "x.wasm", "GET"],
        &["invoke", "x.wasm", "G T", "/"],
        &["new"],
    ] {
        let output = site.run(args);
        assert_eq!(code(&output), 2, "{args:?}");
        assert!(!err(&output).is_empty() && out(&output).is_empty(), "{args:?}");
    }
}

#[test]
fn help_has_examples() {
    let site = Site::new(FIXED);
    for args in [
        &["--help"][..],
        &["serve", "--help"],
        &["check", "--help"],
        &["routes", "explain", "--help"],
        &["build", "--help"],
        &["new", "--help"],
        &["invoke", "--help"],
        &["inspect", "--help"],
        &["deploy", "--help"],
        &["rollback", "--help"],
        &["status", "--help"],
        &["logs", "--help"],
    ] {
        let output = site.run(args);
        assert_eq!(code(&output), 0, "{args:?}");
        assert!(out(&output).contains("Example"), "{args:?}: {}", out(&output));
        assert!(out(&output).contains("  wasmux "), "{args:?}: {}", out(&output));
    }
    assert!(out(&site.run(&["--version"])).starts_with("wasmux 0."));
}

#[test]
fn a_malformed_log_level_is_usage() {
    let site = Site::new(FIXED);
    let mut command = crate::support::server::wasmux(&site.path(""));
    let output = crate::support::server::finish(command.arg("check").env("WASMUX_LOG", "guest=loud"));
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("WASMUX_LOG: "), "{}", err(&output));
}

#[test]
fn check_says_ok() {
    let output = Site::new(FIXED).run(&["check"]);
    assert_eq!((code(&output), out(&output).as_str()), (0, "routes.toml: ok, 1 routes, 0 handlers\n"));
    let output = Site::new(FIXED).run(&["check", "--json"]);
    assert_eq!((code(&output), out(&output).trim()), (0, "[]"));
}

#[test]
fn routes_are_listed_with_their_limits() {
    let routes = r#"
        [handlers.read]
        wasm = "read.wat"
        limits = { timeout = "5s", memory = "16MiB", request_body = "1KiB", response_body = "10B" }
        [routes]
        "GET /a/{x}" = "read"
        "/b" = { respond = "", status = 204 }
        "/long/pattern/{rest...}" = { redirect = "/x" }
        "/f/" = { files = "." }
    "#;
    let output = Site::new(routes).guest("read").run(&["routes"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let expected = "\
PATTERN                  HANDLER            LIMITS
GET /a/{x}               read               timeout 5s, cpu 10s, memory 16MiB, request 1KiB, response 10B
/b                       (respond 204)
/long/pattern/{rest...}  (redirect 307 /x)
/f/                      (files .)
";
    let columns = |text: &str| {
        text.lines()
            .map(|line| {
                line.split("  ")
                    .map(str::trim)
                    .filter(|cell| !cell.is_empty())
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(columns(&out(&output)), columns(expected), "{}", out(&output));
}

#[test]
fn routes_need_no_wasm() {
    let site = Site::new("[handlers.h]\nwasm = \"h.wat\"\n[routes]\n\"/\" = \"h\"\n")
        .file("h.wat", "this is no module");
    assert_eq!(code(&site.run(&["routes"])), 0);
    let output = site.run(&["routes", "explain", "GET", "/x"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(out(&output).contains("→ h"), "{}", out(&output));
}

#[test]
fn explain_tells_why() {
    let routes = r#"
        [routes]
        "GET /users/{id}" = { respond = "" }
        "GET /users/me" = { respond = "" }
        "/" = { respond = "" }
        "POST /only" = { respond = "" }
        "/tree/" = { respond = "" }
    "#;
    let site = Site::new(routes);
    let explain = |args: &[&str]| {
        let output = site.run(&[&["routes", "explain"], args].concat());
        assert_eq!(code(&output), 0, "{}", err(&output));
        out(&output)
    };
    let text = explain(&["GET", "/users/a%2Fb"]);
    assert!(text.contains("GET /users/{id}") && text.contains("id = \"a/b\""), "{text}");
    let text = explain(&["GET", "/users/me"]);
    let (winner, loser) = (text.find("GET /users/me").unwrap(), text.find("GET /users/{id}").unwrap());
    assert!(winner < loser, "{text}");
    assert!(explain(&["GET", "/tree"]).contains("/tree/"));
    let json: serde_json::Value =
        serde_json::from_str(&explain(&["GET", "http://h/tree?q", "--json"])).unwrap();
    assert_eq!(json, serde_json::json!({ "status": 307, "location": "/tree/?q" }));

    let output = site.run_with_input(
        &["routes", "explain", "--json"],
        "{\"method\":\"GET\",\"target\":\"/\"}\nnonsense\n",
    );
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("standard input, line 2: "), "{}", err(&output));
    assert_eq!(out(&output).lines().count(), 1, "what was asked before is answered");
}

#[test]
fn serve_a_file_without_a_deployment() {
    let site = Site::new(FIXED).guest("read");
    std::fs::remove_file(site.path("routes.toml")).unwrap();
    let server = site.serve_with(&["read.wat"]);
    for path in ["/", "/any/where"] {
        assert_eq!(server.get(path).text(), "read\n");
    }
    let site = Site::new(FIXED);
    let output = site.run(&["serve", "nothing.wasm"]);
    assert_eq!(code(&output), 1);
    assert!(
        err(&output).contains("nothing.wasm:1: there is no such file or folder [file-missing]"),
        "{}",
        err(&output)
    );
    std::fs::remove_file(site.path("routes.toml")).unwrap();
    let output = site.run(&["serve"]);
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("wasmux new NAME"), "{}", err(&output));
}

#[test]
fn invoke_sends_one_request() {
    let site = Site::new(FIXED).guest("echo").guest("print").guest("bad").guest("sleep");
    let output = site.run(&["invoke", "echo.wat", "POST", "/x?y", "-d", "hello", "-H", "X-A: b"]);
    assert_eq!((code(&output), out(&output).as_str()), (0, "hello"), "{}", err(&output));
    assert!(err(&output).contains("200"), "{}", err(&output));
    let output = site.run_with_input(&["invoke", "echo.wat", "POST", "/", "-d", "@-"], "from stdin");
    assert_eq!(out(&output), "from stdin");
    let output = site.run(&["invoke", "echo.wat", "POST", "/", "-d", "@routes.toml"]);
    assert_eq!(out(&output), FIXED);
    let output = site.run(&["invoke", "print.wat", "GET", "/", "--env", "A=1", "-e", "B=2"]);
    assert_eq!(out(&output), "A=1\0B=2\0");
    assert!(err(&output).contains("first line"), "its output is logged: {}", err(&output));
    let output = site.run(&["invoke", "sleep.wat", "GET", "/in/7", "--pattern", "/in/{ms}"]);
    assert_eq!(out(&output), "slept\n");

    let output = site.run(&["invoke", "bad.wat", "GET", "/t", "--pattern", "/t"]);
    assert_eq!((code(&output), out(&output).as_str()), (1, ""));
    assert!(
        err(&output).contains("the guest trapped") && err(&output).contains("!inner"),
        "{}",
        err(&output)
    );
    for (wanted, args, part) in [
        (1, &["nothing.wat", "GET", "/"][..], "nothing.wat"),
        (1, &["sleep.wat", "GET", "/x", "--pattern", "/y"], "it does not match GET /x"),
        (1, &["echo.wat", "GET", "/", "-d", "@nothing"], "nothing"),
        (2, &["sleep.wat", "GET", "/x", "--pattern", "/{"], "--pattern"),
        (2, &["echo.wat", "GET", "/", "-H", "no colon"], "write `Name: value`"),
        (2, &["echo.wat", "GET", "/", "-e", "A"], "write NAME=VALUE"),
    ] {
        let output = site.run(&[&["invoke"], args].concat());
        assert_eq!(code(&output), wanted, "{args:?}");
        assert!(err(&output).contains(part), "{args:?}: {}", err(&output));
    }
}
