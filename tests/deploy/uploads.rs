//! Modules that are sent to the admin API: how many at a time, and where they are while they come.

use std::time::{Duration, Instant};

use super::access::admin;
use super::{says, site};
use crate::support::{Conn, DEADLINE, Response, Server};

const TARGET: &str = "/v1/handlers/hello/module?form=wat";

/// As many as there may be at one time.
const UPLOADS_MAX: usize = 4;

fn put(server: &Server, body: &[u8]) -> Response {
    let mut conn = admin(server);
    conn.request("PUT", TARGET, &[&format!("Content-Length: {}", body.len())], body);
    conn.response()
}

/// Sends so many MiB of one more.
fn begin(server: &Server, mib: usize) -> Conn {
    let mut conn = admin(server);
    conn.request("PUT", TARGET, &[&format!("Content-Length: {}", (mib << 20) + 1)], b"");
    let piece = vec![b' '; 1 << 20];
    (0..mib).for_each(|_| conn.send(&piece));
    conn
}

fn resident_mib(server: &Server) -> f64 {
    let mut conn = admin(server);
    conn.request("GET", "/metrics", &[], b"");
    let page = conn.response().text();
    let bytes = page.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes ")).unwrap();
    bytes.parse::<f64>().unwrap() / f64::from(1 << 20)
}

/// Files of uploads that are not kept yet.
fn under_way(server: &Server) -> usize {
    let artifacts = std::fs::read_dir(server.site.path(".wasmux/deployments/artifacts")).unwrap();
    artifacts.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.')).count()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < until, "not {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn they_are_on_disk_while_they_come_and_few() {
    let server = site().serve();
    let before = resident_mib(&server);
    let open: Vec<_> = (0..UPLOADS_MAX).map(|_| begin(&server, 40)).collect();
    wait_until("all of them under way", || under_way(&server) == UPLOADS_MAX);
    let more = resident_mib(&server) - before;
    assert!(more < 60.0, "{more:.0} MiB for {} MiB of uploads", 40 * UPLOADS_MAX);
    let refused = put(&server, says("two").as_bytes());
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    assert!(refused.text().contains("4 uploads are under way, which is the most; try again"));
    // Also one whose body is long gets its answer.
    assert_eq!(put(&server, &vec![b' '; 20 << 20]).status, 503);
    assert_eq!(server.get("/").text(), "one");
    drop(open);
    wait_until("nothing left of what broke off", || under_way(&server) == 0);
    wait_until("room for another one", || put(&server, says("two").as_bytes()).status == 200);
    assert_eq!((server.get("/").text(), under_way(&server)), ("two".to_owned(), 0));
}

#[test]
fn one_that_is_too_large_is_told() {
    let server = site().serve();
    let mut conn = admin(&server);
    conn.request("PUT", TARGET, &["Transfer-Encoding: chunked"], b"");
    let piece = vec![b' '; 1 << 20];
    (0..257).for_each(|_| conn.send_chunk(&piece));
    conn.send("0\r\n\r\n");
    let refused = conn.response();
    assert_eq!(refused.status, 413);
    assert!(refused.text().contains("the upload is larger than 256 MiB"));
    assert_eq!(under_way(&server), 0);
}
