//! Guests that compute for ever, as many as the host has threads and more: they go on elsewhere, their neighbours are
//! answered, and each limit ends them.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::guests::component;
use crate::support::{Conn, Server, Site};

/// Where a guest loops, on each ABI.
const LOOPS: [&str; 4] = ["/core/s", "/p2?fault=loop", "/p3?do=spin", "/crowd?do=spin"];

/// A server with two threads, and a guest that loops on every ABI.
fn server(limits: &str) -> Server {
    server_with(2, limits)
}

fn server_with(threads: u32, limits: &str) -> Server {
    let (p2, p3) = (component("proxy"), component("trouble"));
    let routes = format!(
        r#"
        [server]
        threads = {threads}
        [handlers]
        core = {{ wasm = "bad.wat", {limits} }}
        p2 = {{ wasm = {p2:?}, {limits} }}
        p3 = {{ wasm = {p3:?}, {limits} }}
        crowd = {{ wasm = {p3:?}, isolation = "concurrent", {limits} }}
        sleep = {{ wasm = "sleep.wat" }}
        [routes]
        "/core/s" = "core"
        "/p2" = "p2"
        "/p3" = "p3"
        "/crowd" = "crowd"
        "/sleep/{{ms}}" = "sleep"
        "/" = {{ respond = "ok" }}
        "#
    );
    Site::new(&routes).guest("bad").guest("sleep").serve()
}

fn begin(server: &Server, target: &str, count: usize) -> Vec<Conn> {
    let mut conns: Vec<_> = (0..count).map(|_| server.connect()).collect();
    conns.iter_mut().for_each(|conn| conn.request("GET", target, &[], b""));
    conns
}

/// What the threads with this name have computed so far, in clock ticks (10 ms).
fn cpu_of(server: &Server, name: &str) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let stat = |folder: &Path| std::fs::read_to_string(folder.join("stat")).unwrap_or_default();
    let stats = tasks.map(|task| stat(&task.unwrap().path()));
    let times = stats.filter(|stat| stat.contains(&format!("({name}"))).map(|stat| {
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>()
    });
    times.sum()
}

/// Computed on threads of their own: those that serve sockets have next to nothing to do with it, so that everybody else is
/// answered as ever, from the first request on, on connections old and new.
#[test]
fn loops_leave_the_threads_of_the_sockets() {
    loops_leave(&server("limits = { timeout = \"60s\", cpu = \"60s\" }"), "tokio-");
}

/// One thread has a scheduler of its own kind, and is the program's first.
#[test]
fn loops_leave_the_only_thread_of_the_sockets() {
    loops_leave(&server_with(1, "limits = { timeout = \"60s\", cpu = \"60s\" }"), "wasmux");
}

/// `sockets`: how the names of the threads that serve them begin.
fn loops_leave(server: &Server, sockets: &str) {
    for target in LOOPS {
        let mut open = server.connect();
        let looping = begin(server, target, 4);
        let (begun, mut probes) = (Instant::now(), 0);
        let before = (cpu_of(server, "compute-"), cpu_of(server, sockets));
        // As long as the machine takes to give them a second.
        while cpu_of(server, "compute-") - before.0 < 100 {
            open.request("GET", "/", &[], b"");
            assert_eq!(open.response().text(), "ok");
            assert_eq!(server.get("/").text(), "ok");
            assert_eq!(server.get("/sleep/1").text(), "slept\n");
            probes += 1;
            assert!(begun.elapsed() < Duration::from_secs(60), "{target}: nobody computes");
            // Answering takes time too, which is not what this is about.
            std::thread::sleep(Duration::from_millis(50));
        }
        let spent = (cpu_of(server, "compute-") - before.0, cpu_of(server, sockets) - before.1);
        assert!(spent.1 * 3 < spent.0, "{target}: (compute, sockets) {spent:?} ticks in {probes} probes");
        looping.into_iter().for_each(Conn::reset);
    }
}

/// Time that a guest computes is counted, and what it waits is not.
#[test]
fn the_cpu_limit_ends_them_and_says_where() {
    let server = server("limits = { timeout = \"60s\", cpu = \"300ms\" }");
    for target in LOOPS {
        let handler = target.trim_start_matches('/').split(['/', '?']).next().unwrap();
        for mut conn in begin(&server, target, 3) {
            let response = conn.response();
            assert_eq!(response.status, 504, "{target}: {response:?}");
            assert!(
                response.text().starts_with("the handler computed for too long (request "),
                "{response:?}"
            );
        }
        let handler = format!("handler=\"{handler}\"");
        server.log.wait_for(&["reason=\"cpu\"", &handler]);
    }
    server.log.wait_for(&["the guest has computed for longer than the handler's `cpu` limit"]);
    server.log.wait_for(&["!serve"]); // the function it was in
    assert_eq!(server.get("/sleep/1000").text(), "slept\n");
}

/// Also when nothing else would end them, and to the last one.
#[test]
fn a_drain_ends_with_the_loops() {
    let mut server = server("limits = { timeout = \"1s\" }");
    let looping: Vec<_> = LOOPS.iter().flat_map(|target| begin(&server, target, 2)).collect();
    assert_eq!(server.get("/").text(), "ok");
    server.signal("TERM");
    for mut conn in looping {
        assert_eq!(conn.response().status, 504);
    }
    assert!(server.wait().success());
}
