//! The handler behind a guest: `next` in routes.toml.
//!
//! The outer guest gives a request, the inner one's response comes back; both stream. What belongs to the connection
//! and to the route is the same for both.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use wasmtime_wasi_http::Error as HttpError;

use super::exchange::{Incoming, Peer, RouteInfo};
use super::outgoing::Via;
use super::request_body::RequestBody;
use crate::body::Body;
use crate::error::Error;
use crate::notes::Notes;
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
    authority: String,
    via: Option<Arc<Via>>,
    notes: Option<Arc<Notes>>,
}

impl Origin {
    pub(super) fn of(request: &Incoming) -> Self {
        let Incoming { route, values, id, peer, authority, via, notes, .. } = request;
        let (route, peer) = (Arc::clone(route), Arc::clone(peer));
        let (values, id, authority) = (values.clone(), id.clone(), authority.clone());
        Self { route, values, id, peer, authority, via: via.clone(), notes: notes.clone() }
    }

    /// Host and port that the client asked for; may be empty.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// `http` or `https`.
    pub(super) fn scheme(&self) -> &'static str {
        self.peer.scheme
    }

    /// The request for the next handler.
    pub(super) fn request(self, request: Request<RequestBody>) -> Incoming {
        let (mut parts, body) = request.into_parts();
        let uri = std::mem::take(&mut parts.uri).into_parts();
        let host = || parts.headers.get(http::header::HOST)?.to_str().ok();
        let authority = uri.authority.as_ref().map(|authority| authority.as_str()).or_else(host);
        let authority = authority.unwrap_or_default().to_owned();
        parts.uri = Uri::from(uri.path_and_query.unwrap_or(PathAndQuery::from_static("/")));
        let Self { route, values, id, peer, via, notes, .. } = self;
        Incoming { parts: Box::new(parts), authority, body, route, values, id, peer, via, notes }
    }
}

/// Ends a task when it is dropped.
pub(super) struct Tied(pub(super) JoinHandle<()>);

impl Drop for Tied {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A body that another task receives.
struct Piped {
    frames: mpsc::Receiver<Result<Frame<Bytes>, HttpError>>,
    /// Ends with whoever reads.
    _task: Tied,
}

impl http_body::Body for Piped {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        self.get_mut().frames.poll_recv(cx)
    }
}

/// Has an answer made in a task of its own: a store that is being run cannot run another one inside. Dropping this, or
/// the response's body, ends the task. None when the task has failed.
pub(super) async fn detached(answer: Answer) -> Option<Response<UnsyncBoxBody<Bytes, HttpError>>> {
    let (head, answered) = oneshot::channel();
    // One frame waits, a second one is held by the task: that is the back-pressure.
    let (sender, frames) = mpsc::channel(1);
    let task = Tied(tokio::spawn(async move {
        let (parts, body) = answer.await.into_parts();
        if body.is_whole() {
            let body = body.map_err(|_| HttpError::HttpResponseIncomplete).boxed_unsync();
            let _ = head.send((parts, Some(body)));
            return;
        }
        if head.send((parts, None)).is_ok() {
            pipe(body, sender).await;
        }
    }));
    let (parts, whole) = answered.await.ok()?;
    let body = whole.unwrap_or_else(|| Piped { frames, _task: task }.boxed_unsync());
    Some(Response::from_parts(parts, body))
}

async fn pipe(mut body: Body, sender: mpsc::Sender<Result<Frame<Bytes>, HttpError>>) {
    while let Ok(room) = sender.reserve().await {
        match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            None => return,
            Some(Ok(frame)) => room.send(Ok(frame)),
            // Why is in the log: errors of the handler behind are reported as its own.
            Some(Err(_)) => return room.send(Err(HttpError::HttpResponseIncomplete)),
        }
    }
}
