use std::fs::Permissions;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use command_fds::{CommandFdExt as _, FdMapping};

use crate::support::server::{PROGRAM, finish};
use crate::support::{Conn, Server, Site};

fn site(listen: &str) -> Site {
    Site::new(&format!("[server]\nlisten = {listen}\n[routes]\n\"/\" = {{ respond = \"ok\" }}\n"))
}

/// `wasmux serve` with these descriptors from 3, as service managers start it.
fn with_sockets(site: &Site, fds: Vec<OwnedFd>) -> Command {
    let mut command = site.serve_command(Path::new(PROGRAM), &[]);
    command.env("LISTEN_FDS", fds.len().to_string());
    let mappings = (3..).zip(fds).map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd });
    command.fd_mappings(mappings.collect()).unwrap();
    command
}

fn bound(address: &str) -> (TcpListener, u16) {
    let listener = TcpListener::bind(address).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// The addresses are in use all the time: had they not been adopted, binding would have failed.
#[test]
fn sockets_are_adopted_by_address() {
    let (one, first) = bound("127.0.0.1:0");
    let (other, second) = bound("127.0.0.1:0");
    let (any, third) = bound("0.0.0.0:0");
    let site = site(&format!("[\"127.0.0.1:{second}\", \":{third}\", \"localhost:{first}\"]")).listeners(3);
    let fds = [&one, &other, &any].map(|listener| listener.try_clone().unwrap().into());
    let command = with_sockets(&site, fds.into());
    let server = Server::start(command, site);
    for port in [first, second, third] {
        let mut conn = Conn::tcp(([127, 0, 0, 1], port).into());
        conn.request("GET", "/", &[], b"");
        assert_eq!(conn.response().text(), "ok");
    }
    assert_eq!(server.log.count("handed over"), 0);
}

#[test]
fn what_is_left_over_is_closed_and_named() {
    let (listener, port) = bound("127.0.0.1:0");
    let site = site("\"127.0.0.1:0\"");
    let command = with_sockets(&site, vec![listener.into()]);
    // The command itself still holds the socket; it goes with the command.
    let server = Server::start(command, site);
    server
        .log
        .wait_for(&[&format!("the socket 127.0.0.1:{port} was handed over (file descriptor 3)"), "closed"]);
    assert_ne!(server.address().port(), port);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn sockets_of_another_process_are_left_alone() {
    let (listener, port) = bound("127.0.0.1:0");
    let site = site("\"127.0.0.1:0\"");
    let mut command = with_sockets(&site, vec![listener.into()]);
    command.env("LISTEN_PID", "1");
    let server = Server::start(command, site);
    server.log.wait_for(&["LISTEN_FDS is ignored", "for process 1"]);
    assert_ne!(server.address().port(), port);
    assert_eq!(server.get("/").text(), "ok");
}

#[test]
fn mistakes_are_named() {
    for bad in ["x", "-1", "1.5", "100000"] {
        let site = site("\"127.0.0.1:0\"");
        let output = finish(site.serve_command(Path::new(PROGRAM), &[]).env("LISTEN_FDS", bad));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(
            errors.contains("LISTEN_FDS must be a number") && errors.contains(&format!("`{bad}`")),
            "{errors}"
        );
    }
    let mistakes = |fds: Vec<OwnedFd>, count: &str| {
        let site = site("\"127.0.0.1:0\"");
        let output = finish(with_sockets(&site, fds).env("LISTEN_FDS", count));
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let errors = mistakes(vec![bound("127.0.0.1:0").0.into()], "2");
    assert!(errors.contains("LISTEN_FDS=2: file descriptor 4 is not open"), "{errors}");
    let file = std::fs::File::open("/dev/null").unwrap();
    let errors = mistakes(vec![file.into()], "1");
    assert!(errors.contains("LISTEN_FDS=1: file descriptor 3 is not a listening socket"), "{errors}");
}

/// Neither the sockets nor the variables that speak of them.
#[test]
fn programs_that_are_started_get_nothing_of_it() {
    let script = "#!/bin/sh\nenv > env.txt\nls -l /proc/$$/fd > fds.txt\nexit 1\n";
    let site = Site::new("[handlers]\nh = { wasm = \"h\" }\n[routes]\n\"/\" = \"h\"\n");
    let site = site.file("h/Cargo.toml", "[package]\nname = \"h\"\n").file("cargo", script);
    let cargo = site.path("cargo");
    std::fs::set_permissions(&cargo, Permissions::from_mode(0o755)).unwrap();
    let mut command = with_sockets(&site, vec![bound("127.0.0.1:0").0.into()]);
    command.env("CARGO", &cargo).env("LISTEN_FDNAMES", "web");
    assert_eq!(finish(&mut command).status.code(), Some(1), "there was no cargo to build with");
    let seen = std::fs::read_to_string(site.path("env.txt")).unwrap();
    assert!(seen.contains("WASMUX_LOG=") && !seen.contains("LISTEN_"), "{seen}");
    let seen = std::fs::read_to_string(site.path("fds.txt")).unwrap();
    assert!(seen.contains(" 2 -> ") && !seen.contains("socket:"), "{seen}");
}

/// Who made it removes it.
#[test]
fn the_file_of_a_unix_socket_that_is_not_ours_stays() {
    let site = Site::new("[server]\nlisten = \"unix:a.sock\"\n[routes]\n\"/\" = { respond = \"ok\" }\n");
    let path = site.path("a.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let command = with_sockets(&site, vec![listener.into()]);
    let mut server = Server::start(command, site);
    for _ in 0..2 {
        let mut conn = Conn::unix(&path);
        conn.request("GET", "/", &[], b"");
        assert_eq!(conn.response().text(), "ok");
        server.upgrade();
    }
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(path.exists());
}
