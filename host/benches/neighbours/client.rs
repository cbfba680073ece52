//! Clients: one that asks and waits, and one that has a guest misbehave again and again.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long an answer may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often those who misbehave look whether it is over.
const LOOK_UP: Duration = Duration::from_millis(50);

/// A connection of one that means no harm.
pub(crate) struct Conn(pub(crate) TcpStream);

impl Conn {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).expect("the server accepts");
        socket.set_nodelay(true).expect("TCP_NODELAY");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self(socket)
    }

    pub(crate) fn send(&mut self, target: &str) {
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.0.write_all(request.as_bytes()).expect("a request is sent");
    }

    /// Reads a response with a Content-Length: its status and its body.
    pub(crate) fn response(&mut self) -> (u16, String) {
        let mut read = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let text = String::from_utf8_lossy(&read);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                if body.len() >= length.unwrap_or(0) {
                    let status =
                        head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
                    return (status, body.to_owned());
                }
            }
            let count = self.0.read(&mut buffer).expect("an answer comes");
            assert!(count > 0, "the server closed a connection");
            read.extend_from_slice(&buffer[..count]);
        }
    }

    pub(crate) fn get(&mut self, target: &str) -> (u16, String) {
        self.send(target);
        self.response()
    }
}

/// Requests for `/hostile`, one after the other, each on a connection of its own; hangs up when dropped.
pub(crate) struct Hostile {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Hostile {
    /// Sends the first request, and goes on in a thread of its own.
    pub(crate) fn begin(address: SocketAddr) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let mut conn = Conn::open(address);
        conn.send("/hostile");
        conn.0.set_read_timeout(Some(LOOK_UP)).expect("a timeout");
        let over = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while !over.load(Ordering::Relaxed) {
                // Whatever comes is read, and the next request sent when there is an end to it.
                let is_over = match conn.0.read(&mut buffer) {
                    Ok(count) => count == 0 || buffer[..count].starts_with(b"HTTP/1.1 5"),
                    Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                };
                if is_over && !over.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                    conn = Conn::open(address);
                    conn.0.set_read_timeout(Some(LOOK_UP)).expect("a timeout");
                    conn.send("/hostile");
                }
            }
        });
        Self { ended, thread: Some(thread) }
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
