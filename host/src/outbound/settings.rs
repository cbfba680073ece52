//! `http.Transport`'s knobs.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use rustls::pki_types::CertificateDer;

use super::address::is_localhost;

/// How connections are made and kept, and what a request may take. The default is `http.DefaultTransport`'s, with limits
/// where that has none.
#[derive(Clone, Debug)]
pub struct TransportSettings {
    /// To resolve a name and connect (Go: net.Dialer.Timeout); and to wait because of `max_per_host`.
    pub dial_timeout: Duration,
    /// For a TLS handshake (Go: Transport.TLSHandshakeTimeout).
    pub tls_handshake_timeout: Duration,
    /// From the end of the request to the head of its response (Go: Transport.ResponseHeaderTimeout).
    pub response_header_timeout: Option<Duration>,
    /// How long a body waits for `100 Continue`, if its request has `Expect: 100-continue`; `None`: not at all (Go:
    /// Transport.ExpectContinueTimeout).
    pub expect_continue_timeout: Option<Duration>,
    /// Between two pieces of a response's body; and for a server to take more of a request's body, when there is more of it.
    pub body_idle_timeout: Option<Duration>,
    /// For a request with its redirects and the body of its response (Go: Client.Timeout).
    pub timeout: Option<Duration>,
    /// Connections that wait for a request longer are closed (Go: Transport.IdleConnTimeout).
    pub idle_timeout: Duration,
    /// Connections of the whole process that may wait for a request; beyond it the oldest is closed.
    pub max_idle: usize,
    /// Connections to one host that may; beyond it one that comes free is closed. 0: none is used twice.
    pub max_idle_per_host: usize,
    /// Connections to one host; beyond it requests wait (Go: Transport.MaxConnsPerHost). One with HTTP/2
    /// serves up to 100 requests at a time.
    pub max_per_host: Option<NonZeroUsize>,
    /// Bytes of a response's header; a response with more is an error. A header has at most 100 fields on HTTP/1.
    pub response_header_bytes: u32,
    /// Bytes of a request's body; more is an error.
    pub request_body_bytes: u64,
    /// Bytes of a response's body, decompressed; more is an error.
    pub response_body_bytes: u64,
    /// The DNS server that is asked for names; `None`: what the system does.
    pub resolver: Option<SocketAddr>,
    /// Certificate authorities that are trusted beside those of the system and Mozilla's.
    pub roots: Vec<CertificateDer<'static>>,
    /// Proxies that requests go through; `None`: they never do.
    pub proxies: Option<EnvironmentProxies>,
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self {
            dial_timeout: Duration::from_secs(30),
            tls_handshake_timeout: Duration::from_secs(10),
            response_header_timeout: None,
            expect_continue_timeout: Some(Duration::from_secs(1)),
            body_idle_timeout: None,
            timeout: None,
            idle_timeout: Duration::from_secs(90),
            max_idle: 100,
            max_idle_per_host: 2,
            max_per_host: None,
            response_header_bytes: 256 << 10,
            request_body_bytes: u64::MAX,
            response_body_bytes: u64::MAX,
            resolver: None,
            roots: Vec::new(),
            proxies: None,
        }
    }
}

/// `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, in either case (Go: net/http.ProxyFromEnvironment).
#[derive(Clone)]
pub struct EnvironmentProxies(Arc<Matcher>);

impl EnvironmentProxies {
    /// What the variables say that `variable` knows; `None` when they name no proxy.
    #[must_use]
    pub fn new(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let either = |name: &str| {
            let set = |name: &str| variable(name).filter(|value| !value.is_empty());
            set(&name.to_lowercase()).or_else(|| set(name)).unwrap_or_default()
        };
        // A CGI program gets HTTP_PROXY from its client (CVE-2016-5385).
        let http = if variable("REQUEST_METHOD").is_some() { String::new() } else { either("HTTP_PROXY") };
        let https = either("HTTPS_PROXY");
        let is_named = !http.is_empty() || !https.is_empty();
        let matcher = Matcher::builder().http(http).https(https).no(either("NO_PROXY")).build();
        is_named.then(|| Self(Arc::new(matcher)))
    }

    /// The proxy for this target, which resolves the target's name itself. This machine is never reached through one.
    pub(super) fn of(&self, target: &Uri) -> Option<Intercept> {
        let host = target.host()?.trim_matches(['[', ']']);
        let is_local =
            is_localhost(host) || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
        if is_local { None } else { self.0.intercept(target) }
    }
}

impl fmt::Debug for EnvironmentProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnvironmentProxies") // which have passwords
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Option<EnvironmentProxies> {
        EnvironmentProxies::new(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn proxies_come_from_the_variables() {
        assert!(proxies(&[]).is_none());
        assert!(proxies(&[("HTTP_PROXY", "http://p:1"), ("REQUEST_METHOD", "GET")]).is_none());
        let proxies = proxies(&[
            ("http_proxy", "http://user:secret@a:1"),
            ("HTTP_PROXY", "http://b:2"),
            ("HTTPS_PROXY", "http://c:3"),
            ("NO_PROXY", "direct.test,10.0.0.0/8"),
        ])
        .unwrap();
        let of = |target: &str| {
            let found = proxies.of(&target.parse().unwrap());
            found.map(|found| found.uri().authority().unwrap().to_string())
        };
        assert_eq!(of("http://x.test/").as_deref(), Some("a:1"), "lower case comes first");
        assert_eq!(of("https://x.test/").as_deref(), Some("c:3"));
        for direct in [
            "http://direct.test/",
            "http://10.1.2.3/",
            "http://localhost/",
            "http://[::1]/",
            "http://127.0.0.2/",
            "http://LocalHost./",
            "http://a.localhost/",
        ] {
            assert_eq!(of(direct), None, "{direct}");
        }
        assert!(!format!("{proxies:?}").contains("secret"));
    }
}
