use std::io::{Read, Write};

use wasmux_sdk::{Recorder, Request, ResponseWriter, Result, TestRequest};

/// One line for each part: name, file name, type, body.
fn list(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    let mut parts = r.multipart()?;
    while let Some(mut part) = parts.next_part()? {
        let kind = part.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or("-");
        write!(w, "{}|{}|{kind}|", part.name(), part.file_name().unwrap_or("-"))?;
        let mut body = String::new();
        part.read_to_string(&mut body)?;
        writeln!(w, "{body:?}")?;
    }
    Ok(())
}

fn form(boundary: &str) -> TestRequest {
    Request::post("/").header("content-type", format!("multipart/form-data; boundary=\"{boundary}\""))
}

const FORM: &str = "preamble\r\n\
    --b\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\none\r\ntwo\r\n\
    --b  \r\ncontent-disposition: form-data; name=file; filename=\"C:\\dir\\a.txt\"\r\nContent-Type: text/css\r\n\r\n\
    \r\n--bee is no boundary\r\n--b-\r\n--\r\n\
    --b\r\nContent-Disposition: form-data; name=\"empty\"\r\n\r\n\
    --b\r\n\r\nno header\
    \r\n--b--\r\nepilogue";

const PARTS: &str = "text|-|-|\"one\\r\\ntwo\"\n\
    file|a.txt|text/css|\"\\r\\n--bee is no boundary\\r\\n--b-\\r\\n--\"\n\
    empty|-|-|\"\"\n\
    |-|-|\"no header\"\n";

#[test]
fn parts_are_found_however_the_body_arrives() {
    assert_eq!(Recorder::serve(list, form("b").body(FORM)).text(), PARTS);
    for size in [1, 2, 3, 7, 64] {
        let pieces = FORM.as_bytes().chunks(size).map(<[u8]>::to_vec);
        assert_eq!(Recorder::serve(list, form("b").chunks(pieces)).text(), PARTS, "{size}");
    }
}

#[test]
fn parts_may_be_skipped_or_read_byte_by_byte() {
    let handler = |w: &mut ResponseWriter, r: &mut Request| -> Result<()> {
        let mut parts = r.multipart()?;
        let _ = parts.next_part()?;
        let Some(mut file) = parts.next_part()? else { panic!("there are four") };
        let mut byte = [0];
        while file.read(&mut byte)? > 0 {
            w.write_all(&byte)?;
        }
        assert_eq!(file.read(&mut byte)?, 0);
        Ok(())
    };
    let response = Recorder::serve(handler, form("b").body(FORM));
    assert_eq!(response.text(), "\r\n--bee is no boundary\r\n--b-\r\n--");
}

#[test]
fn large_parts_stream_through() {
    let big = "0123456789abcdef\r\n".repeat(100_000);
    let body = format!("--b\r\nContent-Disposition: form-data; name=\"big\"\r\n\r\n{big}\r\n--b--");
    let handler = |w: &mut ResponseWriter, r: &mut Request| -> Result<()> {
        let mut parts = r.multipart()?;
        let mut part = parts.next_part()?.expect("one part");
        let size = std::io::copy(&mut part, &mut std::io::sink())?;
        assert!(parts.next_part()?.is_none() && parts.next_part()?.is_none());
        Ok(write!(w, "{size}")?)
    };
    let response = Recorder::serve(handler, form("b").body(body));
    assert_eq!(response.text(), big.len().to_string());
}

#[test]
fn what_is_no_form_is_refused() {
    let part = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx";
    let long_line = format!("--b\r\nx-long: {}\r\n\r\n", "v".repeat(20_000));
    let many_parts = "--b\r\n\r\n".repeat(1001) + "--b--";
    let many_headers = format!("--b\r\n{}\r\n", "a: b\r\n".repeat(10_001));
    let table = [
        (Request::post("/").header("content-type", "text/plain").body(FORM), 415, "not multipart"),
        (Request::post("/").body(FORM), 415, "not multipart"),
        (Request::post("/").header("content-type", "multipart/form-data").body(FORM), 400, "boundary"),
        (form("").body(FORM), 400, "boundary"),
        (form(&"b".repeat(71)).body(FORM), 400, "boundary"),
        (form("b").body(""), 400, "bad request body"),
        (form("b").body(part), 400, "bad request body"),
        (form("b").body(format!("{part}\r\n--b-")), 400, "bad request body"),
        (form("b").body(long_line), 400, "bad request body"),
        (form("b").body("--b\r\nno colon\r\n\r\n--b--"), 400, "part headers"),
        (form("b").body("--b\r\nbad name: x\r\n\r\n--b--"), 400, "part headers"),
        (form("b").body(many_parts), 400, "too many parts"),
        (form("b").body(many_headers), 400, "too many part headers"),
        (form("b").chunks([part]).broken_body(), 400, "bad request body"),
        (form("b").chunks([part]).oversized_body(), 413, "request body too large"),
    ];
    let drain = |_: &mut ResponseWriter, r: &mut Request| -> Result<()> {
        let mut parts = r.multipart()?;
        while parts.next_part()?.is_some() {}
        Ok(())
    };
    for (index, (request, status, text)) in table.into_iter().enumerate() {
        let response = Recorder::serve(drain, request);
        assert_eq!(response.status(), status, "row {index}");
        assert!(response.text().contains(text), "row {index}: {:?} lacks {text:?}", response.text());
    }
}

#[test]
fn a_form_may_be_empty() {
    for body in ["--b--", "--b--\r\n", "preamble\r\n--b--\r\nepilogue"] {
        let response = Recorder::serve(list, form("b").body(body));
        assert_eq!((response.status().as_u16(), response.text()), (200, ""), "{body}");
    }
}

#[test]
fn a_whole_form_is_kept_within_its_memory() {
    let parse = |request: TestRequest, memory: usize| {
        let handler = move |w: &mut ResponseWriter, r: &mut Request| {
            let form = r.multipart_form(memory)?;
            let file = form.file("file").expect("a file");
            assert_eq!(file.headers["content-type"], "text/css");
            write!(w, "{:?} {}:{:?}", form.values, file.file_name, String::from_utf8_lossy(&file.content))?;
            assert!(form.file("text").is_none() && form.files.len() == 1);
            Ok(())
        };
        Recorder::serve(handler, request)
    };
    let want = "Values([(\"text\", \"one\\r\\ntwo\"), (\"empty\", \"\")]) \
                a.txt:\"\\r\\n--bee is no boundary\\r\\n--b-\\r\\n--\"";
    assert_eq!(parse(form("b").body(FORM), 10_000).text(), want);
    // The smallest memory in which it fits, and one byte less.
    let enough = (0..10_000).find(|memory| parse(form("b").body(FORM), *memory).status() == 200);
    let enough = enough.expect("some memory is enough");
    assert!((400..800).contains(&enough), "{enough}: three parts of 100 bytes, their headers and content");
    let response = parse(form("b").body(FORM), enough - 1);
    assert_eq!((response.status().as_u16(), response.text()), (413, "multipart: message too large\n"));
    assert_eq!(parse(Request::post("/").body(FORM), 10_000).status(), 415);
    assert_eq!(parse(form("b").body(&FORM[..FORM.len() - 20]), 10_000).status(), 400);
}
