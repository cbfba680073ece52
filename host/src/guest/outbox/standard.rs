//! The outbox as the wasi:http ABIs use it: a response is opened, filled and completed, and the guest may work on.
//!
//! These guests may run in another task than the connection, so who waits leaves a waker.

use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::fields::is_trailer;
use super::{BUFFER_BYTES, Broken, Finished, Inner, Outbox, SendError, Stage};

/// Epoch ticks (2 ms each) for which a guest may compute between the head of its response and its end, and the response
/// still leaves in one piece, with its length. Beyond them what there is goes to the client.
const TICKS_MAX: u32 = 5;

/// How often a guest was interrupted since it has opened its response.
#[derive(Debug, Default)]
pub(super) struct Pace {
    ticks: u32,
    /// It was interrupted, and waits for nothing.
    is_interrupted: bool,
}

/// Who waits for what.
#[derive(Debug, Default)]
pub(super) struct Wakers {
    /// A guest that waits for room.
    writer: Option<Waker>,
    /// A connection that waits for something to send, when the guest runs elsewhere.
    reader: Option<Waker>,
    /// The reader is not woken, and the head stays, until the guest waits: see `Outbox::hold`.
    holds: bool,
}

impl Wakers {
    pub(super) fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }

    /// Whether the head has to wait for more to go with it.
    pub(super) fn holds(&self) -> bool {
        self.holds
    }

    fn wake_reader(&mut self) {
        if self.holds {
            return;
        }
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }
}

impl Outbox {
    /// Fixes the head of the response and lets it go as soon as the guest waits for anything.
    ///
    /// # Errors
    /// With a sentence, when this cannot be a response.
    pub(in super::super) fn open(&self, status: StatusCode, headers: HeaderMap) -> Result<(), String> {
        if status.is_informational() {
            return Err(format!("{status} is not the status of a final response"));
        }
        self.start(status, headers).map_err(|error| match error {
            SendError::State => "the response was set twice".to_owned(),
            _ => "its Content-Length is not a number, or there are several".to_owned(),
        })?;
        let mut inner = self.lock();
        (inner.released, inner.gathers) = (true, true);
        inner.wakers.wake_reader();
        Ok(())
    }

    /// An epoch tick has interrupted the guest.
    pub(in super::super) fn note_tick(&self) {
        let mut inner = self.lock();
        if inner.gathers {
            inner.pace.ticks = inner.pace.ticks.saturating_add(1);
            inner.pace.is_interrupted = true;
        }
    }

    /// Whether the guest has stopped for no other reason than a tick, and its response is worth waiting for.
    pub(in super::super) fn take_interruption(&self) -> bool {
        let mut inner = self.lock();
        std::mem::take(&mut inner.pace.is_interrupted) && inner.pace.ticks <= TICKS_MAX
    }

    /// Whether there is no response yet.
    pub(in super::super) fn is_open(&self) -> bool {
        self.lock().stage == Stage::Open
    }

    /// Bytes there is room for; 0 when the guest must wait.
    ///
    /// # Errors
    /// When writing makes no sense any more.
    pub(in super::super) fn room(&self) -> Result<usize, SendError> {
        let inner = self.lock();
        match inner.may_write() {
            Err(SendError::NoBody) | Ok(()) => Ok(BUFFER_BYTES.saturating_sub(inner.buffer.len())),
            Err(error) => Err(error),
        }
    }

    /// Waits for room, or for a reason not to wait.
    pub(in super::super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<usize, SendError>> {
        let room = self.room();
        if room == Ok(0) {
            self.lock().wakers.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(room)
    }

    /// Takes all of `data`, room or not: what waits here is bounded by asking for room first. What a status does not
    /// allow is dropped.
    ///
    /// # Errors
    /// When the body goes beyond its limit or its declared length, or nobody listens any more.
    pub(in super::super) fn push(&self, mut data: &[u8]) -> Result<(), SendError> {
        let mut inner = self.lock();
        // As one write of net/http: nothing of it is taken, so that the response is seen to be broken.
        if inner.may_write().is_ok() && inner.owed.is_some_and(|owed| data.len() as u64 > owed) {
            return Err(SendError::Length);
        }
        while !data.is_empty() {
            match inner.may_write() {
                Ok(()) => data = &data[inner.accept(data)?..],
                Err(SendError::NoBody) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        inner.wakers.wake_reader();
        Ok(())
    }

    /// The body has come to its end; the connection need not wait for the guest.
    ///
    /// # Errors
    /// When less was written than was declared: the response is broken off.
    pub(in super::super) fn complete(&self, trailers: Option<HeaderMap>) -> Result<(), SendError> {
        let mut inner = self.lock();
        if inner.stage == Stage::Ended {
            return Ok(());
        }
        if !inner.has_no_content() && inner.owed.unwrap_or(0) > 0 {
            inner.stage = Stage::Ended;
            inner.wakers.wake_reader();
            return Err(SendError::Length);
        }
        if let Some(mut trailers) = trailers {
            let unfit: Vec<_> = trailers.keys().filter(|name| !is_trailer(name)).cloned().collect();
            unfit.iter().for_each(|name| drop(trailers.remove(name)));
            inner.trailers = Some(trailers).filter(|trailers| !trailers.is_empty());
        }
        (inner.stage, inner.completed) = (Stage::Ended, true);
        inner.wakers.wake_reader();
        Ok(())
    }

    /// The guest will not complete the body: the response is broken off.
    pub(in super::super) fn abandon(&self) {
        let mut inner = self.lock();
        inner.broken.get_or_insert(Broken::Abandoned);
        inner.wakers.wake_reader();
    }

    /// Whether the response is complete whatever the guest still does.
    pub(in super::super) fn is_complete(&self) -> bool {
        self.lock().completed
    }

    /// Keeps what there is until [`Self::let_go`]: a guest that runs in another task would see its head leave before its body.
    pub(in super::super) fn hold(&self) {
        self.lock().wakers.holds = true;
    }

    /// The guest waits for something: what there is may leave.
    pub(in super::super) fn let_go(&self) {
        let mut inner = self.lock();
        if inner.wakers.holds && inner.stage != Stage::Open {
            inner.wakers.holds = false;
            inner.wakers.wake_reader();
        }
    }

    /// Lets a connection whose guest runs in another task know when to look again.
    pub(in super::super) fn wake_on_change(&self, cx: &Context<'_>) {
        let mut inner = self.lock();
        match &inner.wakers.reader {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => inner.wakers.reader = Some(cx.waker().clone()),
        }
    }
}

impl Inner {
    /// The whole response, if it is complete and nothing of it has left: it needs no chunks.
    pub(super) fn gather(&mut self) -> Option<Finished> {
        let is_whole = self.owed.unwrap_or(0) == 0 && self.trailers.is_none() && self.broken.is_none();
        if !self.gathers || !is_whole || self.has_no_content() {
            return None;
        }
        let (status, headers) = self.head.take()?;
        self.stage = Stage::Ended;
        let body: Bytes = std::mem::take(&mut self.buffer).freeze();
        Some(Finished::Whole(status, headers, body))
    }
}
