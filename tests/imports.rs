//! What components import: refused at load when nobody provides it, there and denied when nothing was granted.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::guests::component;
use crate::support::{Server, Site};

/// One handler `it`, of this file, with these settings.
fn routes(wasm: &str, settings: &str) -> String {
    format!(
        "[server]\ncache = \"cache\"\n{settings}\n[handlers.it]\nwasm = \"{wasm}\"\n[routes]\n\"/\" = \"it\"\n"
    )
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A handler for components that are only looked at: it exports what it must, and imports what it is told to.
fn handler(imports: &str) -> String {
    let ask = include_str!("guests/ask.wat");
    ask.replace(";; MORE IMPORTS", imports)
}

/// Makes a 0.2 component one for the engine with concurrency, where 0.3 is.
const CONCURRENT: &str = r#"(import "wasi:clocks/types@0.3.0" (instance))"#;

/// Serves the components `reach` (0.2) and `reach3` (0.3), each on a host of its own.
fn reaching(isolation: &str) -> Server {
    let (p2, p3) = (component("reach"), component("reach3"));
    let routes = format!(
        r#"
        [handlers]
        reach = {{ wasm = {p2:?}, isolation = "{isolation}" }}
        reach3 = {{ wasm = {p3:?}, isolation = "{isolation}" }}
        [routes]
        "/" = "reach"
        "three.test/" = "reach3"
        "#
    );
    Site::new(&routes).serve()
}

#[test]
fn what_was_not_granted_is_denied() {
    const DENIED: &str = "granted to this handler";
    let server = reaching("request");
    let p2 = [
        ("/tcp", "access-denied", "a TCP socket was refused"),
        ("/udp", "access-denied", "a UDP socket was refused"),
        ("/connect", "PermissionDenied", "a TCP socket was refused"),
        ("/listen", "PermissionDenied", "a TCP socket was refused"),
        ("/datagram", "PermissionDenied", "a UDP socket was refused"),
        ("/name", "access-denied", "the lookup of the name `example.test` was refused"),
        ("/http", "HttpRequestDenied", "a request to http://example.test/there was refused"),
    ];
    let p3 = [
        ("/tcp", "AccessDenied", "a TCP socket was refused"),
        ("/udp", "AccessDenied", "a UDP socket was refused"),
        ("/connect", "PermissionDenied", "a TCP socket was refused"),
        ("/name", "AccessDenied", "the lookup of the name `example.test` was refused"),
        ("/http", "HttpRequestDenied", "a request to http://example.test/there was refused"),
    ];
    for (host, cases) in [("two.test", &p2[..]), ("three.test", &p3[..])] {
        for (index, (path, error, log)) in cases.iter().enumerate() {
            let id = format!("{host}-{index}.");
            let fields = [&*format!("Host: {host}"), &*format!("X-Request-Id: {id}")];
            let told = server.request("GET", path, &fields, b"").text();
            assert_eq!(told.matches(error).count(), 2, "{host}{path}: {told}");
            assert!(!told.contains("granted"), "{host}{path}: {told}");
            server.log.wait_for(&["WARN", log, DENIED, &id]);
            let lines = server.log.all();
            let count = lines.iter().filter(|line| line.contains(&id) && line.contains(DENIED)).count();
            assert_eq!(count, 1, "once for each request: {lines:#?}");
        }
    }
}

#[test]
fn a_guest_is_in_an_empty_world() {
    let server = reaching("request");
    for (path, told) in [("/folders", "0"), ("/file", "NotFound"), ("/env", "[]"), ("/args", "0")] {
        assert_eq!(server.get(path).text(), format!("{told}\n{told}\n"), "{path}");
    }
}

/// A warm instance asks on behalf of the request that it has at the time.
#[test]
fn each_request_is_told_of() {
    let server = reaching("reuse");
    for host in ["two.test", "three.test"] {
        for round in 0..3 {
            let id = format!("{host}-round-{round}.");
            let fields = [&*format!("Host: {host}"), &*format!("X-Request-Id: {id}")];
            server.request("GET", "/connect", &fields, b"");
            server.log.wait_for(&["a TCP socket was refused", &id]);
        }
    }
}

#[test]
fn drafts_are_there_and_denied() {
    for imports in ["", CONCURRENT] {
        let server = Site::new(&routes("ask.wat", "")).file("ask.wat", handler(imports)).serve();
        let response = server.request("GET", "/", &["X-Request-Id: asks."], b"");
        assert_eq!(response.status, 502, "it never responds");
        for said in [
            "asking: open: 1 1",
            "the key-value store `shop` was refused: nothing is granted to this handler",
            "the configuration `shop` was refused: nothing is granted to this handler",
            "asking: get: 0",
            "asking: access denied: nothing is granted to this handler",
            "asking: get-all: 1",
            "asking: UTC",
        ] {
            server.log.wait_for(&["WARN", said, "asks."]);
        }
        let refusals = server.log.all().iter().filter(|line| line.contains("was refused")).count();
        assert_eq!(refusals, 2, "one of each kind");
    }
}

#[test]
fn what_nobody_provides_is_refused() {
    let imports = r#"
        (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" (instance (export "run" (func))))
        (import "acme:shop/prices@1.2.0" (instance (export "price" (func))))
        (import "wasi:http/types@0.2.0-rc-2023-11-10" (instance (export "f" (func))))"#;
    let site = Site::new(&routes("it.wat", "")).file("it.wat", handler(imports));
    let at = "routes.toml:5: handler `it` (it.wat): it imports `";
    for command in ["check", "serve"] {
        let output = site.run(&[command]);
        assert_eq!(output.status.code(), Some(1), "{command}");
        let message = err(&output);
        for said in [
            "wasi:nn/tensor@0.2.0-rc-2024-10-28`, which nobody provides: wasmux does not offer machine learning",
            "acme:shop/prices@1.2.0`, which nobody provides: `acme:shop` is no standard; compose it",
            "wasi:http/types@0.2.0-rc-2023-11-10`, which nobody provides: 0.2.0-rc-2023-11-10 is a draft",
        ] {
            assert!(message.contains(&format!("{at}{said}")), "{message}");
        }
    }
    let output = site.run(&["inspect", "it.wat", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let inspection: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(inspection["problems"].as_array().unwrap().len(), 3, "{inspection}");
    assert_eq!(inspection["imports"][0]["provider"], Value::Null);
    assert_eq!(inspection["imports"][3]["provider"], "wasmux: wasi:http 0.2");
}

#[test]
fn inspect_says_who_provides() {
    let site = Site::new("").file("ask.wat", handler(CONCURRENT));
    let output = site.run(&["inspect", "ask.wat", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let inspection: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(inspection["kind"], "wasi-http-p2");
    assert_eq!(inspection["memory"], json!({ "initial": 65_536 }));
    assert_eq!(inspection["parts"], json!({ "modules": 2, "instances": 2, "memories": 1 }));
    assert_eq!(inspection["exports"], json!(["wasi:http/incoming-handler@0.2.0"]));
    let imports = inspection["imports"].as_array().unwrap();
    let provider = |name: &str| {
        imports.iter().find(|import| import["module"] == name).unwrap()["provider"].as_str().unwrap()
    };
    assert_eq!(provider("wasi:clocks/types@0.3.0"), "wasmux: WASI 0.3");
    assert_eq!(provider("wasi:logging/logging@0.1.0-draft"), "wasmux: the log");
    assert_eq!(
        provider("wasi:keyvalue/store@0.2.0-draft"),
        "wasmux: wasi:keyvalue 0.2.0-draft, refused at run time unless granted"
    );
    let text = String::from_utf8_lossy(&site.run(&["inspect", "ask.wat"]).stdout).into_owned();
    for line in [
        "kind     component, wasi:http 0.2 handler",
        "parts    core modules: 2, core instances: 2, memories: 1",
        "  wasi:clocks/timezone@0.2.0         ← wasmux: WASI 0.2\n",
        "can be run as it is",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn compiled_components_are_kept_and_can_be_served() {
    for imports in ["", CONCURRENT] {
        let first = Site::new(&routes("it.wat", "")).file("it.wat", handler(imports)).serve();
        let entries = || -> Vec<_> {
            let folder = std::fs::read_dir(first.site.path("cache")).unwrap();
            folder
                .map(|entry| entry.unwrap())
                .map(|entry| (entry.path(), entry.metadata().unwrap().modified().unwrap()))
                .filter(|(path, _)| path.extension().is_some_and(|extension| extension == "cwasm"))
                .collect()
        };
        let compiled = entries();
        assert_eq!(compiled.len(), 1, "{compiled:?}");
        let second = Site::at(&first.site.path("")).serve();
        assert_eq!(second.get("/").status, 502, "it never responds");
        assert_eq!(entries(), compiled, "nothing was compiled again");

        let code = std::fs::read(&compiled[0].0).unwrap();
        let site = Site::new(&routes("it.cwasm", "")).file("it.cwasm", &code);
        assert_eq!(site.run(&["check"]).status.code(), Some(0));
        let third = site.serve();
        assert_eq!(third.get("/").status, 502, "it never responds");
        third.log.wait_for(&["asking: UTC"]);
    }
}

#[test]
fn what_is_too_large_for_its_limits_is_refused() {
    let two = r#"(core module $more (memory 3)) (core instance (instantiate $more))"#;
    let site = Site::new(&routes("it.wat", "instances = 1")).file("it.wat", handler(two));
    let said = "routes.toml:5: handler `it` (it.wat): one instance of it has 2 memories and 0 tables, more than `instances` \
                = 1 makes room for; set it to 2 at least";
    assert!(err(&site.run(&["check"])).contains(said), "{}", err(&site.run(&["check"])));

    let limits = "[handlers.it.limits]\nmemory = \"255KiB\"\n";
    let limited = routes("it.wat", "instances = 2").replace("[routes]", &format!("{limits}[routes]"));
    let site = Site::new(&limited).file("it.wat", handler(two));
    let said =
        "the component starts with 256 KiB of memory, but its `memory` limit is 255 KiB; raise the limit";
    assert!(err(&site.run(&["check"])).contains(said), "{}", err(&site.run(&["check"])));
    let enough = limited.replace("255KiB", "256KiB");
    let output = Site::new(&enough).file("it.wat", handler(two)).run(&["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
}

/// What the pool cannot hold is found only after it was compiled.
#[test]
fn what_cannot_be_compiled_is_not_kept() {
    let table = r#"(core module $more (table 20001 funcref)) (core instance (instantiate $more))"#;
    let site = Site::new(&routes("it.wat", "")).file("it.wat", handler(table));
    for _ in 0..2 {
        let message = err(&site.run(&["check"]));
        assert!(message.contains("it cannot be compiled: "), "{message}");
        assert!(message.contains("20001") && !message.contains(".cwasm"), "{message}");
        assert!(!message.contains("cached code is unusable"), "{message}");
    }
    assert_eq!(std::fs::read_dir(site.path("cache")).unwrap().count(), 0);
}

#[test]
fn garbage_is_refused_with_a_sentence() {
    let sound = std::fs::read(component("reach")).unwrap();
    let cut = &sound[..sound.len() / 2];
    for (bytes, said) in [
        (cut, "not valid WebAssembly: "),
        (
            b"\0asm\x0d\0\x01\0",
            "exports neither `wasi:http/incoming-handler@0.2.x` nor `wasi:http/handler@0.3.x`",
        ),
        (b"\0asm\x0e\0\x01\0", "not valid WebAssembly: "),
        (b"(component (import \"f\" (func)", "not valid WebAssembly: "),
    ] {
        let output = Site::new(&routes("it.wasm", "")).file("it.wasm", bytes).run(&["check"]);
        assert_eq!(output.status.code(), Some(1));
        let message = err(&output);
        assert!(message.contains("routes.toml:5: handler `it` (it.wasm): "), "{message}");
        assert!(message.contains(said), "{message}");
    }
}
