//! Several servers in one process, each with its own way of listening, and what is asked about them.

use crate::support::guests::root;
use crate::support::tls::{Authority, Client};
use crate::support::{Conn, Site};

const TWO: &str = r#"
[server]
listen = "127.0.0.1:0"
idle_timeout = "off"
[servers.secure]
listen = "127.0.0.1:0"
max_header_bytes = "4KiB"
[servers.secure.tls]
certificates = [{ cert = "cert.pem", key = "key.pem" }]
[servers.secure.routes]
"/" = "read"
"/own" = { respond = "own\n" }
[servers.same]
listen = ["127.0.0.1:0", "unix:same.sock"]
[handlers.read]
wasm = "read.wat"
[routes]
"/" = { respond = "shared\n" }
"#;

fn two() -> (Authority, Site) {
    let authority = Authority::new("root");
    let identity = authority.sign(&["a.test"]);
    let site = Site::new(TWO).guest("read").file("cert.pem", &identity.cert).file("key.pem", &identity.key);
    (authority, site.listeners(4))
}

#[test]
fn each_serves_its_own() {
    let (authority, site) = two();
    let mut server = site.serve();
    let kinds: Vec<_> = server.urls().iter().map(|url| url.split_once("://").unwrap().0).collect();
    assert_eq!(kinds, ["http", "https", "http", "http+unix"]);
    let [plain, secure, same] = server.addresses()[..] else { panic!("{:?}", server.urls()) };

    let get = |mut conn: Conn, path: &str, field: &str| {
        conn.request("GET", path, &[field], b"");
        let response = conn.response();
        (response.status, response.text())
    };
    let client = Client::new(&authority);
    let long = format!("X-Long: {}", "a".repeat(12_000));
    for address in [plain, same] {
        assert_eq!(get(Conn::tcp(address), "/", &long), (200, "shared\n".to_owned()));
        assert_eq!(get(Conn::tcp(address), "/own", "A: b").1, "shared\n");
    }
    assert_eq!(get(Conn::unix(&server.site.path("same.sock")), "/", "A: b").1, "shared\n");
    assert_eq!(get(client.connect(secure, "a.test"), "/", "A: b"), (200, "read\n".to_owned()));
    assert_eq!(get(client.connect(secure, "a.test"), "/own", "A: b").1, "own\n");
    assert_eq!(get(client.connect(secure, "a.test"), "/own", &long).0, 431, "a limit of its own");
    server.signal("TERM");
    assert!(server.wait().success());
}

#[test]
fn the_commands_know_them() {
    let (_, site) = two();
    let out = |args: &[&str]| {
        let output = site.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(out(&["check"]), "routes.toml: ok, 3 routes, 1 handlers, 3 servers\n");
    let listed = out(&["routes"]);
    assert!(listed.starts_with("SERVER  PATTERN"), "{listed}");
    let rows: Vec<Vec<_>> =
        listed.lines().skip(1).map(|line| line.split_whitespace().take(3).collect()).collect();
    let expected = [
        ["server", "/", "(respond"],
        ["secure", "/", "read"],
        ["secure", "/own", "(respond"],
        ["same", "/", "(respond"],
    ];
    assert_eq!(rows, expected, "{listed}");
    let one = out(&["routes", "--server", "secure"]);
    assert!(one.starts_with("PATTERN") && one.lines().count() == 3, "{one}");
    let all = out(&["routes", "explain", "GET", "/own"]);
    assert!(all.contains("server secure:") && all.contains("server same:"), "{all}");
    let own = out(&["routes", "explain", "GET", "/own", "--json", "--server", "secure"]);
    assert!(own.contains(r#""pattern":"/own""#) && own.lines().count() == 1, "{own}");
    let output = site.run(&["routes", "--server", "secur"]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("no server `secur` that listens (did you mean `secure`?)"), "{message}");
}

#[test]
fn only_the_named_ones_listen_when_the_first_says_nothing() {
    let routes = "[server]\nthreads = 2\n[servers.one]\nlisten = \"127.0.0.1:0\"\n[servers.one.routes]\n\"/\" = { respond = \"one\\n\" }\n";
    let server = Site::new(routes).serve();
    assert_eq!(server.urls().len(), 1);
    assert_eq!(server.get("/").text(), "one\n");
    let output = Site::new(routes).run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("--listen is for [server], which does not listen"), "{message}");
}

#[test]
fn the_command_line_moves_the_first_only() {
    let routes = "[server]\nlisten = \"256.256.256.256:1\"\n[servers.one]\nlisten = \"127.0.0.1:0\"\n[routes]\n\"/\" = { respond = \"ok\\n\" }\n";
    let server = Site::new(routes).listeners(2).serve_with(&["--listen", "127.0.0.1:0"]);
    for address in server.addresses() {
        let mut conn = Conn::tcp(address);
        conn.request("GET", "/", &[], b"");
        assert_eq!(conn.response().text(), "ok\n");
    }
}

#[test]
fn one_peer_cannot_have_all_connections() {
    let routes = "[server]\nlisten = [\"127.0.0.1:0\", \"unix:web.sock\"]\nmax_connections_per_peer = 2\n[servers.other]\nlisten = \"127.0.0.1:0\"\n[handlers]\necho = { wasm = \"echo.wat\" }\n[routes]\n\"/echo\" = \"echo\"\n\"/\" = { respond = \"ok\" }\n";
    let server = Site::new(routes).guest("echo").listeners(3).log_level("debug").serve();
    let [first, other] = server.addresses()[..] else { panic!("{:?}", server.urls()) };
    let ask = |conn: &mut Conn| {
        conn.request("GET", "/", &[], b"");
        conn.response().status
    };
    let mut open = [first, other].map(Conn::tcp);
    for conn in &mut open {
        conn.request("POST", "/echo", &["Transfer-Encoding: chunked"], b"");
        assert_eq!(conn.head().status, 200, "and the body goes on");
    }
    for address in [first, other] {
        assert!(Conn::tcp(address).rest().is_empty(), "the count is of all servers");
    }
    server.log.wait_for(&["connection closed: `max_connections_per_peer`"]);
    for _ in 0..3 {
        assert_eq!(ask(&mut Conn::unix(&server.site.path("web.sock"))), 200, "not counted");
    }
    assert!(Conn::tcp(first).rest().is_empty(), "those that were there first are still at work");
}

/// The two deployments of the README's section on HTTPS, put together as it says.
#[test]
fn the_readmes_example_works() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let section = readme.split("### HTTPS\n").nth(1).unwrap().split("\n### ").next().unwrap();
    let blocks: Vec<_> =
        section.split("```toml\n").skip(1).map(|block| block.split("```").next().unwrap()).collect();
    assert_eq!(blocks.len(), 2, "{section}");
    let routes = blocks.concat().replace(":8443\"", ":0\"").replace("\":80\"", "\"127.0.0.1:0\"");
    let authority = Authority::new("root");
    let identity = authority.sign(&["localhost"]);
    let site = Site::new(&routes).file("cert.pem", &identity.cert).file("key.pem", &identity.key);
    let server = site.listeners(2).serve();
    let [secure, plain] = server.addresses()[..] else { panic!("{:?}", server.urls()) };
    let mut conn = Client::new(&authority).connect(secure, "localhost");
    conn.request("GET", "/", &[], b"");
    assert_eq!(conn.response().text(), "hello\n");
    let mut conn = Conn::tcp(plain);
    conn.request("GET", "/", &[], b"");
    assert_eq!(conn.response().status, 308);
}
