//! The request as one line of JSON, with nothing lost: bytes outside visible ASCII become `\u00xx`.

use std::fmt::Write as _;

use wasmux_sdk::{HeaderMap, Request, header};

use crate::run::canonical;

/// The request as a net/http handler sees it; its trailers once the body was read to its end.
pub(crate) fn line(r: &Request, is_read: bool) -> String {
    // Framing is not among the headers of net/http; an HTTP/1.0 client cannot send chunks.
    let is_chunked = r.content_length().is_none() && r.headers().contains_key(header::TRANSFER_ENCODING);
    let codings: &[&str] = if is_chunked { &["chunked"] } else { &[] };
    let left_out = |name: &str| match name {
        "host" | "transfer-encoding" => true,
        "content-length" | "trailer" => is_chunked,
        _ => false,
    };
    let mut out = String::from("{");
    let texts: [(&str, &[u8]); 6] = [
        ("method", r.method().as_str().as_bytes()),
        ("uri", r.target_bytes()),
        ("path", &r.path_bytes()),
        ("query", r.raw_query_bytes()),
        ("proto", r.protocol().as_bytes()),
        ("host", r.host().as_bytes()),
    ];
    for (key, text) in texts {
        let _ = write!(out, "\"{key}\":{},", quote(text)); // into a String: never fails
    }
    let length = r.content_length().map_or_else(|| "-1".to_owned(), |length| length.to_string());
    let codings: Vec<_> = codings.iter().map(|coding| quote(coding.as_bytes())).collect();
    let none = HeaderMap::new();
    let trailers = if is_read { r.trailers() } else { &none };
    let _ = writeln!(
        out,
        "\"length\":{length},\"te\":[{}],\"headers\":{},\"trailers\":{}}}",
        codings.join(","),
        pairs(r.headers(), left_out),
        pairs(trailers, |_| false),
    );
    out
}

/// Names in canonical form, sorted; the values of one name as they came.
fn pairs(map: &HeaderMap, left_out: impl Fn(&str) -> bool) -> String {
    let sent = map.iter().filter(|(name, _)| !left_out(name.as_str()));
    let mut list: Vec<_> = sent.map(|(name, value)| (canonical(name), value)).collect();
    list.sort_by(|(one, _), (other, _)| one.cmp(other)); // stable: keeps the values in order
    let texts: Vec<_> = list
        .iter()
        .map(|(name, value)| format!("[{},{}]", quote(name.as_bytes()), quote(value.as_bytes())))
        .collect();
    format!("[{}]", texts.join(","))
}

fn quote(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f.. => {
                let _ = write!(out, "\\u00{byte:02x}");
            }
            _ => out.push(char::from(byte)),
        }
    }
    out.push('"');
    out
}
