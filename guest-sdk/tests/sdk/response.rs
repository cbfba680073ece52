use std::io::{ErrorKind, Write};

use super::get;
use wasmux_sdk::{BodyError, HeaderValue, Recorder, Request, StatusCode, header};

#[test]
fn nothing_is_200_and_empty() {
    let response = get(|_, _| Ok(()));
    assert_eq!((response.status().as_u16(), response.body()), (200, &b""[..]));
    assert_eq!(response.header("content-length"), "0");
    assert_eq!(response.header("content-type"), "");
}

#[test]
fn up_to_2048_bytes_leave_in_one_piece() {
    for (pieces, is_streamed) in [
        (vec![0], false),
        (vec![1], false),
        (vec![2047], false),
        (vec![2048], false),
        (vec![1; 2048], false),
        (vec![1024, 1024], false),
        (vec![2049], true),
        (vec![1; 2049], true),
        (vec![2048, 1], true),
        (vec![1, 65_536], true),
    ] {
        let total: usize = pieces.iter().sum();
        let response = get(|w, _| {
            pieces.iter().try_for_each(|count| w.write_all(&vec![b'x'; *count]))?;
            Ok(())
        });
        assert_eq!(response.body().len(), total, "{total}");
        assert_eq!(response.is_streamed(), is_streamed, "{total}");
        let length = if is_streamed { String::new() } else { total.to_string() };
        assert_eq!(response.header("content-length"), length, "{total}");
    }
}

#[test]
fn a_flush_makes_a_stream() {
    let response = get(|w, _| {
        w.write_all(b"a")?;
        w.flush()?;
        w.write_all(b"b")?;
        w.flush()?;
        w.flush()?;
        w.write_all(b"c")?;
        Ok(())
    });
    assert!(response.is_streamed() && response.is_flushed());
    assert_eq!((response.text(), response.flushes()), ("abc", &[1, 2, 2][..]));
    assert_eq!(response.header("content-type"), "text/plain; charset=utf-8");
}

#[test]
fn a_flush_before_the_first_byte_leaves_the_type_out() {
    let response = get(|w, _| {
        w.flush()?;
        w.write_all(b"<html>")?;
        Ok(())
    });
    assert_eq!((response.header("content-type"), response.text()), ("", "<html>"));
}

