//! Where a redirect leads, by net/http's rules (Go: net/http.Client.Do).

use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE,
    COOKIE, EXPECT, HOST, HeaderName, LOCATION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, REFERER,
    TRANSFER_ENCODING, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use url::Url;

/// Fields that are for the first host and its subdomains alone.
const SENSITIVE: [HeaderName; 6] = [
    AUTHORIZATION,
    WWW_AUTHENTICATE,
    COOKIE,
    HeaderName::from_static("cookie2"),
    PROXY_AUTHORIZATION,
    PROXY_AUTHENTICATE,
];

/// Fields that speak of a body.
const OF_BODIES: [HeaderName; 7] = [
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_LOCATION,
    CONTENT_TYPE,
    EXPECT,
    TRANSFER_ENCODING,
];

/// A request and what it has become on its way.
#[derive(Debug)]
pub(super) struct Trail {
    first: Url,
    first_referer: Option<HeaderValue>,
    current: Url,
    method: Method,
    /// Those of the first request, without what was dropped on the way: what is dropped once stays so.
    fields: HeaderMap,
    /// The first request has named a host of its own.
    host: Option<HeaderValue>,
}

/// The next request.
#[derive(Debug, PartialEq)]
pub(super) struct Step {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) fields: HeaderMap,
    pub(super) has_body: bool,
}

impl Trail {
    /// Of a request with this target; `None` when it cannot have relatives.
    pub(super) fn new(method: &Method, uri: &Uri, fields: &HeaderMap) -> Option<Self> {
        let url = Url::parse(&uri.to_string()).ok()?;
        let host = fields.get(HOST).filter(|host| Some(host.as_bytes()) != uri.host().map(str::as_bytes));
        Some(Self {
            first: url.clone(),
            first_referer: fields.get(REFERER).cloned(),
            current: url,
            method: method.clone(),
            host: host.cloned(),
            fields: fields.clone(),
        })
    }

    /// What this response asks for; `None` when it is the answer, also because it wants a body that there is no more.
    ///
    /// # Errors
    /// When its location is none.
    pub(super) fn next(
        &mut self,
        status: StatusCode,
        response: &HeaderMap,
        can_rewind: bool,
    ) -> Result<Option<Step>, String> {
        let keeps_body = match status.as_u16() {
            301..=303 => false,
            307 | 308 if can_rewind => true,
            _ => return Ok(None),
        };
        let Some(location) = response.get(LOCATION).filter(|location| !location.is_empty()) else {
            return Ok(None);
        };
        let text = std::str::from_utf8(location.as_bytes()).map_err(|_| "its Location is not UTF-8")?;
        let mut next = self.current.join(text).map_err(|error| format!("its Location: {error}"))?;
        next.set_fragment(None);
        if !matches!(next.scheme(), "http" | "https") {
            return Err(format!("its Location has the scheme `{}`", next.scheme()));
        }
        if !keeps_body && self.method != Method::GET && self.method != Method::HEAD {
            self.method = Method::GET;
        }
        if !keeps_body {
            OF_BODIES.iter().for_each(|name| drop(self.fields.remove(name)));
        }
        if !is_same_or_below(&next, &self.first) {
            SENSITIVE.iter().for_each(|name| drop(self.fields.remove(name)));
        }
        self.fields.remove(HOST);
        if Url::parse(text) == Err(url::ParseError::RelativeUrlWithoutBase)
            && let Some(host) = &self.host
        {
            self.fields.insert(HOST, host.clone());
        }
        self.set_referer(&next);
        let uri = next.as_str().parse().map_err(|error| format!("its Location: {error}"))?;
        self.current = next;
        Ok(Some(Step { method: self.method.clone(), uri, fields: self.fields.clone(), has_body: keeps_body }))
    }

    /// The page before, without its password, and not what was encrypted to what is not (Go: refererForURL).
    fn set_referer(&mut self, next: &Url) {
        self.fields.remove(REFERER);
        if self.current.scheme() == "https" && next.scheme() == "http" {
            return;
        }
        let referer = self.first_referer.clone().or_else(|| {
            let mut before = self.current.clone();
            let _ = before.set_username("");
            let _ = before.set_password(None);
            HeaderValue::from_str(before.as_str()).ok()
        });
        if let Some(referer) = referer {
            self.fields.insert(REFERER, referer);
        }
    }
}

