//! Makes connections: name, addresses, policy, TCP, TLS, and hyper on top.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::error::OutboundErrorKind as Kind;
use super::pool::{Fresh, Seat, Sender, Task};
use super::resolve::Resolver;
use super::route::{Protocol, Proxy, Route};
use super::stream::{Stream, Wire};
use super::tls::Trust;
use super::{BoxError, OutboundError, Policy, TransportSettings, tunnel};

/// What each of several addresses has at least, however many there are (Go: net.partialDeadline).
const SHARE_MIN: Duration = Duration::from_secs(2);

/// How often an idle connection is looked after by TCP (Go: net.Dialer.KeepAlive).
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// Bytes of responses that a server may send before anybody has read them, on a stream and on a connection of HTTP/2. More
/// streams than the second has room for share it.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// A connection with HTTP/2 on which calls wait is asked for a sign of life after this time, and given up when none comes.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// What connections are made with.
#[derive(Debug)]
pub(super) struct Dialer {
    resolver: Resolver,
    trust: Arc<Trust>,
}

/// One connection to be made. Owns all that it needs: it may outlive the call that asked for it.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) dialer: Arc<Dialer>,
    pub(super) settings: Arc<TransportSettings>,
    pub(super) policy: Arc<dyn Policy>,
    pub(super) route: Route,
    /// The target, for the policy.
    pub(super) uri: Uri,
    pub(super) authority: Arc<str>,
    /// The call's own limit on all of it.
    pub(super) connect_timeout: Option<Duration>,
}

impl Dialer {
    pub(super) fn new(settings: &TransportSettings) -> Result<Self, String> {
        let trust = Arc::new(Trust::new(settings.roots.clone()));
        Ok(Self { resolver: Resolver::new(settings.resolver)?, trust })
    }
}

impl Dial {
    fn error(&self, kind: Kind) -> OutboundError {
        OutboundError::new(kind, &self.authority).unsent()
    }

    /// Makes the connection.
    pub(super) async fn run(self, seat: Seat) -> Result<Fresh, OutboundError> {
        let now = Instant::now();
        let whole = self.connect_timeout.map(|limit| now + limit);
        let until = |limit: Duration| {
            let own = Instant::now() + limit;
            whole.map_or(own, |whole| whole.min(own))
        };
        let mut wire = self.wire(until(self.settings.dial_timeout)).await?;
        if self.route.key.protocol == Protocol::Https {
            let (http1_only, until) = (self.route.key.http1_only, until(self.settings.tls_handshake_timeout));
            wire = self.secure(wire, &self.route.host, until, http1_only).await?;
        }
        let is_http2 = wire.is_http2() || self.route.key.protocol == Protocol::H2c;
        self.speak(Stream { wire, _seat: seat }, is_http2).await
    }

    /// Connects to the target, or to the proxy in front of it.
    async fn wire(&self, until: Instant) -> Result<Wire, OutboundError> {
        if let Some(path) = &self.route.unix_socket {
            return match timeout_at(until, UnixStream::connect(path)).await {
                Ok(Ok(stream)) => Ok(Wire::Unix(stream)),
                Ok(Err(error)) => Err(self.error(Kind::Connect).because(error)),
                Err(_) => Err(self.error(Kind::ConnectTimeout)),
            };
        }
        match &self.route.proxy {
            None => self.tcp(&self.route.host, self.route.port, until, true).await,
            Some(proxy) => self.proxied(proxy, until).await,
        }
    }

    async fn proxied(&self, proxy: &Proxy, until: Instant) -> Result<Wire, OutboundError> {
        let mut wire = self.tcp(&proxy.host, proxy.port, until, false).await?;
        if proxy.is_https {
            wire = self.secure(wire, &proxy.host, until, true).await?;
        }
        if self.route.is_forwarded() {
            return Ok(wire);
        }
        let target = format!("{}:{}", self.route.host, self.route.port);
        match timeout_at(until, tunnel::open(&mut wire, &target, proxy.authorization.as_ref())).await {
            Ok(Ok(())) => Ok(wire),
            Ok(Err(error)) => Err(self.error(Kind::Proxy).because(error)),
            Err(_) => Err(self.error(Kind::ConnectTimeout).because("the proxy does not answer")),
        }
    }

