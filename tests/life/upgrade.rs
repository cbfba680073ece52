use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::Instant;

use super::load::Load;
use crate::support::server::PROGRAM;
use crate::support::{Conn, DEADLINE, Server, Site, http2};

const ROUTES: &str = r#"
    [handlers]
    sleep = { wasm = "sleep.wat" }
    read = { wasm = "read.wat" }
    [routes]
    "/read" = "read"
    "/sleep/{ms}" = "sleep"
    "/" = { respond = "ok" }
"#;

fn site(server: &str) -> Site {
    Site::new(&format!("[server]\n{server}\n{ROUTES}")).guest("sleep").guest("read")
}

#[test]
fn no_request_fails() {
    let mut server = site("").serve();
    let (address, mut pids) = (server.address(), BTreeSet::from([server.pid()]));
    let load = Load::start(address, "/sleep/1", "slept\n");
    for round in 2..=6 {
        load.wait_for(50);
        assert!(pids.insert(server.upgrade()), "another process");
        server.log.wait_for_many("ready: process ", round);
    }
    load.wait_for(50);
    assert!(server.wait_for_first().success());
    assert!(load.stop() >= 300);
    let port = format!("listening on http://{address}");
    assert_eq!(server.out.count(&port), 6, "port 0 stays the port that it was");
    server.signal("TERM");
    assert!(server.wait().success());
}

#[test]
fn what_is_under_way_finishes_in_the_old_process() {
    let mut server = site("").serve();
    let mut idle = server.connect();
    idle.request("GET", "/", &[], b"");
    assert_eq!(idle.response().header("connection"), None);
    let mut silent = server.connect();
    let mut kept = server.connect();
    kept.request("GET", "/", &[], b"");
    assert_eq!(kept.response().text(), "ok");
    let mut busy = server.connect();
    busy.request("POST", "/read", &["Transfer-Encoding: chunked"], b"");
    busy.send_chunk(b"abc");
    assert_eq!(server.get("/").text(), "ok", "by now the one above was accepted");
    server.upgrade();
    let started = Instant::now();
    kept.request("GET", "/", &[], b"");
    let response = kept.response();
    assert_eq!((response.text().as_str(), response.header("connection")), ("ok", Some("close")));
    assert!(kept.is_closed());
    busy.send("1\r\nd\r\n0\r\n\r\n");
    let response = busy.response();
    assert_eq!((response.text().as_str(), response.header("connection")), ("read\n", Some("close")));
    assert!(idle.is_closed() && silent.is_closed());
    assert!(started.elapsed() < DEADLINE, "{:?}", started.elapsed());
    assert!(server.wait_for_first().success());
    assert_eq!(server.get("/").header("connection"), None, "the new one keeps connections");
}

#[test]
fn streams_of_http2_finish() {
    let mut server = site("").serve();
    let address = server.address();
    http2::run(async {
        let (client, ended) = http2::connect(address).await;
        let mut busy = client.clone().ready().await.unwrap();
        let (response, _) = busy.send_request(http2::request("GET", "/sleep/1500"), true).unwrap();
        assert_eq!(http2::get(&client, "/sleep/1").await.0, 200);
        server.upgrade();
        let (body, _) = http2::whole(response.await.unwrap()).await.unwrap();
        assert_eq!(body, b"slept\n");
        drop((client, busy));
        assert!(ended.await.unwrap().is_ok());
    });
    assert!(server.wait_for_first().success());
}

/// A connection that waits for room is the old process's as well.
#[test]
fn connections_that_wait_are_served() {
    let server = site("max_connections = 1").serve();
    let mut first = server.connect();
    first.request("GET", "/sleep/20000", &[], b"");
    let mut waiting: Vec<_> = (0..3).map(|_| server.connect()).collect();
    waiting.iter_mut().for_each(|conn| conn.request("GET", "/", &["Connection: close"], b""));
    server.upgrade();
    for mut conn in waiting {
        assert_eq!(conn.response().text(), "ok");
    }
}

