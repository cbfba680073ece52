//! [`Request`]: what the client asked, read from the head only as far as the handler wants to know.

use std::{
    borrow::Cow,
    cell::OnceCell,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, Method};
use wasmux_abi::HeadView;

use crate::{
    body::Body,
    buffer::Buffer,
    escape::{into_text, unescape_path},
    exchange::{Exchange, HEAD_INLINE_BYTES, Link},
    fields,
    form::Form,
    timeout::Armed,
    values::Values,
};

/// A request; net/http's `Request` on the server's side.
///
/// Nothing is decoded before it is asked for. The body is read with [`std::io::Read`], which this type implements.
/// The `*_value` methods follow net/http in answering `""` for what is not there; where the difference matters, ask
/// [`query`](Self::query), [`form`](Self::form) or [`headers`](Self::headers).
///
/// In tests, [`Request::get`] and its like build one.
pub struct Request {
    pub(crate) link: Link,
    pub(crate) body: Body,
    pub(crate) form: Option<Form>,
    head: Buffer<HEAD_INLINE_BYTES>,
    method: OnceCell<Method>,
    headers: OnceCell<HeaderMap>,
    query: OnceCell<Values>,
    /// The path as the handler should see it, when that is not the path of the target (`strip_prefix`).
    rewritten_path: Option<String>,
    decoded_path: OnceCell<String>,
    /// What an inner mux has matched; it hides what the host has matched.
    inner_match: Option<InnerMatch>,
    set_values: Vec<PathValue>,
    /// The time limit that a `timeout_handler` has set.
    pub(crate) armed: Option<Armed>,
}

/// The pattern that an inner mux has found, and its wildcards.
pub(crate) struct InnerMatch {
    pub(crate) pattern: String,
    pub(crate) values: Vec<PathValue>,
}

/// A wildcard's name and what it matched.
pub(crate) type PathValue = (Vec<u8>, Vec<u8>);

impl Request {
    pub(crate) const fn new(link: Link) -> Self {
        Self {
            link,
            body: Body::new(),
            form: None,
            head: Buffer::new(),
            method: OnceCell::new(),
            headers: OnceCell::new(),
            query: OnceCell::new(),
            rewritten_path: None,
            decoded_path: OnceCell::new(),
            inner_match: None,
            set_values: Vec::new(),
            armed: None,
        }
    }

    /// Fetches the head.
    pub(crate) fn load(&mut self) {
        self.link.request_head(&mut self.head);
    }

