//! A way through an HTTP proxy to the server behind it (CONNECT, RFC 9110 section 9.3.6).

use http::HeaderValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::BoxError;
use super::stream::Wire;

/// Bytes of a proxy's answer; one with more is an error.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// Header fields of it.
const ANSWER_FIELDS_MAX: usize = 64;

/// Has the proxy at the other end of `wire` connect it to `target`, a host and a port.
pub(super) async fn open(
    wire: &mut Wire,
    target: &str,
    authorization: Option<&HeaderValue>,
) -> Result<(), BoxError> {
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
    if let Some(authorization) = authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(authorization.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    wire.write_all(&request).await?;
    wire.flush().await?;
    let mut answer = Vec::new();
    // Byte by byte, as what follows is not the proxy's any more; it is once for a connection.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= ANSWER_BYTES_MAX {
            return Err("its answer is too long".into());
        }
        answer.push(wire.read_u8().await?);
    }
    let mut fields = [httparse::EMPTY_HEADER; ANSWER_FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    response.parse(&answer)?;
    match response.code {
        Some(200..=299) => Ok(()),
        code => {
            Err(format!("it answers {} {}", code.unwrap_or_default(), response.reason.unwrap_or("")).into())
        }
    }
}
