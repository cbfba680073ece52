//! Addresses to listen on, as written in a deployment or on the command line.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

/// Where to listen, as written: Go's net.Listen addresses, or `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddr {
    /// Host (empty: all interfaces, IPv6 and IPv4) and port (0: any free one).
    Tcp(String, u16),
    /// A unix domain socket.
    Unix(PathBuf),
}

impl ListenAddr {
    /// Parses `:8080`, `127.0.0.1:8080`, `[::1]:8080`, `localhost:0` or `unix:/run/wasmux.sock`.
    ///
    /// # Errors
    /// A sentence that says what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err("`unix:` needs a path, as in \"unix:/run/wasmux.sock\"".to_owned()),
                path => Ok(Self::Unix(path.into())),
            };
        }
        let wanted = || {
            format!(
                "`{text}` is not an address; write \":8080\", \"127.0.0.1:8080\", \"[::1]:8080\" or \"unix:/path\""
            )
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(wanted)?;
        let port = port.parse().map_err(|_| wanted())?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inner) => inner,
            None if host.contains(':') || host.contains('/') || host.contains(char::is_whitespace) => {
                return Err(wanted());
            }
            None => host,
        };
        Ok(Self::Tcp(host.to_owned(), port))
    }

    /// Whether this stands for every interface of the machine: no host, `0.0.0.0` or `[::]`.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        match self {
            Self::Tcp(host, _) => {
                host.is_empty() || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_unspecified())
            }
            Self::Unix(_) => false,
        }
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let tcp = |host: &str, port| Ok(ListenAddr::Tcp(host.into(), port));
        assert_eq!(ListenAddr::parse(":8080"), tcp("", 8080));
        assert_eq!(ListenAddr::parse("127.0.0.1:0"), tcp("127.0.0.1", 0));
        assert_eq!(ListenAddr::parse("[::1]:80"), tcp("::1", 80));
        assert_eq!(ListenAddr::parse("localhost:1"), tcp("localhost", 1));
        assert_eq!(ListenAddr::parse("unix:/run/x"), Ok(ListenAddr::Unix("/run/x".into())));
        for bad in ["", "8080", "::1:80", "host:", "host:99999", "http://x:80", "unix:", "a b:1"] {
            assert!(ListenAddr::parse(bad).is_err(), "{bad:?}");
        }
    }
}
