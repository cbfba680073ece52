//! The handler behind a guest: `next` in routes.toml.
//!
//! The outer guest gives a request, the inner one's response comes back; both stream. What belongs to the connection
//! and to the route is the same for both.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body::Body as _;

use super::exchange::{Incoming, Peer, RouteInfo};
use super::request_body::RequestBody;
use crate::body::Body;
use crate::error::Error;
use crate::request_id::RequestId;

/// A response that is on its way.
pub type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// A handler that another one calls. It never fails: errors are responses, as they are for clients.
pub trait Next: fmt::Debug + Send + Sync {
    /// Answers a request that the guest in front has given.
    fn serve(&self, request: Incoming) -> Answer;
}

/// The response of the handler behind, on its way through a core module.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Body,
    /// Received, not yet handed out.
    pub(super) rest: Bytes,
    pub(super) trailers: HeaderMap,
    pub(super) has_ended: bool,
}

impl Reply {
    pub(super) fn new(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let (status, mut headers) = (parts.status, parts.headers);
        if let Some(length) = body.size_hint().exact() {
            headers.entry(CONTENT_LENGTH).or_insert(HeaderValue::from(length));
        }
        Self { status, headers, body, rest: Bytes::new(), trailers: HeaderMap::new(), has_ended: false }
    }

    /// Makes `rest` not empty, or finds the end.
    ///
    /// # Errors
    /// When the response breaks off.
    pub(super) async fn fill(&mut self) -> Result<(), Error> {
        while self.rest.is_empty() && !self.has_ended {
            match poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await {
                None => self.has_ended = true,
                Some(Err(error)) => return Err(error),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => self.trailers = frame.into_trailers().unwrap_or_default(),
                },
            }
        }
        Ok(())
    }
}

/// What a request keeps when one guest hands it to the next.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    route: Arc<RouteInfo>,
    values: Vec<Vec<u8>>,
    id: RequestId,
    peer: Arc<Peer>,
}

impl Origin {
    pub(super) fn of(request: &Incoming) -> Self {
        let Incoming { route, values, id, peer, .. } = request;
        Self { route: Arc::clone(route), values: values.clone(), id: id.clone(), peer: Arc::clone(peer) }
    }

    /// The request for the next handler.
    pub(super) fn request(self, request: Request<RequestBody>) -> Incoming {
        let (mut parts, body) = request.into_parts();
        let uri = std::mem::take(&mut parts.uri).into_parts();
        let host = || parts.headers.get(http::header::HOST)?.to_str().ok();
        let authority = uri.authority.as_ref().map(|authority| authority.as_str()).or_else(host);
        let authority = authority.unwrap_or_default().to_owned();
        parts.uri = Uri::from(uri.path_and_query.unwrap_or(PathAndQuery::from_static("/")));
        let Self { route, values, id, peer } = self;
        Incoming { parts, authority, body, route, values, id, peer }
    }
}
