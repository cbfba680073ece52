//! What a guest does that means harm, other than to compute; and `hello`, for those that mean none.

use std::time::Duration;

use wasip2::http::types::{Fields, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasip2::io::streams::OutputStream;

/// Does what `name` says, if it is one of these; gives `out` back if not.
pub(crate) fn misbehave(name: &str, out: ResponseOutparam) -> Option<ResponseOutparam> {
    match name {
        "hello" => respond(out, Fields::new(), b"hello\n"),
        "sleep" => std::thread::sleep(Duration::from_secs(3600)),
        "endless" => write_on(out, &[b'x'; 4096], |stream| drop(stream.blocking_flush())),
        "trickle" => write_on(out, b"x", |stream| drop(stream.blocking_flush())),
        "log_flood" => loop {
            println!("{}", "x".repeat(64 << 10));
        },
        "headers" => respond(out, many(100_000), b""),
        "headers_600" => respond(out, many(600), b""),
        "bad_headers" => {
            refuse();
            let fields = Fields::new();
            fields.append("x-bytes", &vec![0xff, 0xfe]).expect("a value of bytes");
            respond(out, fields, b"refused\n");
        }
        _ => return Some(out),
    }
    None
}

fn respond(out: ResponseOutparam, fields: Fields, text: &[u8]) {
    let response = OutgoingResponse::new(fields);
    let body = response.body().expect("the first call");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("the first call");
    stream.blocking_write_and_flush(text).expect("a client");
    drop(stream);
    OutgoingBody::finish(body, None).expect("a body that is complete");
}

/// Writes for as long as somebody takes it.
fn write_on(out: ResponseOutparam, data: &[u8], after_each: fn(&OutputStream)) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().expect("the first call");
    let stream = body.write().expect("the first call");
    ResponseOutparam::set(out, Ok(response));
    while stream.blocking_write_and_flush(data).is_ok() {
        after_each(&stream);
    }
}

/// As many fields as asked for, or as the host takes.
fn many(count: usize) -> Fields {
    let fields = Fields::new();
    for index in 0..count {
        if let Err(error) = fields.append(&format!("x{index}"), &b"x".to_vec()) {
            println!("field {index}: {error:?}");
            break;
        }
    }
    fields
}

/// Fields that would break the response's framing, or are no text at all.
fn refuse() {
    let fields = Fields::new();
    let bad: [(&str, &[u8]); 5] = [
        ("x", b"a\r\nInjected: 1"),
        ("x\r\nInjected", b"1"),
        ("\u{ff}\u{fe}", b"1"),
        ("x", b"a\0b"),
        ("x injected", b"1"),
    ];
    for (name, value) in bad {
        fields.append(name, &value.to_vec()).expect_err("this is no field");
    }
}
