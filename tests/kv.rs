//! Key-value stores: what guests of both kinds may do with them, and what operators may.

use std::time::{Duration, Instant};

use crate::support::guests::{component, guest_folder};
use crate::support::{DEADLINE, Server, Site};

mod crash;

/// The guest `store` as a module and as a component, one for each host name, with these lines in `[handlers.NAME]`, and these
/// before them.
fn site(stores: &str, module: &str, other: &str) -> Site {
    let (guest, component) = (guest_folder("store"), component("store"));
    Site::new(&format!(
        "{stores}\n[handlers.module]\nwasm = {guest:?}\n{module}\n[handlers.component]\nwasm = {component:?}\n{other}\n\
         [routes]\n\"/\" = \"module\"\n\"component.test/\" = \"component\"\n"
    ))
}

const MODULE: &str = "Host: module.test";
const COMPONENT: &str = "Host: component.test";

fn ask(server: &Server, host: &str, query: &str) -> String {
    let response = server.request("GET", &format!("/?store=s&{query}"), &[host], b"");
    assert_eq!(response.status, 200, "{query}: {response:?}");
    response.text()
}

const GRANT: &str = "kv = [\"s\"]";

#[test]
fn guests_of_both_kinds_share_a_store() {
    let server = site("[kv.s]", GRANT, "kv = \"s\"").serve();
    for (host, other) in [(MODULE, COMPONENT), (COMPONENT, MODULE)] {
        assert_eq!(ask(&server, host, "do=get&key=a"), "None");
        assert_eq!(ask(&server, host, "do=set&key=a&value=one"), "()");
        assert_eq!(ask(&server, other, "do=get&key=a"), "Some(\"one\")");
        assert_eq!(ask(&server, other, "do=exists&key=a"), "true");
        assert_eq!(ask(&server, host, "do=fill&key=large&value=100000"), "()");
        assert_eq!(ask(&server, other, "do=size&key=large"), "Some(100000)");
        assert_eq!(ask(&server, host, "do=increment&key=n&value=2"), "2");
        assert_eq!(ask(&server, other, "do=increment&key=n&value=3"), "5");
        assert_eq!(
            ask(&server, other, "do=increment&key=a&value=1"),
            "the value is no whole number of 64 bits, or would be none"
        );
        assert_eq!(ask(&server, host, "do=list"), "[\"a\", \"large\", \"n\"]");
        assert_eq!(ask(&server, other, "do=list&key=l"), "[\"large\"]");
        for key in ["a", "large", "n", "none"] {
            let had = if key == "none" { "false" } else { "true" };
            assert_eq!(ask(&server, host, &format!("do=delete&key={key}")), had);
        }
        assert_eq!(ask(&server, other, "do=list"), "[]");
    }
}

#[test]
fn lists_of_many_keys_come_in_pages() {
    let server = site("[kv.s]", GRANT, GRANT).serve();
    // Each is a transaction of its own; many at once share one.
    let mut conns: Vec<_> = (0..150).map(|_| server.connect()).collect();
    for (number, conn) in conns.iter_mut().enumerate() {
        let target = format!("/?store=s&do=set&key=k{number:04}{}&value=x", "y".repeat(500));
        conn.request("GET", &target, &[MODULE], b"");
    }
    for conn in &mut conns {
        assert_eq!(conn.response().text(), "()");
    }
    for host in [MODULE, COMPONENT] {
        let keys = ask(&server, host, "do=list&key=k");
        assert_eq!(keys.matches("\"k0").count(), 150, "{keys}");
    }
}

#[test]
fn modules_swap_and_let_expire() {
    let server = site("[kv.s]", GRANT, GRANT).serve();
    assert_eq!(ask(&server, MODULE, "do=add&key=a&value=1"), "true");
    assert_eq!(ask(&server, MODULE, "do=add&key=a&value=2"), "false");
    assert_eq!(ask(&server, MODULE, "do=swap&key=a&old=2&value=3"), "false");
    assert_eq!(ask(&server, MODULE, "do=swap&key=a&old=1&value=3"), "true");
    assert_eq!(ask(&server, MODULE, "do=increment&key=a&value=-5"), "-2");
    assert_eq!(ask(&server, MODULE, "do=set_for&key=b&value=x&ms=50"), "()");
    let begun = Instant::now();
    while ask(&server, COMPONENT, "do=exists&key=b") == "true" {
        assert!(begun.elapsed() < DEADLINE, "it does not expire");
    }
    assert_eq!(ask(&server, MODULE, "do=list"), "[\"a\"]");
    let unsupported = "wasi:keyvalue cannot do this; build the handler as a module";
    for query in ["do=add&key=a&value=1", "do=set_for&key=b&value=x&ms=50", "do=increment&key=a&value=-5"] {
        assert_eq!(ask(&server, COMPONENT, query), unsupported, "{query}");
    }
}

