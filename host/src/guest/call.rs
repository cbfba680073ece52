//! Drives one guest from the first poll to its last byte.
//!
//! The guest runs inside the task of its connection: before the head is out inside the service future, after that
//! inside the response body. No task, no channel; back-pressure is "not polled"; a client that goes away is a drop.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::Frame;
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep, sleep_until};

use super::compute::Work;
use super::engine::EPOCH_TICK;
use super::fair::Fair;
use super::label::Label;
use super::outbox::{Broken, Finished, Outbox};
use crate::body::Body;
use crate::error::{Error, Kind};
use crate::limit::Limit;

/// What happens to a guest whose client has gone away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDisconnect {
    /// It ends at its next suspension or epoch tick.
    #[default]
    Cancel,
    /// It runs on, at most until its deadline; reads and writes fail.
    Finish,
}

/// A guest at work on a request: alone in its instance, or in one with others.
pub(super) enum Job {
    Alone(Fair),
    Seated(Work),
}

impl Future for Job {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Alone(work) => Pin::new(work).poll(cx),
            Self::Seated(work) => work.as_mut().poll(cx),
        }
    }
}

/// Who has the guest; empty when it has ended.
enum Held {
    /// Nobody else.
    Here(Option<Job>),
    /// The watchdog too, which may end it.
    Watched(Arc<Mutex<Option<Job>>>),
}

/// A guest at work on one request, and its clocks. These are made when it first waits, which most never do.
pub(super) struct Call {
    work: Held,
    outbox: Arc<Outbox>,
    deadline: Instant,
    clock: Option<Pin<Box<Sleep>>>,
    /// The clock of the answer that the guest has prepared, if it did; see `Outbox::arm`.
    timeout: Option<Pin<Box<Sleep>>>,
    watchdog: Option<AbortHandle>,
    /// How long the guest may go on when its client has gone away.
    grace: Duration,
    /// The client was too slow to take its response, which is counted already.
    is_broken_off: bool,
    /// Says who works on when the client has been served; for the log.
    label: Label,
}

impl Call {
    pub(super) fn new(
        work: Job,
        outbox: Arc<Outbox>,
        deadline: Instant,
        grace: Duration,
        label: Label,
    ) -> Self {
        let work = Held::Here(Some(work));
        let (clock, timeout, watchdog) = (None, None, None);
        Self { work, outbox, deadline, clock, timeout, watchdog, grace, is_broken_off: false, label }
    }

