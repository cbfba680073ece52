//! Several listeners, unix sockets, addresses that cannot be had.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use crate::support::{Conn, Site};

#[test]
fn several_listeners_serve_the_same() {
    let site = Site::new(
        "[server]\nlisten = [\"127.0.0.1:0\", \"[::1]:0\", \"localhost:0\", \"unix:web.sock\"]\n[routes]\n\"/\" = { respond = \"ok\\n\" }\n",
    );
    let socket = site.path("web.sock");
    let mut server = site.listeners(4).serve();
    let urls = server.urls().to_vec();
    assert!(urls[0].starts_with("http://127.0.0.1:"), "{urls:?}");
    assert!(urls[1].starts_with("http://[::1]:"), "{urls:?}");
    assert!(urls[3].starts_with("http+unix://"), "{urls:?}");
    for url in &urls[..3] {
        let mut conn = Conn::tcp(url["http://".len()..].parse().unwrap());
        conn.request("GET", "/", &[], b"");
        assert_eq!(conn.response().text(), "ok\n", "{url}");
    }
    for _ in 0..2 {
        let mut conn = Conn::unix(&socket);
        conn.request("GET", "/", &[], b"");
        assert_eq!(conn.response().text(), "ok\n");
    }
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(!socket.exists(), "the socket's file goes with its listener");
}

#[test]
fn a_stale_socket_file_is_replaced_and_a_live_one_is_not() {
    let site = || {
        Site::new("[server]\nlisten = \"unix:web.sock\"\n[routes]\n\"/\" = { respond = \"ok\\n\" }\n")
            .listeners(1)
    };
    let stale = site();
    drop(UnixListener::bind(stale.path("web.sock")).unwrap()); // its file stays
    let server = stale.serve();
    let mut conn = Conn::unix(&server.site.path("web.sock"));
    conn.request("GET", "/", &[], b"");
    assert_eq!(conn.response().text(), "ok\n");

    let live = site();
    let _listener = UnixListener::bind(live.path("web.sock")).unwrap();
    let output = live.run(&["serve"]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("cannot listen on unix:web.sock"), "{message}");

    // A file that is no socket is nobody's to delete.
    let file = site().file("web.sock", "precious");
    assert_eq!(file.run(&["serve"]).status.code(), Some(1));
    assert_eq!(std::fs::read(file.path("web.sock")).unwrap(), b"precious");
}

#[test]
fn addresses_in_use_are_all_named() {
    let (one, two) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let site = Site::new("[routes]\n\"/\" = { respond = \"ok\" }\n");
    let addresses = [&one, &two].map(|listener| listener.local_addr().unwrap().to_string());
    let output = site.run(&["serve", "--listen", &addresses[0], "--listen", &addresses[1]]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    for address in addresses {
        assert!(message.contains(&format!("cannot listen on {address}: ")), "{message}");
    }
    assert!(message.contains("stop the program that uses it"), "{message}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "nothing is said to be listened on");
}

#[test]
fn the_command_line_overrides_the_file() {
    let site = Site::new("[server]\nlisten = [\"203.0.113.1:1\"]\n[routes]\n\"/\" = { respond = \"ok\" }\n");
    let server = site.serve_with(&["--listen", "127.0.0.1:0"]);
    assert_eq!(server.get("/").text(), "ok");
}

#[test]
fn dual_stack_shows_ipv4_clients_as_ipv4() {
    let site = Site::new(
        "[server]\nlisten = [\":0\"]\naccess_log = \"json\"\n[routes]\n\"/\" = { respond = \"ok\" }\n",
    );
    let server = site.serve();
    let port = server.urls()[0].rsplit_once(':').unwrap().1;
    let mut conn = Conn::tcp(format!("127.0.0.1:{port}").parse().unwrap());
    conn.request("GET", "/", &[], b"");
    assert_eq!(conn.response().text(), "ok");
    server.out.wait_for(&[&format!("\"remote\":\"{}\"", conn.local())]);
}
