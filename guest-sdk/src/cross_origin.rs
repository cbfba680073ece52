//! [`CrossOriginProtection`]: net/http's defence against cross-site request forgery.

use std::fmt;

use http::{Method, StatusCode};
use wasmux_mux::{Found, Mux};

use crate::{Handler, PatternError, Request, ResponseWriter, Result, error, mux::question};

/// Rejects requests that change something and that a browser sends for another site; net/http's
/// `CrossOriginProtection`.
///
/// GET, HEAD and OPTIONS pass: they must change nothing. Of the others those pass that `Sec-Fetch-Site` calls
/// `same-origin` or `none`; without that field, those without `Origin`, which no browser sent, and those whose `Origin`
/// has the host that the request is for. The rest is rejected with `403`, but for trusted origins and bypass patterns.
///
/// ```
/// use wasmux_sdk::{CrossOriginProtection, Recorder, Request, ResponseWriter};
///
/// let mut protection = CrossOriginProtection::new();
/// protection.add_trusted_origin("https://admin.example.com")?;
/// protection.add_insecure_bypass_pattern("POST /webhook/")?;
/// let handler = protection.handler(|_: &mut ResponseWriter, _: &mut Request| Ok(()));
///
/// let post = |path: &str| Request::post(path).header("sec-fetch-site", "cross-site");
/// assert_eq!(Recorder::serve(&handler, post("/")).status(), 403);
/// assert_eq!(Recorder::serve(&handler, post("/webhook/a")).status(), 200);
/// assert_eq!(Recorder::serve(&handler, post("/").header("origin", "https://admin.example.com")).status(), 200);
/// # Ok::<(), wasmux_sdk::Error>(())
/// ```
#[derive(Default)]
pub struct CrossOriginProtection {
    trusted: Vec<String>,
    bypass: Mux<()>,
    deny: Option<Box<dyn Handler + Send + Sync>>,
}

impl CrossOriginProtection {
    /// A protection without exemptions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets all requests through whose `Origin` is exactly this one; `AddTrustedOrigin`.
    ///
    /// # Errors
    /// For anything but `scheme://host` with an optional port.
    pub fn add_trusted_origin(&mut self, origin: &str) -> Result<(), OriginError> {
        check_origin(origin).map_err(|reason| OriginError { origin: origin.to_owned(), reason })?;
        self.trusted.push(origin.to_owned());
        Ok(())
    }

    /// Lets all requests through that match a pattern of [`ServeMux`](crate::ServeMux); `AddInsecureBypassPattern`.
    /// One that the mux would redirect to such a path is no match.
    ///
    /// # Errors
    /// For a pattern that is not valid or conflicts with an earlier one.
    pub fn add_insecure_bypass_pattern(&mut self, pattern: &str) -> Result<(), PatternError> {
        self.bypass.insert(pattern, ()).map_err(PatternError::new)
    }

    /// Answers rejected requests with `handler` instead of `403`; `SetDenyHandler`.
    pub fn set_deny_handler(&mut self, handler: impl Handler + Send + Sync + 'static) {
        self.deny = Some(Box::new(handler));
    }

    /// Whether the request may pass; `Check`.
    ///
    /// # Errors
    /// When it may not, and why.
    pub fn check(&self, r: &Request) -> Result<(), CrossOriginError> {
        if matches!(*r.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
            return Ok(());
        }
        let origin = r.header("origin");
        let problem = match r.header("sec-fetch-site") {
            "same-origin" | "none" => return Ok(()),
            "" if origin.is_empty() || host_of(origin).is_some_and(|host| host == r.host()) => return Ok(()),
            "" => CrossOriginError::OldBrowser,
            _ => CrossOriginError::FetchSite,
        };
        if self.is_exempt(r, origin) { Ok(()) } else { Err(problem) }
    }

    fn is_exempt(&self, r: &Request, origin: &str) -> bool {
        self.trusted.iter().any(|trusted| trusted == origin)
            || matches!(self.bypass.find(&question(r)), Found::Match(_))
    }

    /// Serves the requests that may pass through `handler`; `Handler`.
    pub fn handler<H: Handler>(self, handler: H) -> Protected<H> {
        Protected { protection: self, handler }
    }
}

/// A handler behind a [`CrossOriginProtection`].
pub struct Protected<H> {
    protection: CrossOriginProtection,
    handler: H,
}

impl<H: Handler> Handler for Protected<H> {
    fn serve_http(&self, w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
        match (self.protection.check(r), &self.protection.deny) {
            (Ok(()), _) => self.handler.serve_http(w, r),
            (Err(_), Some(deny)) => deny.serve_http(w, r),
            (Err(problem), None) => error(w, problem.text(), StatusCode::FORBIDDEN),
        }
    }
}

/// It can be asked again and again.
impl<H: Handler> Handler for &Protected<H> {
    fn serve_http(&self, w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
        (**self).serve_http(w, r)
    }
}

/// Why [`CrossOriginProtection`] rejects a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CrossOriginError {
    /// The browser says that it comes from another site.
    FetchSite,
    /// The browser does not say, and `Origin` names another host.
    OldBrowser,
}

impl CrossOriginError {
    fn text(self) -> &'static str {
        match self {
            Self::FetchSite => "cross-origin request detected from Sec-Fetch-Site header",
            Self::OldBrowser => {
                "cross-origin request detected, and/or browser is out of date: \
                 Sec-Fetch-Site is missing, and Origin does not match Host"
            }
        }
    }
}

impl fmt::Display for CrossOriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for CrossOriginError {}

/// An origin that cannot be trusted, for it is none.
#[derive(Debug)]
pub struct OriginError {
    origin: String,
    reason: &'static str,
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid origin {:?}: {}", self.origin, self.reason)
    }
}

impl std::error::Error for OriginError {}

fn check_origin(origin: &str) -> Result<(), &'static str> {
    let Some((scheme, rest)) = origin.split_once("://") else {
        return Err("write it as scheme://host");
    };
    let is_scheme_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    if !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) || !scheme.bytes().all(is_scheme_byte) {
        return Err("scheme is required");
    }
    let host = until_path(rest);
    if host.is_empty() || host.starts_with(':') {
        return Err("host is required");
    }
    if host.len() < rest.len() {
        return Err("path, query, and fragment are not allowed");
    }
    let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]".contains(&byte);
    // The brackets of an IPv6 address keep its colons from being the one before the port.
    let port = host.rsplit(']').next().and_then(|rest| rest.split_once(':')).map_or("", |(_, port)| port);
    if !host.bytes().all(is_host_byte) || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("host or port is not valid");
    }
    Ok(())
}

/// Host and port of an `Origin`; none for `null`.
fn host_of(origin: &str) -> Option<&str> {
    let (_, rest) = origin.split_once("://")?;
    Some(until_path(rest)).filter(|host| !host.is_empty())
}

fn until_path(text: &str) -> &str {
    text.split(['/', '?', '#']).next().unwrap_or_default()
}
