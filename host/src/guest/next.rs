//! The handler behind a guest: `next` in routes.toml.
//!
//! The outer guest gives a request, the inner one's response comes back; both stream. What belongs to the connection
//! and to the route is the same for both.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{Request, Response, Uri};

use super::exchange::{Incoming, Peer, RouteInfo};
use super::request_body::RequestBody;
use crate::body::Body;
use crate::request_id::RequestId;

/// A response that is on its way.
pub type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// A handler that another one calls. It never fails: errors are responses, as they are for clients.
pub trait Next: fmt::Debug + Send + Sync {
    /// Answers a request that the guest in front has given.
    fn serve(&self, request: Incoming) -> Answer;
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
