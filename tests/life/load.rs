//! Clients that ask without a pause and fail at anything but the answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use crate::support::{Conn, Response, http2};

/// Clients in threads of their own, until [`Load::stop`].
pub(super) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    answered: AtomicUsize,
}

impl Shared {
    fn check(&self, response: &Response, body: &str) {
        assert!(response.complete && response.status == 200 && response.text() == body, "{response:?}");
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

impl Load {
    /// Clients of each sort, which GET `target` and want `body`.
    pub(super) fn start(address: SocketAddr, target: &'static str, body: &'static str) -> Self {
        let shared = Arc::new(Shared::default());
        let mut threads = Vec::new();
        for _ in 0..4 {
            let shared = Arc::clone(&shared);
            threads.push(std::thread::spawn(move || keep_alive(&shared, address, target, body)));
        }
        for _ in 0..2 {
            let shared = Arc::clone(&shared);
            threads.push(std::thread::spawn(move || fresh(&shared, address, target, body)));
        }
        let of_http2 = Arc::clone(&shared);
        threads.push(std::thread::spawn(move || streams(&of_http2, address, target, body)));
        Self { shared, threads }
    }

    /// Waits until `count` further requests are answered.
    pub(super) fn wait_for(&self, count: usize) {
        let wanted = self.shared.answered.load(Ordering::Relaxed) + count;
        while self.shared.answered.load(Ordering::Relaxed) < wanted {
            assert!(self.threads.iter().all(|thread| !thread.is_finished()), "a client has failed");
            std::thread::yield_now();
        }
    }

    /// Ends the clients; fails if one of them had to. Answers how many requests they sent.
    pub(super) fn stop(self) -> usize {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a client without a failed request");
        }
        self.shared.answered.load(Ordering::Relaxed)
    }
}

/// One request after the other on one connection, as long as the server says that it stays open.
fn keep_alive(shared: &Shared, address: SocketAddr, target: &str, body: &str) {
    while shared.goes_on() {
        let mut conn = Conn::tcp(address);
        while shared.goes_on() {
            conn.request("GET", target, &[], b"");
            let response = conn.response();
            shared.check(&response, body);
            if response.header("connection") == Some("close") {
                assert!(conn.is_closed());
                break;
            }
        }
    }
}

/// A connection for each request.
fn fresh(shared: &Shared, address: SocketAddr, target: &str, body: &str) {
    while shared.goes_on() {
        let mut conn = Conn::tcp(address);
        conn.request("GET", target, &["Connection: close"], b"");
        shared.check(&conn.response(), body);
    }
}

/// Streams one after the other on an HTTP/2 connection, until the server says that it goes.
fn streams(shared: &Shared, address: SocketAddr, target: &str, body: &str) {
    while shared.goes_on() {
        http2::run(async {
            let (client, _) = http2::connect(address).await;
            for _ in 0..500 {
                let Ok(mut client) = client.clone().ready().await else { return };
                let Ok((response, _)) = client.send_request(http2::request("GET", target), true) else {
                    return;
                };
                match response.await {
                    Ok(response) => {
                        assert_eq!(response.status(), 200);
                        assert_eq!(http2::whole(response).await.unwrap().0, body.as_bytes());
                        shared.answered.fetch_add(1, Ordering::Relaxed);
                    }
                    // Sent after the server said that it goes, and so not looked at (RFC 9113 section 6.8).
                    Err(error) if error.is_go_away() => return,
                    Err(error) => panic!("{error}"),
                }
                if !shared.goes_on() {
                    return;
                }
            }
        });
    }
}
