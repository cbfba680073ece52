//! net/http's helper functions: [`error`], [`not_found`], [`redirect`], [`strip_prefix`].

use std::{borrow::Cow, io::Write};

use http::{HeaderValue, Method, StatusCode, header};
use wasmux_mux::clean_path;

use crate::{
    Handler, Request, ResponseWriter, Result,
    escape::{escape_non_ascii, escape_path, unescape_path},
};

/// Answers with a plain text and a status; net/http's `Error`.
///
/// Drops a `Content-Length` that was set for another body, sets `Content-Type: text/plain; charset=utf-8` and
/// `X-Content-Type-Options: nosniff`, and writes `text` and a newline. The handler should return then.
///
/// ```
/// # use wasmux_sdk::{Recorder, Request, ResponseWriter, StatusCode, error};
/// let handler = |w: &mut ResponseWriter, _: &mut Request| error(w, "come back later", StatusCode::SERVICE_UNAVAILABLE);
/// let response = Recorder::serve(handler, Request::get("/"));
/// assert_eq!((response.status().as_u16(), response.text()), (503, "come back later\n"));
/// ```
///
/// # Errors
/// What writing the body fails with.
pub fn error(w: &mut ResponseWriter, text: &str, status: StatusCode) -> Result<()> {
    let headers = w.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    w.write_header(status);
    writeln!(w, "{text}")?;
    Ok(())
}

/// Answers `404 page not found`; net/http's `NotFound`. It is a handler.
///
/// ```
/// # use wasmux_sdk::{Recorder, Request, not_found};
/// assert_eq!(Recorder::serve(not_found, Request::get("/")).text(), "404 page not found\n");
/// ```
///
/// # Errors
/// What writing the body fails with.
pub fn not_found(w: &mut ResponseWriter, _r: &mut Request) -> Result<()> {
    error(w, "404 page not found", StatusCode::NOT_FOUND)
}

/// Redirects to `url`; net/http's `Redirect`.
///
/// A `url` without scheme and host is taken relative to the request's path, and its path is cleaned of `.` and `..`.
/// Bytes outside ASCII are escaped. Unless the handler has set a `Content-Type`, the answer to GET has a short HTML
/// body. The status should be 3xx; it is not checked.
///
/// ```
/// # use wasmux_sdk::{Recorder, Request, ResponseWriter, StatusCode, redirect};
/// let handler = |w: &mut ResponseWriter, r: &mut Request| redirect(w, r, "../b?c=d", StatusCode::SEE_OTHER);
/// assert_eq!(Recorder::serve(handler, Request::post("/x/y/a")).header("location"), "/x/b?c=d");
/// ```
///
/// # Errors
/// What writing the body fails with.
pub fn redirect(w: &mut ResponseWriter, r: &Request, url: &str, status: StatusCode) -> Result<()> {
    let url = if is_relative(url) { Cow::Owned(resolve(r.escaped_path(), url)) } else { Cow::Borrowed(url) };
    let location = HeaderValue::try_from(escape_non_ascii(&url))?;
    let has_content_type = w.headers().contains_key(header::CONTENT_TYPE);
    let headers = w.headers_mut();
    headers.insert(header::LOCATION, location);
    if !has_content_type && matches!(*r.method(), Method::GET | Method::HEAD) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    }
    w.write_header(status);
    if !has_content_type && r.method() == Method::GET {
        let reason = status.canonical_reason().unwrap_or_default();
        write!(w, "<a href=\"{}\">{reason}</a>.\n\n", escape_html(&url))?;
    }
    Ok(())
}

