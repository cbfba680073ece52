//! Run with: cargo run --release -- serve
//! Then: curl -H 'Authorization: Bearer change-me' http://localhost:8080/gateway/healthz
//!
//! A middleware: whoever brings the key gets through to the server that `next` names in routes.toml, which is a proxy; others
//! get 401. The key stays here; that it was right is all that the server is told, as `x-authenticated`.

use wasmux_sdk::{
    HeaderValue, NextRequest, Request, ResponseWriter, Result, StatusCode, config, error, header,
};

#[wasmux_sdk::handler]
fn serve_http(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    let sent = r.header("authorization").strip_prefix("Bearer ").unwrap_or_default().to_owned();
    let key = config::get("API_KEY").unwrap_or_default();
    if key.is_empty() || !is_same(sent.as_bytes(), key.as_bytes()) {
        w.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return error(w, "the key is missing or wrong", StatusCode::UNAUTHORIZED);
    }
    let target = r.target().strip_prefix("/gateway").unwrap_or(r.target()).to_owned();
    let mut request = NextRequest::new(r).target(target);
    request.headers_mut().remove(header::AUTHORIZATION);
    request.headers_mut().insert("x-authenticated", HeaderValue::from_static("yes"));
    request.send()?.send_to(w)
}

/// Takes as long for a wrong key as for a right one of the same length.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use wasmux_sdk::{Recorder, TestRequest};

    use super::*;

    fn ask(request: TestRequest) -> Recorder {
        let behind = |w: &mut ResponseWriter, r: &mut Request| {
            let (key, checked) = (r.header("authorization"), r.header("x-authenticated"));
            Ok(write!(w, "{} {key:?} {checked:?}", r.path())?)
        };
        Recorder::serve(serve_http, request.config("API_KEY", "k3y").next(behind))
    }

    #[test]
    fn the_key_opens() {
        let response = ask(Request::get("/gateway/a?b").header("authorization", "Bearer k3y"));
        assert_eq!((response.status().as_u16(), response.text()), (200, "/a \"\" \"yes\""));
    }

    #[test]
    fn nothing_else_does() {
        for sent in ["", "Bearer ", "Bearer k3", "Bearer k3y2", "Basic k3y", "k3y"] {
            let response = ask(Request::get("/gateway/a").header("authorization", sent));
            assert_eq!(response.status(), 401, "{sent}");
        }
        let no_key = Request::get("/gateway/a").header("authorization", "Bearer ");
        assert_eq!(Recorder::serve(serve_http, no_key).status(), 401);
    }
}
