//! Plays one case with one client, and says what came.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};

use super::{Case, Framing, Version};
use crate::support::{Conn, http2};

/// What came, whatever the protocol.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// Names in lower case.
    fields: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Vec<(String, Vec<u8>)>,
    pub(super) interim: Vec<u16>,
    /// Whether the body came to the end that its framing promised.
    pub(super) complete: bool,
}

/// Fields that speak of the test and not of the exchange.
const OURS: [&str; 2] = ["x-puppet", "x-request-id"];

impl Reply {
    /// The first field of this name.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let (_, value) = self.fields.iter().find(|(known, _)| known == name)?;
        str::from_utf8(value).ok()
    }

    pub(super) fn own_fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let fields = self.fields.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        fields.filter(|(name, _)| {
            name.starts_with("x-") && !OURS.contains(name) && *name != "x-content-type-options"
        })
    }

    pub(super) fn framing(&self) -> Framing {
        match (self.field("content-length"), self.field("transfer-encoding")) {
            (Some(_), _) => Framing::Length,
            (None, Some(_)) => Framing::Chunked,
            (None, None) => Framing::None,
        }
    }
}

/// Sends the case's request with this id, which is told to the server only if a line of its log is looked for.
pub(super) fn play(case: &Case, version: Version, address: SocketAddr, id: &str) -> Reply {
    let id = format!("X-Request-Id: {id}");
    let mut fields = case.fields.clone();
    if !case.expected.log.is_empty() {
        fields.push(&id);
    }
    match version {
        Version::Http1 => over_http1(case, &fields, address),
        Version::Http2 => http2::run(over_http2(case, &fields, address)),
    }
}

fn over_http1(case: &Case, fields: &[&str], address: SocketAddr) -> Reply {
    let mut conn = Conn::tcp(address);
    match case.bytes {
        Some(bytes) => conn.send(bytes),
        None => conn.request(case.method, &case.target(), fields, &case.body),
    }
    let response = conn.response();
    let owned = |list: Vec<(String, String)>| {
        list.into_iter().map(|(name, value)| (name, value.into_bytes())).collect::<Vec<_>>()
    };
    Reply {
        status: response.status,
        fields: owned(response.headers),
        body: response.body,
        trailers: owned(response.trailers),
        interim: response.interim,
        complete: response.complete,
    }
}

async fn over_http2(case: &Case, fields: &[&str], address: SocketAddr) -> Reply {
    let (client, _connection) = http2::connect(address).await;
    let mut client = client.ready().await.unwrap();
    let authority = fields.iter().find_map(|line| line.strip_prefix("Host: ")).unwrap_or("localhost");
    let mut request = Request::builder()
        .method(case.method)
        .uri(format!("http://{authority}{}", case.target()))
        .body(())
        .unwrap();
    for line in fields.iter().filter(|line| !line.starts_with("Host: ")) {
        let (name, value) = line.split_once(": ").unwrap();
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let (response, mut sending) = client.send_request(request, case.body.is_empty()).unwrap();
    if !case.body.is_empty() {
        // What a server that refuses the rest does not want is lost, and says so in its response.
        let _ = sending.send_data(Bytes::from(case.body.clone()), true);
    }
    // Broken off before its head: status 0.
    let Ok(response) = response.await else { return Reply::default() };
    let mut reply =
        Reply { status: response.status().as_u16(), fields: list(response.headers()), ..Reply::default() };
    let mut stream = response.into_body();
    reply.complete = loop {
        match stream.data().await {
            Some(Ok(data)) => {
                reply.body.extend_from_slice(&data);
                stream.flow_control().release_capacity(data.len()).unwrap();
            }
            Some(Err(_)) => break false,
            None => match stream.trailers().await {
                Ok(trailers) => {
                    reply.trailers = trailers.map(|trailers| list(&trailers)).unwrap_or_default();
                    break true;
                }
                Err(_) => break false,
            },
        }
    };
    reply
}

fn list(map: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    map.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}
