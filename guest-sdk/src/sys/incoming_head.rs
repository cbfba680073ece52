//! The request head of ABI.md section 3.1, made from what a wasi:http 0.2 host tells. Pure, so that it is tested natively.
//!
//! The standard interface says less than the ABI. What it leaves out is empty, but for what [`Parts`] says.

use wasmux_abi::Head;

/// The deadline where none is known: the last second of the year 9999, in milliseconds since 1970. Every calendar can
/// print it.
const NO_DEADLINE_MS: u64 = 253_402_300_799_000;
/// Longest request id, in bytes (ABI.md section 3.1).
const REQUEST_ID_BYTES_MAX: usize = 128;

/// A field's name and value.
pub(super) type Field = (String, Vec<u8>);

/// A request head in the words of wasi:http 0.2.
pub(super) struct Parts {
    pub(super) method: String,
    /// `http` when the host says nothing.
    pub(super) scheme: Option<String>,
    /// The Host field when the host says nothing; and the Host field is this when the host hides it.
    pub(super) authority: Option<String>,
    pub(super) path_with_query: Option<String>,
    pub(super) fields: Vec<Field>,
    pub(super) request_id: String,
}

impl Parts {
    /// The head as `request_head` writes it.
    pub(super) fn encode(mut self) -> Vec<u8> {
        for (name, _) in &mut self.fields {
            name.make_ascii_lowercase();
        }
        let host = self.value("host").map(<[u8]>::to_vec);
        let authority = match (self.authority.take(), &host) {
            (Some(authority), _) if !authority.is_empty() => authority.into_bytes(),
            (_, Some(host)) => host.clone(),
            _ => Vec::new(),
        };
        if host.is_none() && !authority.is_empty() {
            self.fields.insert(0, ("host".to_owned(), authority.clone()));
        }
        let target = self.target(&authority);
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None if self.method == "CONNECT" => ("", None),
            None => (target.as_str(), None),
        };
        let head = Head {
            deadline_ms: NO_DEADLINE_MS,
            content_length: self.content_length(),
            method: self.method.as_bytes(),
            scheme: self.scheme.as_deref().unwrap_or("http").as_bytes(),
            authority: &authority,
            target: target.as_bytes(),
            path: path.as_bytes(),
            query: query.map(str::as_bytes),
            protocol: b"HTTP/1.1",
            remote_addr: b"",
            local_addr: b"",
            pattern: b"",
            request_id: self.request_id.as_bytes(),
            client_subject: b"",
        };
        let none = std::iter::empty;
        let fields = || self.fields.iter().map(|(name, value)| (name.as_bytes(), value.as_slice()));
        let mut bytes = vec![0; head.size(none(), fields())];
        head.write(none(), fields(), &mut bytes);
        bytes
    }

    fn value(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_slice())
    }

    fn target(&self, authority: &[u8]) -> String {
        match self.path_with_query.as_deref().unwrap_or_default() {
            "" if self.method == "CONNECT" => String::from_utf8_lossy(authority).into_owned(),
            given if given.starts_with('/') || given == "*" => given.to_owned(),
            given => format!("/{given}"),
        }
    }

    /// As declared. The framing is hidden from guests, so that an undeclared length may be a body of chunks or none at
    /// all: taken for none with the methods that hardly ever have a body, and for unknown (-1) with the others.
    fn content_length(&self) -> i64 {
        let declared = self.value("content-length").map(<[u8]>::trim_ascii).and_then(|digits| {
            let digits =
                str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
            digits.parse().ok()
        });
        let has_no_body =
            matches!(self.method.as_str(), "GET" | "HEAD" | "DELETE" | "OPTIONS" | "TRACE" | "CONNECT");
        declared.unwrap_or(if has_no_body { 0 } else { -1 })
    }
}

