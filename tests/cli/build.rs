//! `wasmux new` and `wasmux build`, and crates that do not build.

use std::path::Path;
use std::process::Command;

use super::{FIXED, code, err, out};
use crate::support::server::finish;
use crate::support::{Site, guests};

/// A crate folder `NAME` with this library.
fn with_crate(site: Site, name: &str, lib: &str, source: &str) -> Site {
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[lib]\n{lib}\n[workspace]\n"
    );
    site.file(&format!("{name}/Cargo.toml"), manifest).file(&format!("{name}/src/lib.rs"), source)
}

const HANDLER: &str = "#[unsafe(no_mangle)]\npub extern \"C\" fn serve_http() {}\n";

/// What the README promises: make it, test it, serve it, with no step between.
#[test]
fn a_new_project_works_at_once() {
    let site = Site::new(FIXED);
    let output = site.run(&["new", "greeter"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(out(&output).contains("cd greeter"), "{}", out(&output));
    for file in ["Cargo.toml", "src/lib.rs", "routes.toml", ".gitignore"] {
        let text = std::fs::read_to_string(site.path("greeter").join(file)).unwrap();
        assert!(!text.contains("{{"), "{file}: {text}");
    }
    // The versions of this workspace, which are on this machine: the test must not need a network.
    std::fs::copy(guests::root().join("Cargo.lock"), site.path("greeter/Cargo.lock")).unwrap();
    // Compiled crates are kept for the next run, too.
    let config = format!(
        "[build]\ntarget-dir = {:?}\nincremental = false\n[profile.dev]\ndebug = false\n",
        guests::TARGET
    );
    let project = Site::at(&site.path("greeter")).file(".cargo/config.toml", config);
    let mut cargo = Command::new(env!("CARGO"));
    let tested = finish(cargo.current_dir(project.path("")).args(["test", "--offline"]));
    assert!(tested.status.success(), "{}", err(&tested));
    assert!(out(&tested).contains("test tests::greets_by_name ... ok"), "{}", out(&tested));

    let built = project.run(&["build"]);
    assert_eq!(code(&built), 0, "{}", err(&built));
    let module = out(&built).split_once(": ").unwrap().1.rsplit_once(" (").unwrap().0.to_owned();
    assert!(std::fs::metadata(&module).unwrap().len() < 64 << 10, "{}", out(&built));
    let server = project.serve_with(&["--listen", "127.0.0.1:0"]);
    assert_eq!(server.get("/hello/World").text(), "Hello, World!\n");
    assert_eq!(server.get("/healthz").text(), "ok\n");
}

#[test]
fn new_refuses_what_would_not_work() {
    let site = Site::new(FIXED).file("taken/file", "precious");
    for (name, part) in [
        ("taken", "exists already"),
        ("1st", "begins with a letter"),
        ("a b", "letters, digits"),
        ("..", "letters, digits"),
    ] {
        let output = site.run(&["new", name]);
        assert_eq!(code(&output), 1, "{name}");
        assert!(err(&output).contains(part), "{name}: {}", err(&output));
    }
    assert_eq!(std::fs::read_to_string(site.path("taken/file")).unwrap(), "precious");
    assert_eq!(std::fs::read_dir(site.path("taken")).unwrap().count(), 1);
}

#[test]
fn build_names_each_module_and_its_size() {
    let routes = "[handlers.good]\nwasm = \"good\"\n[handlers.file]\nwasm = \"read.wat\"\n[routes]\n\"/\" = \"good\"\n";
    let site = with_crate(Site::new(routes).guest("read"), "good", "crate-type = [\"cdylib\"]", HANDLER);
    for args in [&["build"][..], &["build", "good"], &["build", "./good"]] {
        let output = site.run(args);
        assert_eq!(code(&output), 0, "{}", err(&output));
        let line = out(&output);
        let (module, size) = line.trim().split_once(": ").unwrap().1.rsplit_once(" (").unwrap();
        assert!(Path::new(module).is_file() && module.ends_with(".wasm"), "{line}");
        assert!(size.ends_with(" KiB)"), "{line}");
    }
    for (name, part) in [
        ("god", "defines no handler `god` (did you mean `good`?)"),
        ("file", "not a crate"),
        ("./nowhere", "nowhere"),
    ] {
        let output = site.run(&["build", name]);
        assert_eq!(code(&output), 1, "{name}");
        assert!(err(&output).contains(part), "{name}: {}", err(&output));
    }
    let output = Site::new(FIXED).run(&["build"]);
    assert_eq!((code(&output), out(&output).trim()), (0, "nothing to build: no handler is a crate folder"));
}

/// Every crate is reported, and the good one among them is no problem.
#[test]
fn crates_that_do_not_build_are_problems() {
    let routes = r#"[handlers]
good = { wasm = "good" }
broken = { wasm = "broken" }
rlib = { wasm = "rlib" }
folder = { wasm = "folder" }
manifest = { wasm = "manifest" }
[routes]
"/" = "good"
"#;
    let cdylib = "crate-type = [\"cdylib\"]";
    let site =
        Site::new(routes).file("folder/file", "").file("manifest/Cargo.toml", "[package]\nnme = \"x\"\n");
    let site = with_crate(site, "good", cdylib, HANDLER);
    let site = with_crate(site, "broken", cdylib, "fn f() -> u8 { \"this is no number\" }\n");
    let site = with_crate(site, "rlib", "", HANDLER);
    let output = site.run(&["check"]);
    assert_eq!(code(&output), 1);
    let text = err(&output);
    assert!(text.contains("mismatched types"), "the compiler's message is there: {text}");
    for part in [
        "routes.toml:3: handler `broken`: the crate does not compile; the compiler's messages are above [build-failed]",
        "routes.toml:4: handler `rlib`: the crate does not build a module; it needs `crate-type = [\"cdylib\"]`",
        "routes.toml:5: handler `folder`: folder is a folder without a Cargo.toml",
        "routes.toml:6: handler `manifest`: cargo does not accept",
        "wasmux: 4 problems, nothing was started",
    ] {
        assert!(text.contains(part), "no {part:?}: {text}");
    }
}

/// One source, two targets: what other hosts look for is there, and nothing but the standard's interfaces is needed.
#[test]
fn components_are_standard() {
    let components = guests::example_components();
    assert_eq!(components.len(), std::fs::read_dir(guests::root().join("examples")).unwrap().count());
    let standard =
        ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:http/", "wasi:io/", "wasi:random/"];
    // Proposals, and an interface of our own: who does not use them does not ask for them.
    let beyond = [
        ("counter", "wasi:keyvalue/"),
        ("shorten", "wasi:keyvalue/"),
        ("notes", "wasmux:sql/"),
        ("fetch", "wasi:config/"),
        ("gateway", "wasi:config/"),
    ];
    for (name, file) in components {
        let (mut imports, mut exports) = (Vec::new(), Vec::new());
        let mut depth = 0;
        for payload in wasmparser::Parser::new(0).parse_all(&std::fs::read(file).unwrap()) {
            match payload.unwrap() {
                wasmparser::Payload::Version { .. } => depth += 1,
                wasmparser::Payload::End(_) => depth -= 1,
                wasmparser::Payload::ComponentImportSection(section) if depth == 1 => {
                    imports.extend(section.into_iter().map(|import| import.unwrap().name.name.to_owned()));
                }
                wasmparser::Payload::ComponentExportSection(section) if depth == 1 => {
                    exports.extend(section.into_iter().map(|export| export.unwrap().name.name.to_owned()));
                }
                _ => {}
            }
        }
        assert!(
            matches!(&exports[..], [one] if one.starts_with("wasi:http/incoming-handler@0.2.")),
            "{name}: {exports:?}"
        );
        for import in imports {
            if beyond.iter().any(|(user, package)| name == user && import.starts_with(package)) {
                continue;
            }
            assert!(standard.iter().any(|package| import.starts_with(package)), "{name}: {import}");
            assert!(import.contains("@0.2."), "{name}: {import}");
        }
    }
}

/// Under `wasmux serve`, as under any other host, a component has the routes it was built with, or is told others.
#[test]
fn components_bring_their_routes_along() {
    let (_, hello) = guests::example_components().iter().find(|(name, _)| name == "hello").unwrap();
    let routes = format!(
        r#"
        [handlers.built]
        wasm = {hello:?}
        [handlers.told]
        wasm = {hello:?}
        env = {{ WASMUX_ROUTES = "GET /greet/{{name}}\n/also/{{name}}/" }}
        [handlers.none]
        wasm = {hello:?}
        env = {{ WASMUX_ROUTES = "" }}
        [routes]
        "/" = "built"
        "/greet/" = "told"
        "/also/" = "told"
        "/none/" = "none"
        "#
    );
    let server = Site::new(&routes).serve();
    let table = [
        ("/hello/Ann", 200, "Hello, Ann!\n"),
        ("/other", 404, "404 page not found\n"),
        ("/greet/Ann", 200, "Hello, Ann!\n"),
        ("/also/Ann/x", 200, "Hello, Ann!\n"),
        ("/greet/", 404, "404 page not found\n"),
        ("/none/Ann", 200, "Hello, !\n"),
    ];
    for (path, status, text) in table {
        let response = server.get(path);
        assert_eq!((response.status, response.text().as_str()), (status, text), "{path}");
    }
}
