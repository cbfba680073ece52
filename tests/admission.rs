//! Who gets to run and who is turned away: queues, instances and memory that are fair between handlers, the breaker, and
//! what `/metrics` says of all that. Each on every ABI.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::guests::{component, puppet_folder};
use crate::support::{Conn, DEADLINE, Response, Server, Site};

/// A guest of each ABI, and its words.
struct Guest {
    name: &'static str,
    wasm: String,
    spin: &'static str,
    grow: &'static str,
}

/// Of those, `serve_http` takes its orders from two guests.
fn guests() -> [Guest; 3] {
    let wasm = |path: std::path::PathBuf| format!("{path:?}");
    [
        Guest { name: "p2", wasm: wasm(component("proxy")), spin: "/?fault=loop", grow: "/?fault=memory" },
        Guest { name: "p3", wasm: wasm(component("trouble")), spin: "/?do=spin", grow: "/?do=grow" },
        Guest { name: "serve_http", wasm: wasm(puppet_folder()), spin: "/s", grow: "/g" },
    ]
}

impl Guest {
    /// Waits for so long, then answers.
    fn sleep(&self, ms: u32) -> String {
        match self.name {
            "p3" => format!("/?do=wait&n={ms}"),
            _ => format!("/?ops=sleep:{ms},text:slept"),
        }
    }

    /// A handler of this name, with these lines in its table, on `/` and on what only `bad.wat` has.
    fn site(&self, server: &str, settings: &str) -> Site {
        let Self { wasm, .. } = self;
        let bad = if self.name == "serve_http" { "bad.wat" } else { &wasm[1..wasm.len() - 1] };
        let routes = format!(
            r#"
            [server]
            threads = 2
            admin = "127.0.0.1:0"
            {server}
            [handlers.it]
            wasm = {wasm}
            {settings}
            [handlers.bad]
            wasm = "{bad}"
            {settings}
            [routes]
            "/" = "it"
            "/s" = "bad"
            "/g" = "bad"
            "/fine" = "bad"
            "/fixed" = {{ respond = "fixed" }}
            "#
        );
        Site::new(&routes).guest("bad")
    }
}

fn admin(server: &Server) -> SocketAddr {
    let line = server.out.wait_for(&["admin on http://"]);
    line["admin on http://".len()..].parse().unwrap()
}

fn metrics(server: &Server) -> Response {
    let mut conn = Conn::tcp(admin(server));
    conn.request("GET", "/metrics", &[], b"");
    conn.response()
}

pub(crate) fn metric(server: &Server, series: &str) -> u64 {
    let text = metrics(server).text();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in:\n{text}")).parse().unwrap()
}

/// Waits until a number is what it must become.
pub(crate) fn wait_for(server: &Server, series: &str, value: u64) {
    let until = Instant::now() + DEADLINE;
    while metric(server, series) != value {
        assert!(Instant::now() < until, "{series} is not {value} but {}", metric(server, series));
        std::thread::sleep(Duration::from_millis(2));
    }
}

const RUNNING: &str = "wasmux_guests_running{handler=\"it\"}";
const WAITING: &str = "wasmux_requests_waiting{handler=\"it\"}";

fn hits(handler: &str, reason: &str) -> String {
    format!("wasmux_limit_hits_total{{handler=\"{handler}\",reason=\"{reason}\"}}")
}

/// Sends it, and does not wait for the response.
fn begin(server: &Server, target: &str) -> Conn {
    let mut conn = server.connect();
    conn.request("GET", target, &[], b"");
    conn
}

fn assert_turned_away(response: &Response, guest: &Guest) {
    let name = guest.name;
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")), "{name}: {response:?}");
    assert!(response.text().starts_with("too busy, try again later (request "), "{name}: {response:?}");
}

#[test]
fn concurrency_and_queue_are_kept() {
    for guest in guests() {
        let limits = "limits = { concurrency = 2, queue = 2, queue_timeout = \"30s\" }";
        let server = guest.site("", limits).serve();
        let mut conns = Vec::new();
        for (running, waiting) in [(1, 0), (2, 0), (2, 1), (2, 2)] {
            conns.push(begin(&server, &guest.sleep(2_000)));
            wait_for(&server, RUNNING, running);
            wait_for(&server, WAITING, waiting);
        }
        assert_turned_away(&server.get(&guest.sleep(1)), &guest);
        server.log.wait_for(&["its `queue` has room for", "handler=\"it\"", "reason=\"queue\""]);
        assert_eq!(metric(&server, &hits("it", "queue")), 1);
        assert_eq!(server.get("/fixed").status, 200);
        // Who goes away makes room for another one.
        conns.pop().unwrap().reset();
        wait_for(&server, WAITING, 1);
        conns.push(begin(&server, &guest.sleep(1)));
        for (index, conn) in conns.iter_mut().enumerate() {
            assert_eq!(conn.response().status, 200, "{} {index}", guest.name);
        }
        wait_for(&server, RUNNING, 0);
    }
}

