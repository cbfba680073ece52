//! What was acknowledged survives `kill -9`.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::{GRANT, MODULE, ask, site};
use crate::support::DEADLINE;

const WRITERS: usize = 8;
/// Writes that must have been acknowledged before the program is killed, each time.
const WRITES: u64 = 200;
const CRASHES: u64 = 3;

/// Writes one key after the other until the server is gone, and notes what was acknowledged.
fn write_on(
    address: SocketAddr,
    writer: usize,
    round: u64,
    noted: &Mutex<BTreeMap<String, u64>>,
    count: &AtomicU64,
) {
    let Ok(mut socket) = TcpStream::connect(address) else { return };
    for number in 0.. {
        // Some keys are written again and again, so that what is there must be the latest.
        let key = format!("w{writer}-{}", number % 50);
        let value = round * 1_000_000 + number;
        let request = format!("GET /?store=s&do=set&key={key}&value={value} HTTP/1.1\r\n{MODULE}\r\n\r\n");
        if socket.write_all(request.as_bytes()).is_err() {
            return;
        }
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\n()") {
            let mut some = [0; 4096];
            match socket.read(&mut some) {
                Ok(0) | Err(_) => return,
                Ok(length) => response.extend(&some[..length]),
            }
        }
        noted.lock().unwrap().insert(key, value);
        count.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn nothing_acknowledged_is_lost() {
    let noted = Arc::<Mutex<BTreeMap<String, u64>>>::default();
    let mut server = site("[kv.s]", GRANT, GRANT).serve();
    for round in 1..=CRASHES {
        let count = Arc::<AtomicU64>::default();
        let address = server.address();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (noted, count) = (Arc::clone(&noted), Arc::clone(&count));
                std::thread::spawn(move || write_on(address, writer, round, &noted, &count))
            })
            .collect();
        let begun = Instant::now();
        while count.load(Ordering::Relaxed) < WRITES {
            assert!(begun.elapsed() < DEADLINE, "the writers do not get on");
            std::thread::yield_now();
        }
        server.signal("KILL");
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        server = server.start_again();
        for (key, &acknowledged) in noted.lock().unwrap().iter() {
            let found = ask(&server, MODULE, &format!("do=get&key={key}"));
            let found: u64 = found.trim_start_matches("Some(\"").trim_end_matches("\")").parse().unwrap();
            // What was written last may be there without having been acknowledged.
            assert!(found >= acknowledged, "{key}: {found}, though {acknowledged} was acknowledged");
        }
    }
    assert!(noted.lock().unwrap().len() >= WRITERS);
}