#[test]
fn the_type_is_guessed_unless_there_is_one_or_the_body_is_encoded() {
    let table = [
        (None, "text/html; charset=utf-8"),
        (Some((header::CONTENT_TYPE, "image/png")), "image/png"),
        (Some((header::CONTENT_TYPE, "")), ""),
        (Some((header::CONTENT_ENCODING, "gzip")), ""),
        (Some((header::CONTENT_ENCODING, "")), "text/html; charset=utf-8"),
        (Some((header::TRANSFER_ENCODING, "chunked")), ""),
    ];
    for (field, want) in table {
        let response = get(|w, _| {
            if let Some((name, value)) = field.clone() {
                w.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            w.write_all(b"<html>")?;
            Ok(())
        });
        assert_eq!(response.header("content-type"), want, "{field:?}");
    }
}

#[test]
fn the_type_is_guessed_from_the_first_block() {
    let response = get(|w, _| {
        w.write_all(b"<ht")?;
        w.write_all(b"ml>")?;
        w.write_all(&[0; 4096])?;
        Ok(())
    });
    assert_eq!(response.header("content-type"), "text/html; charset=utf-8");
}

#[test]
fn headers_are_fixed_by_write_header_and_by_the_first_write() {
    let response = get(|w, _| {
        w.headers_mut().insert("x-before", HeaderValue::from_static("1"));
        w.write_header(StatusCode::CREATED);
        assert_eq!(w.status(), Some(StatusCode::CREATED));
        w.headers_mut().insert("x-after", HeaderValue::from_static("1"));
        w.headers_mut().remove("x-before");
        w.write_header(StatusCode::OK); // superfluous: ignored and logged
        w.write_all(b"x")?;
        Ok(())
    });
    assert_eq!(response.status(), 201);
    assert_eq!((response.header("x-before"), response.header("x-after")), ("1", ""));

    let response = get(|w, _| {
        assert_eq!(w.write(b"")?, 0); // even an empty write fixes them, as in net/http
        w.headers_mut().insert("x-after", HeaderValue::from_static("1"));
        Ok(())
    });
    assert_eq!(response.header("x-after"), "");
}

#[test]
fn repeated_headers_stay_in_order() {
    let response = get(|w, _| {
        for value in ["1", "2", "3"] {
            w.headers_mut().append("x-many", HeaderValue::from_static(value));
        }
        Ok(())
    });
    let values: Vec<_> = response.headers().get_all("x-many").iter().collect();
    assert_eq!(values, ["1", "2", "3"]);
}

#[test]
fn interim_responses_do_not_fix_the_head() {
    let response = get(|w, _| {
        w.headers_mut().insert(header::LINK, HeaderValue::from_static("</a.css>"));
        w.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("2"));
        w.write_header(StatusCode::EARLY_HINTS);
        w.write_header(StatusCode::SWITCHING_PROTOCOLS); // ignored and logged
        w.write_header(StatusCode::ACCEPTED);
        w.write_all(b"ok")?;
        Ok(())
    });
    let [(status, headers)] = response.interim() else { panic!("one interim response") };
    assert_eq!(
        (status.as_u16(), headers.len(), &headers["link"]),
        (103, 1, &HeaderValue::from_static("</a.css>"))
    );
    assert_eq!((response.status().as_u16(), response.text()), (202, "ok"));
}

#[test]
fn statuses_without_a_body_refuse_one() {
    for status in [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED] {
        let response = get(|w, _| {
            w.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/css"));
            w.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("3"));
            w.write_header(status);
            let error = w.write(b"abc").unwrap_err();
            assert_eq!(BodyError::of(&error), Some(BodyError::NotAllowed));
            assert_eq!(w.write(b"")?, 0);
            Ok(())
        });
        let want_type = if status == StatusCode::NO_CONTENT { "text/css" } else { "" };
        assert_eq!((response.status(), response.header("content-type")), (status, want_type));
        assert_eq!((response.header("content-length"), response.body()), ("", &b""[..]));
    }
}

#[test]
fn head_is_answered_like_get_without_a_body() {
    let handler = |count: usize| {
        Recorder::serve(
            move |w: &mut wasmux_sdk::ResponseWriter, _: &mut Request| Ok(w.write_all(&vec![b'x'; count])?),
            Request::head("/"),
        )
    };
    for (count, length, kind) in
        [(0, "", ""), (5, "5", "text/plain; charset=utf-8"), (5000, "", "text/plain; charset=utf-8")]
    {
        let response = handler(count);
        assert_eq!(
            (response.header("content-length"), response.header("content-type")),
            (length, kind),
            "{count}"
        );
        assert_eq!(response.body(), b"");
        assert!(!response.is_broken_off());
    }
}

#[test]
fn head_may_declare_a_length_and_write_nothing() {
    let handler = |w: &mut wasmux_sdk::ResponseWriter, _: &mut Request| {
        w.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("1000000"));
        Ok(())
    };
    let response = Recorder::serve(handler, Request::head("/"));
    assert_eq!(response.header("content-length"), "1000000");
    assert!(!response.is_broken_off());
}

fn with_length(length: &'static str, body: &[u8]) -> Recorder {
    get(|w, _| {
        w.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static(length));
        w.write_all(body)?;
        Ok(())
    })
}