#[test]
fn those_that_wait_are_turned_away_in_the_end() {
    for guest in guests() {
        let limits = "limits = { concurrency = 1, queue_timeout = \"200ms\" }";
        let server = guest.site("", limits).serve();
        let mut first = begin(&server, &guest.sleep(2_000));
        wait_for(&server, RUNNING, 1);
        let started = Instant::now();
        assert_turned_away(&server.get(&guest.sleep(1)), &guest);
        assert!(started.elapsed() >= Duration::from_millis(200));
        server.log.wait_for(&["handler=\"it\"", "reason=\"queue_timeout\""]);
        assert_eq!(first.response().status, 200);
        assert_eq!(server.get(&guest.sleep(1)).status, 200);
    }
}

/// A handler whose requests all hang has its queue to itself, and leaves instances to others.
#[test]
fn hogs_leave_instances_to_others() {
    for guest in guests() {
        let limits = "limits = { queue_timeout = \"5s\" }";
        let server = guest.site("instances = 8", limits).serve();
        let _hog: Vec<_> = (0..20).map(|_| begin(&server, &guest.sleep(20_000))).collect();
        wait_for(&server, WAITING, 14);
        for round in 0..20 {
            let response = server.get("/fine?ops=text:x");
            assert_eq!(response.status, 200, "{} {round}: {response:?}", guest.name);
        }
        // Those of its own that came too late.
        server.log.wait_for(&["all guest instances are in use", "handler=\"it\"", "reason=\"instances\""]);
        wait_for(&server, &hits("it", "instances"), 14);
    }
}

#[test]
fn handlers_that_fail_rest_and_recover() {
    for guest in guests() {
        let limits =
            "limits = { timeout = \"300ms\", breaker = { errors = 4, window = \"60s\", open = \"2s\" } }";
        let server = guest.site("", limits).serve();
        let (spin, handler, fine) = if guest.name == "serve_http" {
            (guest.spin, "bad", "/fine")
        } else {
            (guest.spin, "it", "/?ops=text:x")
        };
        let name = guest.name;
        for round in 0..4 {
            assert_eq!(server.get(spin).status, 504, "{name} {round}");
        }
        let response = server.get(fine);
        assert_eq!(response.status, 503, "{name}: {response:?}");
        assert!(response.text().starts_with("the handler rests after failures"), "{response:?}");
        assert!(["1", "2"].contains(&response.header("retry-after").unwrap()), "{response:?}");
        assert_eq!(server.get("/fixed").status, 200);
        server.log.wait_for(&["open: ", &format!("handler=\"{handler}\""), "reason=\"breaker\""]);
        // Its first try fails, the second one does not.
        let until_tried = |target: &str| loop {
            let response = server.get(target);
            if response.status != 503 {
                return response.status;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(until_tried(spin), 504, "{name}");
        assert_eq!(server.get(fine).status, 503, "{name}");
        assert_eq!(until_tried(fine), 200, "{name}");
        server.log.wait_for(&["closed: the handler is well again", "reason=\"breaker\""]);
        assert_eq!(server.get(fine).status, 200, "{name}");
        assert_eq!(server.log.count("half-open: "), 2, "{name}");
    }
}

#[test]
fn guests_share_what_memory_there_is() {
    for guest in guests() {
        let server = guest.site("guest_memory = \"8MiB\"", "limits = { memory = \"1GiB\" }").serve();
        let (grow, handler) =
            if guest.name == "serve_http" { (guest.grow, "bad") } else { (guest.grow, "it") };
        let mut answers = Vec::new();
        // `bad.wat` grows by 6.4 MiB: two at a time do not fit.
        for _ in 0..2 {
            answers.push(server.get(grow));
        }
        if guest.name != "serve_http" {
            answers.iter().for_each(|response| assert_turned_away(response, &guest));
            server.log.wait_for(&[&format!("handler=\"{handler}\""), "reason=\"guest_memory\""]);
            assert_eq!(metric(&server, &hits(handler, "guest_memory")), 2);
        }
        // All of it was given back.
        wait_for(&server, "wasmux_guest_memory_bytes", 0);
        assert_eq!(server.get(&guest.sleep(1)).status, 200, "{}", guest.name);
    }
}

#[test]
fn metrics_are_as_prometheus_reads_them() {
    let routes = "[server]\nadmin = \"127.0.0.1:0\"\ninstances = 7\n[handlers.it]\nwasm = \"bad.wat\"\n[routes]\n\"/t\" = \"it\"\n";
    let server = Site::new(routes).guest("bad").serve();
    server.get("/t");
    let page = metrics(&server);
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = page.text();
    for line in [
        "# TYPE wasmux_limit_hits_total counter",
        "wasmux_limit_hits_total{handler=\"it\",reason=\"timeout\"} 0",
        "wasmux_client_disconnects_total{handler=\"it\"} 0",
        "wasmux_requests_waiting{handler=\"it\"} 0",
        "wasmux_guests_running{handler=\"it\"} 0",
        "wasmux_guest_instances{engine=\"plain\"} 0",
        "wasmux_guest_instances_max{engine=\"plain\"} 7",
        "wasmux_guest_memory_bytes 0",
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
    }
    let is_known = |line: &str| {
        ["# HELP ", "# TYPE ", "wasmux_", "process_"].iter().any(|start| line.starts_with(start))
    };
    assert!(text.lines().all(is_known) && text.ends_with('\n'), "{text}");
}
