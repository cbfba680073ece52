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
//! A handler is a library crate with `crate-type = ["cdylib"]`, built for `wasm32-wasip1` (see below for others);
//! `wasmux new` makes one and `wasmux build` builds it. (With `"rlib"` besides, Cargo leaves link-time optimisation out, and the module is a
//! quarter larger; unit tests do not need it.)
//!
//! The host calls the handler once for each request. By default every request gets memory that no other request has
//! touched, so a `static` lasts as long as the request; `isolation` in routes.toml changes that.
//!
//! # Other hosts
//!
//! The same source built for `wasm32-wasip2`, which is what `wasmux build --component` does, is a standard component that
//! exports `wasi:http/incoming-handler` 0.2. Every host of such components runs it, wasmux among them, for example
//! `wasmtime serve -Scli hello.wasm`. Some things are different there.
//!
//! *Routes.* The standard interface has no word for the pattern that matched. So a component brings its routes along: a
//! [`ServeMux`] with them is in front of the handler and answers what matches none (404, 405), and
//! [`Request::path_value`] and [`Request::pattern`] work as ever. They are those of
//!
//! 1. the environment variable `WASMUX_ROUTES` of the running component, one pattern a line; if there is none,
//! 2. the variable `WASMUX_ROUTES_NAME` of the build, for the package `name`, in capitals and with `_` for all that is
//!    no letter or digit. `wasmux build --component` sets it to the patterns in routes.toml that name the crate.
//!
//! Without routes, or with an empty `WASMUX_ROUTES`, the handler gets every request, and there are no path values.
//!
//! *What the interface does not tell.* [`Request::remote_addr`], [`local_addr`](Request::local_addr) and
//! [`client_subject`](Request::client_subject) are empty, [`protocol`](Request::protocol) is always `HTTP/1.1`,
//! [`deadline`](Request::deadline) is the end of the year 9999, and [`request_id`](Request::request_id) is that of the
//! `X-Request-Id` header or else random. `Transfer-Encoding` is hidden; an undeclared length counts as 0 for the methods
//! that hardly ever have a body. The body can be read all the same.
//!
//! *What the interface cannot do.* Interim responses and the host's own headers (`Connection` and others of the connection) are
//! left out. [`Request::client_gone`] only knows of it when the response is streaming. A [`timeout_handler`] is in time
//! while the handler reads the request's body; otherwise it answers when the handler has returned. [`next()`] fails. Log lines of the
//! levels error and warn go to standard error, info to standard output, others nowhere.
//!
//! *What else the host has to have.* A component imports what its handler uses of these, and a host that lacks it refuses the component:
//!
//! | | interface | who has it |
//! |---|---|---|
//! | [`client`] | `wasi:http/outgoing-handler` 0.2 | every host of wasi:http, `wasmtime serve` among them; whom a handler may call is the host's affair |
//! | [`config`] | `wasi:config/store` 0.2.0-rc.1 | some; elsewhere, [`std::env::var`] |
//! | [`kv`] | `wasi:keyvalue` 0.2.0-draft, `store` and `atomics` | some; it has less than modules get, see there |
//! | [`sql`] | `wasmux:sql` 0.1.0, in `guest-sdk/wit` | wasmux; a proposal of its own |
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
//! | `next.ServeHTTP(w, r)` in middleware | [`next()`], [`NextRequest`] |
//! | `http.TimeoutHandler`, `MaxBytesHandler` | [`timeout_handler`], [`max_bytes_handler`] |
//! | `http.CrossOriginProtection` | [`CrossOriginProtection`] |
//! | `r.TLS.PeerCertificates[0].Subject` | [`Request::client_subject`] |
//! | `httptest.NewRequest`, `NewRecorder` | [`Request::get`] and so on, [`Recorder::serve`] |
//! | `panic(http.ErrAbortHandler)` | returning an [`Error`] |
//! | `http.Get`, `http.Post`, `http.NewRequest`, `Client.Do` | [`client::get`], [`client::post`], [`client::request`], [`client::CallBuilder::send`] |
//! | goroutines that call, `select` | [`client::CallBuilder::start`], [`client::select`] |
//! | `os.Getenv` | [`config::get`] for what changes without a rebuild; [`std::env::var`] sees `env` |
//! | `database/sql` | [`sql`], whose [`sql::Queries`] is what `DB` and `Tx` have in common |
//! | a map behind a `sync.Mutex` | [`kv`]: a `static` ends with its request |
//! | `log.Printf` | the [`log`] crate, whose lines carry the request's id in the host's log |
//!
//! # Features
//!
//! - `json`: [`Request`], [`ResponseWriter`], [`client::CallBuilder`], [`client::Response`], and for tests [`TestRequest`], [`Recorder`] and
//!   [`client::Reply`] get a method `json`, through `serde_json`.

mod body;
mod buffer;
pub mod client;
pub mod config;
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
pub mod kv;
#[cfg(target_family = "wasm")]
mod logger;
mod media_type;
mod multipart;
mod multipart_form;
mod mux;
mod next;
#[cfg(not(target_family = "wasm"))]
mod recorder;
mod request;
mod response;
#[cfg(any(test, all(target_family = "wasm", target_env = "p2")))]
mod routes;
mod sniff;
pub mod sql;
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
pub use next::{NextRequest, NextResponse, next};
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
/// The function stays what it is, so tests can call it. For WebAssembly, the export is added that the host calls for each
/// request: `serve_http`, or in a component `wasi:http/incoming-handler`. A module has one.
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

/// Has a function run once, before the host takes the snapshot of this module (`snapshot = true` in `routes.toml`): what it
/// builds is there when each request begins.
///
/// ```
/// use std::sync::LazyLock;
///
/// static SQUARES: LazyLock<Vec<u64>> = LazyLock::new(|| (0..100_000).map(|n| n * n).collect());
///
/// #[wasmux_sdk::warm_up]
/// fn warm_up() {
///     LazyLock::force(&SQUARES);
/// }
/// ```
///
/// Without `snapshot` nobody calls it, as in a component or in tests: what is built must be built where it is used, too, which
/// a `LazyLock` sees to. A module has one such function.
///
/// There is no request to be asked for, and what would be different for each request is refused by the host, with a
/// sentence: random numbers (a `HashMap` with its usual hasher seeds itself with one; a `BTreeMap`, or a hasher with a fixed
/// seed, does not), the time of day, files.
pub use wasmux_sdk_macros::warm_up;

/// The README's handlers are compiled as they stand.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// For the code that `#[handler]` makes.
#[doc(hidden)]
pub mod __private {
    #[cfg(target_family = "wasm")]
    pub use crate::sys::serve;
    #[cfg(all(target_family = "wasm", target_env = "p2"))]
    pub use wasip2;
}
