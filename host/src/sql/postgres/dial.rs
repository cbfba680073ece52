//! Connections to a server: to the first of its addresses that answers.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{CancelToken, Client, Config, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::either::Either;

use super::super::error::{Error, ErrorKind, chain};
use super::watch::{Below, Watch, Watched};

/// Time to connect to a server that does not answer, unless its URL says `connect_timeout`.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Silence after which the server is asked whether it is still there, and time for it to take what was sent, unless its URL says
/// `keepalives_idle` and `tcp_user_timeout`.
const SILENCE: Duration = Duration::from_secs(30);

/// The silence that a URL means which says nothing: two hours.
const SILENCE_UNSAID: Duration = Duration::from_secs(2 * 60 * 60);

/// Makes connections to one server.
#[derive(Clone)]
pub(super) struct Dialer {
    config: Config,
    tls: MakeRustlsConnect,
    message_bytes_max: u64,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("hosts", &self.config.get_hosts()).finish_non_exhaustive()
    }
}

/// A connection; it ends when the client is dropped.
pub(super) struct Connected {
    pub(super) client: Client,
    /// It has ended because of a message that was larger than it may be.
    pub(super) is_too_large: Arc<AtomicBool>,
    address: Address,
}

#[derive(Clone, Debug)]
enum Address {
    /// And the name that the server's certificate has to have.
    Tcp(SocketAddr, String),
    Unix(PathBuf),
}

type Socket = Either<TcpStream, UnixStream>;

impl Dialer {
    /// Sessions end statements and transactions after these times, when nobody else does. A message of the server that is larger
    /// than `message_bytes_max` ends its connection.
    pub(super) fn new(
        config: &Config,
        timeout: Duration,
        transaction: Duration,
        message_bytes_max: u64,
    ) -> Result<Self, Error> {
        let tls = tls(config)?;
        Ok(Self { config: session(config, timeout, transaction), tls, message_bytes_max })
    }

    /// Connects to the first address that answers.
    pub(super) async fn dial(&self) -> Result<Connected, Error> {
        let mut failed = failed("it has no address");
        for (number, host) in self.config.get_hosts().iter().enumerate() {
            let addresses = match self.addresses(number, host).await {
                Ok(addresses) => addresses,
                Err(error) => {
                    failed = self::failed(error);
                    continue;
                }
            };
            for address in addresses {
                let timeout = self.config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
                match tokio::time::timeout(timeout, self.dial_one(address)).await {
                    Ok(Ok(connected)) => return Ok(connected),
                    Ok(Err(error)) => failed = error,
                    Err(_) => failed = self::failed("the server does not answer"),
                }
            }
        }
        Err(failed)
    }

    async fn addresses(&self, number: usize, host: &Host) -> io::Result<Vec<Address>> {
        let ports = self.config.get_ports();
        let port = ports.get(number).or_else(|| ports.first()).copied().unwrap_or(5432);
        let name = match host {
            Host::Unix(folder) => return Ok(vec![Address::Unix(folder.join(format!(".s.PGSQL.{port}")))]),
            Host::Tcp(name) => name,
        };
        if let Some(&address) = self.config.get_hostaddrs().get(number) {
            return Ok(vec![Address::Tcp(SocketAddr::new(address, port), name.clone())]);
        }
        let found = lookup_host((name.as_str(), port)).await?;
        Ok(found.map(|address| Address::Tcp(address, name.clone())).collect())
    }

    async fn dial_one(&self, address: Address) -> Result<Connected, Error> {
        let socket = self.socket(&address).await.map_err(failed)?;
        let mut config = self.config.clone();
        if matches!(address, Address::Unix(_)) {
            config.ssl_mode(SslMode::Disable); // PostgreSQL has none there
        }
        let is_too_large = Arc::<AtomicBool>::default();
        let watch =
            Watch { message_bytes_max: self.message_bytes_max, is_too_large: Arc::clone(&is_too_large) };
        // The server's answer to the question whether it has TLS.
        let lead = u64::from(config.get_ssl_mode() != SslMode::Disable);
        let watched = Watched::new(socket, watch, lead);
        let connected = config.connect_raw(watched, Below(self.tls(&address)?)).await;
        let (client, connection) = connected.map_err(|error| failed(chain(&error)))?;
        // Ends with the client.
        tokio::spawn(async move { drop(connection.await) });
        self.check_wanted(&client).await?;
        Ok(Connected { client, is_too_large, address })
    }

