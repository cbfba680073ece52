//! A request body between the connection, which reads it from the client, and the handler, which takes it when it likes.
//!
//! Nothing is read before the handler has asked for it, and one piece waits here at most: a handler that does not read
//! keeps its client waiting. The handler may run in another thread.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::head::Framing;
use crate::guest::BodyError;

/// The handler's end.
#[derive(Debug)]
pub(super) struct Upload(Arc<Mutex<State>>);

/// The connection's end. When it is dropped before the body has ended, the client has gone.
#[derive(Debug)]
pub(super) struct Source(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// Read, not yet taken.
    ready: Option<Frame<Bytes>>,
    /// Content that the handler has not got, in bytes, if that is known.
    left: Option<u64>,
    end: Option<Result<(), BodyError>>,
    /// The handler waits for what comes next.
    is_wanted: bool,
    handler: Option<Waker>,
    connection: Option<Waker>,
}

/// Both ends of a body.
pub(super) fn pair(framing: Framing) -> (Source, Upload) {
    let left = match framing {
        Framing::Length(length) => Some(length),
        Framing::Chunked => None,
    };
    let (ready, end, handler, connection) = (None, None, None, None);
    let state = State { ready, left, end, is_wanted: false, handler, connection };
    let state = Arc::new(Mutex::new(state));
    (Source(Arc::clone(&state)), Upload(state))
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A poisoned lock means a panic between two assignments; the data is still whole.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Source {
    /// Ready when the handler waits for something.
    pub(super) fn poll_wanted(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = lock(&self.0);
        if state.is_wanted {
            return Poll::Ready(());
        }
        if !state.connection.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.connection = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Hands over what was read.
    pub(super) fn give(&self, frame: Frame<Bytes>) {
        self.change(|state| state.ready = Some(frame));
    }

    /// The body has ended, well or not.
    pub(super) fn end(&self, end: Result<(), BodyError>) {
        self.change(|state| {
            state.end.get_or_insert(end);
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = lock(&self.0);
        change(&mut state);
        state.is_wanted = false;
        let handler = state.handler.take();
        drop(state);
        if let Some(handler) = handler {
            handler.wake();
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.end(Err(BodyError::Gone));
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut state = lock(&self.0);
        if let Some(frame) = state.ready.take() {
            let count = frame.data_ref().map_or(0, |data| data.len() as u64);
            state.left = state.left.map(|left| left.saturating_sub(count));
            return Poll::Ready(Some(Ok(frame)));
        }
        match state.end {
            Some(Ok(())) => Poll::Ready(None),
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None => {
                state.is_wanted = true;
                state.handler = Some(cx.waker().clone());
                if let Some(connection) = state.connection.take() {
                    drop(state);
                    connection.wake();
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = lock(&self.0);
        state.ready.is_none() && (state.end == Some(Ok(())) || state.left == Some(0))
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.0).left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;

    use super::*;

    fn poll(upload: &mut Upload) -> Poll<Option<Result<Bytes, BodyError>>> {
        let polled = Pin::new(upload).poll_frame(&mut Context::from_waker(Waker::noop()));
        polled.map(|frame| frame.map(|frame| frame.map(|frame| frame.into_data().unwrap())))
    }

    #[test]
    fn nothing_is_wanted_before_it_is_asked_for() {
        let (source, mut upload) = pair(Framing::Length(4));
        let cx = Context::from_waker(Waker::noop());
        assert!(source.poll_wanted(&cx).is_pending());
        assert!(poll(&mut upload).is_pending());
        assert!(source.poll_wanted(&cx).is_ready());
        source.give(Frame::data(Bytes::from_static(b"abc")));
        assert!(source.poll_wanted(&cx).is_pending(), "one piece at a time");
        assert_eq!(poll(&mut upload), Poll::Ready(Some(Ok(Bytes::from_static(b"abc")))));
        assert_eq!(upload.size_hint().exact(), Some(1));
    }

    #[test]
    fn a_connection_that_ends_ends_the_body() {
        let (source, mut upload) = pair(Framing::Chunked);
        assert!(poll(&mut upload).is_pending());
        drop(source);
        assert_eq!(poll(&mut upload), Poll::Ready(Some(Err(BodyError::Gone))));
        let (source, mut upload) = pair(Framing::Chunked);
        source.end(Ok(()));
        drop(source);
        assert_eq!(poll(&mut upload), Poll::Ready(None), "it had ended before");
    }
}
