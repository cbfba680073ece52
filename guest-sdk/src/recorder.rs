//! [`Recorder`]: serves a request without a host and keeps the response, for tests.
//!
//! Behind it is [`Tape`].

use http::{HeaderMap, StatusCode};

use crate::{Handler, TestRequest, fields};

pub(crate) mod client;
pub(crate) mod kv;
pub(crate) mod sql;
mod tape;
mod world;

pub(crate) use tape::{Script, Tape};
pub(crate) use world::{World, config};

/// A recorded response; net/http's `httptest.ResponseRecorder`.
///
/// ```
/// use std::io::Write;
/// use wasmux_sdk::{Recorder, Request, ResponseWriter, Result};
///
/// fn greet(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
///     writeln!(w, "Hello, {}!", r.path_value("name"))?;
///     Ok(())
/// }
///
/// let response = Recorder::serve(greet, Request::get("/hello/Ann").pattern("GET /hello/{name}"));
/// assert_eq!(response.status(), 200);
/// assert_eq!(response.header("content-type"), "text/plain; charset=utf-8");
/// assert_eq!(response.text(), "Hello, Ann!\n");
/// ```
#[derive(Debug)]
pub struct Recorder {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: HeaderMap,
    interim: Vec<(StatusCode, HeaderMap)>,
    flushes: Vec<usize>,
    is_streamed: bool,
    is_broken_off: bool,
}

impl Recorder {
    /// Runs `handler` on `request`, from head to last byte, and returns what a client would get.
    ///
    /// # Panics
    /// When the request was built wrongly (see [`TestRequest`]), and when the handler panics.
    #[must_use]
    pub fn serve(handler: impl Handler, request: TestRequest) -> Self {
        let _world = request.world().enter();
        Tape::record(&handler, request.into_script())
    }

    /// The status. It compares with numbers: `assert_eq!(response.status(), 200)`.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers, with the `Content-Length` that the host adds. (Its `Date` is not there.)
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The first value of a header; `""` when there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        fields::first(&self.headers, name)
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as text.
    ///
    /// # Panics
    /// When it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("the response body is UTF-8")
    }

    /// The body, read as JSON.
    ///
    /// # Panics
    /// When it is not JSON, or not a `T`.
    #[cfg(feature = "json")]
    #[must_use]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).expect("the response body is JSON of this type")
    }

    /// The trailers.
    #[must_use]
    pub fn trailers(&self) -> &HeaderMap {
        &self.trailers
    }

    /// The interim (1xx) responses.
    #[must_use]
    pub fn interim(&self) -> &[(StatusCode, HeaderMap)] {
        &self.interim
    }

    /// Whether the handler flushed; `Flushed`.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        !self.flushes.is_empty()
    }

    /// How much of the body each flush found written, in bytes.
    #[must_use]
    pub fn flushes(&self) -> &[usize] {
        &self.flushes
    }

    /// Whether the response left in more than one piece, so that its length was not known beforehand.
    #[must_use]
    pub fn is_streamed(&self) -> bool {
        self.is_streamed
    }

    /// Whether the response was broken off: the client sees that it is not whole.
    #[must_use]
    pub fn is_broken_off(&self) -> bool {
        self.is_broken_off
    }
}
