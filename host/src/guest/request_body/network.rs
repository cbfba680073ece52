//! The body of a request while it comes in: read by its handler, got rid of by its connection.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame};
use http_body_util::combinators::UnsyncBoxBody;

use super::ReadError;
use crate::notes::Notes;
use crate::stats::RouteStats;

/// What is left of a body on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leftover {
    /// Nothing: it was read to its end.
    Nothing,
    /// Nobody knows: it broke off, or was malformed.
    Broken,
    /// This many bytes.
    Declared(u64),
    /// It is chunked.
    Unknown,
}

/// Why a connection has no more of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// The client went away.
    Gone,
    /// It ended early or was malformed.
    Broken,
}

impl std::fmt::Display for BodyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Gone => "the client went away",
            Self::Broken => "the request body is broken off or malformed",
        })
    }
}

impl std::error::Error for BodyError {}

impl std::convert::From<BodyError> for ReadError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Gone => Self::Gone,
            BodyError::Broken => Self::Broken,
        }
    }
}

/// A body on the network, in two hands: those of the handler, which reads it, and those of the connection, which has
/// to be rid of the rest. Clones are the same body.
#[derive(Clone, Debug)]
pub struct NetworkBody(Option<Arc<Mutex<Source>>>);

#[derive(Debug)]
struct Source {
    body: Option<UnsyncBoxBody<Bytes, BodyError>>,
    was_asked: bool,
    is_broken: bool,
    /// It was read to its end, which a body need not know of itself.
    has_ended: bool,
    /// Where what is read is counted.
    counted: Option<Arc<RouteStats>>,
    notes: Option<Arc<Notes>>,
}

impl Source {
    fn count(&self, bytes: u64) {
        if let Some(route) = &self.counted {
            route.request_bytes.add(bytes);
        }
        if let Some(notes) = &self.notes {
            notes.request_bytes.add(bytes);
        }
    }
}

impl NetworkBody {
    /// The body of a request without any.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// A body that a connection has announced.
    pub fn new<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes, Error = BodyError> + Send + 'static,
    {
        // Most requests have none, and need no room for it.
        Self((!body.is_end_stream()).then(|| {
            let body = Some(UnsyncBoxBody::new(body));
            Arc::new(Mutex::new(Source {
                body,
                was_asked: false,
                is_broken: false,
                has_ended: false,
                counted: None,
                notes: None,
            }))
        }))
    }

    fn lock(&self) -> Option<MutexGuard<'_, Source>> {
        self.0.as_ref().map(|source| source.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReadError>>> {
        let Some(mut source) = self.lock() else { return Poll::Ready(None) };
        source.was_asked = true;
        let Some(body) = &mut source.body else { return Poll::Ready(Some(Err(ReadError::Broken))) };
        let polled = std::pin::Pin::new(body).poll_frame(cx);
        if let Poll::Ready(Some(Err(error))) = polled {
            source.is_broken = true;
            return Poll::Ready(Some(Err(error.into())));
        }
        source.has_ended |= matches!(polled, Poll::Ready(None));
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            source.count(frame.data_ref().map_or(0, Bytes::len) as u64);
        }
        polled.map(|frame| frame.map(|frame| frame.map_err(|_| ReadError::Broken)))
    }

    /// Has what is read of it counted for a route, and for its request.
    pub(crate) fn count(&self, route: &Arc<RouteStats>, notes: Option<&Arc<Notes>>) {
        if let Some(mut source) = self.lock() {
            source.counted = Some(Arc::clone(route));
            source.notes = notes.cloned();
        }
    }

    /// What of it nobody has read.
    pub(crate) fn leftover(&self) -> Leftover {
        let Some(source) = self.lock() else { return Leftover::Nothing };
        match &source.body {
            _ if source.is_broken => Leftover::Broken,
            _ if source.has_ended => Leftover::Nothing,
            None => Leftover::Broken,
            Some(body) if body.is_end_stream() => Leftover::Nothing,
            Some(body) => body.size_hint().exact().map_or(Leftover::Unknown, Leftover::Declared),
        }
    }

    /// Whether anybody has asked for it: that is what makes a connection send `100 Continue`.
    pub(crate) fn was_asked(&self) -> bool {
        self.lock().is_some_and(|source| source.was_asked)
    }

    /// Lets go of it; who reads on gets an error.
    pub(crate) fn close(&self) {
        if let Some(mut source) = self.lock() {
            source.body = None;
        }
    }

    /// Reads and forgets at most `bytes_max`; says whether that was all. Cancel safe.
    pub(crate) async fn discard(&self, bytes_max: u64) -> bool {
        let mut seen = 0;
        loop {
            match poll_fn(|cx| self.poll_frame(cx)).await {
                None => return true,
                Some(Err(_)) => return false,
                Some(Ok(frame)) => seen += frame.data_ref().map_or(0, |data| data.len() as u64),
            }
            if seen > bytes_max {
                return false;
            }
        }
    }
}
