//! From names to addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;

use tokio::sync::Semaphore;

use super::BoxError;
use super::address::is_localhost;

/// Addresses of one name that are looked at; further ones are not.
const ADDRESSES_MAX: usize = 32;

/// Names that the system is asked for at a time; further ones wait.
const LOOKUPS_MAX: usize = 64;

/// Beyond it a DNS server is asked again, or given up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Who is asked for names.
pub(super) enum Resolver {
    /// getaddrinfo: /etc/hosts, nsswitch.conf, and what they say.
    System(Arc<Semaphore>),
    /// This server alone.
    Server(Box<TokioResolver>),
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System(_) => "System",
            Self::Server(_) => "Server",
        })
    }
}

impl Resolver {
    pub(super) fn new(server: Option<SocketAddr>) -> Result<Self, String> {
        let Some(server) = server else { return Ok(Self::System(Arc::new(Semaphore::new(LOOKUPS_MAX)))) };
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
            Self::System(lookups) => ask_system(lookups, host).await?,
        };
        addresses.dedup();
        if addresses.is_empty() { Err("it has no addresses".into()) } else { Ok(addresses) }
    }
}

/// Asks the system, in a thread of the blocking pool. Nobody can call such a thread off, so the permit stays with it until it
/// has its answer: a DNS server that is silent holds [`LOOKUPS_MAX`] threads, and leaves the others to files.
async fn ask_system(lookups: &Arc<Semaphore>, host: &str) -> Result<Vec<IpAddr>, BoxError> {
    let permit = Arc::clone(lookups).acquire_owned().await?;
    let host = host.to_owned();
    let asked = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let found = (host.as_str(), 0).to_socket_addrs()?;
        Ok::<_, std::io::Error>(found.take(ADDRESSES_MAX).map(|address| address.ip()).collect())
    });
    Ok(asked.await??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_is_asked_for_so_many_names_at_a_time() {
        let lookups = Arc::new(Semaphore::new(1));
        let resolver = Resolver::System(Arc::clone(&lookups));
        let permit = Arc::clone(&lookups).acquire_owned().await.unwrap();
        let short = Duration::from_millis(50);
        assert!(tokio::time::timeout(short, resolver.resolve("localhost")).await.is_err(), "it waits");
        drop(permit);
        assert!(resolver.resolve("localhost").await.unwrap().iter().all(IpAddr::is_loopback));
        assert_eq!(lookups.available_permits(), 1);
    }
}
