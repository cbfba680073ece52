//! `outbound = […]`: whom a handler may call, and which addresses that may lead to.

use std::net::IpAddr;

use http::Uri;
use ipnet::IpNet;

use crate::outbound::{Policy, Refused, is_public};

/// Ends the names of handlers as hosts: `http://NAME.handler/path`.
const HANDLER_SUFFIX: &str = ".handler";

/// Most entries of one list.
pub const ALLOWED_MAX: usize = 1_000;

/// Whom a handler may call: everybody that one of its entries covers.
#[derive(Clone, Debug, Default)]
pub struct Allow {
    targets: Vec<Target>,
    /// Networks that names may lead to although the public does not.
    networks: Vec<IpNet>,
    /// Handlers of the same deployment, by name.
    handlers: Vec<String>,
}

/// `https://api.example.com`, `http://*.example.org:8080`, `https://*`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    is_https: bool,
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// Every name, but no address.
    Any,
    /// Every name that ends so, with the dot.
    Under(String),
    Name(String),
    Address(IpAddr),
}

impl Allow {
    /// Adds an entry.
    ///
    /// # Errors
    /// A sentence, when it is none.
    pub fn add(&mut self, entry: &str) -> Result<(), String> {
        if self.targets.len() + self.networks.len() + self.handlers.len() >= ALLOWED_MAX {
            return Err(format!("there are more than {ALLOWED_MAX} entries"));
        }
        if let Ok(network) = entry.parse() {
            self.networks.push(network);
            return Ok(());
        }
        let target = Target::parse(entry)?;
        match &target.host {
            Host::Name(name) if name.ends_with(HANDLER_SUFFIX) => {
                if target.is_https || target.port != 80 {
                    return Err(format!(
                        "a handler is called as `http://NAME{HANDLER_SUFFIX}`, without a port"
                    ));
                }
                self.handlers.push(name.trim_end_matches(HANDLER_SUFFIX).to_owned());
            }
            _ => self.targets.push(target),
        }
        Ok(())
    }

    /// Handlers that may be called, by name.
    #[must_use]
    pub fn handlers(&self) -> &[String] {
        &self.handlers
    }

    fn covers(&self, uri: &Uri) -> bool {
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return false,
        };
        let port = uri.port_u16().unwrap_or(default_port(is_https));
        let Some(host) = uri.host().map(Host::of) else { return false };
        self.targets
            .iter()
            .any(|target| (target.is_https, target.port) == (is_https, port) && target.host.covers(&host))
    }
}

/// The handler that a URI names, if it names one.
pub(super) fn handler_of(uri: &Uri) -> Option<&str> {
    uri.host()?.strip_suffix(HANDLER_SUFFIX).filter(|name| !name.is_empty())
}

fn default_port(is_https: bool) -> u16 {
    if is_https { 443 } else { 80 }
}

impl Target {
    fn parse(entry: &str) -> Result<Self, String> {
        const FORM: &str = "an entry is a scheme and a host, such as \"https://api.example.com\", \"https://*.example.org\", \
                            \"http://127.0.0.1:3000\" or \"http://NAME.handler\", or a network such as \"10.0.0.0/8\"";
        let uri: Uri = entry.parse().map_err(|_| FORM.to_owned())?;
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(other) => return Err(format!("the scheme `{other}` is not http or https")),
            None => return Err(FORM.to_owned()),
        };
        let authority = uri.authority().ok_or(FORM)?;
        if authority.as_str().contains('@') {
            return Err(
                "a user or a password in it has no meaning: give it to the handler in `secrets`".to_owned()
            );
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err("what is granted is a whole host; leave out the path".to_owned());
        }
        let host = Host::of(authority.host());
        if let Host::Name(name) = &host
            && name.contains('*')
        {
            return Err(
                "`*` stands for all names, or as `*.` in front of one for all names under it".to_owned()
            );
        }
        Ok(Self { is_https, host, port: uri.port_u16().unwrap_or(default_port(is_https)) })
    }
}

impl Host {
    fn of(host: &str) -> Self {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Self::Address(address.to_canonical());
        }
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        match name.strip_prefix('*') {
            Some("") => Self::Any,
            Some(under) if under.starts_with('.') && !under.contains('*') => Self::Under(under.to_owned()),
            _ => Self::Name(name),
        }
    }

    /// Whether the entry `self` covers what is called.
    fn covers(&self, called: &Self) -> bool {
        match (self, called) {
            (Self::Any, Self::Name(_)) => true,
            (Self::Under(suffix), Self::Name(name)) => name.len() > suffix.len() && name.ends_with(suffix),
            _ => self == called,
        }
    }
}

/// A name that is this machine by definition (RFC 6761 section 6.3).
fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

