use std::io::{self, ErrorKind, Read, Write};

use wasmux_sdk::{BodyError, Recorder, Request, ResponseWriter, Result, TestRequest, max_bytes_handler};

fn echo(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    io::copy(r, w)?;
    Ok(())
}

fn post(request: TestRequest, handler: impl Fn(&mut ResponseWriter, &mut Request) -> Result<()>) -> Recorder {
    Recorder::serve(handler, request)
}

#[test]
fn bodies_of_any_framing_are_read_to_their_end() {
    let long = "x".repeat(100_000);
    for body in ["", "a", long.as_str()] {
        assert_eq!(post(Request::post("/").body(body), echo).text(), body);
        let pieces = body.as_bytes().chunks(7).map(<[u8]>::to_vec);
        let response = post(Request::post("/").chunks(pieces), |w, r| {
            assert_eq!(r.content_length(), None);
            Ok(w.write_all(&r.bytes()?)?)
        });
        assert_eq!(response.text(), body);
        let response = post(Request::post("/").body(body), |w, r| {
            assert_eq!(r.content_length(), Some(body.len() as u64));
            let mut text = String::from("before ");
            r.read_to_string(&mut text)?;
            Ok(w.write_all(text.as_bytes())?)
        });
        assert_eq!(response.text(), format!("before {body}"));
    }
}

#[test]
fn the_end_is_the_end() {
    post(Request::post("/").body("ab"), |_, r| {
        assert_eq!(r.read(&mut [])?, 0);
        assert_eq!(r.bytes()?, b"ab");
        assert_eq!(r.read(&mut [0; 8])?, 0);
        assert_eq!(r.bytes()?, b"");
        Ok(())
    });
}

#[test]
fn text_has_to_be_text() {
    let response = post(Request::post("/").body(vec![0xff]), |_, r| r.text().map(drop));
    assert_eq!((response.status().as_u16(), response.text()), (400, "the request body is not UTF-8\n"));
}

#[test]
fn max_bytes_gives_out_the_limit_and_then_fails_for_ever() {
    for (size, limit, fails) in
        [(0, 0, false), (5, 5, false), (5, 6, false), (1, 0, true), (6, 5, true), (9000, 10, true)]
    {
        post(Request::post("/").body("x".repeat(size)), |_, r| {
            let mut read = Vec::new();
            let result = r.max_bytes(limit).read_to_end(&mut read);
            assert_eq!(result.is_err(), fails, "{size} bytes, limit {limit}");
            assert_eq!(read.len(), size.min(limit as usize));
            if fails {
                let error = r.read(&mut [0; 8]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::FileTooLarge);
                assert_eq!(BodyError::of(&error), Some(BodyError::TooLarge { limit: Some(limit) }));
            }
            Ok(())
        });
    }
}

#[test]
fn a_body_over_its_limit_is_413() {
    let request = Request::post("/").body("too long");
    let response = post(request, |w, r| echo(w, r.max_bytes(3)));
    assert_eq!((response.status().as_u16(), response.text()), (413, "request body too large\n"));
    let response = post(Request::post("/").chunks(["abc"]).oversized_body(), echo);
    assert_eq!(response.status(), 413);
}

#[test]
fn a_broken_body_is_400() {
    let response = post(Request::post("/").chunks(["abc"]).broken_body(), |_, r| {
        assert_eq!(r.read(&mut [0; 8])?, 3);
        let error = r.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        Err(error.into())
    });
    assert_eq!((response.status().as_u16(), response.text()), (400, "bad request body\n"));
}

#[test]
fn trailers_come_behind_the_body() {
    let request = || Request::post("/").chunks(["a"]).trailer("X-Sum", "97").trailer("x-sum", "again");
    post(request(), |_, r| {
        assert!(r.trailers().is_empty());
        r.bytes()?;
        let sums: Vec<_> = r.trailers().get_all("x-sum").iter().collect();
        assert_eq!(sums, ["97", "again"]);
        Ok(())
    });
    post(request().broken_body(), |_, r| {
        assert!(r.bytes().is_err());
        assert!(r.trailers().is_empty());
        Ok(())
    });
}

#[cfg(feature = "json")]
#[test]
fn json_is_read_or_refused() {
    let sum = |w: &mut ResponseWriter, r: &mut Request| -> Result<()> {
        let numbers: Vec<u32> = r.json()?;
        Ok(write!(w, "{}", numbers.iter().sum::<u32>())?)
    };
    assert_eq!(post(Request::post("/").json(&[1, 2, 3]), sum).text(), "6");
    let response = post(Request::post("/").body("[1, \"x\"]"), sum);
    assert_eq!(response.status(), 400);
    assert!(response.text().starts_with("invalid JSON: invalid type"), "{}", response.text());
}

#[test]
fn limits_of_handlers_by_size() {
    let table: [(u64, usize, bool); 9] = [
        (0, 0, true),
        (0, 1, false),
        (1, 0, true),
        (1, 1, true),
        (5, 4, true),
        (5, 5, true),
        (5, 6, false),
        (2048, 2048, true),
        (2048, 100_000, false),
    ];
    for (limit, size, fits) in table {
        for request in [
            Request::post("/").body(vec![b'x'; size]),
            Request::post("/").chunks(vec![b'x'; size].chunks(7).map(<[u8]>::to_vec)),
        ] {
            let response = Recorder::serve(max_bytes_handler(echo, limit), request);
            let want = if fits { (200, size, "") } else { (413, "request body too large\n".len(), "close") };
            let got = (response.status().as_u16(), response.body().len(), response.header("connection"));
            assert_eq!(got, want, "{size} bytes of {limit}");
        }
    }
}

#[test]
fn the_smaller_of_two_limits_counts() {
    for (outer, inner) in [(3, 5), (5, 3)] {
        let handler = max_bytes_handler(
            move |w: &mut ResponseWriter, r: &mut Request| {
                let error = r.max_bytes(inner).bytes().unwrap_err();
                Ok(write!(w, "{error}")?)
            },
            outer,
        );
        let response = Recorder::serve(handler, Request::post("/").body("12345678"));
        assert_eq!(response.text(), "request body too large: request body is longer than 3 bytes");
        // The handler has dealt with it; the rest of the body is in the way of another request all the same.
        assert_eq!((response.status().as_u16(), response.header("connection")), (200, "close"));
    }
}
