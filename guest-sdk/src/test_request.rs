//! [`TestRequest`]: builds requests for the [`Recorder`](crate::Recorder).

use std::{
    collections::VecDeque,
    fmt::Write as _,
    rc::Rc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::Method;
use wasmux_abi::{Errno, FieldsWriter, Head, fields_size};
use wasmux_mux::{Found, Mux};

use crate::{
    Handler, Request,
    recorder::{Script, World},
};

mod grants;

type Field = (Vec<u8>, Vec<u8>);

/// A request for a test; net/http's `httptest.NewRequest`. Made by [`Request::get`] and its like.
///
/// It comes from `192.0.2.1:1234`, goes to `example.com` over HTTP/1.1, and has 30 seconds.
///
/// ```
/// # use wasmux_sdk::Request;
/// let request = Request::post("/users/7?notify=yes")
///     .pattern("POST /users/{id}")
///     .header("content-type", "application/x-www-form-urlencoded")
///     .cookie("session", "a1b2")
///     .body("name=Ann");
/// ```
#[derive(Clone, Debug)]
pub struct TestRequest {
    method: String,
    target: String,
    scheme: String,
    host: String,
    protocol: String,
    remote_addr: String,
    pattern: String,
    request_id: String,
    client_subject: String,
    time_limit: Duration,
    path_values: Vec<Field>,
    headers: Vec<Field>,
    chunks: Vec<Vec<u8>>,
    content_length: i64,
    body_error: Option<Errno>,
    trailers: Vec<Field>,
    gone_after: Option<usize>,
    next: Option<NextHandler>,
    world: World,
}

/// The handler behind the one that is tested.
#[derive(Clone)]
pub(crate) struct NextHandler(pub(crate) Rc<dyn Handler>);

impl std::fmt::Debug for NextHandler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NextHandler")
    }
}

macro_rules! methods {
    ($($name:ident $method:ident)*) => {$(
        #[doc = concat!("A ", stringify!($method), " request for a test.")]
        #[must_use]
        pub fn $name(target: &str) -> TestRequest {
            Self::builder(&Method::$method, target)
        }
    )*};
}

/// Requests for tests. Not there in guests.
impl Request {
    methods! { get GET head HEAD post POST put PUT patch PATCH delete DELETE options OPTIONS }

    /// A request for a test, with any method. The target is a path with an optional query, or `*`.
    #[must_use]
    pub fn builder(method: &Method, target: &str) -> TestRequest {
        TestRequest {
            method: method.to_string(),
            target: target.to_owned(),
            scheme: "http".to_owned(),
            host: "example.com".to_owned(),
            protocol: "HTTP/1.1".to_owned(),
            remote_addr: "192.0.2.1:1234".to_owned(),
            pattern: String::new(),
            request_id: "test".to_owned(),
            client_subject: String::new(),
            time_limit: Duration::from_secs(30),
            path_values: Vec::new(),
            headers: Vec::new(),
            chunks: Vec::new(),
            content_length: 0,
            body_error: None,
            trailers: Vec::new(),
            gone_after: None,
            next: None,
            world: World::default(),
        }
    }
}