/// Serves requests with `prefix` removed from their path through `handler`, and others with 404; net/http's
/// `StripPrefix`.
///
/// The prefix is compared with the decoded path. One with unusual escapes (`%2F`, `%6F` for `o`) must begin with the
/// prefix as it stands, too, so an escaped slash in the path is never one in the prefix. The rest of the path may be
/// empty or lack its `/`. The request has its whole path again afterwards.
///
/// ```
/// # use std::io::Write;
/// # use wasmux_sdk::{Recorder, Request, ResponseWriter, strip_prefix};
/// let show = |w: &mut ResponseWriter, r: &mut Request| Ok(write!(w, "{}", r.path())?);
/// assert_eq!(Recorder::serve(strip_prefix("/api", show), Request::get("/api/users")).text(), "/users");
/// ```
pub fn strip_prefix(prefix: impl Into<String>, handler: impl Handler) -> impl Handler {
    StripPrefix { prefix: prefix.into(), handler }
}

/// Serves requests through `handler` with their bodies limited to `limit` bytes; net/http's `MaxBytesHandler`.
///
/// As [`Request::max_bytes`]: reading beyond it fails, and when the handler passes that on by `?`, the client gets a
/// `413`.
///
/// ```
/// # use std::io::Write;
/// # use wasmux_sdk::{Recorder, Request, ResponseWriter, max_bytes_handler};
/// let echo = |w: &mut ResponseWriter, r: &mut Request| Ok(w.write_all(&r.bytes()?)?);
/// let limited = max_bytes_handler(echo, 5);
/// let response = Recorder::serve(limited, Request::post("/").body("hello, world"));
/// assert_eq!((response.status().as_u16(), response.header("connection")), (413, "close"));
/// ```
pub fn max_bytes_handler(handler: impl Handler, limit: u64) -> impl Handler {
    move |w: &mut ResponseWriter, r: &mut Request| handler.serve_http(w, r.max_bytes(limit))
}

struct StripPrefix<H> {
    prefix: String,
    handler: H,
}

impl<H: Handler> Handler for StripPrefix<H> {
    fn serve_http(&self, w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
        if self.prefix.is_empty() {
            return self.handler.serve_http(w, r);
        }
        let Some(rest) = strip_escaped(r.escaped_path(), &self.prefix) else {
            return not_found(w, r);
        };
        let before = r.rewrite_path(Some(rest));
        let result = self.handler.serve_http(w, r);
        r.rewrite_path(before);
        result
    }
}

/// What follows `prefix` in an escaped path, escaped again.
///
/// As in net/http, the prefix is compared with the decoded path, and with the escaped one where that is not what the
/// decoded one would be escaped to (`RawPath`).
fn strip_escaped(path: &str, prefix: &str) -> Option<String> {
    let decoded = unescape_path(path.as_bytes());
    let rest = decoded.strip_prefix(prefix.as_bytes())?;
    if escape_path(&decoded) == path {
        return Some(escape_path(rest));
    }
    let raw = path.strip_prefix(prefix)?;
    Some(if *unescape_path(raw.as_bytes()) == *rest { raw.to_owned() } else { escape_path(rest) })
}

/// Whether net/url sees neither scheme nor host in `url`, and no mistake either.
fn is_relative(url: &str) -> bool {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let has_host = url.starts_with("//") && !url.starts_with("///");
    // A colon in the first segment ends a scheme, or is a mistake.
    let has_scheme = path.split('/').next().is_some_and(|first| first.contains(':'));
    let is_escaped = path.split('%').skip(1).all(|rest| {
        rest.as_bytes().first_chunk::<2>().is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    !has_host && !has_scheme && is_escaped && !url.bytes().any(|byte| byte.is_ascii_control())
}

/// `url` as seen from a page at `path`, with its path cleaned and its query kept.
fn resolve(path: &str, url: &str) -> String {
    let folder = match (url.starts_with('/'), path.rfind('/')) {
        (true, _) => "",
        (false, Some(slash)) => &path[..=slash],
        (false, None) => "/",
    };
    let (target, query) = url.split_at(url.find('?').unwrap_or(url.len()));
    clean_path(&[folder, target].concat()).into_owned() + query
}

fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