    /// Whether the server is one that may be written to, if the URL says that it must be.
    async fn check_wanted(&self, client: &Client) -> Result<(), Error> {
        let wanted = match self.config.get_target_session_attrs() {
            TargetSessionAttrs::ReadWrite => "off",
            TargetSessionAttrs::ReadOnly => "on",
            _ => return Ok(()),
        };
        let asked = client.simple_query("SHOW transaction_read_only").await;
        let answer = asked.map_err(|error| failed(chain(&error)))?;
        let is_wanted = |message: &SimpleQueryMessage| matches!(message, SimpleQueryMessage::Row(row) if row.get(0) == Some(wanted));
        if answer.iter().any(is_wanted) {
            return Ok(());
        }
        Err(failed("the server is none of those that `target_session_attrs` asks for"))
    }

    async fn socket(&self, address: &Address) -> io::Result<Socket> {
        let address = match address {
            Address::Unix(path) => return Ok(Either::Right(UnixStream::connect(path).await?)),
            Address::Tcp(address, _) => address,
        };
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let socket = SockRef::from(&stream);
        // So that a server that is gone without a word is found out, also while it is waited for.
        socket.set_tcp_user_timeout(Some(*self.config.get_tcp_user_timeout().unwrap_or(&SILENCE)))?;
        if self.config.get_keepalives() {
            let idle = self.config.get_keepalives_idle();
            let idle = if idle == SILENCE_UNSAID { SILENCE } else { idle };
            let interval = self.config.get_keepalives_interval().unwrap_or(SILENCE / 3);
            let retries = self.config.get_keepalives_retries().unwrap_or(3);
            let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(retries);
            socket.set_tcp_keepalive(&keepalive)?;
        }
        Ok(Either::Left(stream))
    }

    fn tls(
        &self,
        address: &Address,
    ) -> Result<<MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect, Error> {
        let name = match address {
            Address::Tcp(_, name) => name,
            Address::Unix(_) => "localhost", // is not used
        };
        MakeTlsConnect::<Socket>::make_tls_connect(&mut self.tls.clone(), name).map_err(failed)
    }

    /// Asks the server, on a connection of its own, to end what it does on another one.
    pub(super) async fn cancel(&self, canceller: Canceller) -> Result<(), Error> {
        let socket = self.socket(&canceller.address).await.map_err(failed)?;
        let tls = self.tls(&canceller.address)?;
        canceller.token.cancel_query_raw(socket, tls).await.map_err(|error| failed(chain(&error)))
    }
}

/// What a statement is cancelled with.
pub(super) struct Canceller {
    token: CancelToken,
    address: Address,
}

impl Connected {
    pub(super) fn canceller(&self) -> Canceller {
        Canceller { token: self.client.cancel_token(), address: self.address.clone() }
    }

    /// Whether it has ended because of a message that was too large.
    pub(super) fn is_too_large(&self) -> bool {
        self.is_too_large.load(Ordering::Acquire)
    }
}

fn failed(cause: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Unavailable, format!("no connection to the database: {cause}"))
}

/// What all sessions start with.
fn session(config: &Config, timeout: Duration, transaction: Duration) -> Config {
    let mut config = config.clone();
    if config.get_application_name().is_none() {
        config.application_name("wasmux");
    }
    // As options, so that RESET ALL goes back to them. We end statements ourselves; these are for when we are gone.
    let own = config.get_options().unwrap_or_default();
    let options = format!(
        "{own} -c statement_timeout={} -c idle_in_transaction_session_timeout={}",
        timeout.as_millis(),
        transaction.as_millis()
    );
    config.options(options.trim());
    config
}

/// TLS with the certificate authorities of the system, for servers that offer it (`sslmode=prefer`, the default) or must.
fn tls(config: &Config) -> Result<MakeRustlsConnect, Error> {
    let mut roots = RootCertStore::empty();
    if config.get_ssl_mode() != SslMode::Disable {
        let found: Vec<CertificateDer<'static>> = rustls_native_certs::load_native_certs().certs;
        roots.add_parsable_certificates(found);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder
        .map_err(|error| Error::new(ErrorKind::Unavailable, format!("TLS cannot be set up: {error}")))?;
    Ok(MakeRustlsConnect::new(builder.with_root_certificates(roots).with_no_client_auth()))
}
