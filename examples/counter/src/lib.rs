//! Run with: cargo run --release -- serve
//! Then: curl -X POST 'http://localhost:8080/counter/tea?by=2'
//!
//! Counters that are never above 1,000,000, in the key-value store `counters`: however many requests come at once, each
//! count is made exactly once. (Without the upper end, `increment` would do.)

use std::io::Write as _;

use wasmux_sdk::{Error, Request, ResponseWriter, Result, StatusCode, error, kv};

/// No counter goes beyond.
const COUNT_MAX: u64 = 1_000_000;
/// Tries, each of which fails only because somebody else has counted.
const TRIES_MAX: usize = 100;

/// `GET /counter/{name}` shows a counter, `POST /counter/{name}?by=n` counts: by 1 if nothing else is said.
#[wasmux_sdk::handler]
fn serve_http(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    let store = kv::open("counters")?;
    let name = r.path_value("name").to_owned();
    if r.method() != "POST" {
        let count = number(store.get(&name)?.as_deref())?;
        return Ok(writeln!(w, "{count}")?);
    }
    let by = match r.query_value("by") {
        "" => 1,
        by => by.parse().map_err(|_| Error::bad_request("`by` must be a whole number"))?,
    };
    for _ in 0..TRIES_MAX {
        let old = store.get(&name)?;
        let Some(count) = number(old.as_deref())?.checked_add(by).filter(|count| *count <= COUNT_MAX) else {
            return error(w, "this counter is at its end", StatusCode::CONFLICT);
        };
        if store.compare_and_swap(&name, old.as_deref(), count.to_string())? {
            return Ok(writeln!(w, "{count}")?);
        }
    }
    error(w, "too many count at once", StatusCode::SERVICE_UNAVAILABLE)
}

/// A stored number; there is none before the first count.
fn number(stored: Option<&[u8]>) -> Result<u64> {
    stored.map_or(Ok(0), |stored| Ok(str::from_utf8(stored)?.parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmux_sdk::{Recorder, TestRequest};

    fn serve(request: TestRequest, store: &kv::Store) -> Recorder {
        Recorder::serve(serve_http, request.pattern("/counter/{name}").kv("counters", store))
    }

    #[test]
    fn counts_and_shows() {
        let store = kv::Store::in_memory();
        assert_eq!(serve(Request::get("/counter/tea"), &store).text(), "0\n");
        assert_eq!(serve(Request::post("/counter/tea"), &store).text(), "1\n");
        assert_eq!(serve(Request::post("/counter/tea?by=41"), &store).text(), "42\n");
        assert_eq!(serve(Request::get("/counter/tea"), &store).text(), "42\n");
        assert_eq!(serve(Request::get("/counter/coffee"), &store).text(), "0\n");
        assert_eq!(serve(Request::post("/counter/tea?by=x"), &store).status(), 400);
    }

    #[test]
    fn ends_at_a_million() {
        let store = kv::Store::in_memory();
        store.set("tea", "999999").unwrap();
        assert_eq!(serve(Request::post("/counter/tea"), &store).text(), "1000000\n");
        assert_eq!(serve(Request::post("/counter/tea"), &store).status(), 409);
        assert_eq!(store.get("tea").unwrap().as_deref(), Some(&b"1000000"[..]));
    }

    #[test]
    fn is_nothing_without_its_store() {
        let response = Recorder::serve(serve_http, Request::get("/counter/tea"));
        assert_eq!(response.status(), 500);
    }
}
