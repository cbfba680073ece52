//! A request's head as its connection wants it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Uri, Version, request};
use http_body::Body as _;
use percent_encoding::percent_decode_str;

use super::OutBody;
use super::route::Route;
use crate::hop_by_hop::HOP_BY_HOP;

/// What a connection's own form of a head is made from, and made good again.
#[derive(Debug)]
pub(super) struct Wired {
    pub(super) uri: Uri,
    host: Option<HeaderValue>,
}

impl Wired {
    pub(super) fn of(parts: &request::Parts) -> Self {
        Self { uri: parts.uri.clone(), host: parts.headers.get(HOST).cloned() }
    }

    /// Gives the head the form that its connection wants.
    pub(super) fn apply(&self, parts: &mut request::Parts, body: &OutBody, is_http2: bool, route: &Route) {
        set_length(&mut parts.headers, &parts.method, body);
        if let Some(credentials) = basic_authorization(&self.uri)
            && !parts.headers.contains_key(AUTHORIZATION)
        {
            parts.headers.insert(AUTHORIZATION, credentials);
        }
        match is_http2 {
            true => self.for_http2(parts),
            false => self.for_http1(parts, route),
        }
    }

    /// Makes it as it came, but for what does no harm in any form.
    pub(super) fn undo(&self, parts: &mut request::Parts) {
        parts.uri = self.uri.clone();
        parts.headers.remove(PROXY_AUTHORIZATION);
        match &self.host {
            Some(host) => drop(parts.headers.insert(HOST, host.clone())),
            None => drop(parts.headers.remove(HOST)),
        }
    }

    fn for_http1(&self, parts: &mut request::Parts, route: &Route) {
        parts.version = Version::HTTP_11;
        if self.host.is_none()
            && let Some(authority) = self.uri.authority()
            && let Ok(host) = HeaderValue::from_str(without_user(authority))
        {
            parts.headers.insert(HOST, host);
        }
        let path = self.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        parts.uri = match route.is_forwarded() {
            false => Uri::from(path),
            true => target(Scheme::HTTP, &self.uri, None, path),
        };
        if route.is_forwarded()
            && let Some(credentials) = route.proxy.as_ref().and_then(|proxy| proxy.authorization.clone())
        {
            parts.headers.insert(PROXY_AUTHORIZATION, credentials);
        }
    }

    /// RFC 9113 section 8.2.2 and 8.3.1: no fields of the connection, and the host in the target.
    fn for_http2(&self, parts: &mut request::Parts) {
        parts.version = Version::HTTP_2;
        let wants_trailers = parts.headers.get(TE).is_some_and(|value| has_token(value, "trailers"));
        HOP_BY_HOP.iter().for_each(|name| drop(parts.headers.remove(name)));
        if wants_trailers {
            parts.headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        let host = parts.headers.remove(HOST);
        let path = self.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let scheme = match self.uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => Scheme::HTTPS,
            _ => Scheme::HTTP,
        };
        parts.uri = target(scheme, &self.uri, host.as_ref(), path);
    }
}

/// A target in full, with another host if there is one.
fn target(scheme: Scheme, uri: &Uri, host: Option<&HeaderValue>, path: PathAndQuery) -> Uri {
    let host = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let authority = host.or_else(|| without_user(uri.authority()?).parse().ok());
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = authority;
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

fn without_user(authority: &Authority) -> &str {
    authority.as_str().rsplit('@').next().unwrap_or_default()
}

/// A body's framing is the connection's: what the head says of it must be true.
fn set_length(fields: &mut HeaderMap, method: &Method, body: &OutBody) {
    fields.remove(TRANSFER_ENCODING);
    let exact = if body.is_end_stream() { Some(0) } else { body.size_hint().exact() };
    let wants_length = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    match exact {
        Some(0) if !wants_length => drop(fields.remove(CONTENT_LENGTH)),
        Some(length) => drop(fields.insert(CONTENT_LENGTH, HeaderValue::from(length))),
        None => {
            let mut declared = fields.get_all(CONTENT_LENGTH).iter();
            let is_number =
                |value: &HeaderValue| value.to_str().is_ok_and(|text| text.parse::<u64>().is_ok());
            let is_good = declared.next().is_none_or(is_number) && declared.next().is_none();
            if !is_good {
                fields.remove(CONTENT_LENGTH);
            }
            // hyper sends no body with GET and HEAD unless something says that there is one.
            if !fields.contains_key(CONTENT_LENGTH) {
                fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
        }
    }
}

/// The user and password of a URI (Go: Request.SetBasicAuth, which Transport calls for these).
fn basic_authorization(uri: &Uri) -> Option<HeaderValue> {
    let (user, _) = uri.authority()?.as_str().rsplit_once('@')?;
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let plain: Vec<u8> = percent_decode_str(name).chain([b':']).chain(percent_decode_str(password)).collect();
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(plain))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Whether a list has this word, in any case.
pub(super) fn has_token(value: &HeaderValue, token: &str) -> bool {
    let words = value.as_bytes().split(|&byte| byte == b',');
    words.into_iter().any(|word| word.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}
