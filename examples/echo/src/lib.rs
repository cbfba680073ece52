//! Run with: cargo run --release -- serve
//! Then: (echo one; sleep 1; echo two) | curl -N -T- http://localhost:8080/echo
//!
//! Sends the body back while it is still arriving: reading and writing take turns, and nothing is kept.

use std::io::{Read, Write};

use wasmux_sdk::{HeaderName, HeaderValue, Request, ResponseWriter, Result, header};

/// `/echo`: the request's body, type and trailers as the response's.
#[wasmux_sdk::handler]
fn serve_http(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    if let Some(content_type) = r.headers().get(header::CONTENT_TYPE) {
        w.headers_mut().insert(header::CONTENT_TYPE, content_type.clone());
    }
    // A client of HTTP/1.1 only gets trailers that were announced, and these are the ones it announced to us.
    for names in r.headers().get_all(header::TRAILER) {
        w.headers_mut().append(header::TRAILER, names.clone());
    }

    let mut chunk = [0; 16 * 1024];
    loop {
        let count = r.read(&mut chunk)?;
        if count == 0 {
            break;
        }
        w.write_all(&chunk[..count])?;
        w.flush()?; // what has come goes out now, not when 2048 bytes are together
    }

    let trailers: Vec<(HeaderName, HeaderValue)> =
        r.trailers().iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    for (name, value) in trailers {
        w.add_trailer(name, value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmux_sdk::Recorder;

    #[test]
    fn sends_every_chunk_back_at_once() {
        let request = Request::post("/echo").header("content-type", "text/css").chunks(["one", "and", "two"]);
        let response = Recorder::serve(serve_http, request);
        assert_eq!(response.header("content-type"), "text/css");
        assert_eq!(response.text(), "oneandtwo");
        assert_eq!(response.flushes(), [3, 6, 9]);
    }

    #[test]
    fn nothing_comes_back_as_nothing() {
        let response = Recorder::serve(serve_http, Request::get("/echo"));
        assert_eq!((response.status().as_u16(), response.body()), (200, &b""[..]));
    }

    #[test]
    fn trailers_come_back_as_trailers() {
        let request = Request::post("/echo").header("trailer", "x-sum").chunks(["a"]).trailer("x-sum", "97");
        let response = Recorder::serve(serve_http, request);
        assert_eq!(response.header("trailer"), "x-sum");
        assert_eq!(response.trailers()["x-sum"], "97");
    }

    #[test]
    fn a_broken_request_breaks_the_response_off() {
        let response = Recorder::serve(serve_http, Request::post("/echo").chunks(["half"]).broken_body());
        assert_eq!(response.text(), "half");
        assert!(response.is_broken_off());
    }
}
