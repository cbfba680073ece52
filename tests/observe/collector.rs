//! A collector that takes spans by OTLP over HTTP. It reads protobuf by the numbers that stand in the standard's files,
//! and shares no code with what writes it.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use crate::support::DEADLINE;
use crate::support::upstream::{Upstream, read_head};

/// A span as it has arrived.
#[derive(Clone, Debug, Default)]
pub(super) struct Span {
    pub(super) trace: String,
    pub(super) id: String,
    /// Empty without one.
    pub(super) parent: String,
    pub(super) state: String,
    pub(super) name: String,
    /// 1 internal, 2 server, 3 client.
    pub(super) kind: u64,
    pub(super) begin: u64,
    pub(super) end: u64,
    pub(super) attributes: BTreeMap<String, String>,
    /// 2: it has failed.
    pub(super) status: u64,
    pub(super) service: String,
}

#[derive(Default)]
struct Taken {
    spans: Vec<Span>,
    heads: Vec<String>,
}

pub(super) struct Collector {
    taken: Arc<(Mutex<Taken>, Condvar)>,
    upstream: Upstream,
}

impl Collector {
    /// One that answers its first requests with these statuses, and with 200 after them.
    pub(super) fn start(first: &'static [u16]) -> Self {
        Self::answering(first, b"")
    }

    /// The same, with this content in each answer.
    pub(super) fn answering(first: &'static [u16], content: &'static [u8]) -> Self {
        let taken = Arc::<(Mutex<Taken>, Condvar)>::default();
        let shared = Arc::clone(&taken);
        let upstream = Upstream::start(move |_, mut stream| {
            while let Some(head) = read_head(&mut stream) {
                let lower = head.to_ascii_lowercase();
                let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                let mut body = vec![0; length.parse().unwrap()];
                stream.read_exact(&mut body).unwrap();
                let mut taken = shared.0.lock().unwrap();
                let status = first.get(taken.heads.len()).copied().unwrap_or(200);
                taken.heads.push(lower);
                if status == 200 {
                    taken.spans.extend(spans(&body));
                }
                drop(taken);
                shared.1.notify_all();
                let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", content.len());
                if stream.write_all(&[answer.as_bytes(), content].concat()).is_err() {
                    return;
                }
            }
        });
        Self { taken, upstream }
    }

    pub(super) fn url(&self) -> String {
        self.upstream.url()
    }

    /// Waits for so many spans.
    pub(super) fn wait(&self, count: usize) -> Vec<Span> {
        let (taken, changed) = &*self.taken;
        let (mut taken, until) = (taken.lock().unwrap(), Instant::now() + DEADLINE);
        while taken.spans.len() < count {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} spans, not {count}: {:#?}", taken.spans.len(), taken.spans);
            taken = changed.wait_timeout(taken, left).unwrap().0;
        }
        taken.spans.clone()
    }

    /// The heads of all requests so far, in lower case.
    pub(super) fn heads(&self) -> Vec<String> {
        self.taken.0.lock().unwrap().heads.clone()
    }
}

enum Value {
    Number(u64),
    Bytes(Vec<u8>),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return number;
        }
        shift += 7;
    }
}

/// The fields of a message, by number.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Value)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut bytes)),
            1 => {
                let (number, rest) = bytes.split_at(8);
                bytes = rest;
                Value::Number(u64::from_le_bytes(number.try_into().unwrap()))
            }
            2 => {
                let length = varint(&mut bytes) as usize;
                let (value, rest) = bytes.split_at(length);
                bytes = rest;
                Value::Bytes(value.to_vec())
            }
            wire => panic!("wire type {wire}"),
        };
        fields.push((tag >> 3, value));
    }
    fields
}

/// The messages with this number inside a message.
fn inner(bytes: &[u8], number: u64) -> Vec<Vec<u8>> {
    let found = fields(bytes).into_iter().filter(|(found, _)| *found == number);
    found
        .map(|(_, value)| match value {
            Value::Bytes(bytes) => bytes,
            Value::Number(number) => panic!("{number} is no message"),
        })
        .collect()
}

fn key_value(bytes: &[u8]) -> (String, String) {
    let key = String::from_utf8(inner(bytes, 1).remove(0)).unwrap();
    let value = match fields(&inner(bytes, 2)[0]).remove(0) {
        (1, Value::Bytes(text)) => String::from_utf8(text).unwrap(),
        (3, Value::Number(number)) => number.to_string(),
        (other, _) => panic!("a value of sort {other}"),
    };
    (key, value)
}

fn spans(request: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource_spans in inner(request, 1) {
        let resource = &inner(&resource_spans, 1)[0];
        let resource: BTreeMap<_, _> = inner(resource, 1).iter().map(|bytes| key_value(bytes)).collect();
        for scope_spans in inner(&resource_spans, 2) {
            for bytes in inner(&scope_spans, 2) {
                spans.push(span(&bytes, resource["service.name"].clone()));
            }
        }
    }
    spans
}

fn span(bytes: &[u8], service: String) -> Span {
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let mut span = Span { service, ..Span::default() };
    for field in fields(bytes) {
        match field {
            (1, Value::Bytes(id)) => span.trace = hex(id),
            (2, Value::Bytes(id)) => span.id = hex(id),
            (3, Value::Bytes(state)) => span.state = text(state),
            (4, Value::Bytes(id)) => span.parent = hex(id),
            (5, Value::Bytes(name)) => span.name = text(name),
            (6, Value::Number(kind)) => span.kind = kind,
            (7, Value::Number(time)) => span.begin = time,
            (8, Value::Number(time)) => span.end = time,
            (9, Value::Bytes(attribute)) => span.attributes.extend([key_value(&attribute)]),
            (15, Value::Bytes(status)) => {
                let code = fields(&status).into_iter().find(|(number, _)| *number == 3);
                span.status =
                    code.map_or(0, |(_, code)| if let Value::Number(code) = code { code } else { 0 });
            }
            (other, _) => panic!("field {other} of a span"),
        }
    }
    span
}
