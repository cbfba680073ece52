use std::os::unix::fs::MetadataExt as _;
use std::time::Instant;

use super::load::Load;
use crate::support::{DEADLINE, Server, Site};

fn rewrite(server: &Server, routes: &str) {
    std::fs::write(server.site.path("routes.toml"), routes).unwrap();
}

/// Reloads, and waits until it is done.
fn reload(server: &Server) -> String {
    let (good, bad) = ("wasmux::deployer: reloaded: ", "wasmux::deployer: not reloaded: ");
    let done = server.log.count(good) + server.log.count(bad) + 1;
    server.signal("HUP");
    server.log.wait_for_many("reloaded: ", done).pop().unwrap()
}

#[test]
fn a_good_one_is_put_in_force() {
    let server = Site::new("[routes]\n\"/a\" = { respond = \"one\" }\n").serve();
    let mut kept = server.connect();
    kept.request("GET", "/a", &[], b"");
    assert_eq!(kept.response().text(), "one");
    rewrite(&server, "[routes]\n\"/a\" = { respond = \"two\" }\n\"/b\" = { respond = \"new\" }\n");
    assert_eq!(server.get("/a").text(), "one", "not before it is asked for");
    let line = reload(&server);
    assert!(line.ends_with("reloaded: 2 routes, 0 handlers, deployment 2"), "{line}");
    assert_eq!(server.get("/b").text(), "new");
    kept.request("GET", "/a", &[], b"");
    assert_eq!(kept.response().text(), "two", "on a connection from before as well");
}

#[test]
fn a_bad_one_changes_nothing_and_all_of_it_is_told() {
    let server = Site::new("[routes]\n\"/a\" = { respond = \"one\" }\n").serve();
    rewrite(&server, "[server]\nlisten = \"nowhere\"\n[routes]\n\"/a\" = \"nobody\"\n");
    let line = reload(&server);
    assert!(line.contains("not reloaded: 2 problems; deployment 1 goes on"), "{line}");
    server.log.wait_for(&["routes.toml:2:", "nowhere"]);
    server.log.wait_for(&["routes.toml:4:", "nobody"]);
    assert_eq!(server.get("/a").text(), "one");
    std::fs::remove_file(server.site.path("routes.toml")).unwrap();
    assert!(reload(&server).contains("not reloaded: 1 problem;"));
    assert_eq!(server.get("/a").text(), "one");
    rewrite(&server, "[routes]\n\"/a\" = { respond = \"two\" }\n");
    assert!(reload(&server).contains("deployment 2"));
    assert_eq!(server.get("/a").text(), "two");
}

/// To the last byte.
#[test]
fn requests_in_flight_keep_what_they_began_with() {
    let routes = "[handlers]\necho = { wasm = \"echo.wat\" }\n[routes]\n\"/echo\" = \"echo\"\n";
    let mut server = Site::new(routes).guest("echo").serve();
    let mut conn = server.connect();
    conn.request("POST", "/echo", &["Transfer-Encoding: chunked"], b"");
    assert_eq!(conn.head().status, 200);
    rewrite(&server, "[routes]\n\"/\" = { respond = \"other\" }\n");
    std::fs::remove_file(server.site.path("echo.wat")).unwrap();
    assert!(reload(&server).contains("1 routes, 0 handlers"));
    assert_eq!(server.get("/echo").text(), "other");
    for _ in 0..3 {
        conn.send_chunk(b"still");
        assert_eq!(conn.chunk().unwrap(), b"still");
    }
    conn.send("0\r\n\r\n");
    assert_eq!(conn.chunk().unwrap(), b"");
    assert_eq!(conn.some(), b"\r\n");
    conn.request("GET", "/echo", &[], b"");
    assert_eq!(conn.response().text(), "other");
    server.signal("TERM");
    assert!(server.wait().success());
}

#[test]
fn nobody_notices() {
    let routes = "[handlers]\nsleep = { wasm = \"sleep.wat\" }\n[routes]\n\"/sleep/{ms}\" = \"sleep\"\n";
    let server = Site::new(routes).guest("sleep").serve();
    let load = Load::start(server.address(), "/sleep/1", "slept\n");
    for _ in 0..10 {
        load.wait_for(20);
        assert!(reload(&server).contains("wasmux::deployer: reloaded"));
    }
    assert!(load.stop() >= 200);
}

#[test]
fn settings_that_need_a_new_process_are_named() {
    let server = Site::new("[server]\nthreads = 2\n[routes]\n\"/\" = { respond = \"a\" }\n").serve();
    rewrite(
        &server,
        "[server]\nthreads = 3\nstall_timeout = \"5s\"\n[routes]\n\"/\" = { respond = \"b\" }\n",
    );
    reload(&server);
    let line = server.log.wait_for(&["a reload does not change it"]);
    assert!(line.contains("threads of [server], stall_timeout of [server]; restart"), "{line}");
    assert_eq!(server.get("/").text(), "b", "the rest is in force");
}

#[test]
fn a_module_without_a_file_is_loaded_again() {
    let module = |text: &str| {
        let code =
            std::fs::read_to_string(format!("{}/../tests/guests/sleep.wat", env!("CARGO_MANIFEST_DIR")));
        code.unwrap().replace("slept\\n", text)
    };
    let site = Site::new("").file("m.wat", module("before"));
    let server = site.serve_with(&["m.wat"]);
    std::fs::write(server.site.path("m.wat"), module("behind")).unwrap();
    assert!(reload(&server).ends_with("reloaded: 1 routes, 1 handlers, deployment 2"));
    std::fs::write(server.site.path("m.wat"), "(module").unwrap();
    assert!(reload(&server).contains("deployment 2 goes on"));
    std::fs::remove_file(server.site.path("m.wat")).unwrap();
    assert!(reload(&server).contains("deployment 2 goes on"));
    server.log.wait_for(&["m.wat:1:", "there is no such file"]);
}

#[test]
fn of_many_the_last_one_wins() {
    let server = Site::new("[routes]\n\"/\" = { respond = \"0\" }\n").serve();
    for version in 1..=8 {
        rewrite(&server, &format!("[routes]\n\"/\" = {{ respond = \"{version}\" }}\n"));
        server.signal("HUP");
    }
    let started = Instant::now();
    while server.get("/").text() != "8" {
        assert!(started.elapsed() < DEADLINE, "{:?}", server.get("/"));
    }
}

#[test]
fn unchanged_modules_are_not_compiled_again() {
    let routes = "[server]\ncache = \"cache\"\n[handlers]\necho = { wasm = \"echo.wat\" }\n[routes]\n\"/\" = \"echo\"\n";
    let server = Site::new(routes).guest("echo").serve();
    let stored = || {
        let files = std::fs::read_dir(server.site.path("cache")).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().ino()).collect::<Vec<_>>()
    };
    let before = stored();
    assert_eq!(before.len(), 2, "its code, and what was found of it");
    assert!(reload(&server).contains("wasmux::deployer: reloaded"));
    assert_eq!(stored(), before, "a compilation would have stored another file");
}
