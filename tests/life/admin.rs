use std::net::SocketAddr;

use crate::support::{Conn, Response, Server, Site};

fn start() -> (Server, SocketAddr) {
    let routes = r#"
        [server]
        listen = "127.0.0.1:0"
        admin = "127.0.0.1:0"
        [handlers]
        echo = { wasm = "echo.wat" }
        [routes]
        "/echo" = "echo"
        "/ready" = { respond = "not the probe" }
    "#;
    let server = Site::new(routes).guest("echo").serve();
    let line = server.out.wait_for(&["admin on http://"]);
    let address = line["admin on http://".len()..].parse().unwrap();
    (server, address)
}

fn ask(address: SocketAddr, method: &str, target: &str) -> Response {
    let mut conn = Conn::tcp(address);
    conn.request(method, target, &[], b"");
    conn.response()
}

fn get(address: SocketAddr, target: &str) -> (u16, String) {
    let response = ask(address, "GET", target);
    (response.status, response.text())
}

#[test]
fn probes_follow_the_drain_to_its_end() {
    let (mut server, admin) = start();
    assert_eq!(get(admin, "/live"), (200, "ok\n".to_owned()));
    assert_eq!(get(admin, "/ready"), (200, "ready\n".to_owned()));
    assert_eq!(get(admin, "/nothing"), (404, "404 page not found\n".to_owned()));
    let refused = ask(admin, "POST", "/ready");
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")));
    assert_eq!(ask(admin, "HEAD", "/live").header("content-length"), Some("3"));
    assert_eq!(server.get("/ready").text(), "not the probe", "routes have names of their own");
    let mut busy = server.connect();
    busy.request("POST", "/echo", &["Transfer-Encoding: chunked"], b"");
    assert_eq!(busy.head().status, 200);
    let mut open = Conn::tcp(admin);
    server.signal("TERM");
    server.log.wait_for(&["SIGTERM: draining"]);
    assert_eq!(get(admin, "/ready"), (503, "draining\n".to_owned()));
    assert_eq!(get(admin, "/live"), (200, "ok\n".to_owned()));
    busy.send("0\r\n\r\n");
    assert_eq!(busy.chunk().unwrap(), b"");
    assert!(server.wait().success(), "an open connection to the admin listener is no reason to wait");
    assert!(open.is_closed());
}

#[test]
fn after_an_upgrade_the_new_process_answers() {
    let (mut server, admin) = start();
    let mut busy = server.connect();
    busy.request("POST", "/echo", &["Transfer-Encoding: chunked"], b"");
    assert_eq!(busy.head().status, 200);
    server.upgrade();
    // One that the old process has accepted already is its own.
    while get(admin, "/ready").0 != 200 {}
    busy.send("0\r\n\r\n");
    assert_eq!(busy.chunk().unwrap(), b"");
    assert!(server.wait_for_first().success());
    for _ in 0..20 {
        assert_eq!(get(admin, "/ready"), (200, "ready\n".to_owned()));
    }
    assert_eq!(server.out.count(&format!("admin on http://{admin}")), 2);
}

#[test]
fn a_unix_socket_goes_with_its_last_process() {
    let routes = "[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"unix:admin.sock\"\n[routes]\n\"/\" = { respond = \"ok\" }\n";
    let mut server = Site::new(routes).serve();
    let path = server.site.path("admin.sock");
    server.upgrade();
    assert!(server.wait_for_first().success());
    let mut conn = Conn::unix(&path);
    conn.request("GET", "/live", &[], b"");
    assert_eq!(conn.response().text(), "ok\n");
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(!path.exists());
}

#[test]
fn a_bad_address_is_named() {
    let site = Site::new("[server]\nadmin = \"here\"\n[routes]\n\"/\" = { respond = \"ok\" }\n");
    let output = site.run(&["check"]);
    let errors =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("routes.toml:2: `admin`: `here` is not an address"), "{errors}");
}