#[test]
fn prefixes_keep_handlers_apart() {
    let server =
        site("[kv.s]", "kv = { s = { prefix = \"m:\" } }", "kv = { s = { prefix = \"c:\" } }").serve();
    ask(&server, MODULE, "do=set&key=a&value=of+module");
    ask(&server, COMPONENT, "do=set&key=a&value=of+component");
    assert_eq!(ask(&server, MODULE, "do=get&key=a"), "Some(\"of module\")");
    assert_eq!(ask(&server, COMPONENT, "do=get&key=a"), "Some(\"of component\")");
    for host in [MODULE, COMPONENT] {
        assert_eq!(ask(&server, host, "do=list"), "[\"a\"]");
    }
    let listed = server.site.run(&["kv", "list", "s"]);
    assert_eq!(String::from_utf8_lossy(&listed.stdout), "c:a\nm:a\n", "beside the server that has it open");
}

#[test]
fn what_is_not_granted_is_refused() {
    let read_only = "kv = { s = { read_only = true } }";
    let server = site("[kv.s]\n[kv.other]", read_only, read_only).serve();
    for host in [MODULE, COMPONENT] {
        assert_eq!(ask(&server, host, "do=get&key=a"), "None");
        for query in ["do=set&key=a&value=x", "do=delete&key=a", "do=increment&key=a&value=1"] {
            let said = ask(&server, host, query);
            assert_eq!(said, "the key-value store was granted for reading only", "{query}");
        }
        let other = server.request("GET", "/?store=other&do=get&key=a", &[host], b"").text();
        assert_eq!(other, "the key-value store is not granted to this handler");
    }
    server.log.wait_for(&["WARN", "module", "key-value store `s`: the store was granted for reading only"]);
    server.log.wait_for(&["WARN", "module", "the key-value store `other` was refused"]);
    server.log.wait_for(&["WARN", "component", "the key-value store `other` was refused"]);

    let output = site("[kv.s]", "", "").run(&["check"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    let sentence = "it imports `wasmux:keyvalue/1`, which it was not granted: declare a store, [kv.NAME], and grant it, \
                    `kv = [\"NAME\"]`, in [handlers.module]";
    assert!(output.status.code() == Some(1) && errors.contains(sentence), "{errors}");
}

#[test]
fn limits_are_told_from_each_other() {
    let server = site("[kv.s]\nmax_size = \"1MiB\"\nmax_value = \"600KiB\"", GRANT, GRANT).serve();
    for host in [MODULE, COMPONENT] {
        let too_large = "the value is larger than the key-value store takes";
        assert_eq!(ask(&server, host, "do=fill&key=a&value=614401"), too_large);
        assert_eq!(ask(&server, host, "do=fill&key=a&value=614400"), "()");
        assert_eq!(ask(&server, host, "do=fill&key=b&value=614400"), "the key-value store is full");
        assert_eq!(ask(&server, host, "do=fill&key=a&value=500000"), "()", "what takes less is let in");
        let bad_key = "the key is empty or longer than 1024 bytes, or the cursor is none of this store's";
        assert_eq!(ask(&server, host, "do=get"), bad_key);
        assert_eq!(ask(&server, host, &format!("do=get&key={}", "k".repeat(1025))), bad_key);
        assert_eq!(ask(&server, host, "do=delete&key=a"), "true");
    }
    server.log.wait_for(&["WARN", "key-value store `s`: the store is full: its `max_size` is 1048576 bytes"]);
}

#[test]
fn a_store_that_cannot_be_reached_says_so_in_the_log_alone() {
    let stores = "[kv.s]\nbackend = { env = \"REDIS_URL\" }\ntimeout = \"2s\"";
    let site = site(stores, GRANT, GRANT);
    let mut command = site.serve_command(std::path::Path::new(crate::support::server::PROGRAM), &[]);
    // Nobody listens there.
    command.env("REDIS_URL", "redis://ann:hunter2@127.0.0.1:1/");
    let server = Server::start(command, site);
    for host in [MODULE, COMPONENT] {
        assert_eq!(ask(&server, host, "do=get&key=a"), "the key-value store is unavailable");
    }
    server.log.wait_for(&["WARN", "key-value store `s`: the store is unavailable: redis://127.0.0.1:1/0"]);
    assert_eq!(server.log.count("hunter2"), 0);
}

#[test]
fn a_reload_keeps_stores_open_and_an_upgrade_shares_them() {
    let server = site("[kv.s]", GRANT, GRANT).serve();
    assert_eq!(ask(&server, MODULE, "do=increment&key=n&value=1"), "1");
    server.signal("HUP");
    server.log.wait_for(&["reloaded: ", "deployment 1"]);
    assert_eq!(ask(&server, MODULE, "do=increment&key=n&value=1"), "2");
    // A connection of the old process goes on with its next request, beside the new process.
    let mut old = server.connect();
    old.request("GET", "/?store=s&do=increment&key=n&value=1", &[MODULE], b"");
    assert_eq!(old.response().text(), "3");
    server.upgrade();
    assert_eq!(ask(&server, COMPONENT, "do=increment&key=n&value=1"), "4");
    old.request("GET", "/?store=s&do=increment&key=n&value=1", &[MODULE], b"");
    assert_eq!(old.response().text(), "5");
    assert_eq!(ask(&server, MODULE, "do=get&key=n"), "Some(\"5\")");
}

#[test]
fn operators_look_and_change() {
    let site = Site::new("[kv.s]\n[kv.links]\nmax_value = \"1KiB\"\n[routes]\n\"/\" = { respond = \"\" }\n");
    let run = |args: &[&str]| {
        let output = site.run(&[&["kv"], args].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    assert_eq!(run(&["list", "s"]), (Some(0), String::new()));
    assert_eq!(run(&["set", "s", "user:1", "Ann"]), (Some(0), String::new()));
    assert_eq!(run(&["set", "s", "user:2", "@routes.toml", "--for", "1h"]), (Some(0), String::new()));
    assert_eq!(run(&["set", "s", "x", "y"]), (Some(0), String::new()));
    assert_eq!(run(&["list", "s"]), (Some(0), "user:1\nuser:2\nx\n".to_owned()));
    assert_eq!(run(&["list", "s", "user:", "--json"]), (Some(0), "[\"user:1\",\"user:2\"]\n".to_owned()));
    assert_eq!(run(&["get", "s", "user:1"]), (Some(0), "Ann".to_owned()));
    assert_eq!(run(&["get", "s", "x", "--json"]), (Some(0), "{\"key\":\"x\",\"value\":\"y\"}\n".to_owned()));
    assert_eq!(run(&["list", "links"]), (Some(0), String::new()), "another store");
    assert_eq!(run(&["delete", "s", "x"]), (Some(0), String::new()));
    for (args, said) in [
        (&["delete", "s", "x"][..], "s: there is no key `x`"),
        (&["get", "s", "x"], "s: there is no key `x`"),
        (&["list", "link"], "there is no [kv.link] (did you mean `links`?)"),
        (
            &["set", "links", "a", &"x".repeat(1025)],
            "links: the value has 1025 bytes; the store's `max_value` is 1024",
        ),
        (&["set", "s", "a", "@none"], "none: No such file"),
    ] {
        let (code, output) = run(args);
        assert!(code == Some(1) && output.contains(said), "{args:?}: {output}");
    }
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&site.path(".wasmux").metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700, "for nobody else");
}

#[test]
fn operators_need_only_what_is_about_their_store() {
    let site = Site::new(
        "[server]\nstate = \"there\"\n[kv.s]\n[kv.other]\nbackend = { env = \"WASMUX_NOT_SET\" }\n[handlers.a]\nwasm = \"none\"\n\
         secrets = { KEY = { file = \"none\" } }\nunknown = 1\n",
    );
    let run = |args: &[&str]| site.run(&[&["kv"], args].concat());
    for looking in [&["list", "s"][..], &["get", "s", "a"], &["delete", "s", "a"]] {
        run(looking);
        assert!(!site.path("there").exists(), "{looking:?} has made a file");
    }
    assert!(run(&["set", "s", "a\nb\u{1b}[2J", "@@x"]).status.success());
    assert_eq!(run(&["list", "s"]).stdout, b"a\\nb\\u{1b}[2J\n");
    assert_eq!(run(&["list", "s", "--json"]).stdout, b"[\"a\\nb\\u001b[2J\"]\n");
    assert_eq!(run(&["get", "s", "a\nb\u{1b}[2J"]).stdout, b"@x");
    for file in ["s.redb", "s.latest"] {
        let metadata = site.path("there/kv").join(file).metadata().unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions());
        assert_eq!(mode & 0o777, 0o600, "{file} is for nobody else");
    }
    let said = String::from_utf8_lossy(&run(&["list", "other"]).stderr).into_owned();
    assert!(said.contains("WASMUX_NOT_SET is not set"), "{said}");
}

#[test]
fn a_password_in_a_mistake_is_not_shown() {
    let site = Site::new(
        "[kv.s]\nbackend = \"redis:/ann:hunter2@127.0.0.1\"\n[routes]\n\"/\" = { respond = \"\" }\n",
    );
    let said = String::from_utf8_lossy(&site.run(&["check"]).stderr).into_owned();
    assert!(said.contains("routes.toml:2: `backend` must be") && !said.contains("hunter2"), "{said}");
}

#[test]
fn mistakes_are_told_with_their_lines() {
    let routes = r#"[server]
state = "there"
[kv.sessions]
backend = "embeded"
[kv.cache]
backend = "http://127.0.0.1"
max_value = "100MiB"
[kv.redis]
backend = "redis://:hunter2@127.0.0.1:1"
max_size = "1GiB"
timeouts = "1s"
[kv."a/b"]
[kv.secret]
backend = { env = "WASMUX_NOT_SET" }
[kv.number]
backend = 5
[kv.nowhere]
backend = "redis://"
[handlers.a]
wasm = "a.wat"
kv = ["session", "redis", "redis"]
[handlers.b]
wasm = "a.wat"
kv = { redis = { read_only = 1, prefix = "p", prefx = "" }, cache = true }
[routes]
"/" = "a"
"#;
    let output = Site::new(routes).file("a.wat", "(module)").run(&["check"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    for said in [
        "routes.toml:4: `backend` is \"embeded\", but must be \"embedded\" or a URL such as \"redis://127.0.0.1:6379\" (did you mean `embedded`?)",
        "routes.toml:6: `backend` is no URL of a Redis: write redis://HOST:PORT/DATABASE",
        "routes.toml:7: `max_value` must be from 1 to 67108864 bytes",
        "routes.toml:10: `max_size` is for embedded stores",
        "routes.toml:11: unknown key `timeouts` in [kv.redis] (did you mean `timeout`?)",
        "routes.toml:12: [kv.a/b]: the name of a store is that of its file",
        "routes.toml:14: `backend`: the environment variable WASMUX_NOT_SET is not set",
        "routes.toml:16: `backend` must be \"embedded\", a URL such as \"redis://127.0.0.1:6379\", or { env = \"NAME\" }",
        "routes.toml:18: `backend` is no URL of a Redis: write redis://HOST:PORT/DATABASE",
        "routes.toml:21: `kv` names the store `session`, but there is no [kv.session] (did you mean `sessions`?)",
        "routes.toml:21: `kv` names the store `redis` twice",
        "routes.toml:24: `read_only` in `redis` of [handlers.b] must be true or false",
        "routes.toml:24: unknown key `prefx` in `redis` of [handlers.b] (did you mean `prefix`?)",
        "routes.toml:24: `cache` in [handlers.b] must be a table such as { read_only = true, prefix = \"api:\" }",
    ] {
        assert!(errors.contains(said), "{said}\n{errors}");
    }
    assert!(!errors.contains("hunter2"), "{errors}");
}

/// Reads are answered from a snapshot, in the caller's thread: many of them fit into a request.
#[test]
fn a_request_reads_many_keys() {
    let server = site("[kv.s]", GRANT, GRANT).serve();
    ask(&server, MODULE, "do=set&key=a&value=x");
    let begun = Instant::now();
    for host in [MODULE, COMPONENT] {
        assert_eq!(ask(&server, host, "do=reads&key=a&value=10000"), "10000");
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
