//! What a route points at: a guest, or one of the handlers that are built in.

use std::sync::Arc;

use http::header::LOCATION;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::body::Body;
use crate::error::Broken;
use crate::guest::Guest;

mod files;
mod proxy;
mod split;

pub use files::Files;
pub use proxy::Proxy;
pub use split::{Counted, Split, StickyBy, WHOLE};

/// What a route points at. Chosen when a deployment is built, never for a request.
#[derive(Debug)]
pub enum Handler {
    /// Sandboxed wasm.
    Guest(Arc<Guest>),
    /// Two versions of it.
    Split(Arc<Split>),
    /// The same response for everybody.
    Fixed(Fixed),
    /// Static files.
    Files(Files),
    /// Other servers.
    Proxy(Arc<Proxy>),
    /// None, for the time being: what is wrong is the response.
    Broken(Arc<Broken>),
}

impl Handler {
    /// The first digits of the digest of its code, empty for what is built in; and those of its canary, if it has one.
    #[must_use]
    pub fn versions(&self) -> (Arc<str>, Option<Arc<str>>) {
        match self {
            Self::Guest(guest) => (Arc::clone(guest.version()), None),
            Self::Split(split) => {
                let [stable, canary] =
                    [split.stable(), split.canary()].map(|guest| Arc::clone(guest.version()));
                (stable, Some(canary))
            }
            Self::Fixed(_) | Self::Files(_) | Self::Proxy(_) | Self::Broken(_) => ("".into(), None),
        }
    }
}

/// A response that is known at deploy time.
#[derive(Debug)]
pub struct Fixed {
    status: StatusCode,
    headers: HeaderMap,
    body: bytes::Bytes,
}

impl Fixed {
    /// A response with this status, these header fields and this body.
    pub fn new(
        status: StatusCode,
        headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
        body: impl Into<bytes::Bytes>,
    ) -> Self {
        let mut map = HeaderMap::new();
        headers.into_iter().for_each(|(name, value)| {
            map.append(name, value);
        });
        Self { status, headers: map, body: body.into() }
    }

    /// A redirect to one place, without a body.
    #[must_use]
    pub fn redirect(status: StatusCode, location: HeaderValue) -> Self {
        Self::new(status, [(LOCATION, location)], "")
    }

    pub(crate) fn response(&self) -> Response<Body> {
        let mut response = Response::new(Body::full(self.body.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response
    }
}
