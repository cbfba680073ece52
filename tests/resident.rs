//! Whose code is in memory: loaded for the first request, once; gone when others were used later; had again whatever happens
//! to the cache.

use std::path::PathBuf;

use crate::admission::{metric, wait_for};
use crate::support::{Server, Site};

const RESIDENT: &str = "wasmux_resident_handlers";
const LOADS: &str = "wasmux_code_loads_total";
const EVICTIONS: &str = "wasmux_code_evictions_total";

/// A module that answers with its name, which has five letters.
fn module(name: &str) -> String {
    let text = include_str!("guests/read.wat");
    assert_eq!(name.len(), 5);
    text.replace("read\\n", name)
}

/// Handlers `alpha`, `bravo` and `coral` with a cache of their own, and room for `max` of them.
fn site(max: u32) -> Site {
    let names = ["alpha", "bravo", "coral"];
    let handlers = names.map(|name| format!("[handlers.{name}]\nwasm = \"{name}.wat\"\n")).concat();
    let routes = names.map(|name| format!("\"/{name}\" = \"{name}\"\n")).concat();
    let server = format!("[server]\nadmin = \"127.0.0.1:0\"\ncache = \"cache\"\nresident_handlers = {max}\n");
    let site = Site::new(&format!("{server}{handlers}[routes]\n{routes}"));
    names.into_iter().fold(site, |site, name| site.file(&format!("{name}.wat"), module(name)))
}

fn cached(server: &Server, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(server.site.path("cache")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

/// Asks a handler, and waits until its request is all over.
fn ask(server: &Server, name: &str) {
    assert_eq!(server.get(&format!("/{name}")).text(), name);
    wait_for(server, &format!("wasmux_guests_running{{handler=\"{name}\"}}"), 0);
}

fn counts(server: &Server) -> (u64, u64, u64) {
    (metric(server, RESIDENT), metric(server, LOADS), metric(server, EVICTIONS))
}

#[test]
fn code_is_loaded_for_the_first_request() {
    let server = site(10).serve();
    assert_eq!(counts(&server), (0, 0, 0));
    // However many there are.
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| assert_eq!(server.get("/alpha").text(), "alpha"));
        }
    });
    assert_eq!(counts(&server), (1, 1, 0));
    ask(&server, "bravo");
    assert_eq!(counts(&server), (2, 2, 0));
}

#[test]
fn those_that_were_not_used_for_longest_leave() {
    let server = site(2).serve();
    ["alpha", "bravo", "alpha"].into_iter().for_each(|name| ask(&server, name));
    assert_eq!(counts(&server), (2, 2, 0));
    ask(&server, "coral");
    wait_for(&server, EVICTIONS, 1);
    assert_eq!(counts(&server), (2, 3, 1));
    ask(&server, "alpha");
    assert_eq!(counts(&server), (2, 3, 1), "it was used after the one that has left");
    ask(&server, "bravo");
    wait_for(&server, EVICTIONS, 2);
    assert_eq!(counts(&server), (2, 4, 2));
}

#[test]
fn warm_instances_leave_with_their_code() {
    let site = site(1).guest("count");
    let routes = std::fs::read_to_string(site.path("routes.toml")).unwrap();
    let routes = routes.replace("\"coral.wat\"", "\"count.wat\"\nisolation = \"reuse\"\nmax_idle = \"1h\"");
    let server = site.file("routes.toml", routes).serve();
    let is_first = || {
        let response = server.get("/coral");
        wait_for(&server, "wasmux_guests_running{handler=\"coral\"}", 0);
        response.body == b"4"
    };
    assert_eq!([is_first(), is_first()], [true, false]);
    ask(&server, "alpha");
    wait_for(&server, EVICTIONS, 1);
    assert!(is_first());
}

#[test]
fn handlers_with_the_same_file_share_its_code() {
    let site = site(1);
    let routes = std::fs::read_to_string(site.path("routes.toml")).unwrap();
    let server = site.file("routes.toml", routes.replace("coral.wat", "alpha.wat")).serve();
    ask(&server, "alpha");
    assert_eq!(server.get("/coral").text(), "alpha");
    assert_eq!(counts(&server), (1, 1, 0));
}

