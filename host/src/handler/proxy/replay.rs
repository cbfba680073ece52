//! A request's body that can be sent again, as long as nobody has asked for any of it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::fields::without_bad_trailers;
use super::nothing;
use crate::error::{Error, Kind};
use crate::guest::RequestBody;
use crate::outbound::{BoxError, OutBody};

/// The body, which several tries share.
#[derive(Debug)]
pub(super) struct Replay(Option<Arc<Mutex<State>>>);

#[derive(Debug)]
struct State {
    body: RequestBody,
    was_asked: bool,
    failure: Option<Kind>,
}

/// What one try sends.
struct Try(Arc<Mutex<State>>);

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Replay {
    pub(super) fn new(body: RequestBody) -> Self {
        // Most requests have none.
        let has_content = !body.is_end_stream();
        Self(has_content.then(|| Arc::new(Mutex::new(State { body, was_asked: false, failure: None }))))
    }

    /// The body, for another try.
    pub(super) fn again(&self) -> OutBody {
        match &self.0 {
            None => nothing(),
            Some(state) => Try(Arc::clone(state)).boxed_unsync(),
        }
    }

    /// Whether some of it may be gone.
    pub(super) fn was_asked(&self) -> bool {
        self.0.as_ref().is_some_and(|state| lock(state).was_asked)
    }

    /// Why it could not be read on, if that is why a try has failed.
    pub(super) fn failure(&self) -> Option<Error> {
        self.0.as_ref().and_then(|state| lock(state).failure).map(Error::from)
    }
}

impl Body for Try {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut state = lock(&self.0);
        state.was_asked = true;
        let polled = Pin::new(&mut state.body).poll_frame(cx);
        polled.map_ok(without_bad_trailers).map_err(|error| {
            // Only its client can be at fault: no limit of a handler is on it.
            state.failure = Some(Kind::RequestBroken);
            error.into()
        })
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.0).body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.0).body.size_hint()
    }
}
