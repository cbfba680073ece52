//! Deployments while one process takes over from another.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use super::{json, killed_and_started, site, text_of, well};
use crate::support::Server;
use crate::support::server::PROGRAM;

/// The program as a script that waits for the file `go`.
const SLOW: &str = "#!/bin/sh\nwhile [ ! -e go ]; do sleep 0.02; done\nexec ./real \"$@\"\n";

#[test]
fn while_it_goes_on_nothing_is_acknowledged_that_would_be_lost() {
    let site = site().file("slow", SLOW);
    std::fs::set_permissions(site.path("slow"), Permissions::from_mode(0o755)).unwrap();
    let (link, real) = (site.path("wasmux"), site.path("real"));
    symlink(PROGRAM, &real).unwrap();
    symlink(PROGRAM, &link).unwrap();
    let command = site.serve_command(&link, &[]);
    let server = Server::start(command, site);
    well(&server, &["deploy", "hello", "two.wat"]);
    std::fs::remove_file(&link).unwrap();
    symlink(Path::new("slow"), &link).unwrap();
    server.signal("USR2");
    server.log.wait_for(&["upgrade: process ", "is starting"]);
    for args in [&["deploy", "hello", "three.wat"][..], &["rollback"], &["reload"]] {
        let output = server.site.run(args);
        assert!(!output.status.success());
        assert!(text_of(&output).contains("an upgrade is under way; ask again when it is over"), "{args:?}");
    }
    assert_eq!(server.get("/").text(), "two");
    server.site.run(&["status"]); // what only looks goes on
    std::fs::write(server.site.path("go"), "").unwrap();
    server.log.wait_for(&["serves from now on: process "]);
    assert_eq!(server.get("/").text(), "two");
    well(&server, &["deploy", "hello", "three.wat"]);
    assert_eq!(json(&server, &["deployments"])["in_force"], 3);
}

#[test]
fn one_that_fails_leaves_everything_open() {
    let server = site().serve();
    let routes = server.site.path("routes.toml");
    let good = std::fs::read(&routes).unwrap();
    std::fs::write(&routes, "[routes]\n\"/\" = \"nobody\"\n").unwrap();
    server.signal("USR2");
    server.log.wait_for(&["upgrade failed: process "]);
    std::fs::write(&routes, good).unwrap();
    well(&server, &["deploy", "hello", "two.wat"]);
    server.upgrade();
    assert_eq!(server.get("/").text(), "two");
    let first = server.log.count("deployment 2 (deploy hello) is in force");
    assert_eq!(first, 1, "the new process has found it");
}

#[test]
fn a_canary_outlives_it() {
    let server = site().serve();
    well(&server, &["deploy", "hello", "two.wat", "--canary", "50%", "--sticky", "header:X-Client"]);
    let ask = |server: &Server| -> Vec<String> {
        let ask = |client| server.request("GET", "/", &[&format!("X-Client: {client}")], b"").text();
        (0..20).map(ask).collect()
    };
    let before = ask(&server);
    server.upgrade();
    assert_eq!(ask(&server), before, "each client stays where it was");
    let server = killed_and_started(server);
    assert_eq!(ask(&server), before);
}