#[test]
fn a_reload_leaves_code_in_memory() {
    let server = site(10).serve();
    ["alpha", "bravo"].into_iter().for_each(|name| ask(&server, name));
    std::fs::write(server.site.path("bravo.wat"), module("BRAVO")).unwrap();
    server.signal("HUP");
    server.log.wait_for(&["reloaded: "]);
    ask(&server, "alpha");
    assert_eq!(counts(&server).1, 2, "it was there");
    assert_eq!(server.get("/bravo").text(), "BRAVO");
    // The old one goes with the deployment that had it.
    wait_for(&server, RESIDENT, 2);
    assert_eq!(counts(&server), (2, 3, 0));
}

#[test]
fn code_that_the_cache_has_lost_is_made_again() {
    let server = site(1).serve();
    let code = cached(&server, "cwasm");
    assert_eq!(code.len(), 3);
    code.iter().for_each(|file| std::fs::remove_file(file).unwrap());
    ask(&server, "alpha");
    server.log.wait_for(&[
        "WARN",
        "its code is not in the cache any more",
        "compiling it again",
        "handler=\"alpha\"",
    ]);
    // And when it has left memory, the cache has it.
    ask(&server, "bravo");
    wait_for(&server, EVICTIONS, 1);
    assert_eq!(cached(&server, "cwasm").len(), 2);
    ask(&server, "alpha");
    assert_eq!(server.log.count("compiling it again"), 2);
    // Other than lost: nothing of it is right, but its size.
    std::fs::remove_dir_all(server.site.path("cache")).unwrap();
    let second = Site::at(&server.site.path("")).serve();
    for file in cached(&second, "cwasm") {
        let size = std::fs::metadata(&file).unwrap().len() as usize;
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, vec![0; size]).unwrap();
    }
    ["alpha", "bravo"].into_iter().for_each(|name| ask(&second, name));
    assert_eq!(second.log.wait_for_many("compiling it again", 2).len(), 2);
}

#[test]
fn what_was_deployed_is_made_again_whatever_the_file_has_now() {
    let server = site(10).serve();
    std::fs::remove_dir_all(server.site.path("cache")).unwrap();
    std::fs::write(server.site.path("alpha.wat"), module("ALPHA")).unwrap();
    assert_eq!(server.get("/alpha").text(), "alpha");
}

#[test]
fn what_cannot_be_had_again_is_an_error_of_the_server() {
    let server = site(10).serve();
    std::fs::remove_dir_all(server.site.path("cache")).unwrap();
    std::fs::write(server.site.path("alpha.wat"), module("ALPHA")).unwrap();
    for entry in std::fs::read_dir(server.site.path(".wasmux/deployments/artifacts")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|form| form == "wat")
            && std::fs::read_to_string(&path).unwrap().contains("alpha")
        {
            std::fs::remove_file(path).unwrap();
        }
    }
    for _ in 0..3 {
        assert_eq!(server.get("/alpha").status, 500);
    }
    server.log.wait_for(&["ERROR", "its code cannot be loaded: ", "handler=\"alpha\""]);
    assert_eq!(server.log.count("ERROR"), 1, "once is enough for a while");
    ask(&server, "bravo");
    server.signal("HUP");
    server.log.wait_for(&["reloaded: "]);
    assert_eq!(server.get("/alpha").text(), "ALPHA");
}

#[test]
fn what_is_known_of_a_file_is_held_against_new_settings() {
    let server = site(10).serve();
    assert_eq!(cached(&server, "verdict").len(), 3);
    let site = Site::at(&server.site.path(""));
    let routes = std::fs::read_to_string(site.path("routes.toml")).unwrap();
    for (settings, wanted) in [
        (
            "limits = { memory = \"64KiB\" }",
            "starts with 128 KiB of memory, but its `memory` limit is 64 KiB",
        ),
        ("isolation = \"concurrent\"", "`isolation = \"concurrent\"` is for wasi:http 0.3 components"),
        ("next = \"bravo\"", "it has a `next`, but calls none"),
    ] {
        let changed = routes.replace("\"alpha.wat\"", &format!("\"alpha.wat\"\n{settings}"));
        std::fs::write(site.path("routes.toml"), changed).unwrap();
        let output = site.run(&["check"]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && text.contains(wanted), "{settings}: {text}");
    }
}

#[test]
fn without_a_cache_code_stays_in_memory() {
    let site = site(1);
    let routes = std::fs::read_to_string(site.path("routes.toml")).unwrap();
    let server = site.file("routes.toml", routes.replace("\"cache\"", "\"off\"")).serve();
    ["alpha", "bravo", "coral", "alpha"].into_iter().for_each(|name| ask(&server, name));
    assert_eq!(counts(&server), (0, 0, 0));
}
