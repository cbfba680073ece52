//! Modules that are a burden before they run: loaded or refused, while the deployment in force goes on.

use super::fixtures::{Abi, rust_guest, text};
use super::neighbour::beside;
use crate::support::Site;

/// `count` times the same field of a module.
fn many(count: usize, field: &str) -> String {
    field.repeat(count)
}

/// What a module has too much of.
fn burdens() -> Vec<(&'static str, String)> {
    let large = "x".repeat(16 << 20);
    vec![
        ("globals", many(10_000, "(global (mut i64) (i64.const 1))")),
        ("functions", many(10_000, "(func (param i32) (result i32) (local.get 0))")),
        ("tables", many(1_000, "(table 100 funcref)")),
        ("elements", format!("(table 10000000 funcref){}", many(1_000, "(elem (i32.const 0) func 0)"))),
        ("segments", many(10_000, "(data (i32.const 0) \"x\")")),
        ("data", format!("(data (i32.const 0) \"{large}\")")),
        ("types", many(20_000, "(type (func (param i64 i64 i64 i64)))")),
        ("exports", (0..10_000).map(|index| format!("(export \"x{index}\" (memory 0))")).collect()),
    ]
}

#[test]
fn burdens_are_loaded_or_refused_beside_what_is_in_force() {
    let good = |abi: Abi, name| format!("[handlers.{name}]\nwasm = {:?}\n", rust_guest(abi));
    let handlers = format!(
        "[handlers.good]\nwasm = \"hello.wat\"\n{}{}[handlers.bomb]\nwasm = \"bomb.wat\"\nlimits = {{ timeout = \"20s\" }}\n",
        good(Abi::P2, "good2"),
        good(Abi::P3, "good3"),
    );
    let routes = "[routes]\n\"/fixed\" = { respond = \"fixed\\n\" }\n\"/good/module\" = \"good\"\n\"/good/p2\" = \"good2\"\n\
                  \"/good/p3\" = \"good3\"\n\"/bomb\" = \"bomb\"\n";
    let hello = text(Abi::Module, "hello");
    let site = Site::new(&format!("[server]\nthreads = 2\ncache = \"off\"\n{handlers}{routes}"));
    let server = site.file("hello.wat", &hello).file("bomb.wat", &hello).serve();
    let mut reloads = 0;
    for (name, fields) in burdens() {
        let (module, _) = hello.rsplit_once(')').unwrap();
        let bomb = format!("{module}{fields})");
        std::fs::write(server.site.path("bomb.wat"), bomb).unwrap();
        beside(&server, || {
            server.signal("HUP");
            reloads += 1;
            // Or `not reloaded: `.
            server.log.wait_for_many("reloaded: ", reloads);
        });
        let status = server.get("/bomb").status;
        // What was refused is not served; what was loaded may be beyond a limit of its handler.
        assert!([200, 500].contains(&status), "{name}: {status}");
    }
}
