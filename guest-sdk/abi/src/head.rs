//! The request head (ABI.md section 3.1): one blob, offsets first.
//!
//! [`Head`] is the host's side and writes straight into guest memory; [`HeadView`] is the guest's side.

use crate::fields::{FieldIter, FieldsWriter, fields, fields_size};

/// Size of the fixed part in this version, in bytes.
pub const HEAD_FIXED_SIZE: usize = 144;
/// Bit of `flags`: the target has a query, possibly an empty one.
pub const QUERY_PRESENT: u32 = 1;

const TEXTS: usize = 11;
const TEXTS_AT: usize = 32;
const PATH_VALUES_AT: usize = 120;
const HEADERS_AT: usize = 128;
/// The first of the fields that older hosts do not write.
const CLIENT_SUBJECT_AT: usize = 136;

/// What the host tells a guest about a request, borrowed from wherever it is kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head<'a> {
    /// Milliseconds since the Unix epoch at which the request's time is up.
    pub deadline_ms: u64,
    /// Declared length of the body in bytes; 0: none; −1: not declared.
    pub content_length: i64,
    /// The method as sent.
    pub method: &'a [u8],
    /// `http` or `https`.
    pub scheme: &'a [u8],
    /// Host and optional port.
    pub authority: &'a [u8],
    /// The request target as sent.
    pub target: &'a [u8],
    /// The escaped path.
    pub path: &'a [u8],
    /// The escaped query, if the target has one.
    pub query: Option<&'a [u8]>,
    /// `HTTP/1.1` and so on.
    pub protocol: &'a [u8],
    /// The peer's address.
    pub remote_addr: &'a [u8],
    /// The connection's own address.
    pub local_addr: &'a [u8],
    /// The pattern that matched, as registered.
    pub pattern: &'a [u8],
    /// The id used in logs.
    pub request_id: &'a [u8],
    /// Subject of the client's verified certificate; empty without one.
    pub client_subject: &'a [u8],
}

impl<'a> Head<'a> {
    fn texts(&self) -> [&'a [u8]; TEXTS] {
        [
            self.method,
            self.scheme,
            self.authority,
            self.target,
            self.path,
            self.query.unwrap_or_default(),
            self.protocol,
            self.remote_addr,
            self.local_addr,
            self.pattern,
            self.request_id,
        ]
    }

    /// Bytes that the encoded head takes, with these path values and headers.
    pub fn size<'f>(
        &self,
        path_values: impl Iterator<Item = (&'f [u8], &'f [u8])>,
        headers: impl Iterator<Item = (&'f [u8], &'f [u8])>,
    ) -> usize {
        let texts: usize = self.texts().iter().map(|text| text.len()).sum();
        HEAD_FIXED_SIZE + texts + self.client_subject.len() + fields_size(path_values) + fields_size(headers)
    }

    /// Encodes the head at the front of `out`.
    ///
    /// # Panics
    /// When `out` is shorter than [`Self::size`] says for the same arguments.
    pub fn write<'f>(
        &self,
        path_values: impl Iterator<Item = (&'f [u8], &'f [u8])>,
        headers: impl Iterator<Item = (&'f [u8], &'f [u8])>,
        out: &mut [u8],
    ) {
        let flags = if self.query.is_some() { QUERY_PRESENT } else { 0 };
        let mut at = HEAD_FIXED_SIZE;
        for (index, text) in self.texts().into_iter().enumerate() {
            out[at..at + text.len()].copy_from_slice(text);
            put_span(out, TEXTS_AT + 8 * index, at, text.len());
            at += text.len();
        }
        out[at..at + self.client_subject.len()].copy_from_slice(self.client_subject);
        put_span(out, CLIENT_SUBJECT_AT, at, self.client_subject.len());
        at += self.client_subject.len();
        let len = put_fields(path_values, &mut out[at..]);
        put_span(out, PATH_VALUES_AT, at, len);
        at += len;
        let len = put_fields(headers, &mut out[at..]);
        put_span(out, HEADERS_AT, at, len);
        at += len;
        out[0..4].copy_from_slice(&(at as u32).to_le_bytes());
        out[4..8].copy_from_slice(&(HEAD_FIXED_SIZE as u32).to_le_bytes());
        out[8..16].copy_from_slice(&self.deadline_ms.to_le_bytes());
        out[16..24].copy_from_slice(&self.content_length.to_le_bytes());
        out[24..28].copy_from_slice(&flags.to_le_bytes());
        out[28..32].fill(0);
    }
}

fn put_fields<'f>(list: impl Iterator<Item = (&'f [u8], &'f [u8])>, out: &mut [u8]) -> usize {
    let mut writer = FieldsWriter::new(out);
    list.for_each(|(name, value)| writer.push(name, value));
    writer.len()
}

fn put_span(out: &mut [u8], at: usize, offset: usize, len: usize) {
    out[at..at + 4].copy_from_slice(&(offset as u32).to_le_bytes());
    out[at + 4..at + 8].copy_from_slice(&(len as u32).to_le_bytes());
}

/// Reads an encoded head. Accessors answer "empty" for anything out of range instead of panicking.
#[derive(Clone, Copy, Debug)]
pub struct HeadView<'a>(&'a [u8]);

macro_rules! texts {
    ($($index:literal $name:ident $doc:literal)*) => {$(
        #[doc = $doc]
        #[must_use]
        pub fn $name(&self) -> &'a [u8] {
            self.span(TEXTS_AT + 8 * $index)
        }
    )*};
}