/// Whether a host is the first one or one of its subdomains (Go: shouldCopyHeaderOnRedirect).
fn is_same_or_below(url: &Url, first: &Url) -> bool {
    let (Some(host), Some(first_host)) = (url.host_str(), first.host_str()) else { return false };
    if host == first_host {
        return true;
    }
    let is_name = matches!(url.host(), Some(url::Host::Domain(_)));
    is_name && host.strip_suffix(first_host).is_some_and(|rest| rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(method: &str, from: &str, fields: &[(&str, &str)], hops: &[(u16, &str)]) -> Option<Step> {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let mut trail = Trail::new(&method.parse().unwrap(), &from.parse().unwrap(), &map).unwrap();
        let mut step = None;
        for (status, location) in hops {
            let response =
                [(LOCATION, HeaderValue::from_bytes(location.as_bytes()).unwrap())].into_iter().collect();
            step = trail.next(StatusCode::from_u16(*status).unwrap(), &response, false).unwrap();
        }
        step
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
            let step = step(method, "http://a.test/x", &fields, &[(status, "/y")]).unwrap();
            assert_eq!(step.method.as_str(), expected);
            assert!(!step.has_body && !step.fields.contains_key(CONTENT_TYPE), "{step:?}");
            assert_eq!(step.fields["x-own"], "1");
        }
        assert_eq!(step("POST", "http://a.test/", &[], &[(307, "/y")]), None, "there is no body any more");
        assert_eq!(step("GET", "http://a.test/", &[], &[(304, "/y")]), None);
    }

    #[test]
    fn locations_are_resolved() {
        let to =
            |location| step("GET", "http://a.test/x/y?q", &[], &[(302, location)]).unwrap().uri.to_string();
        assert_eq!(to("z"), "http://a.test/x/z");
        assert_eq!(to("/z#part"), "http://a.test/z");
        assert_eq!(to("//b.test/z"), "http://b.test/z");
        assert_eq!(to("https://c.test"), "https://c.test/");
        assert_eq!(to("?r"), "http://a.test/x/y?r");
        assert_eq!(to("/\u{fc}?\u{e9}"), "http://a.test/%C3%BC?%C3%A9", "as every browser reads it");
        let mut trail =
            Trail::new(&Method::GET, &"http://a.test/".parse().unwrap(), &HeaderMap::new()).unwrap();
        let response = [(LOCATION, HeaderValue::from_static("file:///etc/passwd"))].into_iter().collect();
        assert!(trail.next(StatusCode::FOUND, &response, false).is_err());
        assert_eq!(trail.next(StatusCode::FOUND, &HeaderMap::new(), false), Ok(None));
    }

    #[test]
    fn credentials_stay_with_their_domain() {
        let fields = [("authorization", "secret"), ("cookie", "a=b"), ("accept", "*/*")];
        let kept = |hops: &[(u16, &str)]| {
            let step = step("GET", "https://a.test/", &fields, hops).unwrap();
            assert!(step.fields.contains_key("accept"));
            assert_eq!(step.fields.contains_key(AUTHORIZATION), step.fields.contains_key(COOKIE));
            step.fields.contains_key(AUTHORIZATION)
        };
        assert!(kept(&[(302, "/y")]));
        assert!(kept(&[(302, "https://sub.a.test/")]));
        assert!(!kept(&[(302, "https://nota.test/")]));
        assert!(!kept(&[(302, "https://test/")]));
        assert!(!kept(&[(302, "https://b.test/"), (302, "https://a.test/")]), "dropped once, it stays so");
    }

    #[test]
    fn the_referer_is_the_page_before() {
        let referer = |from: &str, fields: &[(&str, &str)], to: &str| {
            let step = step("GET", from, fields, &[(302, to)]).unwrap();
            step.fields.get(REFERER).map(|referer| referer.to_str().unwrap().to_owned())
        };
        assert_eq!(referer("http://u:p@a.test/x", &[], "/y").as_deref(), Some("http://a.test/x"));
        assert_eq!(referer("https://a.test/x", &[], "http://a.test/"), None);
        assert_eq!(
            referer("http://a.test/x", &[("referer", "http://own/")], "/y").as_deref(),
            Some("http://own/")
        );
    }

    #[test]
    fn a_host_of_ones_own_is_for_relatives() {
        let host = |to: &str| {
            let step = step("GET", "http://127.0.0.1:1/", &[("host", "own.test")], &[(302, to)]).unwrap();
            step.fields.get(HOST).map(|host| host.to_str().unwrap().to_owned())
        };
        assert_eq!(host("/y").as_deref(), Some("own.test"));
        assert_eq!(host("http://127.0.0.1:1/y"), None);
    }
}
