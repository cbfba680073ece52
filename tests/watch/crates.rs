//! Handlers that are crates.

use super::{save, until, until_says, watch};
use crate::support::{Site, guests};

/// A crate `NAME` in the folder of that name, without dependencies but these.
fn with_crate(site: Site, name: &str, dependencies: &str, source: &str) -> Site {
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"cdylib\", \"lib\"]\n\
         [dependencies]\n{dependencies}\n[workspace]\n"
    );
    site.file(&format!("{name}/Cargo.toml"), manifest).file(&format!("{name}/src/lib.rs"), source)
}

/// The source of a handler that answers with this expression.
fn answers(text: &str) -> String {
    format!(
        "#[link(wasm_import_module = \"wasmux:http/1\")]\nunsafe extern \"C\" {{\n    fn respond(status: u32, fields: usize, \
         length: usize, body: *const u8, length: usize) -> i32;\n}}\n#[unsafe(no_mangle)]\npub extern \"C\" fn serve_http() {{\n    \
         let text: &str = {text};\n    unsafe {{ respond(200, 0, 0, text.as_ptr(), text.len()) }};\n}}\n"
    )
}

/// Two handlers, and a handler that is a fixed response.
fn two() -> Site {
    Site::new(
        "[handlers]\na = { wasm = \"a\" }\nb = { wasm = \"b\" }\n[routes]\n\"/a\" = \"a\"\n\"/b\" = \"b\"\n\
         \"/fixed\" = { respond = \"fixed\" }\n",
    )
}

#[test]
fn only_what_has_changed_is_built() {
    let words = "words = { path = \"../words\" }";
    let site = with_crate(two(), "words", "", "pub fn word() -> &'static str {\n    \"one\"\n}\n");
    let site = with_crate(site, "a", words, &answers("words::word()"));
    let site = with_crate(site, "b", words, &answers("include_str!(\"../../page.txt\").trim()"));
    let server = watch(site.file("page.txt", "page one"));
    assert_eq!((server.get("/a").text().as_str(), server.get("/b").text().as_str()), ("one", "page one"));
    // A crate's own source.
    save(&server, "a/src/lib.rs", answers("concat!(\"a\", \"!\")"));
    until_says(&server, "/a", "a!");
    server.log.wait_for(&["change in a/src/lib.rs; building a"]);
    server.log.wait_for(&["a is served anew (build "]);
    // A file that the compiler has read, which is nowhere near.
    save(&server, "page.txt", "page two");
    until_says(&server, "/b", "page two");
    server.log.wait_for(&["change in page.txt; building b"]);
    server.log.wait_for(&["b is served anew (build "]);
    // What both are made of. To `b` it makes no difference.
    save(&server, "a/src/lib.rs", answers("words::word()"));
    until_says(&server, "/a", "one");
    save(&server, "words/src/lib.rs", "pub fn word() -> &'static str {\n    \"two\"\n}\n");
    until_says(&server, "/a", "two");
    server.log.wait_for(&["change in words/src/lib.rs; building a, b"]);
    server.log.wait_for(&["b is what it was (build "]);
    // cargo's own files and those of no library are no reason to build anything.
    save(&server, "a/README.md", "");
    save(&server, "b/src/lib.rs", answers("\"last\""));
    until_says(&server, "/b", "last");
    assert_eq!(server.log.count("change in "), 5, "{:?}", server.log.all());
}

/// A comment makes no other module, and a change during a build is not lost.
#[test]
fn every_save_counts_once() {
    let site = with_crate(two(), "a", "", &answers("\"one\""));
    let site = with_crate(site, "b", "", &answers("\"b\""));
    let server = watch(site);
    save(&server, "a/src/lib.rs", format!("{}// A comment.\n", answers("\"one\"")));
    server.log.wait_for(&["a is what it was (build "]);
    for round in 1..=4 {
        let count = server.log.count("; building a");
        save(&server, "a/src/lib.rs", answers(&format!("\"round {round}, too early\"")));
        // Seen, and being built: at the latest when cargo has ended, what is saved now is another change.
        server.log.wait_for_many("; building a", count + 1);
        save(&server, "a/src/lib.rs", answers(&format!("\"round {round}\"")));
        until_says(&server, "/a", &format!("round {round}"));
    }
    assert_eq!(server.get("/b").text(), "b");
}

