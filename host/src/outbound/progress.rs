//! How far a request's body has come, between the connection that sends it and the call that waits for the response.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, sleep, sleep_until};

use super::error::OutboundErrorKind as Kind;
use super::{BoxError, OutBody};

/// A body goes to its connection in pieces of at most so many bytes, so that what is handed over is soon sent.
const PIECE_BYTES: usize = 64 << 10;

/// What both sides know.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The body waits to be asked for.
    is_held: bool,
    end: Option<End>,
    /// Since when it is up to the connection to ask for more; none while there is nothing to give.
    offered_since: Option<Instant>,
    /// The body, when the connection has let go of it and asked for none of it.
    untouched: Option<OutBody>,
    /// Who sends it, while it is held.
    sender: Option<Waker>,
    /// Who waits for its end.
    observer: Option<Waker>,
}

/// How it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// All of it was handed to the connection.
    Written,
    /// It failed, as this kind says.
    Failed(Kind),
    /// The connection has let go of it before.
    Dropped,
}

impl Progress {
    /// Of a body that is held back until [`Progress::release`], if `is_held`.
    pub(super) fn new(is_held: bool) -> Arc<Self> {
        let offered_since = (!is_held).then(Instant::now);
        Arc::new(Self(Mutex::new(State { is_held, offered_since, ..State::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the body go.
    pub(super) fn release(&self) {
        let waker = {
            let mut state = self.lock();
            if std::mem::take(&mut state.is_held) {
                state.offered_since = Some(Instant::now());
            }
            state.sender.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    fn end(&self, end: End) {
        let waker = {
            let mut state = self.lock();
            state.end.get_or_insert(end);
            state.observer.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// Ends when the connection has not asked for more of the body for `limit`. Time in which there is nothing to ask for does
    /// not count.
    pub(super) async fn stalled(&self, limit: Duration) {
        loop {
            let offered_since = self.lock().offered_since;
            match offered_since.map(|since| since + limit) {
                Some(until) if until <= Instant::now() => return,
                Some(until) => sleep_until(until).await,
                None => sleep(limit).await,
            }
        }
    }

    /// The body, if the connection has let go of it without having asked for any of it.
    pub(super) fn untouched(&self) -> Option<OutBody> {
        self.lock().untouched.take()
    }

    /// How the body has ended, if it has.
    pub(super) fn ended(&self) -> Option<End> {
        self.lock().end
    }

    /// Waits until the body has ended. One at a time may.
    pub(super) async fn wait(&self) -> End {
        poll_fn(|cx| {
            let mut state = self.lock();
            match state.end {
                Some(end) => Poll::Ready(end),
                None => {
                    state.observer = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

/// A request's body on its way.
#[derive(Debug)]
pub(super) struct Upload {
    body: OutBody,
    /// What it has given and the connection has not.
    rest: Bytes,
    /// The connection has asked for it.
    was_asked: bool,
    /// Bytes that it may still have.
    left: u64,
    /// Bytes that it will still have, if that is declared: hyper does not ask for an end behind them.
    declared: Option<u64>,
    /// None for a request without a body.
    progress: Option<Arc<Progress>>,
}

impl Upload {
    /// No body.
    pub(super) fn none(body: OutBody) -> Self {
        Self { body, rest: Bytes::new(), was_asked: false, left: 0, declared: None, progress: None }
    }

    /// A body of at most `bytes_max`, of which `declared` were announced.
    pub(super) fn new(
        body: OutBody,
        bytes_max: u64,
        declared: Option<u64>,
        progress: &Arc<Progress>,
    ) -> Self {
        let declared = declared.or_else(|| body.size_hint().exact());
        let progress = Some(Arc::clone(progress));
        Self { body, rest: Bytes::new(), was_asked: false, left: bytes_max, declared, progress }
    }

    /// The body, for another try.
    pub(super) fn into_inner(mut self) -> OutBody {
        self.progress = None;
        std::mem::replace(&mut self.body, super::body::nothing())
    }

    fn end(&mut self, end: End) {
        if let Some(progress) = &self.progress {
            progress.end(end);
        }
    }

    /// The next piece of the body: of what it has given, else what it gives now.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.was_asked
            && let Some(progress) = &self.progress
        {
            let body = std::mem::replace(&mut self.body, super::body::nothing());
            progress.lock().untouched = Some(body);
        }
        self.end(End::Dropped);
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(progress) = &self.progress {
            let mut state = progress.lock();
            if state.is_held {
                state.sender = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        self.was_asked = true;
        let polled = self.poll_piece(cx);
        if let Some(progress) = &self.progress {
            progress.lock().offered_since = polled.is_ready().then(Instant::now);
        }
        match &polled {
            Poll::Ready(None) => self.end(End::Written),
            Poll::Ready(Some(Err(_))) => self.end(End::Failed(Kind::RequestBody)),
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                let Some(left) = self.left.checked_sub(length) else {
                    self.end(End::Failed(Kind::RequestTooLarge));
                    return Poll::Ready(Some(Err("the request's body is too large".into())));
                };
                self.left = left;
                self.declared = self.declared.map(|declared| declared.saturating_sub(length));
                // hyper does not ask again after a body that knows its end.
                if frame.is_trailers() || self.is_end_stream() || self.declared == Some(0) {
                    self.end(End::Written);
                }
            }
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let upper = hint.upper();
        hint.set_lower(hint.lower() + rest);
        if let Some(upper) = upper {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
