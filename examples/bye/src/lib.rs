//! Run with: cargo run --release -- serve
//! Then: curl http://localhost:8080/bye?ms=250
//!
//! Takes its time. A sleeping guest holds no thread of the host: a thousand of them sleep side by side. Try it to see
//! what the server does with slow requests when it is told to stop, to restart, or to give up after a timeout.

use std::{io::Write, thread, time::Duration};

use wasmux_sdk::{Error, Request, ResponseWriter, Result};

/// Longest sleep, in milliseconds; asking for more is a `400`.
const SLEEP_MS_MAX: u64 = 10_000;

/// `/bye?ms=N`: sleeps N milliseconds, 1000 if not told, then says goodbye.
#[wasmux_sdk::handler]
fn serve_http(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    let ms = match r.query_value("ms") {
        "" => 1000,
        text => text.parse().ok().filter(|ms| *ms <= SLEEP_MS_MAX).ok_or_else(|| {
            Error::bad_request(format!("ms must be a number of milliseconds, at most {SLEEP_MS_MAX}"))
        })?,
    };
    thread::sleep(Duration::from_millis(ms));
    writeln!(w, "bye")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;
    use wasmux_sdk::Recorder;

    #[test]
    fn sleeps_before_it_answers() {
        let start = Instant::now();
        let response = Recorder::serve(serve_http, Request::get("/bye?ms=30"));
        assert!(start.elapsed() >= Duration::from_millis(30));
        assert_eq!(response.text(), "bye\n");
    }

    #[test]
    fn refuses_what_is_no_time() {
        for query in ["ms=10001", "ms=-1", "ms=soon"] {
            let response = Recorder::serve(serve_http, Request::get(&format!("/bye?{query}")));
            assert_eq!(response.status(), 400, "{query}");
            assert_eq!(response.text(), "ms must be a number of milliseconds, at most 10000\n");
        }
    }
}
