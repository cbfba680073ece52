//! [`ServeMux`]: several handlers in one module, chosen by pattern.

use http::{HeaderValue, StatusCode, header};
use wasmux_mux::{Found, InsertError, Match, Mux};

use crate::{
    Handler, Request, ResponseWriter, Result, error, not_found, redirect,
    request::{InnerMatch, PathValue},
};

/// Chooses a handler by method, host and path; net/http's `ServeMux`, with the patterns of routes.toml.
///
/// The most specific pattern wins, wherever it was registered. A path that has only other methods is
/// `405` with `Allow`, an unknown one `404`; a missing last slash and an unclean path are redirected (`307`).
/// Path values and pattern that the handler sees are those of this mux, not those of the host's.
///
/// A mux is best kept in a `static`: then it is built once for each instance, and with `snapshot = true` in `routes.toml`
/// before there is any, which [`warm_up`](macro@crate::warm_up) sees to. The example `users` shows both.
///
/// ```
/// use std::io::Write;
/// use wasmux_sdk::{Recorder, Request, ServeMux};
///
/// let mut mux = ServeMux::new();
/// mux.handle_func("GET /greet/{name}", |w, r| Ok(write!(w, "Hi, {}!", r.path_value("name"))?))?;
/// mux.handle_func("POST /greet/", |w, _| Ok(write!(w, "thanks")?))?;
///
/// assert_eq!(Recorder::serve(&mux, Request::get("/greet/Ann")).text(), "Hi, Ann!");
/// assert_eq!(Recorder::serve(&mux, Request::put("/greet/Ann")).header("allow"), "GET, HEAD, POST");
/// # Ok::<(), wasmux_sdk::Error>(())
/// ```
#[derive(Default)]
pub struct ServeMux {
    mux: Mux<Box<dyn Handler + Send + Sync>>,
}

impl ServeMux {
    /// A mux without patterns, which answers everything with 404.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a handler for a pattern; `Handle`.
    ///
    /// # Errors
    /// For a pattern that is not valid or conflicts with an earlier one; the error says which, and why. (net/http
    /// panics.) Returned from the handler by `?`, it is a `500`.
    pub fn handle(
        &mut self,
        pattern: &str,
        handler: impl Handler + Send + Sync + 'static,
    ) -> Result<(), PatternError> {
        self.mux.insert(pattern, Box::new(handler)).map_err(PatternError)
    }

    /// Registers a function for a pattern; `HandleFunc`. The same as [`handle`](Self::handle), but closures need no
    /// types for their arguments.
    ///
    /// # Errors
    /// As [`handle`](Self::handle).
    pub fn handle_func(
        &mut self,
        pattern: &str,
        handler: impl Fn(&mut ResponseWriter, &mut Request) -> Result<()> + Send + Sync + 'static,
    ) -> Result<(), PatternError> {
        self.handle(pattern, handler)
    }
}

impl Handler for ServeMux {
    fn serve_http(&self, w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
        match self.mux.find(&question(r)) {
            Found::Match(found) => {
                let handler = found.value();
                let inner = inner_match(&found);
                r.set_inner_match(inner);
                handler.serve_http(w, r)
            }
            Found::Redirect(to) => redirect(w, r, to.location(), StatusCode::TEMPORARY_REDIRECT),
            Found::MethodNotAllowed(allow) => {
                w.headers_mut().insert(header::ALLOW, HeaderValue::try_from(allow.to_string())?);
                error(w, "Method Not Allowed", StatusCode::METHOD_NOT_ALLOWED)
            }
            Found::NotFound => not_found(w, r),
            Found::BadRequest => {
                w.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                w.write_header(StatusCode::BAD_REQUEST);
                Ok(())
            }
        }
    }
}

/// What a mux is asked about a request.
pub(crate) fn question(r: &Request) -> wasmux_mux::Request<'_> {
    wasmux_mux::Request {
        method: r.method().as_str(),
        host: r.host(),
        path: r.escaped_path(),
        query: Some(r.raw_query()).filter(|query| !query.is_empty()),
    }
}

/// A mux can be asked again and again.
impl Handler for &ServeMux {
    fn serve_http(&self, w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
        (**self).serve_http(w, r)
    }
}

fn inner_match<T>(found: &Match<'_, '_, T>) -> InnerMatch {
    let values: Vec<PathValue> =
        found.values().map(|(name, value)| (name.as_bytes().to_vec(), value.into_owned())).collect();
    InnerMatch { pattern: found.pattern().as_str().to_owned(), values }
}

/// A pattern that a [`ServeMux`] does not take.
#[derive(Debug)]
pub struct PatternError(InsertError);

impl PatternError {
    pub(crate) fn new(error: InsertError) -> Self {
        Self(error)
    }
}

impl std::fmt::Display for PatternError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for PatternError {}
