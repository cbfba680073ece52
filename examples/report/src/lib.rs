//! Run with: cargo run --release -- serve
//! Then: curl -r 0-20 'http://localhost:8080/report/primes.csv?n=1000'
//!
//! net/http's helpers at work: a table that is computed within a time limit and sent as a whole, in ranges, or not at
//! all when the client has it; and a form that only pages of this site may send.

use std::{
    fmt::Write as _,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{Cursor, Write},
    sync::LazyLock,
    time::Duration,
};

use wasmux_sdk::{
    Cookie, CrossOriginProtection, Error, Handler, PatternError, Request, ResponseWriter, Result, ServeMux,
    StatusCode, max_bytes_handler, redirect, serve_content, timeout_handler,
};

/// A report that takes longer than this is given up.
const TIME_MAX: Duration = Duration::from_secs(1);
/// Bytes of a form.
const FORM_BYTES_MAX: u64 = 4096;

static MUX: LazyLock<ServeMux> =
    LazyLock::new(|| mux().expect("the patterns are valid, and no two of them conflict"));

fn mux() -> Result<ServeMux, PatternError> {
    let mut mux = ServeMux::new();
    mux.handle(
        "GET /report/primes.csv",
        timeout_handler(primes, TIME_MAX, "this takes too long: ask for fewer\n"),
    )?;
    let own_pages = CrossOriginProtection::new();
    mux.handle("POST /report/title", own_pages.handler(max_bytes_handler(set_title, FORM_BYTES_MAX)))?;
    Ok(mux)
}

/// `GET /report/primes.csv?n=1000` and `POST /report/title`.
#[wasmux_sdk::handler]
fn serve_http(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    MUX.serve_http(w, r)
}

/// The first `n` primes.
fn primes(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    let n: usize = r.query_value("n").parse().map_err(|_| Error::bad_request("n is not a number"))?;
    let title = r.cookie("title").map_or_else(|| "prime".to_owned(), |cookie| cookie.value);
    let mut table = format!("number,{title}\n");
    let primes =
        (2_u64..).filter(|number| (2..*number).take_while(|d| d * d <= *number).all(|d| number % d != 0));
    for (index, prime) in primes.take(n).enumerate() {
        writeln!(table, "{},{prime}", index + 1)?;
    }
    let mut tag = DefaultHasher::new();
    table.hash(&mut tag);
    w.set_header("ETag", format!("\"{:016x}\"", tag.finish()));
    w.set_header("Vary", "Cookie");
    serve_content(w, r, "primes.csv", None, Cursor::new(table))
}

/// Keeps the title of the second column in a cookie.
fn set_title(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    let form = r.form()?;
    let title = form.get("title").filter(|title| !title.is_empty() && title.is_ascii());
    let Some(title) = title.map(str::to_owned) else {
        w.write_header(StatusCode::UNPROCESSABLE_ENTITY);
        return Ok(w.write_all(b"title: a word of ASCII\n")?);
    };
    w.set_cookie(&Cookie { path: "/report/".into(), http_only: true, ..Cookie::new("title", title) });
    redirect(w, r, "primes.csv?n=10", StatusCode::SEE_OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmux_sdk::Recorder;

    fn get(query: &str) -> wasmux_sdk::TestRequest {
        Request::get(&format!("/report/primes.csv?{query}"))
    }

    #[test]
    fn the_table_comes_whole_in_part_or_not_at_all() {
        let whole = Recorder::serve(serve_http, get("n=3"));
        assert_eq!((whole.status().as_u16(), whole.text()), (200, "number,prime\n1,2\n2,3\n3,5\n"));
        assert_eq!(whole.header("content-type"), "text/csv; charset=utf-8");
        let part = Recorder::serve(serve_http, get("n=3").header("range", "bytes=-4"));
        assert_eq!((part.status().as_u16(), part.text()), (206, "3,5\n"));
        let known = get("n=3").header("if-none-match", whole.header("etag"));
        assert_eq!(Recorder::serve(serve_http, known).status(), 304);
        assert_eq!(Recorder::serve(serve_http, get("n=x")).status(), 400);
    }

    #[test]
    fn the_title_is_for_own_pages_to_set() {
        let post = |title: &str| Request::post("/report/title").form(&[("title", title)]);
        let response = Recorder::serve(serve_http, post("p"));
        assert_eq!(
            (response.status().as_u16(), response.header("location")),
            (303, "/report/primes.csv?n=10")
        );
        assert_eq!(response.header("set-cookie"), "title=p; Path=/report/; HttpOnly");
        assert_eq!(Recorder::serve(serve_http, get("n=1").cookie("title", "p")).text(), "number,p\n1,2\n");
        assert_eq!(Recorder::serve(serve_http, post("")).status(), 422);
        assert_eq!(Recorder::serve(serve_http, post(&"p".repeat(5000))).status(), 413);
        let foreign = post("p").header("sec-fetch-site", "cross-site");
        assert_eq!(Recorder::serve(serve_http, foreign).status(), 403);
    }
}
