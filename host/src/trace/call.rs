//! Spans of calls to others, named by OpenTelemetry's semantic conventions for HTTP (1.36).

use http::uri::Scheme;
use http::{Method, Request, StatusCode, Uri};

use super::{Scope, Span, SpanKind};

/// A method as spans name it: one that is not known could be anything.
#[must_use]
pub fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::CONNECT => "CONNECT",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::PATCH => "PATCH",
        _ => "_OTHER",
    }
}

/// What a span is called after, for its method: one that is not known is any.
#[must_use]
pub fn span_name(method: &Method) -> &'static str {
    match method_name(method) {
        "_OTHER" => "HTTP",
        name => name,
    }
}

/// A host without the brackets of an IPv6 address.
#[must_use]
pub fn bare_host(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// A URL without what may be secret in it: user, password and query.
fn harmless(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("http");
    let port = uri.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{scheme}://{}{port}{}", uri.host().unwrap_or_default(), uri.path())
}

impl Scope {
    /// Begins the span of a call, and has its request say so. What the request says already of a span of this trace is taken
    /// for what it hangs on.
    #[must_use]
    pub fn call<B>(&self, request: &mut Request<B>) -> Span {
        let scope = self.within(request.headers());
        let mut span = scope.child(SpanKind::Client, span_name(request.method()));
        scope.below(&span).write(request.headers_mut());
        span.set_method(request.method());
        let uri = request.uri();
        span.set("url.full", harmless(uri));
        if let Some(host) = uri.host() {
            span.set("server.address", bare_host(host));
        }
        let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
        span.set("server.port", uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 }));
        span
    }
}

impl Span {
    /// The method, and how it was spelled if it is not a known one.
    pub fn set_method(&mut self, method: &Method) {
        let name = method_name(method);
        self.set("http.request.method", name);
        if name == "_OTHER" {
            self.set("http.request.method_original", method.as_str());
        }
    }

    /// The head of the response is there, or it is clear that there will be none, and why in a word.
    pub fn answered(mut self, answer: Result<StatusCode, &'static str>) {
        match answer {
            Ok(status) => {
                self.set("http.response.status_code", status.as_u16());
                if status.is_client_error() || status.is_server_error() {
                    self.fail(status.as_str());
                }
            }
            Err(why) => self.fail(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_out() {
        let uri = Uri::from_static("https://user:password@a.test:81/path?key=secret");
        assert_eq!(harmless(&uri), "https://a.test:81/path");
        assert_eq!(harmless(&Uri::from_static("http://a.test")), "http://a.test/");
    }

    #[test]
    fn unknown_methods_have_one_name() {
        let name = |text: &str| method_name(&Method::from_bytes(text.as_bytes()).unwrap());
        assert_eq!(
            [name("GET"), name("PATCH"), name("BREW"), name("get")],
            ["GET", "PATCH", "_OTHER", "_OTHER"]
        );
        assert_eq!(
            [span_name(&Method::GET), span_name(&Method::from_bytes(b"BREW").unwrap())],
            ["GET", "HTTP"]
        );
        assert_eq!([bare_host("[::1]"), bare_host("a.test")], ["::1", "a.test"]);
    }
}