    /// Resolves a name and connects to the first of its addresses that is allowed and answers.
    async fn tcp(
        &self,
        host: &str,
        port: u16,
        until: Instant,
        is_target: bool,
    ) -> Result<Wire, OutboundError> {
        let resolved = match timeout_at(until, self.dialer.resolver.resolve(host)).await {
            Ok(Ok(resolved)) => resolved,
            Ok(Err(error)) => return Err(self.error(Kind::Dns).because(error)),
            Err(_) => return Err(self.error(Kind::DnsTimeout)),
        };
        let allowed = if is_target { self.allowed(resolved)? } else { resolved };
        match connect(&allowed, port, until).await {
            Ok(stream) => Ok(Wire::Tcp(stream)),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                Err(self.error(Kind::ConnectTimeout).because(error))
            }
            Err(error) => Err(self.error(Kind::Connect).because(error)),
        }
    }

    /// What the policy lets through of a name's addresses. The others are as if they were not there: an answer that
    /// mixes public addresses with private ones leads to no private one.
    fn allowed(&self, resolved: Vec<IpAddr>) -> Result<Vec<IpAddr>, OutboundError> {
        let (mut allowed, mut refused) = (Vec::new(), None);
        for address in resolved {
            match self.policy.address(&self.uri, address) {
                Ok(()) => allowed.push(address),
                Err(why) => refused = Some(why),
            }
        }
        match refused {
            Some(why) if allowed.is_empty() => Err(OutboundError::denied(&self.authority, why)),
            _ => Ok(allowed),
        }
    }

    async fn secure(
        &self,
        wire: Wire,
        host: &str,
        until: Instant,
        http1_only: bool,
    ) -> Result<Wire, OutboundError> {
        let failed = |error: BoxError| self.error(Kind::TlsHandshake).because(error);
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
        let name = name.map_err(|error| failed(error.into()))?;
        let config = self.dialer.trust.config(http1_only).await;
        let config = config.map_err(|error| failed(error.into()))?;
        match timeout_at(until, TlsConnector::from(config).connect(name, wire)).await {
            Ok(Ok(stream)) => Ok(Wire::Tls(Box::new(stream))),
            Ok(Err(error)) => Err(failed(error.into())),
            Err(_) => Err(self.error(Kind::TlsTimeout)),
        }
    }

    /// Has hyper speak HTTP on a stream, in a task of its own.
    async fn speak(&self, stream: Stream, is_http2: bool) -> Result<Fresh, OutboundError> {
        let failed = |error: hyper::Error| self.error(Kind::Protocol).because(error);
        let io = TokioIo::new(stream);
        let cap = self.settings.response_header_bytes;
        if is_http2 {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .initial_stream_window_size(STREAM_WINDOW_BYTES)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                .max_header_list_size(cap)
                .keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(PING_TIMEOUT);
            let (sender, connection) = builder.handshake(io).await.map_err(failed)?;
            return Ok(Fresh { sender: Sender::Http2(sender), task: Task::spawn(connection) });
        }
        let mut builder = http1::Builder::new();
        builder.max_header_size(cap as usize);
        let (sender, connection) = builder.handshake(io).await.map_err(failed)?;
        Ok(Fresh { sender: Sender::Http1(sender), task: Task::spawn(connection.with_upgrades()) })
    }
}

/// Connects to the first address that answers. Each has a share of the time (Go: net.sysDialer.dialSerial).
async fn connect(addresses: &[IpAddr], port: u16, until: Instant) -> io::Result<TcpStream> {
    let mut first_error = None;
    for (index, address) in addresses.iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        let count = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let share = (left / count).max(SHARE_MIN).min(left);
        let address = SocketAddr::new(*address, port);
        let connected = tokio::time::timeout(share, TcpStream::connect(address)).await;
        let error = match connected {
            Ok(Ok(stream)) => return set_up(stream),
            Ok(Err(error)) => io::Error::new(error.kind(), format!("{address}: {error}")),
            Err(_) => {
                io::Error::new(io::ErrorKind::TimedOut, format!("{address}: no answer for {share:.1?}"))
            }
        };
        first_error.get_or_insert(error);
    }
    Err(first_error.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}

fn set_up(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(TCP_KEEPALIVE).with_interval(TCP_KEEPALIVE);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}