    /// Runs the guest until its response can leave: it has returned, or has flushed or filled the outbox.
    pub(super) async fn first_byte(mut self) -> Result<Response<Body>, Error> {
        let head = std::future::poll_fn(|cx| match self.poll_work(cx) {
            Poll::Ready(result) => Poll::Ready(result.map(|()| None)),
            // The guest may work on, but not on this.
            Poll::Pending if self.outbox.is_complete() => Poll::Ready(Ok(None)),
            Poll::Pending => {
                self.outbox.take_released_head().map_or(Poll::Pending, |head| Poll::Ready(Ok(Some(head))))
            }
        });
        let head = head.await.map_err(|error| self.label.count(error))?;
        // Whether it goes on is now its client's business too, for whom others of its handler need not wait.
        self.label.pulse.has_started();
        let (status, headers, body) = match head {
            Some((status, headers)) => {
                self.watch();
                (status, headers, Body::guest(GuestBody::new(self, BodyState::Running)))
            }
            None => match self.outbox.finish() {
                Finished::Whole(status, headers, body) => (status, headers, Body::full(body)),
                Finished::Streamed => {
                    let (status, headers) = self.outbox.take_released_head().unwrap_or_default();
                    (status, headers, Body::guest(GuestBody::new(self, BodyState::Returned)))
                }
            },
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    /// Polls the guest, then the clock: the guest yields at least once in an epoch tick, so the clock is never late
    /// by more than that.
    fn poll_work(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut watched;
        let slot = match &mut self.work {
            Held::Here(slot) => slot,
            Held::Watched(shared) => {
                watched = shared.lock().unwrap_or_else(PoisonError::into_inner);
                &mut *watched
            }
        };
        // Nobody asks again after an end, so it was the watchdog.
        let Some(work) = slot.as_mut() else { return Poll::Ready(Err(Limit::Timeout.into())) };
        if let Poll::Ready(result) = Pin::new(work).poll(cx) {
            *slot = None;
            return Poll::Ready(ended(&self.outbox, &self.label, result));
        }
        let clock = self.clock.get_or_insert_with(|| Box::pin(sleep_until(self.deadline)));
        if clock.as_mut().poll(cx).is_ready() {
            *slot = None;
            return Poll::Ready(Err(Limit::Timeout.into()));
        }
        if poll_timeout(&mut self.timeout, self.outbox.timeout_at(), cx).is_ready() {
            if self.outbox.give_prepared() {
                *slot = None;
                return Poll::Ready(Ok(()));
            }
            // The guest has changed its mind, which is to be looked at again.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Ends the guest at its deadline also when nobody polls it: while a client does not read, its connection has no
    /// use for a body, and would keep the instance for as long as it likes.
    fn watch(&mut self) {
        let Held::Here(work) = &mut self.work else { return };
        let shared = Arc::new(Mutex::new(work.take()));
        let (work, deadline) = (Arc::downgrade(&shared), self.deadline);
        self.work = Held::Watched(shared);
        let watchdog = tokio::spawn(async move {
            sleep_until(deadline).await;
            while let Some(work) = work.upgrade() {
                if let Ok(mut work) = work.try_lock() {
                    *work = None;
                    break;
                }
                // It is being polled just now, which ends within an epoch tick.
                drop(work);
                tokio::time::sleep(EPOCH_TICK).await;
            }
        });
        self.watchdog = Some(watchdog.abort_handle());
    }
}

/// What has become of a request whose guest has returned.
fn ended(outbox: &Outbox, label: &Label, result: Result<(), Error>) -> Result<(), Error> {
    let (broken, limit) = outbox.trouble();
    let result = result.and_then(|()| match broken {
        None => Ok(()),
        Some(Broken::Limit(limit)) => Err(limit.into()),
        Some(Broken::Aborted) => Err(Kind::Aborted.into()),
        Some(Broken::Abandoned) => {
            Err(Error::new(Kind::BadResponse, "its `outgoing-body` was dropped without `finish`"))
        }
    });
    match limit {
        None => result,
        Some(limit) => label.settle(outbox, limit, result),
    }
}

/// Waits for `at`, which may be another time with each call, on one clock.
fn poll_timeout(clock: &mut Option<Pin<Box<Sleep>>>, at: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
    let Some(at) = at else { return Poll::Pending };
    let clock = clock.get_or_insert_with(|| Box::pin(sleep_until(at)));
    if clock.deadline() != at {
        clock.as_mut().reset(at);
    }
    clock.as_mut().poll(cx)
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.abort();
        }
        let work = match &mut self.work {
            Held::Here(work) => work.take(),
            Held::Watched(shared) => shared.lock().unwrap_or_else(PoisonError::into_inner).take(),
        };
        let Some(work) = work else { return };
        // The connection drops a body as soon as it has its last declared byte, or when there is to be none: that client
        // has not gone away, and its guest may end in peace.
        let is_served = self.outbox.is_served();
        if !is_served {
            self.outbox.set_gone();
            if !self.is_broken_off {
                self.label.client_gone();
            }
        }
        let mut end = self.deadline;
        if !is_served {
            end = end.min(Instant::now() + self.grace);
        }
        if (is_served || !self.grace.is_zero())
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(work_on(work, end, is_served, self.label.clone()));
        }
    }
}

/// Lets a guest work on that nobody waits for.
async fn work_on(work: Job, end: Instant, is_served: bool, label: Label) {
    // Errors have nobody to go to; who served its client well should know what became of the rest.
    let ended = tokio::time::timeout_at(end, work).await;
    if let Ok(Err(error)) = ended {
        label.count(error);
    } else if ended.is_err() && is_served {
        let (handler, request_id) = (label.handler(), label.request.as_str());
        tracing::warn!(
            handler,
            request_id,
            "the guest worked on after its response, and was stopped at the handler's `timeout`"
        );
    }
}

/// The body of a streamed response. Polling it runs the guest.
pub struct GuestBody {
    call: Call,
    state: BodyState,
    /// Told at the next poll.
    failure: Option<Error>,
    /// The answer to HEAD, or a status without content: nobody needs to poll this body.
    no_content: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum BodyState {
    Running,
    /// The guest has returned; what it left in the outbox is still to be sent.
    Returned,
    Ended,
}

impl GuestBody {
    fn new(call: Call, state: BodyState) -> Self {
        let no_content = call.outbox.has_no_content();
        Self { call, state, failure: None, no_content }
    }

    pub(crate) fn has_no_content(&self) -> bool {
        self.no_content
    }

    /// The client was too slow: it has not gone away.
    pub(crate) fn break_off(&mut self) {
        self.call.is_broken_off = true;
    }

    /// The next frame, as `http_body::Body::poll_frame` wants it.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            if self.state == BodyState::Ended {
                return Poll::Ready(None);
            }
            if let Some(error) = self.failure.take() {
                self.state = BodyState::Ended;
                return Poll::Ready(Some(Err(error)));
            }
            if let Some(chunk) = self.call.outbox.take_chunk() {
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
            if self.state == BodyState::Returned {
                return self.last_frame(cx);
            }
            match self.call.poll_work(cx) {
                Poll::Pending => match self.call.outbox.take_chunk() {
                    Some(chunk) => return Poll::Ready(Some(Ok(Frame::data(chunk)))),
                    None if self.call.outbox.is_complete() => self.state = BodyState::Returned,
                    None => return Poll::Pending,
                },
                Poll::Ready(Ok(())) => {
                    self.call.outbox.finish();
                    self.state = BodyState::Returned;
                }
                Poll::Ready(Err(error)) => return self.fail(error, cx),
            }
        }
    }

    fn last_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self.call.outbox.owed() {
            0 => {
                self.state = BodyState::Ended;
                Poll::Ready(self.call.outbox.take_trailers().map(|trailers| Ok(Frame::trailers(trailers))))
            }
            owed => {
                let cause = format!("{owed} bytes of its declared Content-Length were never written");
                self.fail(Error::new(Kind::BadResponse, cause), cx)
            }
        }
    }

    /// Holds the error back for one poll: hyper drops what it has taken and not yet sent when it hears of one.
    fn fail(&mut self, error: Error, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.failure = Some(self.call.label.count(error));
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl std::fmt::Debug for GuestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuestBody").finish_non_exhaustive()
    }
}