#[test]
fn a_new_process_that_fails_changes_nothing() {
    let server = site("").serve();
    let (good, path) = (format!("[server]\n{ROUTES}"), server.site.path("routes.toml"));
    let load = Load::start(server.address(), "/", "ok");
    std::fs::write(&path, "[routes]\n\"/\" = \"nobody\"\n").unwrap();
    server.signal("USR2");
    let line =
        server.log.wait_for(&["upgrade failed: process ", "ended before it was ready (exit status: 1)"]);
    assert!(line.contains(&format!("process {} goes on", server.pid())), "{line}");
    server.log.wait_for(&["routes.toml:2:", "nobody"]);
    std::fs::write(&path, good).unwrap();
    load.wait_for(50);
    server.upgrade();
    load.wait_for(50);
    load.stop();
}

#[test]
fn the_program_is_found_where_it_was() {
    let site = site("upgrade_timeout = \"5s\"").file("slow", "#!/bin/sh\nexec sleep 100\n");
    let (link, slow) = (site.path("wasmux"), site.path("slow"));
    std::fs::set_permissions(&slow, Permissions::from_mode(0o755)).unwrap();
    let point_to = |file: &Path| {
        let _ = std::fs::remove_file(&link);
        symlink(file, &link).unwrap();
    };
    point_to(Path::new(PROGRAM));
    let command = site.serve_command(&link, &[]);
    let mut server = Server::start(command, site);
    point_to(&slow);
    server.signal("USR2");
    server.log.wait_for(&["upgrade: process ", "is starting"]);
    server.signal("USR2");
    server.log.wait_for(&["SIGUSR2: an upgrade is under way already; ignored"]);
    server.log.wait_for(&["upgrade failed: ", "not ready within `upgrade_timeout` (5s), and was killed"]);
    std::fs::remove_file(&link).unwrap();
    server.signal("USR2");
    server.log.wait_for(&["upgrade failed: ", "wasmux cannot be started: No such file"]);
    assert_eq!(server.get("/").text(), "ok");
    point_to(Path::new(PROGRAM));
    server.upgrade();
    assert!(server.wait_for_first().success());
    assert_eq!(server.get("/").text(), "ok");
}

#[test]
fn a_stop_stops_an_upgrade_too() {
    let site = site("").file("slow", "#!/bin/sh\nexec sleep 100\n");
    let (link, slow) = (site.path("wasmux"), site.path("slow"));
    std::fs::set_permissions(&slow, Permissions::from_mode(0o755)).unwrap();
    symlink(PROGRAM, &link).unwrap();
    let command = site.serve_command(&link, &[]);
    let mut server = Server::start(command, site);
    std::fs::remove_file(&link).unwrap();
    symlink(&slow, &link).unwrap();
    server.signal("USR2");
    server.log.wait_for(&["upgrade: process ", "is starting"]);
    server.signal("TERM");
    // The streams end with the last process that has them.
    assert!(server.wait().success());
}

#[test]
fn unix_sockets_stay_until_the_last_process_ends() {
    let mut server = site("listen = [\"unix:a.sock\", \"127.0.0.1:0\"]").listeners(2).serve();
    let path = server.site.path("a.sock");
    let get = || {
        let mut conn = Conn::unix(&path);
        conn.request("GET", "/", &["Connection: close"], b"");
        assert_eq!(conn.response().text(), "ok");
    };
    get();
    server.upgrade();
    assert!(server.wait_for_first().success());
    get();
    let routes = std::fs::read_to_string(server.site.path("routes.toml")).unwrap();
    // One that fails after it has its sockets: this address is taken.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let further = format!("\"127.0.0.1:0\", \"{}\"", taken.local_addr().unwrap());
    std::fs::write(server.site.path("routes.toml"), routes.replace("\"127.0.0.1:0\"", &further)).unwrap();
    server.signal("USR2");
    server.log.wait_for(&["upgrade failed"]);
    get();
    std::fs::write(server.site.path("routes.toml"), routes).unwrap();
    server.upgrade();
    get();
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(!path.exists(), "the last one removes it");
}
