//! URLs of calls, as far as redirects need them: taken apart, and references resolved (RFC 3986 section 5.2).

use std::net::Ipv4Addr;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::escape::unescape_path;

/// An absolute `http` or `https` URL, in pieces. None of them has its delimiter, but the path its leading `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) scheme: String,
    /// User and password, escaped as they came.
    user: Option<String>,
    /// Host and port.
    pub(crate) authority: String,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
}

impl Url {
    /// `None` where it is no such URL.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(&*scheme, "http" | "https") {
            return None;
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, authority)) => (Some(user.to_owned()), authority.to_owned()),
            None => (None, authority.to_owned()),
        };
        let (path, query) = cut_query(target);
        let path = without_dots(if path.is_empty() { "/" } else { path });
        (!authority.is_empty()).then_some(Self { scheme, user, authority, path, query })
    }

    /// What a reference on this page leads to; `None` where that is no `http` or `https` URL.
    pub(crate) fn join(&self, reference: &str) -> Option<Self> {
        if has_scheme(reference) {
            return Self::parse(reference);
        }
        if reference.starts_with("//") {
            return Self::parse(&format!("{}:{reference}", self.scheme));
        }
        let (path, query) = cut_query(reference.split('#').next().unwrap_or_default());
        let path = match path {
            "" if query.is_none() => return Some(self.clone()),
            "" => self.path.clone(),
            path if path.starts_with('/') => without_dots(path),
            path => {
                let folder = self.path.rfind('/').map_or("", |end| &self.path[..end]);
                without_dots(&format!("{folder}/{path}"))
            }
        };
        Some(Self { path, query, ..self.clone() })
    }

    /// Path and query, as a request has them.
    pub(crate) fn target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// The `Authorization` of a request for a URL with a user (Go: net/http.basicAuth).
    pub(crate) fn credentials(&self) -> Option<String> {
        let (name, password) = self.user.as_ref()?.split_once(':').unwrap_or((self.user.as_ref()?, ""));
        let plain = [&unescape_path(name.as_bytes())[..], &unescape_path(password.as_bytes())].join(&b':');
        Some(format!("Basic {}", STANDARD.encode(plain)))
    }

    /// The host, without its port, in lower case.
    pub(crate) fn host(&self) -> String {
        let name = match self.authority.strip_prefix('[') {
            Some(rest) => rest.split(']').next(),
            None => self.authority.split(':').next(),
        };
        name.unwrap_or_default().to_ascii_lowercase()
    }
}

/// Without the user, who is nobody else's business.
impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.target())
    }
}

/// Whether a host is the first one or one of its subdomains (Go: net/http.isDomainOrSubdomain).
pub(crate) fn is_same_or_below(host: &str, first: &str) -> bool {
    if host == first {
        return true;
    }
    let is_name = !host.contains([':', '%']) && host.parse::<Ipv4Addr>().is_err();
    is_name && host.strip_suffix(first).is_some_and(|rest| rest.ends_with('.'))
}

fn cut_query(target: &str) -> (&str, Option<String>) {
    match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    }
}

/// Whether a reference is absolute.
pub(super) fn has_scheme(reference: &str) -> bool {
    let Some((scheme, _)) = reference.split_once(':') else { return false };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// A path that begins with `/`, without its segments `.` and `..` (RFC 3986 section 5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push(""); // what it names is a folder
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3986 section 5.4, without what is no `http`.
    #[test]
    fn references_are_resolved_as_the_rfc_does() {
        let base = Url::parse("http://a/b/c/d;p?q").expect("absolute");
        for (reference, expected) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            ("g?y#s", "http://a/b/c/g?y"),
            (";x", "http://a/b/c/;x"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            ("..g", "http://a/b/c/..g"),
            ("./../g", "http://a/b/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/./h", "http://a/b/c/g/h"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("HTTPS://B.test", "https://B.test/"),
            ("//u:p@b.test:1/x#y", "http://b.test:1/x"),
        ] {
            let found = base.join(reference).map(|url| url.to_string());
            assert_eq!(found.as_deref(), Some(expected), "{reference}");
        }
        for reference in ["g:h", "file:///etc/passwd", "http:g", "http://", "///x", "mailto:a@b"] {
            assert_eq!(base.join(reference), None, "{reference}");
        }
    }

    #[test]
    fn hosts_are_compared_without_their_ports() {
        let host = |url: &str| Url::parse(url).expect("absolute").host();
        assert_eq!(host("http://A.Test:80/x"), "a.test");
        assert_eq!(host("http://u@[::1]:80"), "::1");
        let url = Url::parse("http://ann:s%40cret@a.test/").and_then(|url| url.join("x")).expect("absolute");
        assert_eq!(url.credentials().as_deref(), Some("Basic YW5uOnNAY3JldA=="));
        assert_eq!(url.to_string(), "http://a.test/x");
        for (host, first, expected) in [
            ("a.test", "a.test", true),
            ("sub.a.test", "a.test", true),
            ("nota.test", "a.test", false),
            ("test", "a.test", false),
            ("1.2.3.4", "3.4", false),
        ] {
            assert_eq!(is_same_or_below(host, first), expected, "{host} {first}");
        }
    }
}
