//! Header fields on their way through a proxy.

use bytes::Bytes;
use http::header::{CONNECTION, FORWARDED, HOST, HeaderName, TE, UPGRADE};
use http::{HeaderMap, HeaderValue};
use http_body::Frame;

use crate::guest::Peer;
use crate::hop_by_hop::{HOP_BY_HOP, may_trail};
use crate::request_id::{self, RequestId};
use crate::upstream::ProxySettings;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Beside those of every connection: what is between a client and a proxy alone (Go: httputil.hopHeaders). `Trailer` stays,
/// as the trailers do.
const PROXY_FIELDS: [HeaderName; 2] = [http::header::PROXY_AUTHENTICATE, http::header::PROXY_AUTHORIZATION];

/// Whom a request comes from.
pub(super) struct Client<'r> {
    pub(super) peer: &'r Peer,
    pub(super) authority: &'r str,
    pub(super) id: &'r RequestId,
}

/// The protocol that a request asks for, if it does (Go: httputil.upgradeType). Another version of HTTP is none: behind the
/// answer the client would speak to the upstream past all that a proxy does (`Upgrade: h2c` smuggling).
pub(super) fn upgrade(fields: &HeaderMap) -> Option<HeaderValue> {
    let asks = fields.get_all(CONNECTION).iter().any(|value| tokens(value).any(|token| token == "upgrade"));
    let protocol = fields.get(UPGRADE)?;
    let is_http = |name: String| {
        let name = name.split('/').next().unwrap_or_default().trim_end();
        matches!(name, "h2" | "h2c" | "h3" | "http" | "https")
    };
    (asks && !protocol.is_empty() && !tokens(protocol).any(is_http)).then(|| protocol.clone())
}

/// Whether an upstream switches to one of the protocols that it was asked for.
pub(super) fn is_one_of(protocol: Option<&HeaderValue>, asked: &HeaderValue) -> bool {
    let protocol = protocol.map(|value| value.as_bytes().trim_ascii().to_ascii_lowercase());
    protocol.is_some_and(|protocol| tokens(asked).any(|token| token.as_bytes() == protocol))
}

/// Leaves out of trailers what must not stand in any: whoever merges them into the header would believe it.
pub(super) fn without_bad_trailers(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut fields) => {
            let bad: Vec<_> = fields.keys().filter(|name| !may_trail(name)).cloned().collect();
            bad.iter().for_each(|name| drop(fields.remove(name)));
            Frame::trailers(fields)
        }
        Err(frame) => frame,
    }
}

/// Removes what ends at a connection, also what `Connection` names (RFC 9110 section 7.6.1).
pub(super) fn remove_hop_by_hop(fields: &mut HeaderMap) {
    let named: Vec<HeaderName> = fields
        .get_all(CONNECTION)
        .iter()
        .flat_map(tokens)
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .collect();
    named.iter().chain(&HOP_BY_HOP).chain(&PROXY_FIELDS).for_each(|name| drop(fields.remove(name)));
}

