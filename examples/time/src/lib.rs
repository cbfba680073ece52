//! Run with: cargo run --release -- serve
//! Then: curl http://localhost:8080/time/
//!
//! Answers with JSON. The clock is the host's, through WASI, so `SystemTime` works as anywhere.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use wasmux_sdk::{HeaderValue, Request, ResponseWriter, Result, header};

/// What time it is, once for people and once for programs.
#[derive(Serialize)]
struct Now {
    /// As RFC 3339 has it: `2026-11-21T20:15:00Z`.
    time: String,
    /// Seconds since 1970.
    unix: u64,
}

/// `/time/`: the time, as JSON, for any method.
#[wasmux_sdk::handler]
fn serve_http(w: &mut ResponseWriter, _r: &mut Request) -> Result<()> {
    let now = SystemTime::now();
    // Headers come before the body: the first byte written fixes them.
    w.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    w.json(&Now {
        time: humantime::format_rfc3339_seconds(now).to_string(),
        unix: now.duration_since(UNIX_EPOCH)?.as_secs(), // an error here, a clock before 1970, becomes a 500
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmux_sdk::Recorder;

    #[test]
    fn both_forms_are_the_same_time() {
        let response = Recorder::serve(serve_http, Request::get("/time/").pattern("/time/"));
        assert_eq!(response.header("content-type"), "application/json");
        assert_eq!(response.header("cache-control"), "no-store");

        let text = response.text();
        let field = |name: &str| text.split(name).nth(1).and_then(|rest| rest.split(['"', ',', '}']).next());
        let time = humantime::parse_rfc3339(field("\"time\":\"").unwrap()).unwrap();
        let unix: u64 = field("\"unix\":").unwrap().parse().unwrap();
        assert_eq!(time.duration_since(UNIX_EPOCH).unwrap().as_secs(), unix);
    }
}
