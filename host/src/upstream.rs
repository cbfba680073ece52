//! What a proxy is told: its upstreams, and how they are used.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

use crate::outbound::TransportSettings;

/// The settings of one proxy.
#[derive(Clone, Debug)]
pub struct ProxySettings {
    /// At least one.
    pub upstreams: Vec<UpstreamUrl>,
    /// Which of them gets a request.
    pub balance: Balance,
    /// How often a request is sent to another upstream when one has failed, if that is safe.
    pub retries: u32,
    /// An upstream that cannot be reached is left alone for so long, while there are others.
    pub fail_timeout: Duration,
    /// Asks each upstream from time to time how it is.
    pub health: Option<HealthCheck>,
    /// Taken off the front of the path.
    pub strip_prefix: String,
    /// The upstream gets the client's `Host`, and not its own.
    pub preserve_host: bool,
    /// `Forwarded` and `X-Forwarded-*` of the request are believed, and added to.
    pub trust_forwarded: bool,
    /// Send `Forwarded` (RFC 7239) too.
    pub forwarded: bool,
    /// Pass on requests for another protocol (`Upgrade`), such as WebSocket.
    pub upgrade: bool,
    /// A connection that has switched protocols ends when nothing moves on it for so long.
    pub upgrade_idle_timeout: Option<Duration>,
    /// Fields that requests are sent with; without a value, they are removed.
    pub request_headers: Vec<(HeaderName, Option<HeaderValue>)>,
    /// The same for responses.
    pub response_headers: Vec<(HeaderName, Option<HeaderValue>)>,
    /// How connections are made and kept.
    pub transport: TransportSettings,
}

impl ProxySettings {
    /// With these upstreams, and the defaults beside them.
    #[must_use]
    pub fn new(upstreams: Vec<UpstreamUrl>, transport: TransportSettings) -> Self {
        Self {
            upstreams,
            balance: Balance::RoundRobin,
            retries: 1,
            fail_timeout: Duration::from_secs(10),
            health: None,
            strip_prefix: String::new(),
            preserve_host: false,
            trust_forwarded: false,
            forwarded: false,
            upgrade: true,
            upgrade_idle_timeout: Some(Duration::from_secs(3600)),
            request_headers: Vec::new(),
            response_headers: Vec::new(),
            transport,
        }
    }
}

/// How long nothing may move on a connection that has switched protocols. An extension of the response that does so, beside
/// what `hyper::upgrade::on` wants.
#[derive(Clone, Copy, Debug)]
pub struct TunnelIdle(pub Option<Duration>);

/// Which upstream gets the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// One after the other.
    RoundRobin,
    /// The one with the fewest requests under way.
    LeastConnections,
}

/// A question that each upstream must answer with a status from 200 to 399.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked for.
    pub path: String,
    /// How often.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// One upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamUrl {
    /// Scheme, host and the path that goes before that of each request.
    pub uri: Uri,
    /// Where to connect, if that is a socket of this machine.
    pub unix_socket: Option<Arc<Path>>,
    /// As it was written, without a password.
    pub name: Arc<str>,
}

impl UpstreamUrl {
    /// `http://host:port/path`, `https://…`, `h2c://…` (HTTP/2 without TLS) or `unix:/path/of.sock`.
    ///
    /// # Errors
    /// A clause that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            if !path.starts_with('/') {
                return Err(format!("\"{text}\" must have an absolute path: unix:/run/app.sock"));
            }
            let (uri, socket) = (Uri::from_static("http://localhost"), Path::new(path).into());
            return Ok(Self { uri, unix_socket: Some(socket), name: text.into() });
        }
        let uri: Uri = text.parse().map_err(|error| format!("\"{text}\" is not a URL: {error}"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https" | "h2c")) {
            return Err(format!("\"{text}\" must begin with http://, https://, h2c:// or unix:"));
        }
        if uri.query().is_some() || text.contains('#') {
            return Err(format!("\"{text}\" must not have a query or a fragment"));
        }
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            return Err("a user or password in the URL would show in logs; set `authorization` in \
                        `request_headers` instead"
                .to_owned());
        }
        let port = authority.rsplit(']').next().and_then(|rest| rest.rsplit_once(':'));
        if uri.host().is_none_or(str::is_empty) || port.is_some_and(|(_, port)| port.parse::<u16>().is_err())
        {
            return Err(format!("\"{text}\" needs a host, and a port up to 65535 if any"));
        }
        Ok(Self { name: text.into(), uri, unix_socket: None })
    }
}

/// A DNS server's address, at port 53 unless it has one.
///
/// # Errors
/// A clause that says what is wrong.
pub fn resolver_address(text: &str) -> Result<SocketAddr, String> {
    let plain = text.parse().map(|ip| SocketAddr::new(ip, 53));
    text.parse().or(plain).map_err(|_| format!("\"{text}\" must be an address such as \"127.0.0.1:53\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_are_urls_or_sockets() {
        for good in ["http://a:1", "https://a.test/base", "h2c://[::1]:81", "http://[::1]"] {
            assert_eq!(&*UpstreamUrl::parse(good).unwrap().name, good);
        }
        let socket = UpstreamUrl::parse("unix:/run/x.sock").unwrap();
        assert_eq!(socket.unix_socket.as_deref(), Some(Path::new("/run/x.sock")));
        for bad in
            ["a:1", "ftp://a", "http://", "http://a?q", "http://u:p@a", "unix:x", "http://a:99999", "/x", ""]
        {
            let error = UpstreamUrl::parse(bad).unwrap_err();
            assert!(!error.contains("u:p"), "{error}");
        }
        assert_eq!(resolver_address("127.0.0.1").unwrap().port(), 53);
        assert_eq!(resolver_address("[::1]:5353").unwrap().port(), 5353);
        assert!(resolver_address("dns.test").is_err());
    }
}