#[test]
fn a_broken_crate_says_why_from_the_start() {
    let site = with_crate(two(), "a", "", "fn f() -> u8 { \"this is no number\" }\n");
    let site = with_crate(site, "b", "", &answers("\"b\""));
    let server = watch(site);
    server.log.wait_for(&["a is broken: the crate does not compile"]);
    assert!(server.log.count("mismatched types") > 0, "the terminal has it");
    let response = server.get("/a");
    assert_eq!(response.status, 500);
    let text = response.text();
    for part in [
        "a is broken: the crate does not compile (request ",
        "error[E0308]: mismatched types",
        "src/lib.rs:1",
    ] {
        assert!(text.contains(part), "no {part:?}: {text}");
    }
    assert!(!text.contains('\x1b'), "{text:?}");
    assert_eq!(server.get("/b").text(), "b");
    // What the manifest says is wrong is told in the same place.
    let manifest = std::fs::read_to_string(server.site.path("a/Cargo.toml")).unwrap();
    save(&server, "a/Cargo.toml", "[package]\nnme = \"a\"\n");
    until(&server, "/a", |response| response.text().contains("cargo does not accept"));
    save(&server, "a/Cargo.toml", &manifest);
    until(&server, "/a", |response| response.text().contains("mismatched types"));
    // A file that is missing is waited for, though no compiler has ever read it.
    save(&server, "a/src/lib.rs", answers("include_str!(\"page.txt\")"));
    until(&server, "/a", |response| response.text().contains("page.txt"));
    save(&server, "a/src/page.txt", "page");
    until_says(&server, "/a", "page");
    save(&server, "a/src/page.txt", "another page");
    until_says(&server, "/a", "another page");
    assert_eq!((server.get("/b").text().as_str(), server.get("/fixed").text().as_str()), ("b", "fixed"));
}

/// With the SDK, as everybody does it.
#[test]
fn requests_under_way_end_as_they_began() {
    let source = |text: &str| {
        format!(
            "use std::io::{{Read as _, Write as _}};\nuse wasmux_sdk::{{Request, ResponseWriter, Result}};\n\
             #[wasmux_sdk::handler]\nfn serve(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {{\n    \
             eprintln!(\"begun\");\n    let mut body = String::new();\n    r.read_to_string(&mut body)?;\n    \
             write!(w, \"{text} {{body}}\")?;\n    Ok(())\n}}\n"
        )
    };
    let sdk = format!("wasmux-sdk = {{ path = {:?} }}", guests::root().join("guest-sdk"));
    let routes = "[handlers]\nslow = { wasm = \"slow\" }\n[routes]\n\"/\" = \"slow\"\n\"/fixed\" = { respond = \"fixed\" }\n";
    let site = with_crate(Site::new(routes), "slow", &sdk, &source("one"));
    std::fs::copy(guests::root().join("Cargo.lock"), site.path("slow/Cargo.lock")).unwrap();
    let kept = format!("[build]\ntarget-dir = {:?}\n[net]\noffline = true\n", guests::TARGET);
    let server = watch(site.file("slow/.cargo/config.toml", kept));
    let begin = || {
        let mut conn = server.connect();
        let count = server.log.count("begun");
        conn.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nbo");
        server.log.wait_for_many("begun", count + 1);
        conn
    };
    let mut first = begin();
    save(&server, "slow/src/lib.rs", source("two"));
    until(&server, "/", |response| response.text() == "two ");
    let mut second = begin();
    save(&server, "slow/src/lib.rs", source("two").replace("let mut body", "let mut body: u8"));
    let broken = until(&server, "/", |response| response.status == 500);
    assert!(broken.text().contains("mismatched types"), "{broken:?}");
    assert_eq!(server.get("/fixed").text(), "fixed");
    first.send("dies");
    second.send("dies");
    assert_eq!(first.response().text(), "one bodies");
    assert_eq!(second.response().text(), "two bodies");
    save(&server, "slow/src/lib.rs", source("three"));
    until(&server, "/", |response| response.text() == "three ");
}