impl TestRequest {
    /// Adds a header field. The value may be any bytes.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_ascii_lowercase().into(), value.as_ref().to_vec()));
        self
    }

    /// Adds a cookie, in a `Cookie` header of its own.
    #[must_use]
    pub fn cookie(self, name: &str, value: &str) -> Self {
        self.header("cookie", format!("{name}={value}"))
    }

    /// Adds `Authorization: Basic`.
    #[must_use]
    pub fn basic_auth(self, user: &str, password: &str) -> Self {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let encoded = STANDARD.encode(format!("{user}:{password}"));
        self.header("authorization", format!("Basic {encoded}"))
    }

    /// Sets the body, of declared length.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        self.content_length = body.len() as i64; // a Vec is never longer than that
        self.chunks = vec![body];
        self
    }

    /// Sets a body of undeclared length, which arrives in these pieces: a read returns one at most.
    #[must_use]
    pub fn chunks<C: Into<Vec<u8>>>(mut self, chunks: impl IntoIterator<Item = C>) -> Self {
        self.chunks = chunks.into_iter().map(Into::into).collect();
        self.content_length = -1;
        self
    }

    /// Sets a body of JSON, and its `Content-Type`.
    ///
    /// # Panics
    /// When `value` cannot be represented.
    #[cfg(feature = "json")]
    #[must_use]
    pub fn json<T: serde::Serialize + ?Sized>(self, value: &T) -> Self {
        let text = serde_json::to_vec(value).expect("the value can be represented as JSON");
        self.header("content-type", "application/json").body(text)
    }

    /// Sets a form as the body, and its `Content-Type`.
    #[must_use]
    pub fn form(self, values: &[(&str, &str)]) -> Self {
        let pairs: Vec<_> = values.iter().map(|(name, value)| escape(name) + "=" + &escape(value)).collect();
        self.header("content-type", "application/x-www-form-urlencoded").body(pairs.join("&"))
    }

    /// Makes the body end early, as when the client breaks off: reading it fails.
    #[must_use]
    pub fn broken_body(mut self) -> Self {
        self.body_error = Some(Errno::Broken);
        self
    }

    /// Makes the body longer than the host allows: reading beyond what was set fails.
    #[must_use]
    pub fn oversized_body(mut self) -> Self {
        self.body_error = Some(Errno::Limit);
        self
    }

    /// Adds a trailer field behind the body.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.trailers.push((name.to_ascii_lowercase().into(), value.as_ref().to_vec()));
        self
    }

    /// Sets the pattern under which the handler is mounted, and the path values that follow from it.
    ///
    /// [`Recorder::serve`](crate::Recorder::serve) panics when the pattern is not valid or does not match the request.
    #[must_use]
    pub fn pattern(mut self, pattern: &str) -> Self {
        pattern.clone_into(&mut self.pattern);
        self
    }

    /// Sets a path value. It comes before one of the same name from the pattern.
    #[must_use]
    pub fn path_value(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.path_values.push((name.into(), value.as_ref().to_vec()));
        self
    }

    /// Sets host and port.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// Sets the scheme, `http` or `https`.
    #[must_use]
    pub fn scheme(mut self, scheme: &str) -> Self {
        scheme.clone_into(&mut self.scheme);
        self
    }

    /// Sets the protocol, such as `HTTP/2.0`.
    #[must_use]
    pub fn protocol(mut self, protocol: &str) -> Self {
        protocol.clone_into(&mut self.protocol);
        self
    }

    /// Sets the peer's address.
    #[must_use]
    pub fn remote_addr(mut self, address: &str) -> Self {
        address.clone_into(&mut self.remote_addr);
        self
    }

    /// Sets the subject of the client's verified certificate; see
    /// [`Request::client_subject`](Request::client_subject).
    #[must_use]
    pub fn client_subject(mut self, subject: &str) -> Self {
        subject.clone_into(&mut self.client_subject);
        self
    }

    /// Sets the request id.
    #[must_use]
    pub fn request_id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.request_id);
        self
    }

    /// Sets how much time the request has from now on. Nothing stops the handler then; only what it is told changes.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Makes the client go away once it has got this many bytes of the response's body.
    #[must_use]
    pub fn client_gone_after(mut self, bytes: usize) -> Self {
        self.gone_after = Some(bytes);
        self
    }

    /// The handler behind the one that is tested, for one that calls [`next`](crate::next).
    #[must_use]
    pub fn next(mut self, handler: impl Handler + 'static) -> Self {
        self.next = Some(NextHandler(Rc::new(handler)));
        self
    }

    /// What the handler behind gets when the tested one sends this on, with what is left of the body.
    pub(crate) fn sent_on(
        mut self,
        method: &[u8],
        target: &[u8],
        headers: Option<Vec<Field>>,
        chunks: VecDeque<Vec<u8>>,
    ) -> Script {
        if !method.is_empty() {
            self.method = String::from_utf8_lossy(method).into_owned();
        }
        if !target.is_empty() {
            self.target = String::from_utf8_lossy(target).into_owned();
        }
        self.headers = headers.unwrap_or(self.headers);
        self.next = None;
        Script { chunks, ..self.script() }
    }

    pub(crate) fn into_script(mut self) -> Script {
        self.path_values.append(&mut self.matched_values());
        self.script()
    }

    fn script(self) -> Script {
        Script {
            head: self.encode_head(),
            is_head_request: self.method == "HEAD",
            next: self.next.clone().map(|next| (next, self.clone())),
            chunks: self.chunks.into_iter().filter(|chunk| !chunk.is_empty()).collect(),
            body_error: self.body_error,
            trailers: encode_fields(&self.trailers),
            gone_after: self.gone_after,
        }
    }

    fn path_and_query(&self) -> (&str, Option<&str>) {
        match self.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&self.target, None),
        }
    }

    fn matched_values(&self) -> Vec<Field> {
        if self.pattern.is_empty() {
            return Vec::new();
        }
        let mut mux = Mux::new();
        mux.insert(&self.pattern, ()).unwrap_or_else(|error| panic!("{error}"));
        let (path, query) = self.path_and_query();
        let request = wasmux_mux::Request { method: &self.method, host: &self.host, path, query };
        let Found::Match(found) = mux.find(&request) else {
            panic!("pattern {:?} does not match {} {}", self.pattern, self.method, self.target);
        };
        found.values().map(|(name, value)| (name.into(), value.into_owned())).collect()
    }

    fn encode_head(&self) -> Vec<u8> {
        let (path, query) = self.path_and_query();
        let deadline = SystemTime::now() + self.time_limit;
        let head = Head {
            deadline_ms: deadline.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64,
            content_length: self.content_length,
            method: self.method.as_bytes(),
            scheme: self.scheme.as_bytes(),
            authority: self.host.as_bytes(),
            target: self.target.as_bytes(),
            path: path.as_bytes(),
            query: query.map(str::as_bytes),
            protocol: self.protocol.as_bytes(),
            remote_addr: self.remote_addr.as_bytes(),
            local_addr: b"192.0.2.80:80",
            pattern: self.pattern.as_bytes(),
            request_id: self.request_id.as_bytes(),
            client_subject: self.client_subject.as_bytes(),
        };
        let mut bytes = vec![0; head.size(pairs(&self.path_values), pairs(&self.headers))];
        head.write(pairs(&self.path_values), pairs(&self.headers), &mut bytes);
        bytes
    }
}

fn pairs(list: &[Field]) -> impl Iterator<Item = (&[u8], &[u8])> {
    list.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
}

fn encode_fields(list: &[Field]) -> Vec<u8> {
    let mut bytes = vec![0; fields_size(pairs(list))];
    let mut writer = FieldsWriter::new(&mut bytes);
    pairs(list).for_each(|(name, value)| writer.push(name, value));
    bytes
}

/// Encodes all but letters and digits.
fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}"); // writing to a String cannot fail
        }
        escaped
    })
}
