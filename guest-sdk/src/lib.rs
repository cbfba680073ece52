//! Write HTTP handlers for wasmux as one writes them for Go's `net/http`, and test them as plain functions.
//!
//! ```
//! use std::io::Write;
//! use wasmux_sdk::{Request, ResponseWriter, Result};
//!
//! #[wasmux_sdk::handler]
//! fn serve_http(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
//!     writeln!(w, "Hello, {}!", r.path_value("name"))?;
//!     Ok(())
//! }
//!
//! # use wasmux_sdk::Recorder;
//! // The same function under `cargo test`, without a server:
//! let response = Recorder::serve(serve_http, Request::get("/hello/Ann").pattern("GET /hello/{name}"));
//! assert_eq!(response.status(), 200);
//! assert_eq!(response.text(), "Hello, Ann!\n");
//! ```
//!
//! A handler is a library crate with `crate-type = ["cdylib"]`, built for `wasm32-wasip1`; `wasmux new` makes one and
//! `wasmux build` builds it. (With `"rlib"` besides, Cargo leaves link-time optimisation out, and the module is a
//! quarter larger; unit tests do not need it.)
//!
//! The host calls the handler once for each request. By default every request gets memory that no other request has
//! touched, so a `static` lasts as long as the request; `isolation` in routes.toml changes that.
//!
//! # From net/http
//!
//! Names and behaviour are net/http's wherever it has them, and each item says which name it follows.
//!
//! | net/http | here |
//! |---|---|
//! | `func(w http.ResponseWriter, r *http.Request)` | `fn(w: &mut ResponseWriter, r: &mut Request) -> Result<()>` |
//! | `http.Handler`, `http.ServeMux` | [`Handler`], [`ServeMux`] |
//! | `io.Writer`, `http.Flusher` | [`std::io::Write`] on [`ResponseWriter`] |
//! | `r.Body`, `http.MaxBytesReader` | [`std::io::Read`] on [`Request`], [`Request::max_bytes`] |
//! | `r.Header`, `w.Header()` | [`Request::headers`], [`ResponseWriter::headers_mut`], with the `http` crate's types |
//! | `r.PathValue`, `r.FormValue` | [`Request::path_value`], [`Request::form_value`] |
//! | `r.URL.Path`, `r.URL.Query()` | [`Request::path`], [`Request::query`] |
//! | `w.Header().Set`, `Add`, with text from elsewhere | [`ResponseWriter::set_header`], [`ResponseWriter::add_header`] |
//! | `r.ParseForm`, `r.PostFormValue` | [`Request::form`], [`Request::post_form_value`] |
//! | `r.MultipartReader`, `r.ParseMultipartForm` | [`Request::multipart`], [`Request::multipart_form`] |
//! | `r.Cookies`, `ParseCookie`, `ParseSetCookie`, `SetCookie` | [`Request::cookies`], [`Cookie::parse`], [`Cookie::parse_set_cookie`], [`ResponseWriter::set_cookie`] |
//! | `http.Error`, `NotFound`, `Redirect`, `StripPrefix` | [`error()`], [`not_found`], [`redirect`], [`strip_prefix`] |
//! | `http.ServeContent` | [`serve_content`] |
//! | `http.TimeoutHandler`, `MaxBytesHandler` | [`timeout_handler`], [`max_bytes_handler`] |
//! | `http.CrossOriginProtection` | [`CrossOriginProtection`] |
//! | `r.TLS.PeerCertificates[0].Subject` | [`Request::client_subject`] |
//! | `httptest.NewRequest`, `NewRecorder` | [`Request::get`] and so on, [`Recorder::serve`] |
//! | `panic(http.ErrAbortHandler)` | returning an [`Error`] |
//! | `log.Printf` | the [`log`] crate, whose lines carry the request's id in the host's log |
//!
//! # Features
//!
//! - `json`: [`Request`] and [`ResponseWriter`] get a method `json`, through `serde_json`.

mod body;
mod buffer;
mod content;
mod cookie;
mod cross_origin;
mod dates;
mod error;
mod escape;
mod exchange;
mod fields;
mod form;
mod handler;
mod helpers;
#[cfg(target_family = "wasm")]
mod logger;
mod media_type;
mod multipart;
mod multipart_form;
mod mux;
#[cfg(not(target_family = "wasm"))]
mod recorder;
mod request;
mod response;
mod sniff;
mod sys;
#[cfg(not(target_family = "wasm"))]
mod test_request;
mod timeout;
mod values;

pub use content::serve_content;
pub use cookie::{Cookie, SameSite};
pub use cross_origin::{CrossOriginError, CrossOriginProtection, OriginError, Protected};
pub use error::{BodyError, Error, Result};
pub use handler::Handler;
pub use helpers::{error, max_bytes_handler, not_found, redirect, strip_prefix};
pub use http::{self, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
pub use log;
pub use multipart::{Multipart, Part};
pub use multipart_form::{FormFile, MultipartForm};
pub use mux::{PatternError, ServeMux};
#[cfg(not(target_family = "wasm"))]
pub use recorder::Recorder;
pub use request::Request;
pub use response::ResponseWriter;
pub use sniff::detect_content_type;
#[cfg(not(target_family = "wasm"))]
pub use test_request::TestRequest;
pub use timeout::{TimeoutHandler, timeout_handler};
pub use values::Values;

/// Makes a function the handler of this module; net/http's `http.HandleFunc`.
///
/// The function stays what it is, so tests can call it. For WebAssembly, the export `serve_http` is added, which the
/// host calls for each request; a module has one.
///
/// ```
/// # use wasmux_sdk::{Request, ResponseWriter, Result};
/// #[wasmux_sdk::handler]
/// fn serve_http(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
///     Ok(())
/// }
/// ```
///
/// It takes exactly these arguments, is not async and not generic, and returns a [`Result`]:
///
/// ```compile_fail
/// # use wasmux_sdk::{Request, ResponseWriter, Result};
/// #[wasmux_sdk::handler]
/// async fn serve_http(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
///     Ok(())
/// }
/// ```
/// ```compile_fail
/// # use wasmux_sdk::{Request, ResponseWriter, Result};
/// #[wasmux_sdk::handler]
/// fn serve_http(w: &ResponseWriter, r: &mut Request) -> Result<()> {
///     Ok(())
/// }
/// ```
pub use wasmux_sdk_macros::handler;

/// For the code that `#[handler]` makes.
#[doc(hidden)]
pub mod __private {
    /// Handles the request that the host has called for.
    #[cfg(target_family = "wasm")]
    pub fn serve(handler: fn(&mut crate::ResponseWriter, &mut crate::Request) -> crate::Result<()>) {
        crate::sys::run_constructors();
        crate::logger::install();
        crate::exchange::run(&handler, &crate::sys::Host);
    }
}
