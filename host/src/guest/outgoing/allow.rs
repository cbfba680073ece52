//! `outbound = […]`: whom a handler may call, and which addresses that may lead to.

use std::net::IpAddr;

use http::Uri;
use ipnet::IpNet;

use crate::outbound::{Policy, Refused, is_localhost, is_public};

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
    /// Every name, but no address, nor what some resolvers take for one.
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

    /// Handlers that may be called, by name in lower case.
    #[must_use]
    pub fn handlers(&self) -> &[String] {
        &self.handlers
    }

    /// The entries that cover what is called.
    fn covering(&self, uri: &Uri) -> impl Iterator<Item = &Target> {
        let is_https = match uri.scheme_str() {
            Some("https") => Some(true),
            Some("http") => Some(false),
            _ => None,
        };
        let called = is_https.and_then(|is_https| {
            let port = uri.port_u16().unwrap_or(default_port(is_https));
            Some(Target { is_https, host: Host::of(uri.host()?), port })
        });
        self.targets.iter().filter(move |target| called.as_ref().is_some_and(|called| target.covers(called)))
    }

    /// Whether an entry names this very host, or those under a name of which it is one: `*` names nobody.
    fn names(&self, uri: &Uri) -> bool {
        self.covering(uri).any(|target| target.host != Host::Any)
    }
}

/// The handler that a URI names, if it names one, in lower case: hosts have no other.
pub(super) fn handler_of(uri: &Uri) -> Option<String> {
    let host = uri.host()?.trim_end_matches('.').to_ascii_lowercase();
    host.strip_suffix(HANDLER_SUFFIX).filter(|name| !name.is_empty()).map(str::to_owned)
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

impl Target {
    /// Whether the entry `self` covers what is called.
    fn covers(&self, called: &Self) -> bool {
        (self.is_https, self.port) == (called.is_https, called.port) && self.host.covers(&called.host)
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
            (Self::Any, Self::Name(name)) => !ends_in_a_number(name),
            (Self::Under(suffix), Self::Name(name)) => name.len() > suffix.len() && name.ends_with(suffix),
            _ => self == called,
        }
    }
}

/// Whether a host is an address in one of the older ways to write them, such as `127.1`, `2130706433` or `0x7f.1` (WHATWG URL
/// section 3.5, "ends in a number"): there is no such name, and getaddrinfo makes an address of it.
fn ends_in_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_hex = last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    is_hex || (!last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()))
}

impl Policy for Allow {
    fn target(&self, uri: &Uri) -> Result<(), Refused> {
        if handler_of(uri).is_some() {
            return Err(Refused("handlers are called directly, not by way of a redirect".to_owned()));
        }
        if self.covering(uri).next().is_some() {
            Ok(())
        } else {
            Err(Refused("it is not in `outbound`".to_owned()))
        }
    }

    /// Whoever may call a name may not thereby call everything that the name's owner lets it point at.
    fn address(&self, uri: &Uri, address: IpAddr) -> Result<(), Refused> {
        let address = address.to_canonical();
        let host = uri.host().unwrap_or_default();
        let is_named = Host::of(host) == Host::Address(address);
        let is_here = address.is_loopback() && is_localhost(host) && self.names(uri);
        if is_named || is_here || is_public(address) || self.networks.iter().any(|net| net.contains(&address))
        {
            return Ok(());
        }
        Err(Refused(format!(
            "it leads to {address}, which is not a public address; if that is meant, add \"{}\" to `outbound`",
            IpNet::from(address)
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
        for number in ["2130706433", "127.1", "0x7f000001", "0x7f.1", "127.0.0.1.", "1.2.3.0X", "0177.0.0.01"]
        {
            let uri: Uri = format!("https://{number}/").parse().unwrap();
            assert!(allow.target(&uri).is_err(), "{number} is no name");
        }
        assert!(allow.target(&"https://a1.b2/".parse().unwrap()).is_ok());
    }

    #[test]
    fn every_name_is_not_this_machine() {
        let loopback = |entry: &str, uri: &str| {
            let allow = allow(&[entry]);
            let uri = uri.parse().unwrap();
            allow.target(&uri).and_then(|()| allow.address(&uri, "127.0.0.1".parse().unwrap())).is_ok()
        };
        assert!(!loopback("http://*", "http://localhost/"));
        assert!(!loopback("http://*", "http://a.localhost./"));
        assert!(loopback("http://localhost", "http://localhost/"));
        assert!(loopback("http://*.localhost", "http://a.localhost/"));
        assert!(!loopback("http://localhost", "http://localhost:81/"));
    }

    #[test]
    fn handlers_are_called_in_any_case() {
        let name = |uri: &str| handler_of(&uri.parse().unwrap());
        assert_eq!(name("http://Users.Handler./x").as_deref(), Some("users"));
        assert_eq!(name("http://.handler/"), None);
        assert_eq!(name("http://handler/"), None);
        assert_eq!(allow(&["http://Users.handler"]).handlers(), ["users"]);
        let refused = allow(&["http://*"]).target(&"http://users.HANDLER./".parse().unwrap()).unwrap_err();
        assert!(refused.0.contains("not by way of a redirect"), "{refused:?}");
    }

    #[test]
    fn what_to_add_is_told() {
        let refused = |address: &str| {
            let uri = "http://api.test/".parse().unwrap();
            allow(&["http://api.test"]).address(&uri, address.parse().unwrap()).unwrap_err().0
        };
        let v4 = refused("10.0.0.1");
        assert!(
            v4.ends_with(
                "10.0.0.1, which is not a public address; if that is meant, add \"10.0.0.1/32\" to `outbound`"
            ),
            "{v4}"
        );
        assert!(refused("fd00::1").contains("add \"fd00::1/128\""));
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
            ("http://localhost:2/", "127.0.0.1", false),
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
