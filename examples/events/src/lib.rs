//! Run with: cargo run --release -- serve
//! Then: curl -N 'http://localhost:8080/events?n=5&ms=200'
//!
//! Server-sent events, as a browser's `EventSource` reads them: each event is flushed when it happens.

use std::{io::Write, thread, time::Duration};

use wasmux_sdk::{Error, HeaderValue, Request, ResponseWriter, Result, header};

/// Most events in a response; asking for more is a `400`.
const EVENTS_MAX: u64 = 10_000;
/// Longest pause between two events, in milliseconds; asking for a longer one is a `400`.
const PAUSE_MS_MAX: u64 = 10_000;

/// `GET /events?n=5&ms=200`: n events, ms milliseconds apart.
#[wasmux_sdk::handler]
fn serve_http(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    let count = number(r, "n", 5, EVENTS_MAX)?;
    let pause = Duration::from_millis(number(r, "ms", 200, PAUSE_MS_MAX)?);
    // A browser that lost the connection comes back with the last id it saw, and goes on behind it.
    let first = r.header("last-event-id").parse::<u64>().map_or(1, |last| last.saturating_add(1));

    w.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    w.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    w.flush()?; // the client learns at once that it is connected
    for id in first..=count {
        thread::sleep(pause);
        write!(w, "id: {id}\nevent: tick\ndata: tick {id} of {count}\n\n")?;
        w.flush()?; // fails when the client is gone, and that ends the handler
    }
    Ok(())
}

/// A number from the query: `otherwise` if it is not there, and at most `max`.
fn number(r: &Request, name: &str, otherwise: u64, max: u64) -> Result<u64> {
    match r.query_value(name) {
        "" => Ok(otherwise),
        text => text
            .parse()
            .ok()
            .filter(|number| *number <= max)
            .ok_or_else(|| Error::bad_request(format!("{name} must be a number, at most {max}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmux_sdk::Recorder;

    #[test]
    fn every_event_is_flushed() {
        let response = Recorder::serve(serve_http, Request::get("/events?n=2&ms=0"));
        assert_eq!(response.header("content-type"), "text/event-stream");
        assert_eq!(
            response.text(),
            "id: 1\nevent: tick\ndata: tick 1 of 2\n\nid: 2\nevent: tick\ndata: tick 2 of 2\n\n"
        );
        assert_eq!(response.flushes().len(), 3); // the head, and each event
    }

    #[test]
    fn goes_on_behind_the_last_event() {
        let request = Request::get("/events?n=3&ms=0").header("last-event-id", "2");
        let response = Recorder::serve(serve_http, request);
        assert_eq!(response.text(), "id: 3\nevent: tick\ndata: tick 3 of 3\n\n");
    }

    #[test]
    fn stops_when_the_client_is_gone() {
        let response =
            Recorder::serve(serve_http, Request::get("/events?n=1000&ms=0").client_gone_after(100));
        assert!(response.body().len() < 200);
    }

    #[test]
    fn refuses_what_is_no_number() {
        for query in ["n=10001", "ms=x"] {
            let response = Recorder::serve(serve_http, Request::get(&format!("/events?{query}")));
            assert_eq!(response.status(), 400, "{query}");
        }
    }
}
