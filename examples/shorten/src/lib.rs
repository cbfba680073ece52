//! Run with: cargo run --release -- serve
//! Then: `curl -d https://example.com/a/long/one http://localhost:8080/s/`
//! And: curl -i http://localhost:8080/s/CODE
//!
//! Short links in the key-value store `links`, kept for a day unless `?ttl=` says how many seconds.

use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use wasmux_sdk::{
    Error, HeaderValue, Request, ResponseWriter, Result, StatusCode, header, kv, not_found, redirect,
};

/// Longest link, in bytes.
const LINK_BYTES_MAX: u64 = 2048;
/// How long a link is kept if nothing else is said, and at most, in seconds.
const TTL_SECONDS: u64 = 86_400;
const TTL_SECONDS_MAX: u64 = 30 * TTL_SECONDS;

/// `POST /s/` with a link makes a short one; `GET /s/{code}` leads to where it points, as long as it is kept.
#[wasmux_sdk::handler]
fn serve_http(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    if r.method() == "POST" {
        return shorten(w, r);
    }
    match kv::open("links")?.get(r.path_value("code"))? {
        Some(link) => redirect(w, r, str::from_utf8(&link)?, StatusCode::FOUND),
        None => not_found(w, r),
    }
}

fn shorten(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    let mut link = String::new();
    r.max_bytes(LINK_BYTES_MAX).read_to_string(&mut link)?;
    let link = link.trim();
    if !link.starts_with("https://") && !link.starts_with("http://") || link.contains(char::is_whitespace) {
        return Err(Error::bad_request("send a link, with http:// or https://"));
    }
    let ttl = match r.query_value("ttl") {
        "" => Some(TTL_SECONDS),
        ttl => ttl.parse().ok().filter(|seconds| (1..=TTL_SECONDS_MAX).contains(seconds)),
    };
    let ttl = ttl.ok_or(Error::bad_request("`ttl` must be seconds, from 1 to 2592000"))?;
    let code = code(link);
    kv::open("links")?.set_for(&code, link, Duration::from_secs(ttl))?;
    w.headers_mut().insert(header::LOCATION, HeaderValue::try_from(format!("/s/{code}"))?);
    w.write_header(StatusCode::CREATED);
    Ok(writeln!(w, "/s/{code}")?)
}

/// The same link has the same code: FNV-1a of 64 bits, in letters and digits. Who must not guess links, draws lots instead.
fn code(link: &str) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let hash = link.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (0..13).map(|digit| DIGITS[(hash >> (digit * 5)) as usize % DIGITS.len()] as char).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmux_sdk::{Recorder, TestRequest};

    const LINK: &str = "https://example.com/a?b=c";

    fn serve(request: TestRequest, links: &kv::Store) -> Recorder {
        Recorder::serve(serve_http, request.kv("links", links))
    }

    fn follow(path: &str, links: &kv::Store) -> Recorder {
        serve(Request::get(path).pattern("GET /s/{code}"), links)
    }

    #[test]
    fn leads_where_it_was_told() {
        let links = kv::Store::in_memory();
        let made = serve(Request::post("/s/").body(LINK), &links);
        assert_eq!(made.status(), 201);
        let found = follow(made.header("location"), &links);
        assert_eq!((found.status().as_u16(), found.header("location")), (302, LINK));
        let again = serve(Request::post("/s/").body(LINK), &links);
        assert_eq!(again.text(), made.text());
        assert_eq!(follow("/s/other", &links).status(), 404);
    }

    #[test]
    fn refuses_what_is_no_link() {
        let links = kv::Store::in_memory();
        for body in ["", "example.com", "javascript:alert(1)", "http://a b"] {
            assert_eq!(serve(Request::post("/s/").body(body), &links).status(), 400, "{body}");
        }
        assert_eq!(serve(Request::post("/s/").body(vec![b'x'; 3000]), &links).status(), 413);
        for ttl in ["0", "-1", "x", "2592001"] {
            let request = Request::post(&format!("/s/?ttl={ttl}")).body(LINK);
            assert_eq!(serve(request, &links).status(), 400, "{ttl}");
        }
        assert_eq!(links.list("").count(), 0);
    }
}
