use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;

use crate::support::server::PROGRAM;
use crate::support::{DEADLINE, Server, Site};

struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    /// A service manager's end, and a server that has it.
    fn start(watchdog_usec: Option<u32>) -> (Self, Server) {
        // As systemd sets it: for this process only.
        let script = format!("#!/bin/sh\nWATCHDOG_PID=$$ exec {PROGRAM} \"$@\"\n");
        let site = Site::new("[routes]\n\"/\" = { respond = \"ok\" }\n").file("start", script);
        let start = site.path("start");
        std::fs::set_permissions(&start, Permissions::from_mode(0o755)).unwrap();
        let path = site.path("notify.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut command = site.serve_command(&start, &[]);
        command.env("NOTIFY_SOCKET", &path);
        command.envs(watchdog_usec.map(|limit| ("WATCHDOG_USEC", limit.to_string())));
        (Self { socket }, Server::start(command, site))
    }

    fn next(&self) -> String {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).expect("a message in time");
        String::from_utf8(message[..length].to_vec()).unwrap()
    }
}

#[test]
fn every_turn_is_told() {
    let (manager, mut server) = Manager::start(None);
    assert_eq!(manager.next(), "READY=1\nSTATUS=1 routes, 0 handlers\n");
    for routes in ["[routes]\n\"/\" = { respond = \"b\" }\n", "[routes]\n\"/\" = \"nobody\"\n"] {
        std::fs::write(server.site.path("routes.toml"), routes).unwrap();
        server.signal("HUP");
        let message = manager.next();
        let time = message.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("both in one message");
        assert!(time.lines().next().unwrap().parse::<u64>().unwrap() > 0, "{message}");
        assert!(manager.next().starts_with("READY=1\n"), "whatever came of it");
    }
    std::fs::write(server.site.path("routes.toml"), "[routes]\n\"/\" = { respond = \"c\" }\n").unwrap();
    let pid = server.upgrade();
    assert_eq!(manager.next(), format!("MAINPID={pid}\nREADY=1\n"));
    assert!(server.wait_for_first().success());
    server.signal("TERM");
    assert_eq!(manager.next(), "STOPPING=1\nSTATUS=draining\n", "the old process did not say that");
    assert!(server.wait().success());
}

#[test]
fn the_watchdog_is_fed_also_by_the_process_after() {
    let (manager, server) = Manager::start(Some(100_000));
    let wait = |what: &str| while manager.next() != what {};
    for _ in 0..3 {
        wait("WATCHDOG=1\n");
    }
    let pid = server.upgrade();
    wait(&format!("MAINPID={pid}\nREADY=1\n"));
    for _ in 0..10 {
        wait("WATCHDOG=1\n");
    }
}

#[test]
fn a_manager_that_is_gone_is_only_a_warning() {
    let (manager, mut server) = Manager::start(None);
    manager.next();
    std::fs::remove_file(server.site.path("notify.sock")).unwrap();
    drop(manager);
    server.signal("HUP");
    server.log.wait_for(&["the service manager cannot be told"]);
    assert_eq!(server.get("/").text(), "ok");
    server.signal("TERM");
    assert!(server.wait().success());
}
