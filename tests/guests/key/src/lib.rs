//! A middleware made with the SDK: requests with `X-Key: open` pass to the handler behind.
//!
//! `/old…` goes on as `/puppet…` without the key, and comes back with `X-Moved`; under `/loud` the response is copied in
//! upper case; everything else is forwarded.

use std::io::{Read, Write};

use wasmux_sdk::{
    HeaderValue, NextRequest, Request, ResponseWriter, Result, StatusCode, error, next, strip_prefix,
};

/// Asks for the key, then calls the handler behind.
#[wasmux_sdk::handler]
fn serve_http(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    if r.header("x-key") != "open" {
        return error(w, "no key", StatusCode::UNAUTHORIZED);
    }
    w.headers_mut().insert("x-checked", HeaderValue::from_static("yes"));
    if let Some(rest) = r.target().strip_prefix("/old") {
        let target = format!("/puppet{rest}");
        let mut request = NextRequest::new(r).target(target);
        request.headers_mut().remove("x-key");
        let mut response = request.send()?;
        response.headers_mut().insert("x-moved", HeaderValue::from_static("yes"));
        return response.send_to(w);
    }
    if r.path().starts_with("/loud") {
        let mut response = NextRequest::new(r).send()?;
        let mut text = String::new();
        response.read_to_string(&mut text)?;
        w.write_header(response.status());
        return Ok(w.write_all(text.to_uppercase().as_bytes())?);
    }
    if r.path().starts_with("/api") {
        return wasmux_sdk::Handler::serve_http(&strip_prefix("/api", next), w, r);
    }
    next(w, r)
}
