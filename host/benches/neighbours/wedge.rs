//! Four requests that compute for ever, on two threads.

use std::path::Path;
use std::time::{Duration, Instant};

use super::client::Conn;
use super::server::{ABIS, Server};
use super::{HOSTILE, Latencies, probe};

/// What no probe should take longer than.
const BOUND: Duration = Duration::from_millis(20);

/// What every limit is set to where it is measured.
const LIMIT: Duration = Duration::from_secs(2);

/// The CPU time of a host is looked at so often, and it is idle when less than a tenth of that was used.
const SAMPLE: Duration = Duration::from_millis(10);

/// How long it is waited for that the host becomes idle.
const IDLE_PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn run(program: &Path, length: Duration) {
    println!(
        "| loops | `/`: p50 | p99 | max | above {BOUND:?} | idle after hang-up | `timeout` {LIMIT:?} | `cpu` {LIMIT:?} | SIGTERM |\n\
         |---|---|---|---|---|---|---|---|---|"
    );
    for abi in ABIS {
        let (fixed, idle) = neighbours(program, abi, length);
        let clock = limited(program, abi, &format!("timeout = \"{}s\"\ncpu = \"1m\"", LIMIT.as_secs()));
        let cpu = limited(program, abi, &format!("timeout = \"20s\"\ncpu = \"{}s\"", LIMIT.as_secs()));
        println!(
            "| {abi} | {} | {} | {} | {} of {} | {idle} | {clock} | {cpu} | {} |",
            fixed.at(0.5),
            fixed.at(0.99),
            fixed.at(1.0),
            fixed.count_above(BOUND),
            fixed.len(),
            terminated(program, abi)
        );
    }
}

fn begin(server: &Server) -> Vec<Conn> {
    let ask = |_| {
        let mut conn = Conn::open(server.address);
        conn.send("/hostile");
        conn
    };
    (0..HOSTILE).map(ask).collect()
}

/// How those beside them fare, from the first probe on, and how soon the host is idle when the clients have hung up.
fn neighbours(program: &Path, abi: &str, length: Duration) -> (Latencies, String) {
    let server = Server::start(program, Some((abi, "loop")), "breaker = \"off\"");
    let loops = begin(&server);
    let all = probe(&server, &[("/", "fixed\n")], length);
    drop(loops);
    let hung_up = Instant::now();
    let mut before = server.cpu_time();
    while hung_up.elapsed() < IDLE_PATIENCE {
        let at = hung_up.elapsed();
        std::thread::sleep(SAMPLE);
        let now = server.cpu_time();
        if now - before < SAMPLE / 10 {
            return (Latencies::new(all.concat()), format!("{} ms", at.as_millis()));
        }
        before = now;
    }
    (Latencies::new(all.concat()), format!("not in {IDLE_PATIENCE:?}"))
}

/// When a limit ends all of them: the first and the last, in seconds.
fn limited(program: &Path, abi: &str, limits: &str) -> String {
    let server = Server::start(program, Some((abi, "loop")), &format!("breaker = \"off\"\n{limits}"));
    let begun = Instant::now();
    let mut ends = Vec::new();
    for mut conn in begin(&server) {
        let (status, _) = conn.response();
        assert_eq!(status, 504, "{abi}: {limits}");
        ends.push(begun.elapsed().as_secs_f64());
    }
    format!("{:.2}–{:.2} s", ends[0], ends[HOSTILE - 1])
}

/// How long a drain takes that begins with them, and whether they get their answers.
fn terminated(program: &Path, abi: &str) -> String {
    let limits = format!("breaker = \"off\"\ntimeout = \"{}s\"", LIMIT.as_secs());
    let mut server = Server::start(program, Some((abi, "loop")), &limits);
    let mut loops = begin(&server);
    // All have begun when somebody else, who came later, has been answered.
    assert_eq!(Conn::open(server.address).get("/").0, 200);
    let begun = Instant::now();
    server.terminate();
    let answered = loops.iter_mut().filter_map(|conn| (conn.response().0 == 504).then_some(())).count();
    let status = server.wait();
    format!("{:.2} s, {answered} answers, {status}", begun.elapsed().as_secs_f64())
}
