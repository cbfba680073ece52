//! Where a redirect leads, by net/http's rules (Go: net/http.Client.Do). Pure.
//!
//! For calls of components and of tests; those of modules the host redirects, by the same rules.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderValue};

use super::url::{Url, has_scheme, is_same_or_below};

/// Fields that are for the first host and its subdomains alone.
const SENSITIVE: [&str; 6] =
    ["authorization", "www-authenticate", "cookie", "cookie2", "proxy-authorization", "proxy-authenticate"];

/// Fields that speak of a body.
const OF_BODIES: [&str; 7] = [
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-type",
    "expect",
    "transfer-encoding",
];

/// A request and what it has become on its way.
#[derive(Debug)]
pub(crate) struct Trail {
    first: Url,
    first_referer: Option<HeaderValue>,
    /// The first request has named a host of its own.
    host: Option<HeaderValue>,
    method: String,
    url: Url,
    /// Those of the first request, without what was dropped on the way: what is dropped once stays so.
    fields: HeaderMap,
}

/// What a response asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It is the answer, also because it wants a body that there is no more.
    Answer,
    /// Another request, the one that the trail now has.
    Follow { has_body: bool },
}

impl Trail {
    /// Of this request; `None` when its URL is none.
    pub(crate) fn new(method: &str, url: &str, fields: HeaderMap) -> Option<Self> {
        let url = Url::parse(url)?;
        let host = fields.get("host").filter(|host| host.as_bytes() != url.authority.as_bytes()).cloned();
        let first_referer = fields.get("referer").cloned();
        Some(Self { first: url.clone(), first_referer, host, method: method.to_owned(), url, fields })
    }

    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn fields(&self) -> &HeaderMap {
        &self.fields
    }

    /// What a response with this status and `Location` asks for.
    ///
    /// # Errors
    /// When its location is none.
    pub(crate) fn next(
        &mut self,
        status: u16,
        location: Option<&[u8]>,
        can_replay: bool,
    ) -> Result<Next, String> {
        let has_body = match status {
            301..=303 => false,
            307 | 308 if can_replay => true,
            _ => return Ok(Next::Answer),
        };
        let Some(location) = location.filter(|location| !location.is_empty()) else {
            return Ok(Next::Answer);
        };
        let location = escaped(location).ok_or("its Location has control characters")?;
        let next = self.url.join(&location).ok_or("its Location is no http or https URL")?;
        if !has_body {
            if self.method != "GET" && self.method != "HEAD" {
                "GET".clone_into(&mut self.method);
            }
            OF_BODIES.iter().for_each(|name| drop(self.fields.remove(*name)));
        }
        if !is_same_or_below(&next.host(), &self.first.host()) {
            SENSITIVE.iter().for_each(|name| drop(self.fields.remove(*name)));
        }
        self.fields.remove("host");
        if let Some(host) = self.host.as_ref().filter(|_| !has_scheme(&location)) {
            self.fields.insert("host", host.clone());
        }
        self.set_referer(&next);
        self.url = next;
        Ok(Next::Follow { has_body })
    }

    /// The page before, and not what was encrypted to what is not (Go: refererForURL).
    fn set_referer(&mut self, next: &Url) {
        self.fields.remove("referer");
        if self.url.scheme == "https" && next.scheme == "http" {
            return;
        }
        let page = || HeaderValue::from_str(&self.url.to_string()).ok();
        if let Some(referer) = self.first_referer.clone().or_else(page) {
            self.fields.insert("referer", referer);
        }
    }
}