    fn view(&self) -> HeadView<'_> {
        HeadView::new(self.head.as_slice())
    }

    pub(crate) fn is_head(&self) -> bool {
        self.view().method() == b"HEAD"
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        // The host lets no request through whose method is not a token.
        self.method.get_or_init(|| Method::from_bytes(self.view().method()).unwrap_or_default())
    }

    /// The request target as sent: `/a%20b?c=d`, `http://example.com/x`, `*`; `RequestURI`.
    #[must_use]
    pub fn target(&self) -> &str {
        text(self.view().target())
    }

    /// The request target byte for byte, also where it is not UTF-8.
    #[must_use]
    pub fn target_bytes(&self) -> &[u8] {
        self.view().target()
    }

    /// The path, percent-decoded; `URL.Path`. Bytes that are not UTF-8 are replaced: see
    /// [`path_bytes`](Self::path_bytes).
    #[must_use]
    pub fn path(&self) -> &str {
        let escaped = self.escaped_path();
        if !escaped.contains('%') {
            return escaped;
        }
        self.decoded_path.get_or_init(|| into_text(unescape_path(escaped.as_bytes()).into_owned()))
    }

    /// The path, percent-decoded, byte for byte; Go's `URL.Path`, which need not be UTF-8 either.
    #[must_use]
    pub fn path_bytes(&self) -> Cow<'_, [u8]> {
        unescape_path(self.rewritten_path.as_deref().map_or(self.view().path(), str::as_bytes))
    }

    /// The path as sent, with its escapes; `URL.EscapedPath()`. `*` for `OPTIONS *`, empty for CONNECT.
    #[must_use]
    pub fn escaped_path(&self) -> &str {
        self.rewritten_path.as_deref().unwrap_or_else(|| text(self.view().path()))
    }

    /// Shows the handler another (escaped) path, and returns what to give back afterwards.
    pub(crate) fn rewrite_path(&mut self, path: Option<String>) -> Option<String> {
        self.decoded_path = OnceCell::new();
        std::mem::replace(&mut self.rewritten_path, path)
    }

    /// The target with the path that the handler is shown, if that is not the one that was sent.
    pub(crate) fn rewritten_target(&self) -> Option<String> {
        let mut target = self.rewritten_path.clone()?;
        if let Some(query) = self.view().query() {
            target.push('?');
            target.push_str(text(query));
        }
        Some(target)
    }

    /// The query as sent, without the `?`; `URL.RawQuery`. Empty when there is none.
    #[must_use]
    pub fn raw_query(&self) -> &str {
        text(self.view().query().unwrap_or_default())
    }

    /// The query byte for byte, also where it is not UTF-8.
    #[must_use]
    pub fn raw_query_bytes(&self) -> &[u8] {
        self.view().query().unwrap_or_default()
    }

    /// The query's parameters; `URL.Query()`. Pairs that are not valid (a bad escape, a `;`) are left out; of more
    /// than 10,000 parameters none is taken.
    #[must_use]
    pub fn query(&self) -> &Values {
        self.query.get_or_init(|| {
            let mut values = Values::default();
            let _ = values.parse_into(self.raw_query()); // `form` reports it
            values
        })
    }

    /// The first value of a query parameter; `URL.Query().Get(name)`. `""` when there is none.
    #[must_use]
    pub fn query_value(&self, name: &str) -> &str {
        self.query().get(name).unwrap_or_default()
    }

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        text(self.view().scheme())
    }

    /// Host and optional port that the client asked for; `Host`. May be empty.
    #[must_use]
    pub fn host(&self) -> &str {
        text(self.view().authority())
    }

    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`; `Proto`.
    #[must_use]
    pub fn protocol(&self) -> &str {
        text(self.view().protocol())
    }

    /// The peer's address, `192.0.2.1:52044`, `[2001:db8::1]:52044` or `unix`; `RemoteAddr`.
    #[must_use]
    pub fn remote_addr(&self) -> &str {
        text(self.view().remote_addr())
    }

    /// The server's own address of the connection, in the same form; `LocalAddrContextKey`.
    #[must_use]
    pub fn local_addr(&self) -> &str {
        text(self.view().local_addr())
    }

    /// The id of this request in the logs, 1 to 128 bytes of visible ASCII.
    #[must_use]
    pub fn request_id(&self) -> &str {
        text(self.view().request_id())
    }

    /// The subject of the certificate that the client has shown and the host has verified, as an RFC 4514 name
    /// (`CN=Ann,O=Example`); net/http's `TLS.PeerCertificates[0].Subject`. `None` without one.
    #[must_use]
    pub fn client_subject(&self) -> Option<&str> {
        Some(text(self.view().client_subject())).filter(|subject| !subject.is_empty())
    }

    /// When the request's time is up; `Context().Deadline()`. The host ends the handler then.
    #[must_use]
    pub fn deadline(&self) -> SystemTime {
        let deadline = UNIX_EPOCH + Duration::from_millis(self.view().deadline_ms());
        let limit = self.limit_left().and_then(|left| SystemTime::now().checked_add(left));
        limit.map_or(deadline, |limit| deadline.min(limit))
    }

    /// The time left until [`deadline`](Self::deadline).
    #[must_use]
    pub fn time_remaining(&self) -> Duration {
        self.deadline().duration_since(SystemTime::now()).unwrap_or_default()
    }

    /// The declared length of the body, in bytes: 0 when there is no body, `None` when it was not declared;
    /// `ContentLength`.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        u64::try_from(self.view().content_length()).ok()
    }

    /// The header fields.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.headers.get_or_init(|| fields::to_map(self.view().headers()))
    }

    /// The first value of a header; `Header.Get(name)`. `""` when there is none, or none that is visible ASCII.
    /// Cheaper than [`headers`](Self::headers) when few are wanted.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.header_lines(name).next().unwrap_or_default()
    }

    /// The values of a header that are text.
    pub(crate) fn header_lines<'r>(&'r self, name: &str) -> impl Iterator<Item = &'r str> {
        let found =
            self.view().headers().filter(move |(given, _)| given.eq_ignore_ascii_case(name.as_bytes()));
        found.filter_map(|(_, value)| str::from_utf8(value).ok())
    }

    /// The pattern that matched, as it was registered; `Pattern`.
    #[must_use]
    pub fn pattern(&self) -> &str {
        match &self.inner_match {
            Some(inner) => &inner.pattern,
            None => text(self.view().pattern()),
        }
    }

    /// What a wildcard of the pattern has matched, percent-decoded; `PathValue`. `""` for a name that is not in the
    /// pattern, and for a value that is not UTF-8: see [`path_value_bytes`](Self::path_value_bytes).
    #[must_use]
    pub fn path_value(&self, name: &str) -> &str {
        self.path_value_bytes(name).map_or("", text)
    }

    /// What a wildcard of the pattern has matched, byte for byte; `None` for a name that is not in the pattern.
    #[must_use]
    pub fn path_value_bytes(&self, name: &str) -> Option<&[u8]> {
        let is_it = |given: &[u8]| given == name.as_bytes();
        if let Some((_, value)) = self.set_values.iter().find(|(given, _)| is_it(given)) {
            return Some(value);
        }
        match &self.inner_match {
            Some(inner) => {
                inner.values.iter().find(|(given, _)| is_it(given)).map(|(_, value)| value.as_slice())
            }
            None => self.view().path_values().find(|(given, _)| is_it(given)).map(|(_, value)| value),
        }
    }

    /// Sets what [`path_value`](Self::path_value) answers; `SetPathValue`. For routers other than [`ServeMux`].
    ///
    /// [`ServeMux`]: crate::ServeMux
    pub fn set_path_value(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.set_values.retain(|(given, _)| given != name.as_bytes());
        self.set_values.push((name.into(), value.into()));
    }

    /// Shows the handler what an inner mux has matched.
    pub(crate) fn set_inner_match(&mut self, inner: InnerMatch) {
        self.inner_match = Some(inner);
    }

    /// User name and password of `Authorization: Basic`; `BasicAuth`.
    #[must_use]
    pub fn basic_auth(&self) -> Option<(String, String)> {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let (scheme, encoded) = self.header("authorization").split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case("Basic ") {
            return None;
        }
        let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
        let (user, password) = decoded.split_once(':')?;
        Some((user.to_owned(), password.to_owned()))
    }
}

/// The bytes as text, empty if they are not. All but path values are ASCII or UTF-8 (ABI.md section 3.1).
fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap_or_default()
}
