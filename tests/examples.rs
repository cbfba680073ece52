//! Every example over the wire, served by the repository's own routes.toml, as its first lines say.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::guests::{Form, root, serve_examples};
use crate::support::upstream::{Upstream, ok};
use crate::support::{Conn, Server, Site};

/// As much as nobody keeps in memory by mistake unnoticed.
const LARGE: usize = 100 << 20;
/// The host may not need more for it than this.
const GROWTH_MAX: u64 = 32 << 20;

/// A new example must come with a test.
#[test]
fn all_examples_are_tested() {
    let here = include_str!("examples.rs");
    for entry in std::fs::read_dir(root().join("examples")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(here.contains(&format!("fn {name}")), "there is no test of examples/{name}");
        let routes = std::fs::read_to_string(root().join("routes.toml")).unwrap();
        assert!(
            routes.contains(&format!("wasm = \"examples/{name}\"")),
            "routes.toml does not serve examples/{name}"
        );
        let source = std::fs::read_to_string(root().join(format!("examples/{name}/src/lib.rs"))).unwrap();
        assert!(source.starts_with("//! Run with: "), "examples/{name} does not say how to run it");
    }
}

/// Each example is one source for two kinds of binary, and both do the same.
macro_rules! as_both {
    ($($name:ident)*) => {
        mod as_modules {
            use super::{Form, serve_examples};
            $(#[test] fn $name() { super::$name(&serve_examples(Form::Module)) })*
        }
        mod as_components {
            use super::{Form, serve_examples};
            $(#[test] fn $name() { super::$name(&serve_examples(Form::Component)) })*
        }
    };
}

as_both! { hello_and_the_built_in_ones time bye users events echo echo_of_100_mb_in_constant_memory upload_of_100_mb_in_constant_memory upload_of_a_form report_within_its_time counter shorten notes fetch }

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn hello_and_the_built_in_ones(server: &Server) {
    assert_eq!(server.get("/hello/World").text(), "Hello, World!\n");
    assert_eq!(server.get("/hello/a%2Fb%20%C3%A9").text(), "Hello, a/b é!\n");
    let response = server.get("/hello/%3Cscript%3E");
    assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"), "{response:?}");
    assert_eq!(server.request("POST", "/hello/x", &[], b"").header("allow"), Some("GET, HEAD"));
    let old = server.get("/old");
    assert_eq!((old.status, old.header("location")), (308, Some("/hello/again")));
    assert_eq!(server.get("/healthz").text(), "ok\n");
    assert!(server.get("/examples/hello/src/lib.rs").text().starts_with("//! Run with: "));
}

fn time(server: &Server) {
    let before = unix();
    let response = server.get("/time/");
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let now = json(&response.text());
    assert!((before..=unix()).contains(&now["unix"].as_u64().unwrap()), "{now}");
    assert!(now["time"].as_str().unwrap().ends_with('Z'), "{now}");
    let again = server.get("/time");
    assert_eq!((again.status, again.header("location")), (307, Some("/time/")));
}

fn unix() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

fn bye(server: &Server) {
    let started = Instant::now();
    // They sleep side by side, many more than there are threads.
    let mut conns: Vec<_> = (0..50).map(|_| server.connect()).collect();
    conns.iter_mut().for_each(|conn| conn.request("GET", "/bye?ms=500", &[], b""));
    for conn in &mut conns {
        assert_eq!(conn.response().text(), "bye\n");
    }
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(500) && took < Duration::from_secs(10), "{took:?}");
    let response = server.get("/bye?ms=10001");
    assert_eq!(response.status, 400);
    assert!(response.text().contains("at most 10000"), "{response:?}");
}

fn users(server: &Server) {
    let json_type = "Content-Type: application/json";
    let list = server.get("/users/");
    assert_eq!(list.header("content-type"), Some("application/json"));
    assert_eq!(json(&list.text()).as_array().unwrap().len(), 3);
    assert_eq!(json(&server.get("/users/?q=grace").text())[0]["id"], 2);
    assert_eq!(json(&server.get("/users/1").text())["name"], "Ada Lovelace");
    assert_eq!(server.get("/users/9").status, 404);
    assert_eq!(server.get("/users/x").status, 400);

    let new = br#"{"name":"Barbara Liskov","email":"barbara@example.com"}"#;
    let created = server.request("POST", "/users/", &[json_type], new);
    assert_eq!((created.status, created.header("location")), (201, Some("/users/4")), "{created:?}");
    assert_eq!(json(&created.text())["name"], "Barbara Liskov");
    assert_eq!(
        json(&server.get("/users/").text()).as_array().unwrap().len(),
        3,
        "every request has fresh memory"
    );
    let replaced = server.request("PUT", "/users/2", &[json_type], new);
    assert_eq!((replaced.status, &json(&replaced.text())["id"]), (200, &json!(2)));
    assert_eq!(server.request("DELETE", "/users/2", &[], b"").status, 204);

    assert_eq!(server.request("POST", "/users/", &[], new).status, 415);
    assert_eq!(server.request("POST", "/users/", &[json_type], b"{").status, 400);
    assert_eq!(server.request("POST", "/users/", &[json_type], &[b' '; 70_000]).status, 413);
    let invalid = server.request("POST", "/users/", &[json_type], br#"{"name":"","email":"x"}"#);
    assert_eq!(invalid.status, 422);
    assert_eq!(json(&invalid.text())["fields"].as_array().unwrap().len(), 2);
    let taken = server.request("POST", "/users/", &[json_type], br#"{"name":"A","email":"ada@example.com"}"#);
    assert_eq!(taken.status, 409);
    // From the mux inside the guest.
    let refused = server.request("PATCH", "/users/1", &[], b"");
    assert_eq!(
        (refused.status, refused.header("allow")),
        (405, Some("DELETE, GET, HEAD, PUT")),
        "{refused:?}"
    );
    assert_eq!(server.get("/users/1/2").status, 404);
}

fn notes(server: &Server) {
    let send = |method: &str, target: &str, note: &Value| {
        server.request(method, target, &["Content-Type: application/json"], note.to_string().as_bytes())
    };
    let shopping =
        json!({ "title": "Shopping", "body": "Milk'; DROP TABLE notes; --", "tags": ["home", "today"] });
    let created = send("POST", "/notes/", &shopping);
    assert_eq!((created.status, created.header("location")), (201, Some("/notes/1")), "{created:?}");
    assert_eq!(send("POST", "/notes/", &shopping).status, 409);
    assert_eq!(send("POST", "/notes/", &json!({ "title": "Garden" })).header("location"), Some("/notes/2"));
    let shown = json(&server.get("/notes/1").text());
    assert_eq!((&shown["body"], &shown["tags"]), (&shopping["body"], &shopping["tags"]));
    assert_eq!(json(&server.get("/notes/").text()).as_array().unwrap().len(), 2);
    assert_eq!(json(&server.get("/notes/?tag=home").text())[0]["id"], 1);
    let taken = send("PUT", "/notes/2", &json!({ "title": "Shopping", "tags": ["lost"] }));
    assert_eq!(taken.status, 409);
    let replaced = send("PUT", "/notes/2", &json!({ "title": "Balcony", "tags": ["home"] }));
    assert_eq!((replaced.status, &json(&replaced.text())["title"]), (200, &json!("Balcony")));
    assert_eq!(json(&server.get("/notes/?tag=lost").text()), json!([]));
    assert_eq!(server.request("DELETE", "/notes/1", &[], b"").status, 204);
    assert_eq!(server.get("/notes/1").status, 404);
    assert_eq!(json(&server.get("/notes/?tag=home").text())[0]["title"], "Balcony");
}

fn fetch(server: &Server) {
    let note = json!({ "title": "Flowers", "tags": ["user-1"] });
    let created =
        server.request("POST", "/notes/", &["Content-Type: application/json"], note.to_string().as_bytes());
    assert_eq!(created.status, 201, "{created:?}");
    let merged = json(&server.get("/fetch/1").text());
    assert_eq!(merged["user"], json(&server.get("/users/1").text()));
    assert_eq!(merged["notes"][0]["title"], "Flowers");
    assert_eq!(server.get("/fetch/1000").status, 404);
    assert_eq!(server.get("/fetch/x").status, 400);
}

#[test]
fn gateway() {
    let upstream = Upstream::answering(ok);
    let folder = root().join("examples/gateway");
    let routes = format!(
        "[handlers.gateway]\nwasm = {folder:?}\nnext = \"backend\"\nconfig = {{ API_KEY = \"k3y\" }}\n\
         [handlers.backend]\nproxy = {:?}\n[routes]\n\"/gateway/\" = \"gateway\"\n",
        upstream.url()
    );
    let server = Site::new(&routes).serve();
    let refused = server.get("/gateway/a");
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")));
    let seen = server.request("POST", "/gateway/a?b", &["Authorization: Bearer k3y"], b"").text();
    assert!(seen.starts_with("POST /a?b HTTP/1.1\r\n") && seen.contains("x-authenticated: yes"), "{seen}");
    assert!(!seen.contains("k3y"), "{seen}");
    assert_eq!(upstream.connections(), 1);
}

fn events(server: &Server) {
    let mut conn = server.connect();
    let started = Instant::now();
    conn.request("GET", "/events?n=2&ms=1000", &[], b"");
    let head = conn.head();
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    assert!(started.elapsed() < Duration::from_secs(1), "the head does not wait for the first event");
    assert_eq!(conn.chunk().unwrap(), b"id: 1\nevent: tick\ndata: tick 1 of 2\n\n");
    assert!(started.elapsed() < Duration::from_secs(2), "nor the first event for the second");
    assert_eq!(conn.chunk().unwrap(), b"id: 2\nevent: tick\ndata: tick 2 of 2\n\n");
    assert_eq!(conn.chunk().unwrap(), b"");
    let resumed = server.request("GET", "/events?n=3&ms=0", &["Last-Event-ID: 2"], b"");
    assert_eq!(resumed.text(), "id: 3\nevent: tick\ndata: tick 3 of 3\n\n");
}

fn echo(server: &Server) {
    let response = server.request("POST", "/echo", &["Content-Type: text/css"], b"hello");
    assert_eq!((response.text().as_str(), response.header("content-type")), ("hello", Some("text/css")));

    let mut conn = server.connect();
    let fields = ["Transfer-Encoding: chunked", "TE: trailers", "Trailer: X-Sum"];
    conn.request("POST", "/echo", &fields, b"");
    conn.send_chunk(b"first");
    assert_eq!(conn.head().header("trailer").map(str::to_lowercase).as_deref(), Some("x-sum"));
    assert_eq!(conn.chunk().unwrap(), b"first", "before the rest was sent");
    conn.send_chunk(b"second");
    assert_eq!(conn.chunk().unwrap(), b"second");
    conn.send("0\r\nX-Sum: 42\r\n\r\n");
    assert_eq!(conn.chunk().unwrap(), b"");
    assert_eq!(conn.some(), b"X-Sum: 42\r\n\r\n");
}

fn echo_of_100_mb_in_constant_memory(server: &Server) {
    let before = resident_after_warm_up(server, "/echo");
    let mut conn = server.connect();
    conn.request("POST", "/echo", &["Transfer-Encoding: chunked"], b"");
    assert_eq!(conn_head_after(&mut conn, b"begin"), 200);
    let piece = pattern(64 << 10);
    let mut sent = 0;
    let mut most = before;
    while sent < LARGE {
        conn.send_chunk(&piece);
        sent += piece.len();
        let mut back = Vec::new();
        while back.len() < piece.len() {
            back.extend(conn.chunk().unwrap());
        }
        assert!(back == piece, "what comes back is not what was sent");
        if sent % (8 << 20) == 0 {
            most = most.max(server.resident_bytes());
        }
    }
    conn.send_chunk(b"");
    assert_eq!(conn.chunk().unwrap(), b"");
    assert!(most - before < GROWTH_MAX, "grown by {} bytes", most - before);
}

/// Sends a first chunk, reads the head and the chunk.
fn conn_head_after(conn: &mut Conn, first: &[u8]) -> u16 {
    conn.send_chunk(first);
    let status = conn.head().status;
    assert_eq!(conn.chunk().unwrap(), first);
    status
}

fn resident_after_warm_up(server: &Server, path: &str) -> u64 {
    for _ in 0..3 {
        assert_eq!(server.request("POST", path, &[], b"warm").status, 200);
    }
    server.resident_bytes()
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 31 % 251) as u8).collect()
}

fn upload_of_100_mb_in_constant_memory(server: &Server) {
    let before = resident_after_warm_up(server, "/upload");
    let mut conn = server.connect();
    conn.request("POST", "/upload", &[&format!("Content-Length: {LARGE}")], b"");
    let piece = pattern(1 << 20);
    let mut most = before;
    for _ in 0..LARGE / piece.len() {
        conn.send(&piece);
        most = most.max(server.resident_bytes());
    }
    let response = conn.response();
    let upload = &json(&response.text())[0];
    assert_eq!((response.status, &upload["bytes"]), (200, &json!(LARGE)), "{response:?}");
    assert_eq!(upload["sha256"].as_str().unwrap().len(), 64);
    assert!(most - before < GROWTH_MAX, "grown by {} bytes", most - before);
}

fn upload_of_a_form(server: &Server) {
    let form = "--x\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nabc\r\n\
                --x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\n\r\n--x--\r\n";
    let kind = "Content-Type: multipart/form-data; boundary=x";
    let response = server.request("POST", "/upload", &[kind], form.as_bytes());
    let uploads = json(&response.text());
    assert_eq!(uploads[0]["name"], "note");
    assert_eq!(uploads[0]["sha256"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!((&uploads[1]["name"], &uploads[1]["bytes"]), (&json!("a.txt"), &json!(0)));
    assert_eq!(server.request("POST", "/upload", &[kind], b"--x\r\nbroken").status, 400);
    assert_eq!(server.get("/upload").status, 405);
}

fn report_within_its_time(server: &Server) {
    let whole = server.get("/report/primes.csv?n=1000");
    assert!(whole.text().ends_with("\n1000,7919\n"), "{whole:?}");
    let range = |fields: &[&str]| server.request("GET", "/report/primes.csv?n=1000", fields, b"");
    let part = range(&["Range: bytes=0-5,-5"]);
    assert_eq!(part.status, 206);
    assert!(part.header("content-type").unwrap().starts_with("multipart/byteranges; boundary="));
    assert!(part.text().contains("\r\n\r\nnumber\r\n--") && part.text().contains("\r\n\r\n7919\n\r\n--"));
    let known = format!("If-None-Match: {}", whole.header("etag").unwrap());
    assert_eq!((range(&[&known]).status, range(&["Range: bytes=99999-"]).status), (304, 416));
    let kind = "Content-Type: application/x-www-form-urlencoded";
    let foreign = [kind, "Sec-Fetch-Site: cross-site"];
    assert_eq!(server.request("POST", "/report/title", &foreign, b"title=p").status, 403);
    let own = server.request("POST", "/report/title", &[kind, "Sec-Fetch-Site: same-origin"], b"title=p");
    assert_eq!((own.status, own.header("set-cookie")), (303, Some("title=p; Path=/report/; HttpOnly")));
    let large = server.request("POST", "/report/title", &[kind], &[b'x'; 5000]);
    assert_eq!(large.status, 413);
}

fn counter(server: &Server) {
    // Every run has the same state folder, so that a name may have been counted before.
    let path = format!("/counter/{}", unique());
    assert_eq!(server.get(&path).text(), "0\n");
    let count = server.request("POST", &format!("{path}?by=2"), &[], b"");
    if is_component(server) {
        assert_eq!(count.status, 500, "wasi:keyvalue has no compare-and-swap");
        server.log.wait_for(&["wasi:keyvalue cannot do this; build the handler as a module"]);
        return;
    }
    assert_eq!(count.text(), "2\n");
    let mut conns: Vec<_> = (0..8).map(|_| server.connect()).collect();
    conns.iter_mut().for_each(|conn| conn.request("POST", &path, &[], b""));
    let mut counts: Vec<u32> =
        conns.iter_mut().map(|conn| conn.response().text().trim().parse().unwrap()).collect();
    counts.sort_unstable();
    assert_eq!(counts, [3, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(server.request("POST", &format!("{path}?by=999991"), &[], b"").status, 409);
    assert_eq!(server.get(&path).text(), "10\n");
}

fn shorten(server: &Server) {
    let link = format!("https://example.com/{}", unique());
    let made = server.request("POST", "/s/", &[], link.as_bytes());
    if is_component(server) {
        assert_eq!(made.status, 500, "wasi:keyvalue has no values that expire");
        assert_eq!(server.get("/s/none").status, 404);
        return;
    }
    let short = made.header("location").unwrap().to_owned();
    assert_eq!((made.status, made.text()), (201, format!("{short}\n")));
    let followed = server.get(&short);
    assert_eq!((followed.status, followed.header("location")), (302, Some(link.as_str())));
    let again = server.request("POST", "/s/?ttl=1", &[], link.as_bytes());
    assert_eq!(again.header("location"), Some(short.as_str()));
    let begun = Instant::now();
    while server.get(&short).status == 302 {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not expire");
    }
    assert_eq!(server.get(&short).status, 404);
    assert_eq!(server.request("POST", "/s/", &[], b"no link").status, 400);
}

/// What nobody has used before.
fn unique() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{}-{}", std::process::id(), now.as_nanos())
}

/// Whether the examples are served as components.
fn is_component(server: &Server) -> bool {
    let routes = std::fs::read_to_string(server.site.path("routes.toml")).unwrap();
    routes.contains("counter.wasm")
}

/// What the standard has no word for: to be ended with an answer of one's own, and to ask for the connection's end.
#[test]
fn what_only_modules_do() {
    let server = serve_examples(Form::Module);
    // The guest computes on and on, and is ended by the host with the guest's own answer.
    let late = server.get("/report/primes.csv?n=1000000000");
    assert_eq!((late.status, late.text().as_str()), (503, "this takes too long: ask for fewer\n"));
    assert_eq!(late.header("content-type"), Some("text/plain; charset=utf-8"));
    let kind = "Content-Type: application/x-www-form-urlencoded";
    let large = server.request("POST", "/report/title", &[kind], &[b'x'; 5000]);
    assert_eq!((large.status, large.header("connection")), (413, Some("close")));
}

/// The smallest handler stays small; every byte is loaded, compiled and kept.
#[test]
fn hello_fits_into_64_kib() {
    let _server = serve_examples(Form::Module);
    let module = root().join("target/wasm32-wasip1/guest/hello.wasm");
    let size = std::fs::metadata(module).unwrap().len();
    assert!(size <= 64 << 10, "{size} bytes");
}
