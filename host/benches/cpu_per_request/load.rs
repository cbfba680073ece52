//! Clients on one core, and the CPU time of the server on the other.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

/// Keep-alive connections, each with one request at a time.
const CONNECTIONS: usize = 64;

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

/// Sends requests on all connections, one in flight on each, and counts the answers.
pub(crate) fn run_load(address: SocketAddr, path: &str, length: Duration) -> u64 {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let connect = |_| {
        let stream = TcpStream::connect(address).expect("the server accepts");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        stream
    };
    let mut connections: Vec<_> = (0..CONNECTIONS).map(connect).collect();
    let deadline = Instant::now() + length;
    let mut buffer = [0; 4096];
    let mut answered = 0;
    for stream in &mut connections {
        stream.write_all(request.as_bytes()).expect("a request is sent");
    }
    // Round and round: while one answer is read, the server works on the other 63.
    while Instant::now() < deadline {
        for stream in &mut connections {
            let mut read = 0;
            while !is_complete(&buffer[..read]) {
                let count = stream.read(&mut buffer[read..]).expect("an answer comes");
                assert!(count > 0, "the server closed a connection");
                read += count;
            }
            assert!(buffer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&buffer[..read]));
            answered += 1;
            stream.write_all(request.as_bytes()).expect("a request is sent");
        }
    }
    answered
}

/// Every row answers with a text that ends in a line feed behind the blank line.
fn is_complete(answer: &[u8]) -> bool {
    answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .is_some_and(|at| answer.len() > at + 4 && answer.ends_with(b"\n"))
}
