//! What a guest does that means harm, other than to compute.

use wasip3::clocks::monotonic_clock::wait_for;
use wasip3::http::types::{Fields, Response};
use wasip3::{spawn_local, wit_future, wit_stream};

use super::{streamed, text};

/// Does what `name` says.
pub(super) async fn misbehave(name: &str) -> Response {
    match name {
        "sleep" => {
            wait_for(3_600_000_000_000).await;
            text("slept\n")
        }
        "trickle" => trickle(),
        "log_flood" => loop {
            println!("{}", "x".repeat(64 << 10));
        },
        "headers" => with(many(100_000), b""),
        "headers_600" => with(many(600), b""),
        "bad_headers" => {
            refuse();
            let fields = Fields::new();
            fields.append("x-bytes", &[0xff, 0xfe]).expect("a value of bytes");
            with(fields, b"refused\n")
        }
        "handles" => loop {
            std::mem::forget(Fields::new());
        },
        other => text(&format!("cannot do {other}\n")),
    }
}

fn with(fields: Fields, text: &'static [u8]) -> Response {
    let (mut writer, contents) = wit_stream::new();
    // Dropped at once, it gives what the closure says: no trailers.
    let (_, rest) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(fields, Some(contents), rest);
    spawn_local(async move { drop(writer.write_all(text.to_vec()).await) });
    response
}

/// Writes for ever, one byte at a time.
fn trickle() -> Response {
    let (response, mut writer, end) = streamed(&[]);
    spawn_local(async move {
        while writer.write_all(b"x".to_vec()).await.is_empty() {}
        drop(end);
    });
    response
}

/// As many fields as asked for, or as the host takes.
fn many(count: usize) -> Fields {
    let fields = Fields::new();
    for index in 0..count {
        if let Err(error) = fields.append(&format!("x{index}"), b"x") {
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
        fields.append(name, value).expect_err("this is no field");
    }
}