/// The id among these that is fit to be one (ABI.md section 3.1), if there is any.
pub(super) fn fit_request_id<'a>(given: impl IntoIterator<Item = &'a [u8]>) -> Option<&'a str> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~+/=:".contains(&byte);
    let mut texts = given.into_iter().filter_map(|id| str::from_utf8(id).ok());
    texts.find(|id| (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(is_fit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmux_abi::HeadView;

    type Fields<'a> = &'a [(&'a str, &'a str)];

    fn parts(method: &str, path: Option<&str>, fields: Fields<'_>) -> Parts {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
        Parts {
            method: method.to_owned(),
            scheme: None,
            authority: None,
            path_with_query: path.map(str::to_owned),
            fields: fields.collect(),
            request_id: "id".to_owned(),
        }
    }

    #[test]
    fn targets_are_taken_apart() {
        let table = [
            ("GET", Some("/a%20b?c=d?e"), "/a%20b?c=d?e", "/a%20b", Some("c=d?e")),
            ("GET", Some("/a?"), "/a?", "/a", Some("")),
            ("GET", Some("/"), "/", "/", None),
            ("GET", Some(""), "/", "/", None),
            ("GET", Some("?q"), "/?q", "/", Some("q")),
            ("GET", None, "/", "/", None),
            ("OPTIONS", Some("*"), "*", "*", None),
            ("CONNECT", None, "example.com:443", "", None),
        ];
        for (method, given, target, path, query) in table {
            let mut parts = parts(method, given, &[]);
            parts.authority = Some("example.com:443".to_owned());
            let bytes = parts.encode();
            let view = HeadView::new(&bytes);
            assert_eq!(view.target(), target.as_bytes(), "{method} {given:?}");
            assert_eq!(view.path(), path.as_bytes(), "{method} {given:?}");
            assert_eq!(view.query(), query.map(str::as_bytes), "{method} {given:?}");
        }
    }

    #[test]
    fn host_and_authority_stand_in_for_each_other() {
        let table: [(Option<&str>, Fields<'_>, &str, &str); 5] = [
            (Some("a.test"), &[], "a.test", "a.test"),
            (Some("a.test"), &[("Host", "b.test")], "a.test", "b.test"),
            (None, &[("Host", "b.test")], "b.test", "b.test"),
            (Some(""), &[("host", "b.test")], "b.test", "b.test"),
            (None, &[], "", ""),
        ];
        for (authority, fields, want, host) in table {
            let mut parts = parts("GET", Some("/"), fields);
            parts.authority = authority.map(str::to_owned);
            let bytes = parts.encode();
            let view = HeadView::new(&bytes);
            assert_eq!(view.authority(), want.as_bytes(), "{authority:?} {fields:?}");
            let found =
                view.headers().find(|(name, _)| *name == b"host").map_or(&b""[..], |(_, value)| value);
            assert_eq!(found, host.as_bytes(), "{authority:?} {fields:?}");
        }
    }

    #[test]
    fn a_length_is_declared_or_follows_from_the_method() {
        let table: [(&str, Fields<'_>, i64); 6] = [
            ("GET", &[], 0),
            ("POST", &[], -1),
            ("POST", &[("Content-Length", "12")], 12),
            ("GET", &[("content-length", "3")], 3),
            ("POST", &[("content-length", "+3")], -1),
            ("POST", &[("content-length", "99999999999999999999")], -1),
        ];
        for (method, fields, want) in table {
            let bytes = parts(method, Some("/"), fields).encode();
            assert_eq!(HeadView::new(&bytes).content_length(), want, "{method} {fields:?}");
        }
    }

    #[test]
    fn what_the_interface_lacks_is_empty() {
        let bytes = parts("GET", Some("/"), &[]).encode();
        let view = HeadView::new(&bytes);
        assert_eq!((view.scheme(), view.protocol()), (&b"http"[..], &b"HTTP/1.1"[..]));
        assert_eq!((view.remote_addr(), view.local_addr(), view.pattern()), (&b""[..], &b""[..], &b""[..]));
        assert_eq!((view.request_id(), view.path_values().count()), (&b"id"[..], 0));
        assert_eq!(view.deadline_ms(), NO_DEADLINE_MS);
    }

    #[test]
    fn the_first_fit_id_is_taken() {
        let long = [b'x'; REQUEST_ID_BYTES_MAX + 1];
        let table: [(&[&[u8]], Option<&str>); 5] = [
            (&[b"a", b"b"], Some("a")),
            (&[b"", b"b"], Some("b")),
            (&[b"a b", b"c\n", b"\xff", &long], None),
            (&[&long[1..]], str::from_utf8(&long[1..]).ok()),
            (&[], None),
        ];
        for (given, want) in table {
            assert_eq!(fit_request_id(given.iter().copied()), want, "{given:?}");
        }
    }
}