#[test]
fn a_declared_length_is_kept_and_enforced() {
    let exact = with_length("3", b"abc");
    assert_eq!((exact.header("content-length"), exact.text(), exact.is_broken_off()), ("3", "abc", false));
    let streamed = with_length("5000", &[b'x'; 5000]);
    assert_eq!((streamed.header("content-length"), streamed.is_streamed()), ("5000", true));
    assert!(!streamed.is_broken_off());
    assert!(with_length("4", b"abc").is_broken_off());

    // Too much: the whole write is refused, and here becomes a 500, since nothing was sent.
    let response = with_length("2", b"abc");
    assert_eq!((response.status().as_u16(), response.text()), (500, "internal server error\n"));
    // Ignored, what was written before stands.
    let response = get(|w, _| {
        w.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("2"));
        w.write_all(b"ab")?;
        let error = w.write(b"c").unwrap_err();
        assert_eq!(BodyError::of(&error), Some(BodyError::ContentLength));
        Ok(())
    });
    assert_eq!((response.status().as_u16(), response.text()), (200, "ab"));
}

#[test]
fn an_unusable_length_is_left_out_and_makes_a_stream() {
    for length in ["-1", "x", "", "9223372036854775808"] {
        let response = with_length(length, b"abc");
        assert_eq!((response.header("content-length"), response.text()), ("", "abc"), "{length}");
        assert!(response.is_streamed());
    }
}

#[test]
fn announced_trailers_are_taken_from_the_headers() {
    let response = get(|w, _| {
        w.headers_mut().insert(header::TRAILER, HeaderValue::from_static("X-Sum, x-none , content-type"));
        w.write_all(b"abc")?;
        w.headers_mut().insert("x-sum", HeaderValue::from_static("294"));
        w.headers_mut().insert("x-other", HeaderValue::from_static("no"));
        Ok(())
    });
    assert_eq!(response.header("trailer"), "X-Sum, x-none , content-type");
    assert_eq!((response.header("content-length"), response.header("x-sum")), ("", ""));
    assert_eq!(response.trailers().len(), 1);
    assert_eq!(response.trailers()["x-sum"], "294");
}

#[test]
fn added_trailers_need_no_announcement() {
    let response = get(|w, _| {
        w.write_all(b"abc")?;
        w.flush()?;
        w.add_trailer("grpc-status".parse()?, HeaderValue::from_static("0"));
        w.add_trailer(header::CONTENT_LENGTH, HeaderValue::from_static("3")); // never a trailer
        Ok(())
    });
    assert_eq!(response.trailers().len(), 1);
    assert_eq!(response.trailers()["grpc-status"], "0");
}

#[test]
fn writing_to_a_client_that_has_gone_is_a_broken_pipe() {
    let handler = |w: &mut wasmux_sdk::ResponseWriter, r: &mut Request| {
        assert!(!r.client_gone());
        w.write_all(&[b'x'; 4096])?;
        assert!(r.client_gone());
        let error = w.write_all(&[b'x'; 4096]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert_eq!(w.flush().unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(w.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe); // and so ever after
        Err(error.into())
    };
    let response = Recorder::serve(handler, Request::get("/").client_gone_after(4096));
    assert_eq!((response.status().as_u16(), response.body().len()), (200, 4096));
}

#[test]
fn cookies_are_headers_of_their_own() {
    let response = get(|w, _| {
        w.set_cookie(&wasmux_sdk::Cookie::new("a", "1"));
        w.set_cookie(&wasmux_sdk::Cookie::new("b", "2"));
        w.set_cookie(&wasmux_sdk::Cookie::new("bad name", "3"));
        Ok(())
    });
    let cookies: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
}

#[cfg(feature = "json")]
#[test]
fn json_sets_its_type_unless_there_is_one() {
    let response = get(|w, _| w.json(&[1, 2]));
    assert_eq!((response.header("content-type"), response.text()), ("application/json", "[1,2]\n"));
    let response = get(|w, _| {
        w.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        w.json("x")
    });
    assert_eq!((response.header("content-type"), response.text()), ("application/problem+json", "\"x\"\n"));
}
