//! kill -9 at any moment.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::{says, site};
use crate::support::DEADLINE;

const TEXTS: [&str; 2] = ["two", "three"];

/// Deploys a version; whether that was acknowledged.
fn put(socket: &Path, text: &str) -> io::Result<()> {
    let (mut stream, module, mut answer) = (UnixStream::connect(socket)?, says(text), String::new());
    let head = "PUT /v1/handlers/hello/module?form=wat HTTP/1.1\r\nHost: a\r\nContent-Length";
    write!(stream, "{head}: {}\r\n\r\n{module}", module.len())?;
    stream.read_to_string(&mut answer)?;
    let is_whole = answer.starts_with("HTTP/1.1 200") && answer.ends_with("}\n");
    if is_whole { Ok(()) } else { Err(io::Error::other(answer)) }
}

#[test]
fn what_was_acknowledged_is_served_again() {
    let mut server = site().serve();
    let mut last = None;
    for round in 0..12 {
        // Which was acknowledged, and which was asked for, as indices into a sequence that alternates.
        let (acknowledged, asked) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (killed, socket) = (AtomicBool::new(false), server.site.path(".wasmux/admin.sock"));
        thread::scope(|scope| {
            scope.spawn(|| {
                for count in 1.. {
                    let text = TEXTS[count % 2];
                    asked.store(count, Ordering::SeqCst);
                    if let Err(error) = put(&socket, text) {
                        assert!(killed.load(Ordering::SeqCst), "{error}");
                        return;
                    }
                    acknowledged.store(count, Ordering::SeqCst);
                }
            });
            // At least one, and then any moment of the ones that follow.
            let begun = std::time::Instant::now();
            while acknowledged.load(Ordering::SeqCst) == 0 {
                assert!(begun.elapsed() < DEADLINE);
                thread::yield_now();
            }
            thread::sleep(Duration::from_micros(1_700 * round));
            killed.store(true, Ordering::SeqCst);
            server.signal("KILL");
        });
        server = server.start_again();
        let (acknowledged, asked) = (acknowledged.into_inner(), asked.into_inner());
        let served = server.get("/").text();
        let good = [TEXTS[acknowledged % 2], TEXTS[asked % 2]];
        assert!(good.contains(&&*served), "round {round}: {served}, not of {good:?}");
        last = Some(served);
    }
    assert!(last.is_some());
}
