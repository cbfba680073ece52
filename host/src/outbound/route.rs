//! Where a request goes: what its connections are filed under, and what has to be done to get one.

use std::path::Path;
use std::sync::Arc;

use http::uri::{Authority, Scheme};
use http::{HeaderValue, Uri};

use super::settings::EnvironmentProxies;
use super::{Call, OutboundError, OutboundErrorKind};

/// What connections have in common that may serve each other's requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Whose they are.
    pub(super) client: u64,
    pub(super) protocol: Protocol,
    /// Host and port; behind a proxy that forwards, those of the proxy.
    authority: Authority,
    /// Never HTTP/2.
    pub(super) http1_only: bool,
    unix_socket: Option<Arc<Path>>,
    is_through_proxy: bool,
}

/// How a request gets to its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Protocol {
    Http,
    Https,
    /// HTTP/2 without TLS and without asking (RFC 9113 section 3.3).
    H2c,
}

/// The way of one request.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) key: Key,
    pub(super) host: Arc<str>,
    pub(super) port: u16,
    pub(super) unix_socket: Option<Arc<Path>>,
    pub(super) proxy: Option<Proxy>,
}

/// A proxy of the environment.
#[derive(Clone, Debug)]
pub(super) struct Proxy {
    pub(super) is_https: bool,
    pub(super) host: Arc<str>,
    pub(super) port: u16,
    pub(super) authorization: Option<HeaderValue>,
}

impl Route {
    /// The way to the target of `uri`, which the caller has checked.
    pub(super) fn new(
        uri: &Uri,
        call: &Call,
        client: u64,
        proxies: Option<&EnvironmentProxies>,
    ) -> Result<Self, OutboundError> {
        let bad = |why: String| {
            OutboundError::new(OutboundErrorKind::BadRequest, &display(uri)).because(why).unsent()
        };
        let protocol = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => Protocol::Http,
            Some(scheme) if *scheme == Scheme::HTTPS => Protocol::Https,
            Some(scheme) if scheme.as_str() == "h2c" => Protocol::H2c,
            Some(scheme) => {
                return Err(bad(format!("`{scheme}` is not a scheme that can be called; use http or https")));
            }
            None => return Err(bad("its URI has no scheme; it must be absolute".to_owned())),
        };
        let authority = uri.authority().ok_or_else(|| bad("its URI names no host".to_owned()))?;
        let host = authority.host();
        if host.is_empty() {
            return Err(bad("its URI names no host".to_owned()));
        }
        // To the http crate, a port that is none is not there.
        let behind = authority.as_str().rsplit(['@', ']']).next().unwrap_or_default();
        if authority.port_u16().is_none() && behind.contains(':') {
            return Err(bad("its port is not a number up to 65535".to_owned()));
        }
        let port = authority.port_u16().unwrap_or(protocol.port());
        let found = match &call.unix_socket {
            None if protocol != Protocol::H2c => proxies.and_then(|proxies| proxies.of(uri)),
            _ => None,
        };
        let proxy =
            found.map(|found| Proxy::new(found.uri(), found.basic_auth())).transpose().map_err(&bad)?;
        let filed = match &proxy {
            // A proxy that forwards takes requests to any server on the same connection.
            Some(proxy) if protocol == Protocol::Http => format!("{}:{}", proxy.host, proxy.port).parse(),
            _ => canonical(authority, port, protocol),
        };
        let authority = filed.map_err(|error| bad(error.to_string()))?;
        let key = Key {
            client,
            protocol,
            authority,
            http1_only: call.upgrade,
            unix_socket: call.unix_socket.clone(),
            is_through_proxy: proxy.is_some(),
        };
        Ok(Self { key, host: host.into(), port, unix_socket: call.unix_socket.clone(), proxy })
    }

    /// Whether a request must name its target in full, because a proxy forwards it (RFC 9112 section 3.2.2).
    pub(super) fn is_forwarded(&self) -> bool {
        self.proxy.is_some() && self.key.protocol == Protocol::Http
    }
}

impl Protocol {
    const fn port(self) -> u16 {
        match self {
            Self::Http | Self::H2c => 80,
            Self::Https => 443,
        }
    }
}

impl Proxy {
    fn new(uri: &Uri, authorization: Option<&HeaderValue>) -> Result<Self, String> {
        let is_https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            other => {
                let other = other.unwrap_or("none");
                return Err(format!(
                    "the environment names a proxy with the scheme `{other}`; use http or https"
                ));
            }
        };
        let host = uri.host().ok_or("the environment names a proxy without a host")?;
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        Ok(Self { is_https, host: host.into(), port, authorization: authorization.cloned() })
    }
}

/// Host and port, without a user and without the port that goes without saying, so that one host is filed once.
fn canonical(
    authority: &Authority,
    port: u16,
    protocol: Protocol,
) -> Result<Authority, http::uri::InvalidUri> {
    let is_plain = !authority.as_str().contains('@');
    match authority.port() {
        _ if is_plain && port != protocol.port() => Ok(authority.clone()),
        None if is_plain => Ok(authority.clone()),
        _ if port == protocol.port() => authority.host().parse(),
        _ => format!("{}:{port}", authority.host()).parse(),
    }
}

/// Host and port of a target, for errors; never its user and password.
pub(super) fn display(uri: &Uri) -> Arc<str> {
    let authority = uri.authority().map_or("no host", Authority::as_str);
    authority.rsplit('@').next().unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(uri: &str) -> Result<Route, OutboundError> {
        Route::new(&uri.parse().unwrap(), &Call::default(), 1, None)
    }

    #[test]
    fn one_host_is_filed_once() {
        let key = |uri: &str| route(uri).unwrap().key;
        assert_eq!(key("http://a.test/x"), key("http://A.test:80/y?z"));
        assert_eq!(key("https://a.test"), key("https://user:pass@a.test:443"));
        assert_eq!(key("http://u@a.test:81"), key("http://a.test:81"));
        assert_ne!(key("http://a.test"), key("https://a.test"));
        assert_ne!(key("http://a.test"), key("h2c://a.test"));
        assert_ne!(key("http://a.test"), key("http://a.test:443"));
    }

    #[test]
    fn what_cannot_be_called_says_why() {
        for (uri, why) in
            [("ftp://a.test/", "`ftp`"), ("/path", "absolute"), ("http://a.test:99999/", "port")]
        {
            let Ok(uri) = uri.parse::<Uri>() else { continue };
            let error = Route::new(&uri, &Call::default(), 1, None).unwrap_err();
            assert_eq!(error.kind, OutboundErrorKind::BadRequest);
            assert!(crate::error::chain(&error).contains(why), "{}", crate::error::chain(&error));
        }
        let error = route("ftp://user:secret@a.test/").unwrap_err();
        assert!(!crate::error::chain(&error).contains("secret"));
    }
}
