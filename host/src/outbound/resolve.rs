//! From names to addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;

use super::BoxError;

/// Addresses of one name that are looked at; further ones are not.
const ADDRESSES_MAX: usize = 32;

/// Beyond it a DNS server is asked again, or given up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Who is asked for names.
pub(super) enum Resolver {
    /// getaddrinfo: /etc/hosts, nsswitch.conf, and what they say.
    System,
    /// This server alone.
    Server(Box<TokioResolver>),
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "System",
            Self::Server(_) => "Server",
        })
    }
}

impl Resolver {
    pub(super) fn new(server: Option<SocketAddr>) -> Result<Self, String> {
        let Some(server) = server else { return Ok(Self::System) };
        let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
        connections.iter_mut().for_each(|connection| connection.port = server.port());
        let mut name_server = NameServerConfig::udp_and_tcp(server.ip());
        name_server.connections = connections;
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![name_server]);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        options.use_hosts_file = ResolveHosts::Never;
        options.timeout = ANSWER_TIMEOUT;
        builder.build().map(|resolver| Self::Server(Box::new(resolver))).map_err(|error| error.to_string())
    }

    /// The addresses of a host, which may be an address itself; never none.
    pub(super) async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, BoxError> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let mut addresses: Vec<IpAddr> = match self {
            // RFC 6761 section 6.3: never asked for.
            Self::Server(_) if is_localhost(host) => {
                vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
            }
            Self::Server(resolver) => {
                // With a dot at its end, a name is not looked for anywhere else.
                let name = format!("{}.", host.trim_end_matches('.'));
                resolver.lookup_ip(name).await?.iter().take(ADDRESSES_MAX).collect()
            }
            Self::System => {
                let found = tokio::net::lookup_host((host, 0)).await?;
                found.take(ADDRESSES_MAX).map(|address| address.ip()).collect()
            }
        };
        addresses.dedup();
        if addresses.is_empty() { Err("it has no addresses".into()) } else { Ok(addresses) }
    }
}

fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}
