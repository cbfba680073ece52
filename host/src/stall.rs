//! A clock for responses on HTTP/2 that the client does not let us send.
//!
//! There the connection's own write clock does not help: with a closed window nothing is written at all. A stream that
//! has given bytes, and is not asked for more before it rests, is what a closed window looks like from here.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

use crate::guest::Take;
use crate::tempo::{Slow, Wait, after};

/// What the streams of one connection share: how long one may stall, and the way to end the connection.
#[derive(Clone, Debug)]
pub struct StallLimit {
    timeout: Duration,
    cut: Arc<Notify>,
}

impl StallLimit {
    /// A limit of `timeout` for every stream of one connection.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, cut: Arc::default() }
    }

    /// Waits until a stream has stalled for too long.
    pub async fn reached(&self) {
        self.cut.notified().await;
    }
}

tokio::task_local! {
    /// The clock of the stream whose task this is.
    static STREAM: Arc<StreamClock>;
}

/// Spawns the streams of a connection, each with a clock on its response.
#[derive(Clone, Debug)]
pub(crate) struct Streams(pub(crate) StallLimit);

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(clocked(stream, self.0.clone()));
    }
}

/// Runs a stream to its end, or until its client has not taken its response in time: dropped, a stream is reset.
async fn clocked(stream: impl Future<Output = ()>, limit: StallLimit) {
    let clock = Arc::new(StreamClock::default());
    let mut stream = pin!(STREAM.scope(Arc::clone(&clock), stream));
    let mut timer = None;
    std::future::poll_fn(|cx| match stream.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => clock.poll_over(cx, &mut timer, &limit),
    })
    .await;
}

/// What one stream does, as far as stalling goes.
#[derive(Debug, Default)]
pub(crate) struct StreamClock(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    stage: Stage,
    /// The limit of the handler, if it has one.
    take: Option<Take>,
    wait: Wait,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Stage {
    /// There is no response, or none yet of which anything waits: it is the handler that is slow, not the client.
    #[default]
    Handler,
    /// There are bytes.
    Client,
    /// The client was too slow.
    Over,
}

impl StreamClock {
    /// The clock of the stream in whose task this is called, for its response.
    pub(crate) fn begin(take: Option<Take>) -> Option<Arc<Self>> {
        let clock = STREAM.try_with(Arc::clone).ok()?;
        {
            let mut state = clock.lock();
            state.stage = Stage::Client;
            state.take = take;
        }
        Some(clock)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A poisoned lock means a panic between two assignments; the data is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection has asked for bytes, and there were so many, or it has to wait for the handler.
    pub(crate) fn asked(&self, bytes: Option<usize>) {
        let mut state = self.lock();
        state.wait.went_on(bytes.unwrap_or(0));
        state.stage = if bytes.is_some() { Stage::Client } else { Stage::Handler };
    }

    /// Whether the response was broken off because of its client.
    pub(crate) fn is_over(&self) -> bool {
        self.lock().stage == Stage::Over
    }

    fn poll_over(
        &self,
        cx: &mut Context<'_>,
        timer: &mut Option<Pin<Box<Sleep>>>,
        limit: &StallLimit,
    ) -> Poll<()> {
        let Some((until, slow)) = self.until(limit.timeout) else { return Poll::Pending };
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        ready!(timer.as_mut().poll(cx));
        let mut state = self.lock();
        match (slow, &state.take) {
            (Some(slow), Some(take)) => take.hit(slow),
            _ => limit.cut.notify_one(),
        }
        state.stage = Stage::Over;
        Poll::Ready(())
    }

    /// Until when the client has time to take something; what is over then, if it is not the connection.
    fn until(&self, stall: Duration) -> Option<(Instant, Option<Slow>)> {
        let mut state = self.lock();
        let State { stage: Stage::Client, take, wait } = &mut *state else { return None };
        let stalled = after(wait.since(), stall);
        Some(match take.as_ref().map(|take| wait.until(&take.tempo())) {
            Some((until, slow)) if until <= stalled => (until, Some(slow)),
            _ => (stalled, None),
        })
    }
}
