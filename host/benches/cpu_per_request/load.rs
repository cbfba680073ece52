//! Clients on one core, and the CPU time of the server on the other.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::reply::Reply;
use crate::rows::Row;

/// Long enough for every pool to be warm.
pub(crate) const WARM_UP: Duration = Duration::from_millis(300);

/// No answer takes as long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Moves a running process, with all its threads, to a core.
pub(crate) fn pin(pid: u32, core: usize) {
    let pinned =
        Command::new("taskset").args(["-a", "-p", "-c", &core.to_string(), &pid.to_string()]).output();
    assert!(
        pinned.is_ok_and(|output| output.status.success()),
        "taskset (util-linux) pins process {pid} to core {core}"
    );
}

/// User and system time of all threads of a process.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the server runs");
    let run_time = |task: std::fs::DirEntry| -> Option<u64> {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    Duration::from_nanos(tasks.filter_map(|task| run_time(task.ok()?)).sum())
}

/// A connection that is kept.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server accepts");
    stream.set_nodelay(true).expect("TCP_NODELAY");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// Closed loop: sends requests on all connections, one in flight on each, and counts the answers.
pub(crate) fn run_load(address: SocketAddr, row: &Row, length: Duration) -> u64 {
    let request = row.request.as_slice();
    let mut connections: Vec<_> = (0..row.connections).map(|_| connect(address)).collect();
    let deadline = Instant::now() + length;
    let mut reply = Reply::new();
    let mut answered = 0;
    for stream in &mut connections {
        stream.write_all(request).expect("a request is sent");
    }
    // Round and round: while one answer is read, the server works on the others.
    while Instant::now() < deadline {
        for stream in &mut connections {
            while !reply.read(stream).expect("an answer comes") {}
            answered += 1;
            stream.write_all(request).expect("a request is sent");
        }
    }
    answered
}

/// So many requests on one connection, one after the other.
pub(crate) fn run_requests(stream: &mut TcpStream, request: &[u8], count: u32) {
    let mut reply = Reply::new();
    for _ in 0..count {
        stream.write_all(request).expect("a request is sent");
        while !reply.read(stream).expect("an answer comes") {}
    }
}
