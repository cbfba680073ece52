//! Calls to other servers and handlers, as net/http's client side has them. Whom a handler may call says `outbound` in
//! routes.toml.
//!
//! ```toml
//! [handlers.weather]
//! wasm = "weather"
//! outbound = ["https://api.example.com", "http://places.handler"]
//! ```
//!
//! ```
//! use wasmux_sdk::{Recorder, Request, ResponseWriter, Result, client};
//! use std::io::Write;
//!
//! fn weather(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
//!     let answer = client::get(&format!("https://api.example.com/{}", r.path_value("city")))?;
//!     Ok(write!(w, "It is {}.", answer.text()?)?)
//! }
//!
//! // In a test, a function answers instead of the network.
//! let request = Request::get("/weather/Rome").path_value("city", "Rome");
//! let response = Recorder::serve(weather, request.upstream(|call| {
//!     assert_eq!(call.url(), "https://api.example.com/Rome");
//!     client::Reply::text("sunny")
//! }));
//! assert_eq!(response.text(), "It is sunny.");
//! ```
//!
//! Several calls at a time are [started](CallBuilder::start) first and waited for then:
//!
//! ```
//! # use wasmux_sdk::client;
//! # fn f() -> Result<(), client::CallError> {
//! let one = client::request("GET", "http://a.test/").start()?;
//! let two = client::request("GET", "http://b.test/").start()?;
//! let (one, two) = (one.wait()?, two.wait()?);
//! # Ok(()) }
//! ```
//!
//! A call ends with the request that it was made for, at the latest. `http://NAME.handler/path` is another handler of the same
//! deployment, which answers without a network. Its errors begin with method and URL, without user and query, which may be secrets.
//!
//! In modules the host does all of it. Components call through `wasi:http/outgoing-handler`, which has less; this crate adds the rest while
//! the handler waits for a call or reads its body: redirects are followed by the same rules, and [`CallBuilder::timeout`] is for all of the
//! call. A compressed body stays as it is, and nobody asks for one. [`CallBuilder::start`] returns when the host has taken the whole body.
//! Where a host has none of the other three times, a call that sets one is [`CallErrorKind::Invalid`].

use std::{
    fmt,
    io::{self, Read},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use wasmux_abi::{CALL_BODY_BYTES_MAX, CALL_NO_DECOMPRESSION, CALL_STREAMED, Errno};

use crate::fields;
#[cfg(not(target_family = "wasm"))]
use crate::recorder::client as host;
#[cfg(target_family = "wasm")]
use crate::sys::client as host;

mod error;
// The host does it for modules.
#[cfg(not(all(target_family = "wasm", not(target_env = "p2"))))]
pub(crate) mod redirect;
mod response;
#[cfg(not(all(target_family = "wasm", not(target_env = "p2"))))]
pub(crate) mod url;

#[cfg(not(target_family = "wasm"))]
pub use crate::recorder::client::{Called, Reply};
pub use error::{CallError, CallErrorKind};
pub use response::Response;

/// Redirects that a call follows, as `http.Client` does.
const REDIRECTS: u32 = 10;

/// Sends a GET request and waits for the head of the response; `http.Get`.
///
/// # Errors
/// When there is none; a status such as 404 is no error.
pub fn get(url: &str) -> Result<Response, CallError> {
    request("GET", url).send()
}

/// Sends a body; `http.Post`.
///
/// # Errors
/// As [`get`].
pub fn post(url: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Result<Response, CallError> {
    request("POST", url).header("content-type", content_type).body(body).send()
}

/// Begins a request, to be completed and sent; `http.NewRequest`. The URL is absolute, `http://` or `https://`.
pub fn request(method: &str, url: &str) -> CallBuilder {
    let problem = match Method::from_bytes(method.as_bytes()) {
        Ok(_) => None,
        Err(_) => Some(CallError::new(CallErrorKind::Invalid, format!("`{method}` is not a method"))),
    };
    CallBuilder {
        method: method.to_owned(),
        url: url.to_owned(),
        headers: HeaderMap::new(),
        body: Vec::new(),
        options: Options { redirects: REDIRECTS, ..Options::default() },
        problem,
    }
}

/// What a call asks for beside its request; 0 milliseconds: no limit of its own.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    pub(crate) flags: u32,
    pub(crate) redirects: u32,
    pub(crate) timeout_ms: u32,
    pub(crate) connect_timeout_ms: u32,
    pub(crate) first_byte_timeout_ms: u32,
    pub(crate) between_bytes_timeout_ms: u32,
}

/// A request in the making.
#[derive(Debug)]
#[must_use = "it is sent by `send` or `start`"]
pub struct CallBuilder {
    method: String,
    url: String,
    headers: HeaderMap,
    body: Vec<u8>,
    options: Options,
    /// The first thing that was wrong; said when it is sent.
    problem: Option<CallError>,
}

fn ms(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX).max(1)
}

