//! routes.toml: every kind of mistake, all of them in one run, each with its line and what to do about it.

mod corpus;
mod servers;

use serde_json::Value;

use crate::support::Site;

/// Line, kind, and a part of the message.
type Expected = (u64, &'static str, &'static str);

/// `wasmux check --json` of this text must find exactly these problems.
fn check(text: &str, expected: &[Expected]) {
    check_site(&site(text), expected);
}

/// A folder in which everything that the texts below name is there.
fn site(text: &str) -> Site {
    Site::new(text).guest("read").file("folder/file.txt", "")
}

fn check_site(site: &Site, expected: &[Expected]) {
    let output = site.run(&["check", "--json"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    let problems: Vec<Value> =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"));
    let shown = serde_json::to_string_pretty(&problems).unwrap();
    assert_eq!(problems.len(), expected.len(), "{shown}");
    assert_eq!(output.status.code(), Some(i32::from(!expected.is_empty())), "{shown}");
    for (problem, (line, kind, part)) in problems.iter().zip(expected) {
        assert_eq!((&problem["line"], &problem["kind"]), (&(*line).into(), &(*kind).into()), "{shown}");
        let message = problem["message"].as_str().unwrap();
        assert!(message.contains(part), "{message:?} does not say {part:?}");
        assert_eq!(problem["file"], "routes.toml");
    }
}

/// One problem, on line `line` of `[routes]` that holds only `/`.
fn with_route(head: &str) -> String {
    format!("{head}\n[routes]\n\"/\" = {{ respond = \"ok\" }}\n")
}

#[test]
fn good_ones_have_no_problems() {
    check("[routes]\n", &[]);
    check(
        r#"
        [server]
        listen = ["127.0.0.1:0", ":0", "[::1]:0", "localhost:0", "unix:/tmp/x.sock"]
        threads = 3
        access_log = "json"
        shutdown_timeout = "1m"
        read_header_timeout = "250ms"
        max_header_bytes = "8KiB"
        max_connections = 1
        instances = 20000
        cache = "off"
        [defaults]
        timeout = "1h"
        memory = "4GiB"
        request_body = "0B"
        response_body = "1 GB"
        isolation = "request"
        on_disconnect = "finish"
        [handlers.read]
        wasm = "read.wat"
        isolation = "request"
        on_disconnect = "cancel"
        env = { A = "1", B = "" }
        [handlers.read.limits]
        timeout = "1s"
        memory = "128KiB"
        request_body = "1kB"
        response_body = "1MB"
        [routes]
        "/" = "read"
        "GET /a" = { respond = "a", status = 201, headers = { "X-A" = "b" } }
        "/b" = { redirect = "/c", status = 301 }
        "/d/" = { files = "folder", strip_prefix = "/d" }
        "#,
        &[],
    );
}

#[test]
fn everything_in_one_run() {
    check(
        r#"[server]
lisen = ":80"
threads = "four"
shutdown_timeout = "30"
[defaults]
timeout = "0s"
[handlers.hello]
wasm = "read.wat"
limits = { memory = "1KiB", tiemout = "1s" }
[handlers.gone]
wasm = "gone.wasm"
[handlers.empty]
[routes]
"/a" = "helo"
"/b/{x" = { respond = "x" }
"GET /c/{id}" = { respond = "x" }
"GET /{any}/d" = { respond = "x" }
"/e" = { respond = "x", sttus = 200 }
[rotes]
"#,
        &[
            (2, "unknown-key", "unknown key `lisen` in [server] (did you mean `listen`?)"),
            (3, "bad-value", "`threads` in [server] must be a whole number, but is a TOML string"),
            (4, "bad-value", "`shutdown_timeout`: `30` is not a duration; write a number and a unit"),
            (6, "bad-value", "`timeout` must be longer than nothing"),
            (9, "bad-value", "`memory` must be from 65536 to 4294967296 bytes"),
            (9, "unknown-key", "unknown key `tiemout` in [handlers.hello.limits] (did you mean `timeout`?)"),
            (11, "file-missing", "there is no file or folder gone.wasm"),
            (12, "missing-key", "[handlers.empty] needs `wasm`"),
            (14, "unknown-handler", "names the handler `helo`, which is not defined (did you mean `hello`?)"),
            (15, "pattern-invalid", "at offset 3"),
            (17, "pattern-conflict", "conflicts with pattern \"GET /c/{id}\" on line 16: "),
            (18, "unknown-key", "unknown key `sttus` in route \"/e\" (did you mean `status`?)"),
            (19, "unknown-key", "unknown key `rotes` in the file (did you mean `routes`?)"),
        ],
    );
}

#[test]
fn server_values() {
    for (line, part) in [
        ("listen = []", "`listen` is empty"),
        ("listen = 8080", "must be a list of strings"),
        ("listen = [8080]", "must be a list of strings"),
        ("listen = \"8080\"", "`8080` is not an address"),
        ("listen = [\":80\", \"x\"]", "`x` is not an address"),
        ("listen = \"unix:\"", "`unix:` needs a path"),
        ("threads = 0", "`threads` must be a whole number from 1 to 1024"),
        ("threads = 1.5", "must be a whole number"),
        (
            "access_log = \"jsn\"",
            "`access_log` is \"jsn\", but must be \"off\" or \"text\" or \"json\" or \"combined\" (did you mean `json`?)",
        ),
        ("access_log = true", "must be a string"),
        ("read_header_timeout = 5", "must be a duration"),
        ("read_header_timeout = \"5 minutes\"", "is not a duration"),
        ("shutdown_timeout = \"9999999h\"", "is too long"),
        ("max_header_bytes = \"1023B\"", "`max_header_bytes` must be from 1024 to 16777216 bytes"),
        ("max_header_bytes = \"1M\"", "is not a size"),
        ("max_connections = -1", "whole number from 1 to"),
        ("instances = 20001", "whole number from 1 to 20000"),
    ] {
        check(&with_route(&format!("[server]\n{line}")), &[(2, "bad-value", part)]);
    }
}

#[test]
fn handler_values() {
    for (line, kind, part) in [
        (
            "isolation = \"pool\"",
            "bad-value",
            "`isolation` is \"pool\", but must be \"request\" or \"reuse\"",
        ),
        ("max_requests = 2", "bad-value", "`max_requests` has no effect without `isolation = \"reuse\"`"),
        (
            "next = \"hh\"",
            "unknown-handler",
            "`next` names the handler `hh`, which is not defined (did you mean `h`?)",
        ),
        ("next = \"h\"", "bad-value", "`next` leads back to where it began: `h` → `h`"),
        ("on_disconnect = \"stop\"", "bad-value", "must be \"cancel\" or \"finish\""),
        ("env = { \"A=B\" = \"x\" }", "bad-value", "must not be empty or contain `=`"),
        ("env = { A = 1 }", "bad-value", "must be a string"),
        ("env = \"A=1\"", "bad-value", "must be a table"),
        ("files = { \"/a\" = \"nowhere\" }", "file-missing", "`files`: there is no folder "),
        ("files = { \"\" = \"folder\" }", "bad-value", "must not be empty"),
        ("limits = { timeout = 5 }", "bad-value", "must be a duration"),
        ("limits = { request_body = \"1.5MiB\" }", "bad-value", "is not a size"),
        ("limit = {}", "unknown-key", "unknown key `limit` in [handlers.h] (did you mean `limits`?)"),
        ("timeout = \"5s\"", "unknown-key", "unknown key `timeout` in [handlers.h]"),
        ("wasm2 = 1", "unknown-key", "(did you mean `wasm`?)"),
    ] {
        check(&with_route(&format!("[handlers.h]\nwasm = \"read.wat\"\n{line}")), &[(3, kind, part)]);
    }
    let reuse =
        |line: &str| with_route(&format!("[handlers.h]\nwasm = \"read.wat\"\nisolation = \"reuse\"\n{line}"));
    check(&reuse("max_requests = 5\nmax_idle = \"1s\""), &[]);
    check(
        &reuse("max_concurrent = 2"),
        &[(4, "bad-value", "has no effect without `isolation = \"concurrent\"`")],
    );
    check(&reuse("max_requests = 0"), &[(4, "bad-value", "from 1 to 1000000")]);
    check(&with_route("[handlers]\nh = 1"), &[(2, "bad-value", "`handlers.h` must be a table")]);
    check(&with_route("handlers = 1"), &[(1, "bad-value", "must be a table")]);
    check(&with_route("[handlers.h]\nwasm = 1"), &[(2, "bad-value", "must be a string")]);
    let folder = "handler `h`: ";
    check(&with_route("[handlers.h]\nwasm = \"folder\""), &[(2, "build-failed", folder)]);
    check(
        &with_route("[handlers.h]\nwasm = \"routes.toml\""),
        &[(2, "module-invalid", "not valid WebAssembly")],
    );
}

#[test]
fn route_values() {
    for (line, kind, part) in [
        ("\"/\" = 1", "bad-value", "must name a handler or be a table"),
        ("\"/\" = {}", "missing-key", "needs one of `respond`, `redirect`, `files` or `proxy`"),
        ("\"/\" = { respnd = \"x\" }", "missing-key", "needs one of"),
        ("\"/\" = { respond = 1 }", "bad-value", "must be a string"),
        ("\"/\" = { respond = \"\", status = 199 }", "bad-value", "from 200 to 999"),
        (
            "\"/\" = { respond = \"\", headers = { \"a b\" = \"c\" } }",
            "bad-value",
            "`a b` is not a usable header field",
        ),
        (
            "\"/\" = { respond = \"\", headers = { a = \"b\\nc\" } }",
            "bad-value",
            "`a` is not a usable header field",
        ),
        ("\"/\" = { redirect = \"/x\", status = 305 }", "bad-value", "must be 301, 302, 303, 307 or 308"),
        ("\"/\" = { redirect = \"/x\\n\" }", "bad-value", "without control characters"),
        ("\"/\" = { files = \"nowhere\" }", "file-missing", "there is no folder nowhere"),
        ("\"/\" = { files = \"read.wat\" }", "file-missing", "there is no folder read.wat"),
        (
            "\"/a/\" = { files = \"folder\", strip_prefix = \"/b\" }",
            "bad-value",
            "with which no path of \"/a/\" begins",
        ),
        ("\"/\" = { respond = \"\", redirect = \"/x\" }", "unknown-key", "`redirect`"),
        ("\"\" = { respond = \"\" }", "pattern-invalid", ""),
        ("\"GET\" = { respond = \"\" }", "pattern-invalid", ""),
        ("\"/{x}/{x}\" = { respond = \"\" }", "pattern-invalid", ""),
        ("\"G@T /\" = { respond = \"\" }", "pattern-invalid", ""),
    ] {
        let site = site(&format!("[routes]\n{line}\n"));
        let output = site.run(&["check", "--json"]);
        let problems: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        let found = problems.iter().any(|problem| {
            problem["line"] == 2
                && problem["kind"] == kind
                && problem["message"].as_str().unwrap().contains(part)
        });
        assert!(found, "{line}: no {kind} with {part:?}: {problems:#?}");
    }
    check("[server]\n", &[(1, "missing-key", "there is no [routes] table")]);
    check("routes = 1\n", &[(1, "bad-value", "must be a table")]);
}

#[test]
fn conflicts_and_duplicates() {
    check(
        "[routes]\n\"/{a}/x\" = { respond = \"\" }\n\"/x/{b}\" = { respond = \"\" }\n\"/{c}/x\" = { respond = \"\" }\n",
        &[
            (3, "pattern-conflict", "conflicts with pattern \"/{a}/x\" on line 2: "),
            (4, "pattern-conflict", "conflicts with pattern \"/{a}/x\" on line 2: "),
        ],
    );
    // The same key twice is no TOML, but to us the plainest conflict.
    check(
        "[routes]\n\"/a\" = { respond = \"\" }\n\"/a\" = { respond = \"\" }\n",
        &[(3, "pattern-conflict", "pattern \"/a\" is registered twice")],
    );
}

#[test]
fn files_that_are_no_toml() {
    for (text, line) in [
        ("[routes]]\n", 1),
        ("[routes]\n\"/\" = \n", 2),
        ("[server]\nthreads = 1\nthreads = 2\n[routes]\n", 3),
    ] {
        let problems: Vec<Value> =
            serde_json::from_slice(&site(text).run(&["check", "--json"]).stdout).unwrap();
        // What can be read in spite of it is checked as well.
        assert_eq!(
            (&problems[0]["kind"], &problems[0]["line"]),
            (&"syntax".into(), &line.into()),
            "{problems:#?}"
        );
        assert!(problems[0]["message"].as_str().unwrap().starts_with("not valid TOML: "), "{problems:#?}");
    }
    let site = Site::new("").file("routes.toml", b"\xff\xfe");
    check_site(&site, &[(1, "file-unreadable", "cannot read the file")]);
    let output = site.run(&["check", "--config", "nowhere.toml"]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("nowhere.toml:1: cannot read the file"), "{message}");
    assert!(message.contains("wasmux new"), "{message}");
}

#[test]
fn serve_and_routes_refuse_the_same_with_text() {
    let site = site("[routes]\n\"/a\" = \"nobody\"\n\"/b/{\" = { respond = \"\" }\n");
    for args in [
        &["serve", "--listen", "127.0.0.1:0"][..],
        &["check"],
        &["routes"],
        &["routes", "explain", "GET", "/a"],
    ] {
        let output = site.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(message.contains("routes.toml:2: route \"/a\" names the handler `nobody`"), "{message}");
        assert!(message.contains("[unknown-handler]\nroutes.toml:3: "), "{message}");
        assert!(message.contains("wasmux: 2 problems, nothing was started"), "{message}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains("listening"));
    }
}