/// Makes a client's fields those of the request to an upstream.
pub(super) fn prepare_request(
    fields: &mut HeaderMap,
    settings: &ProxySettings,
    client: Client<'_>,
    protocol: Option<&HeaderValue>,
) {
    let wants_trailers =
        fields.get_all(TE).iter().any(|value| tokens(value).any(|token| token == "trailers"));
    remove_hop_by_hop(fields);
    if wants_trailers {
        fields.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = protocol {
        fields.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        fields.insert(UPGRADE, protocol.clone());
    }
    forward(fields, settings, &client);
    fields.remove(HOST);
    if settings.preserve_host
        && let Ok(host) = HeaderValue::from_str(client.authority)
        && !host.is_empty()
    {
        fields.insert(HOST, host);
    }
    if let Ok(id) = HeaderValue::from_str(client.id.as_str()) {
        fields.insert(request_id::HEADER, id);
    }
    rewrite(fields, &settings.request_headers);
}

/// Says whom a request is for and from (Go: httputil.ProxyRequest.SetXForwarded). What the client says of that itself is
/// dropped, unless it is trusted.
fn forward(fields: &mut HeaderMap, settings: &ProxySettings, client: &Client<'_>) {
    let Client { peer, authority, .. } = client;
    if !settings.trust_forwarded {
        [X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, FORWARDED]
            .iter()
            .for_each(|name| drop(fields.remove(name)));
    }
    // An address without its port; a client on a unix socket has none.
    let address = peer.remote.parse::<std::net::SocketAddr>().ok().map(|address| address.ip().to_canonical());
    if let Some(address) = address {
        append(fields, X_FORWARDED_FOR, &address.to_string());
    }
    for (name, value) in [(X_FORWARDED_HOST, *authority), (X_FORWARDED_PROTO, peer.scheme)] {
        if !fields.contains_key(&name)
            && !value.is_empty()
            && let Ok(value) = HeaderValue::from_str(value)
        {
            fields.insert(name, value);
        }
    }
    if settings.forwarded {
        let node = match address {
            Some(std::net::IpAddr::V6(address)) => format!("\"[{address}]\""),
            Some(address) => address.to_string(),
            None => "unknown".to_owned(),
        };
        let host = if authority.is_empty() { String::new() } else { format!(";host=\"{authority}\"") };
        append(fields, FORWARDED, &format!("for={node}{host};proto={}", peer.scheme));
    }
}

/// Adds to a list, in one line.
fn append(fields: &mut HeaderMap, name: HeaderName, value: &str) {
    let mut line = Vec::new();
    for before in fields.get_all(&name) {
        line.extend_from_slice(before.as_bytes());
        line.extend_from_slice(b", ");
    }
    line.extend_from_slice(value.as_bytes());
    if let Ok(line) = HeaderValue::from_bytes(&line) {
        fields.insert(name, line);
    }
}

/// Sets and removes fields as the settings say.
pub(super) fn rewrite(fields: &mut HeaderMap, changes: &[(HeaderName, Option<HeaderValue>)]) {
    for (name, value) in changes {
        match value {
            Some(value) => drop(fields.insert(name.clone(), value.clone())),
            None => drop(fields.remove(name)),
        }
    }
}

/// The words of a list, in lower case.
fn tokens(value: &HeaderValue) -> impl Iterator<Item = String> + '_ {
    // As bytes: one that is no text does not spoil the others.
    let words = value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let words = words.filter_map(|word| std::str::from_utf8(word).ok());
    words.filter(|word| !word.is_empty()).map(str::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        map
    }

    #[test]
    fn what_is_the_connections_goes_no_further() {
        let mut fields = map(&[
            ("connection", "close, X-Own"),
            ("connection", "keep-alive"),
            ("keep-alive", "timeout=5"),
            ("x-own", "1"),
            ("x-other", "2"),
            ("upgrade", "websocket"),
            ("transfer-encoding", "chunked"),
            ("proxy-authorization", "Basic x"),
            ("te", "trailers"),
            ("trailer", "x-sum"),
        ]);
        remove_hop_by_hop(&mut fields);
        let mut left: Vec<_> = fields.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["trailer", "x-other"]);
    }

    #[test]
    fn only_a_connection_can_ask_for_another_protocol() {
        let websocket = ("upgrade", "websocket");
        assert_eq!(upgrade(&map(&[("connection", "keep-alive, Upgrade"), websocket])).unwrap(), "websocket");
        assert_eq!(upgrade(&map(&[websocket])), None);
        assert_eq!(upgrade(&map(&[("connection", "upgrade")])), None);
        for http in ["h2c", "H2C", "websocket, h2c", "HTTP/2.0", "http /3", "h2"] {
            assert_eq!(upgrade(&map(&[("connection", "upgrade"), ("upgrade", http)])), None, "{http}");
        }
        let is_one_of = |protocol: &'static str, asked: &'static str| {
            is_one_of(Some(&HeaderValue::from_static(protocol)), &HeaderValue::from_static(asked))
        };
        assert!(is_one_of("WebSocket", "websocket") && is_one_of("b/2", "a, B/2"));
        assert!(!is_one_of("a, b", "a, b") && !is_one_of("", "a") && !is_one_of("h2c", "websocket"));
        assert!(!super::is_one_of(None, &HeaderValue::from_static("a")));
    }

    #[test]
    fn a_byte_that_is_no_text_does_not_hide_the_others() {
        let mut fields = map(&[("x-hop", "1"), ("x-own", "2")]);
        fields.insert(CONNECTION, HeaderValue::from_bytes(b"\xff, x-hop").unwrap());
        remove_hop_by_hop(&mut fields);
        assert!(!fields.contains_key("x-hop") && fields.contains_key("x-own"), "{fields:?}");
    }

    #[test]
    fn trailers_say_nothing_that_belongs_in_a_header() {
        let fields =
            map(&[("x-sum", "7"), ("grpc-status", "0"), ("set-cookie", "a"), ("content-length", "1")]);
        let left = without_bad_trailers(Frame::trailers(fields)).into_trailers().unwrap();
        let mut left: Vec<_> = left.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["grpc-status", "x-sum"]);
    }

    #[test]
    fn lists_are_added_to_in_one_line() {
        let mut fields = map(&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2")]);
        append(&mut fields, X_FORWARDED_FOR, "3.3.3.3");
        let lines: Vec<_> = fields.get_all(X_FORWARDED_FOR).iter().collect();
        assert_eq!(lines, ["1.1.1.1, 2.2.2.2, 3.3.3.3"]);
    }
}