/// A `Location` with what URLs do not have written as `%XX`; `None` where it has control characters.
fn escaped(location: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(location.len());
    for &byte in location.trim_ascii() {
        match byte {
            byte if byte.is_ascii_control() => return None,
            b' ' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x80.. => {
                let _ = write!(text, "%{byte:02X}"); // a String takes everything
            }
            byte => text.push(char::from(byte)),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trail(
        method: &str,
        from: &str,
        fields: &[(&'static str, &str)],
        hops: &[(u16, &str)],
    ) -> Option<Trail> {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().expect("valid"));
        }
        let mut trail = Trail::new(method, from, map).expect("absolute");
        for (status, location) in hops {
            if trail.next(*status, Some(location.as_bytes()), false) == Ok(Next::Answer) {
                return None;
            }
        }
        Some(trail)
    }

    #[test]
    fn methods_and_bodies_change_as_in_net_http() {
        for (method, status, expected) in [
            ("POST", 301, "GET"),
            ("PUT", 302, "GET"),
            ("DELETE", 303, "GET"),
            ("HEAD", 303, "HEAD"),
            ("GET", 302, "GET"),
        ] {
            let fields = [("content-type", "a/b"), ("content-length", "3"), ("x-own", "1")];
            let trail = trail(method, "http://a.test/x", &fields, &[(status, "/y")]).expect("followed");
            assert_eq!(trail.method(), expected);
            assert!(!trail.fields().contains_key("content-type"), "{trail:?}");
            assert_eq!(trail.fields()["x-own"], "1");
        }
        assert!(trail("POST", "http://a.test/", &[], &[(307, "/y")]).is_none(), "there is no body any more");
        assert!(trail("GET", "http://a.test/", &[], &[(304, "/y")]).is_none());
        let mut kept = trail("POST", "http://a.test/", &[("content-type", "a/b")], &[]).expect("absolute");
        assert_eq!(kept.next(308, Some(b"/y"), true), Ok(Next::Follow { has_body: true }));
        assert_eq!((kept.method(), &*kept.url().to_string()), ("POST", "http://a.test/y"));
        assert!(kept.fields().contains_key("content-type"));
    }

    #[test]
    fn locations_may_be_missing_or_wrong() {
        let mut trail = trail("GET", "http://a.test/", &[], &[]).expect("absolute");
        assert_eq!(trail.next(302, None, false), Ok(Next::Answer));
        assert_eq!(trail.next(302, Some(b""), false), Ok(Next::Answer));
        assert!(trail.next(302, Some(b"file:///etc/passwd"), false).is_err());
        assert!(trail.next(302, Some(b"/a\tb"), false).is_err());
        assert_eq!(trail.next(302, Some("/\\é x".as_bytes()), false), Ok(Next::Follow { has_body: false }));
        assert_eq!(trail.url().to_string(), "http://a.test/%5C%C3%A9%20x");
    }

    #[test]
    fn credentials_stay_with_their_domain() {
        let fields = [("authorization", "secret"), ("cookie", "a=b"), ("accept", "*/*")];
        let kept = |hops: &[(u16, &str)]| {
            let trail = trail("GET", "https://a.test/", &fields, hops).expect("followed");
            assert!(trail.fields().contains_key("accept"));
            assert_eq!(trail.fields().contains_key("authorization"), trail.fields().contains_key("cookie"));
            trail.fields().contains_key("cookie")
        };
        assert!(kept(&[(302, "/y")]));
        assert!(kept(&[(302, "https://sub.a.test/")]));
        assert!(!kept(&[(302, "https://nota.test/")]));
        assert!(!kept(&[(302, "https://test/")]));
        assert!(!kept(&[(302, "https://b.test/"), (302, "https://a.test/")]), "dropped once, it stays so");
    }

    #[test]
    fn the_referer_is_the_page_before() {
        let referer = |from: &str, fields: &[(&'static str, &str)], to: &str| {
            let trail = trail("GET", from, fields, &[(302, to)]).expect("followed");
            trail.fields().get("referer").map(|referer| referer.to_str().expect("ASCII").to_owned())
        };
        assert_eq!(referer("http://u:p@a.test/x", &[], "/y").as_deref(), Some("http://a.test/x"));
        assert_eq!(referer("https://a.test/x", &[], "http://a.test/"), None);
        let own = referer("http://a.test/x", &[("referer", "http://own/")], "/y");
        assert_eq!(own.as_deref(), Some("http://own/"));
    }

    #[test]
    fn a_host_of_ones_own_is_for_relatives() {
        let host = |to: &str| {
            let trail = trail("GET", "http://127.0.0.1:1/", &[("host", "own.test")], &[(302, to)]);
            trail.expect("followed").fields().get("host").cloned()
        };
        assert_eq!(host("/y").as_ref().map(HeaderValue::as_bytes), Some(&b"own.test"[..]));
        assert_eq!(host("/y?to=http://b.test/").as_ref().map(HeaderValue::as_bytes), Some(&b"own.test"[..]));
        assert_eq!(host("http://127.0.0.1:1/y"), None);
    }
}
