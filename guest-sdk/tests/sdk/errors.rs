use std::io::{self, Write};

use super::get;
use wasmux_sdk::{Error, HeaderValue, StatusCode, header};

#[test]
fn an_error_before_anything_was_sent_is_the_response() {
    let response = get(|w, _| {
        w.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
        w.write_header(StatusCode::CREATED);
        w.write_all(b"half of a small answer")?; // not flushed, so it never leaves
        Err(io::Error::other("password of the database is 1234").into())
    });
    assert_eq!((response.status().as_u16(), response.text()), (500, "internal server error\n"));
    assert_eq!(response.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(response.header("x-content-type-options"), "nosniff");
    assert_eq!(response.header("cache-control"), "");
    assert!(!response.is_broken_off());
}

#[test]
fn an_error_after_something_was_sent_breaks_the_response_off() {
    let response = get(|w, _| {
        w.write_all(b"half")?;
        w.flush()?;
        Err(Error::bad_request("too late"))
    });
    assert_eq!((response.status().as_u16(), response.text()), (200, "half"));
    assert!(response.is_broken_off());
}

#[test]
fn the_status_and_sentence_of_an_error_are_the_clients() {
    let response = get(|_, _| Err(Error::new(StatusCode::CONFLICT, "taken").caused_by("row 17")));
    assert_eq!((response.status().as_u16(), response.text()), (409, "taken\n"));
}

#[test]
fn any_error_will_do_with_a_question_mark() {
    let response = get(|w, r| {
        let number: u32 = r.query_value("n").parse()?;
        Ok(write!(w, "{number}")?)
    });
    assert_eq!((response.status().as_u16(), response.text()), (500, "internal server error\n"));
}