impl<'a> HeadView<'a> {
    /// A view of `bytes`, as written by `request_head`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    texts! {
        0 method "The method as sent."
        1 scheme "`http` or `https`."
        2 authority "Host and optional port."
        3 target "The request target as sent."
        4 path "The escaped path."
        6 protocol "`HTTP/1.1` and so on."
        7 remote_addr "The peer's address."
        8 local_addr "The connection's own address."
        9 pattern "The pattern that matched, as registered."
        10 request_id "The id used in logs."
    }

    /// Subject of the client's verified certificate; empty without one, and from a host that knows nothing of it.
    #[must_use]
    pub fn client_subject(&self) -> &'a [u8] {
        let fixed_size = u32::from_le_bytes(self.array(4)) as usize;
        if fixed_size >= CLIENT_SUBJECT_AT + 8 { self.span(CLIENT_SUBJECT_AT) } else { &[] }
    }

    /// The escaped query, if the target has one.
    #[must_use]
    pub fn query(&self) -> Option<&'a [u8]> {
        let flags = u32::from_le_bytes(self.array(24));
        (flags & QUERY_PRESENT != 0).then(|| self.span(TEXTS_AT + 8 * 5))
    }

    /// Milliseconds since the Unix epoch at which the request's time is up.
    #[must_use]
    pub fn deadline_ms(&self) -> u64 {
        u64::from_le_bytes(self.array(8))
    }

    /// Declared length of the body in bytes; 0: none; −1: not declared.
    #[must_use]
    pub fn content_length(&self) -> i64 {
        i64::from_le_bytes(self.array(16))
    }

    /// Wildcards of the pattern and what they matched, decoded, in the order of the pattern.
    #[must_use]
    pub fn path_values(&self) -> FieldIter<'a> {
        self.block(PATH_VALUES_AT)
    }

    /// Header fields as received, names in lower case.
    #[must_use]
    pub fn headers(&self) -> FieldIter<'a> {
        self.block(HEADERS_AT)
    }

    fn block(&self, at: usize) -> FieldIter<'a> {
        fields(self.span(at)).or_else(|_| fields(&[])).expect("an empty block is well-formed")
    }

    fn span(&self, at: usize) -> &'a [u8] {
        let offset = u32::from_le_bytes(self.array(at)) as usize;
        let len = u32::from_le_bytes(self.array(at + 4)) as usize;
        offset.checked_add(len).and_then(|end| self.0.get(offset..end)).unwrap_or_default()
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().unwrap_or([0; N])
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{vec, vec::Vec};

    fn sample() -> Head<'static> {
        Head {
            deadline_ms: 1_234_567_890_123,
            content_length: -1,
            method: b"POST",
            scheme: b"http",
            authority: b"example.com:8080",
            target: b"/a%20b?c=d",
            path: b"/a%20b",
            query: Some(b"c=d"),
            protocol: b"HTTP/1.1",
            remote_addr: b"127.0.0.1:5",
            local_addr: b"127.0.0.1:80",
            pattern: b"/{x}",
            request_id: b"id-1",
            client_subject: b"CN=Ann",
        }
    }

    fn encode(head: &Head<'_>, values: &[(&[u8], &[u8])], headers: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut out = vec![0xaa; head.size(values.iter().copied(), headers.iter().copied())];
        head.write(values.iter().copied(), headers.iter().copied(), &mut out);
        out
    }

    #[test]
    fn view_reads_what_head_wrote() {
        let bytes = encode(&sample(), &[(b"x", b"a b")], &[(b"accept", b"*/*"), (b"accept", b"\xff")]);
        let view = HeadView::new(&bytes);
        assert_eq!(u32::from_le_bytes(view.array(0)) as usize, bytes.len());
        assert_eq!(u32::from_le_bytes(view.array(4)) as usize, HEAD_FIXED_SIZE);
        assert_eq!((view.deadline_ms(), view.content_length()), (1_234_567_890_123, -1));
        assert_eq!((view.method(), view.scheme()), (&b"POST"[..], &b"http"[..]));
        assert_eq!(view.authority(), b"example.com:8080");
        assert_eq!((view.target(), view.path()), (&b"/a%20b?c=d"[..], &b"/a%20b"[..]));
        assert_eq!(view.query(), Some(&b"c=d"[..]));
        assert_eq!((view.protocol(), view.pattern()), (&b"HTTP/1.1"[..], &b"/{x}"[..]));
        assert_eq!((view.remote_addr(), view.local_addr()), (&b"127.0.0.1:5"[..], &b"127.0.0.1:80"[..]));
        assert_eq!((view.request_id(), view.client_subject()), (&b"id-1"[..], &b"CN=Ann"[..]));
        assert_eq!(view.path_values().collect::<Vec<_>>(), [(&b"x"[..], &b"a b"[..])]);
        assert_eq!(view.headers().map(|(_, v)| v).collect::<Vec<_>>(), [&b"*/*"[..], b"\xff"]);
    }

    #[test]
    fn no_query_and_an_empty_query_differ() {
        let none = encode(&Head { query: None, ..sample() }, &[], &[]);
        let empty = encode(&Head { query: Some(b""), ..sample() }, &[], &[]);
        assert_eq!(HeadView::new(&none).query(), None);
        assert_eq!(HeadView::new(&empty).query(), Some(&b""[..]));
    }

    #[test]
    fn an_older_head_has_no_subject() {
        let mut bytes = encode(&sample(), &[], &[]);
        bytes[4..8].copy_from_slice(&136_u32.to_le_bytes());
        assert_eq!(HeadView::new(&bytes).client_subject(), b"");
        assert_eq!(HeadView::new(&bytes).method(), b"POST");
    }

    #[test]
    fn a_view_of_anything_never_panics() {
        let bytes = encode(&sample(), &[(b"x", b"y")], &[(b"a", b"b")]);
        for end in 0..bytes.len() {
            let view = HeadView::new(&bytes[..end]);
            let _ = (view.method(), view.query(), view.headers().count(), view.path_values().count());
        }
    }
}