impl CallBuilder {
    /// Adds a header field.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_ref())) {
            (Ok(name), Ok(value)) => drop(self.headers.append(name, value)),
            _ => {
                let text =
                    format!("the header field `{name}`, or its value, is one that HTTP does not allow");
                self.problem.get_or_insert(CallError::new(CallErrorKind::Invalid, text));
            }
        }
        self
    }

    /// The header fields, to be changed.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    /// Sets the body. One of more than 1 MiB is streamed as it is sent: redirects that want it again (307, 308) are not followed then.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets a body of JSON, and its `Content-Type`.
    #[cfg(feature = "json")]
    pub fn json<T: serde::Serialize + ?Sized>(mut self, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(text) => self.header("content-type", "application/json").body(text),
            Err(error) => {
                let text = format!("the body cannot be represented as JSON: {error}");
                self.problem.get_or_insert(CallError::new(CallErrorKind::Invalid, text));
                self
            }
        }
    }

    /// How long it may take, with redirects and the body of the response; `Client.Timeout`. By default the request's own deadline.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout_ms = ms(timeout);
        self
    }

    /// How long connecting may take.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout_ms = ms(timeout);
        self
    }

    /// How long the head of the response may take once the request is sent; `Transport.ResponseHeaderTimeout`.
    pub fn first_byte_timeout(mut self, timeout: Duration) -> Self {
        self.options.first_byte_timeout_ms = ms(timeout);
        self
    }

    /// How long the body of the response may pause.
    pub fn between_bytes_timeout(mut self, timeout: Duration) -> Self {
        self.options.between_bytes_timeout_ms = ms(timeout);
        self
    }

    /// Redirects that are followed, 10 by default, beyond which the call fails; 0: the response that redirects is the answer
    /// (`http.ErrUseLastResponse`). What changes on the way does so as in `http.Client`: 301 to 303 become a GET, another host gets
    /// no credentials.
    pub fn redirects(mut self, most: u32) -> Self {
        self.options.redirects = most;
        self
    }

    /// Leaves a compressed body as it is; `Transport.DisableCompression`.
    pub fn no_decompression(mut self) -> Self {
        self.options.flags |= CALL_NO_DECOMPRESSION;
        self
    }

    /// Sends it, and waits for the head of the response; `Client.Do`.
    ///
    /// # Errors
    /// When there is none.
    pub fn send(self) -> Result<Response, CallError> {
        self.start()?.wait()
    }

    /// Sends it, to be waited for later. In a module it returns at once, unless the body has more than 1 MiB; in a component when the
    /// host has taken the body.
    ///
    /// # Errors
    /// When it cannot be sent as it is, or there are too many calls under way (64). Whatever happens afterwards, [`Pending::wait`] says.
    pub fn start(mut self) -> Result<Pending, CallError> {
        if self.body.len() > CALL_BODY_BYTES_MAX {
            let body = std::mem::take(&mut self.body);
            self.headers.entry(http::header::CONTENT_LENGTH).or_insert(HeaderValue::from(body.len()));
            let mut upload = self.stream()?;
            // What it fails with, the call says better.
            let _ = io::Write::write_all(&mut upload, &body);
            return upload.finish();
        }
        let body = std::mem::take(&mut self.body);
        let (call, name) = self.begin(&body)?;
        Ok(Pending { call, name })
    }

    /// Sends it, with a body that is written piece by piece. Redirects that would want it again are not followed.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn stream(mut self) -> Result<Upload, CallError> {
        self.options.flags |= CALL_STREAMED;
        let body = std::mem::take(&mut self.body);
        let (call, name) = self.begin(&body)?;
        Ok(Upload { call, name })
    }

    /// Sends it; answers what it is called in errors besides.
    fn begin(self, body: &[u8]) -> Result<(host::Call, String), CallError> {
        let name = error::name_of(&self.method, &self.url);
        if let Some(problem) = self.problem {
            return Err(problem.about(&name));
        }
        let block = if self.headers.is_empty() { Vec::new() } else { fields::to_block(&self.headers) };
        let begun = host::Call::send(&self.method, &self.url, &block, body, &self.options);
        match begun {
            Ok(call) => Ok((call, name)),
            Err(errno) => Err(CallError::of(errno).about(&name)),
        }
    }
}

