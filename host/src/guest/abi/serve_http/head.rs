//! The request head, written straight into the guest's buffer (ABI.md section 3.1).

use http::{HeaderMap, StatusCode, Version};
use wasmux_abi::{FieldsWriter, Head, fields_size};

use super::super::super::exchange::{Exchange, RawTarget};

/// Writes the head if it fits; returns its size in any case.
pub(super) fn write(exchange: &Exchange, buffer: &mut [u8]) -> usize {
    let request = &exchange.request;
    let uri = &request.parts.uri;
    let raw = request.parts.extensions.get::<RawTarget>().map(|raw| &*raw.0);
    let target = Target::new(uri, request.parts.version, raw);
    let query = match raw.and_then(|raw| raw.iter().position(|&byte| byte == b'?').map(|at| &raw[at + 1..])) {
        Some(query) => Some(query),
        None => uri.query().map(str::as_bytes),
    };
    let head = Head {
        deadline_ms: exchange.deadline_ms,
        content_length: request
            .body
            .declared_length()
            .map_or(-1, |length| length.min(i64::MAX as u64) as i64),
        method: request.parts.method.as_str().as_bytes(),
        scheme: request.peer.scheme.as_bytes(),
        authority: request.authority.as_bytes(),
        target: target.as_bytes(),
        path: uri.path().as_bytes(),
        query,
        protocol: protocol(request.parts.version).as_bytes(),
        remote_addr: request.peer.remote.as_bytes(),
        local_addr: request.peer.local.as_bytes(),
        pattern: request.route.pattern.as_bytes(),
        request_id: request.id.as_str().as_bytes(),
        client_subject: b"",
    };
    let names = request.route.names.iter().map(|name| name.as_bytes());
    let values = names.zip(request.values.iter().map(Vec::as_slice));
    let headers =
        || request.parts.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let size = head.size(values.clone(), headers());
    if size <= buffer.len() {
        head.write(values, headers(), &mut buffer[..size]);
    }
    size
}

/// Writes the head of a response, its status as a `u32` and its fields, if it fits; returns its size in any case.
pub(super) fn write_response(status: StatusCode, headers: &HeaderMap, buffer: &mut [u8]) -> usize {
    const STATUS_BYTES: usize = size_of::<u32>();
    let (code, fields) = buffer.split_at_mut(buffer.len().min(STATUS_BYTES));
    let size = STATUS_BYTES + write_fields(headers, fields);
    if let Ok(code) = <&mut [u8; STATUS_BYTES]>::try_from(code) {
        *code = u32::from(status.as_u16()).to_le_bytes();
    }
    size
}

/// Writes a field block if it fits; returns its size in any case.
pub(super) fn write_fields(fields: &HeaderMap, buffer: &mut [u8]) -> usize {
    let pairs = || fields.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let size = fields_size(pairs());
    if size <= buffer.len() {
        let mut writer = FieldsWriter::new(buffer);
        pairs().for_each(|(name, value)| writer.push(name, value));
    }
    size
}

/// The request target as it was sent: borrowed where the parser kept it in one piece.
enum Target<'u> {
    Origin(&'u str),
    Other(String),
    Raw(&'u [u8]),
}

impl<'u> Target<'u> {
    fn new(uri: &'u http::Uri, version: Version, raw: Option<&'u [u8]>) -> Self {
        if let Some(raw) = raw {
            return Self::Raw(raw);
        }
        // HTTP/2 sends scheme and authority as fields of their own; its target is `:path` (RFC 9113 section 8.3.1).
        match (uri.scheme(), uri.path_and_query()) {
            (None, Some(origin)) => Self::Origin(origin.as_str()),
            (Some(_), Some(origin)) if version == Version::HTTP_2 => Self::Origin(origin.as_str()),
            _ => Self::Other(uri.to_string()),
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Origin(text) => text.as_bytes(),
            Self::Other(text) => text.as_bytes(),
            Self::Raw(bytes) => bytes,
        }
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}