impl Policy for Allow {
    fn target(&self, uri: &Uri) -> Result<(), Refused> {
        if handler_of(uri).is_some() {
            return Err(Refused("handlers are called directly, not by way of a redirect".to_owned()));
        }
        if self.covers(uri) { Ok(()) } else { Err(Refused("it is not in `outbound`".to_owned())) }
    }

    /// Whoever may call a name may not thereby call everything that the name's owner lets it point at.
    fn address(&self, uri: &Uri, address: IpAddr) -> Result<(), Refused> {
        let address = address.to_canonical();
        let host = uri.host().unwrap_or_default();
        let is_named = Host::of(host) == Host::Address(address);
        let is_here = is_localhost(host) && address.is_loopback();
        if is_named || is_here || is_public(address) || self.networks.iter().any(|net| net.contains(&address))
        {
            return Ok(());
        }
        Err(Refused(format!(
            "it leads to {address}, which is not a public address; if that is meant, add the address or its network to `outbound`"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(entries: &[&str]) -> Allow {
        let mut allow = Allow::default();
        entries.iter().for_each(|entry| allow.add(entry).unwrap());
        allow
    }

    #[test]
    fn targets_are_covered_as_a_whole() {
        let allow = allow(&[
            "https://api.example.com",
            "https://*.example.org/",
            "http://127.0.0.1:3000",
            "http://[::1]:80",
            "http://b.handler",
        ]);
        for (uri, is_allowed) in [
            ("https://api.example.com/x?y", true),
            ("https://API.example.com.:443/", true),
            ("https://api.example.com:444/", false),
            ("http://api.example.com/", false),
            ("http://api.example.com:443/", false),
            ("https://xapi.example.com/", false),
            ("https://api.example.com.evil.test/", false),
            ("https://a.example.org/", true),
            ("https://a.b.example.org/", true),
            ("https://example.org/", false),
            ("https://aexample.org/", false),
            ("http://127.0.0.1:3000/", true),
            ("http://127.0.0.1/", false),
            ("http://[::ffff:127.0.0.1]:3000/", true),
            ("http://localhost:3000/", false),
            ("http://[::1]/", true),
            ("http://b.handler/", false),
            ("ftp://api.example.com/", false),
            ("/path", false),
        ] {
            assert_eq!(allow.target(&uri.parse().unwrap()).is_ok(), is_allowed, "{uri}");
        }
        assert_eq!(allow.handlers(), ["b"]);
    }

    #[test]
    fn every_name_is_not_every_address() {
        let allow = allow(&["https://*"]);
        assert!(allow.target(&"https://any.test/".parse().unwrap()).is_ok());
        assert!(allow.target(&"http://any.test/".parse().unwrap()).is_err());
        assert!(allow.target(&"https://10.0.0.1/".parse().unwrap()).is_err());
        assert!(allow.target(&"https://8.8.8.8/".parse().unwrap()).is_err());
    }

    #[test]
    fn names_do_not_lead_inside() {
        let allow = allow(&["http://api.test", "http://10.1.1.1", "10.2.0.0/16", "http://localhost:1"]);
        for (uri, address, is_allowed) in [
            ("http://api.test/", "93.184.216.34", true),
            ("http://api.test/", "127.0.0.1", false),
            ("http://api.test/", "169.254.169.254", false),
            ("http://api.test/", "10.1.1.1", false),
            ("http://api.test/", "10.2.3.4", true),
            ("http://api.test/", "::ffff:10.2.3.4", true),
            ("http://api.test/", "::1", false),
            ("http://10.1.1.1/", "10.1.1.1", true),
            ("http://localhost:1/", "127.0.0.1", true),
            ("http://localhost:1/", "::1", true),
            ("http://localhost:1/", "10.0.0.1", false),
        ] {
            let found = allow.address(&uri.parse().unwrap(), address.parse().unwrap());
            assert_eq!(found.is_ok(), is_allowed, "{uri} at {address}");
        }
    }

    #[test]
    fn what_is_no_entry_is_told() {
        for (entry, said) in [
            ("api.example.com", "an entry is a scheme and a host"),
            ("https://", "an entry is a scheme and a host"),
            ("", "an entry is a scheme and a host"),
            ("ftp://example.com", "the scheme `ftp`"),
            ("https://user:password@example.com", "give it to the handler in `secrets`"),
            ("https://example.com/path", "leave out the path"),
            ("https://a.*.example.com", "`*` stands for"),
            ("https://*example.com", "`*` stands for"),
            ("https://a.handler", "a handler is called as"),
        ] {
            let error = Allow::default().add(entry).unwrap_err();
            assert!(error.contains(said), "{entry}: {error}");
        }
    }
}