/// A call under way. Dropping it ends it.
pub struct Pending {
    call: host::Call,
    /// Method and URL, for errors.
    name: String,
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pending").field(&self.name).finish()
    }
}

impl Pending {
    /// Waits for the head of the response.
    ///
    /// # Errors
    /// When there is none.
    pub fn wait(self) -> Result<Response, CallError> {
        match host::wait(&[&self.call], None) {
            Ok(_) => Response::new(self.call, self.name),
            Err(errno) => Err(CallError::of(errno).about(&self.name)),
        }
    }
}

/// Waits for the first of several calls; its index, or `None` when `timeout` is over before. A Go `select`.
///
/// # Errors
/// When there are none, or more than 64.
pub fn select(calls: &[&Pending], timeout: Option<Duration>) -> Result<Option<usize>, CallError> {
    if calls.is_empty() {
        return Err(CallError::new(CallErrorKind::Invalid, "there is no call to wait for".to_owned()));
    }
    let calls: Vec<_> = calls.iter().map(|pending| &pending.call).collect();
    match host::wait(&calls, timeout) {
        Ok(index) => Ok(Some(index)),
        Err(Errno::Timeout) => Ok(None),
        Err(errno) => Err(CallError::of(errno)),
    }
}

/// Waits for all of several calls, which go on meanwhile; their responses in the same order.
pub fn join(calls: impl IntoIterator<Item = Pending>) -> Vec<Result<Response, CallError>> {
    calls.into_iter().map(Pending::wait).collect()
}

/// The body of a request, as it is written. Dropping it breaks the call off.
pub struct Upload {
    call: host::Call,
    name: String,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Upload").field(&self.name).finish()
    }
}

impl io::Write for Upload {
    /// Waits until there is room for it.
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self.call.write(data) {
            Ok(()) => Ok(data.len()),
            Err(_) => {
                let text = format!("{}: nobody takes the request's body any more", self.name);
                Err(io::Error::new(io::ErrorKind::BrokenPipe, text))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload {
    /// The body is complete.
    ///
    /// # Errors
    /// Never by itself: what was wrong, [`Pending::wait`] says.
    pub fn finish(self) -> Result<Pending, CallError> {
        self.finish_with(&HeaderMap::new())
    }

    /// The body is complete, and these trailers follow it.
    ///
    /// # Errors
    /// When HTTP does not allow one of them.
    pub fn finish_with(mut self, trailers: &HeaderMap) -> Result<Pending, CallError> {
        let block = if trailers.is_empty() { Vec::new() } else { fields::to_block(trailers) };
        match self.call.finish(&block) {
            Ok(()) | Err(Errno::Gone) => Ok(Pending { call: self.call, name: self.name }),
            Err(errno) => Err(CallError::of(errno).about(&self.name)),
        }
    }
}

impl Read for Response {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.read_piece(into).map_err(io::Error::other)
    }
}
