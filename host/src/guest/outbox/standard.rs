//! The outbox as the wasi:http ABIs use it: a response is opened, filled and completed, and the guest may work on.
//!
//! These guests may run in another task than the connection, so who waits leaves a waker.

use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::fields::is_trailer;
use super::{BUFFER_BYTES, Broken, Finished, Inner, Outbox, SendError, Stage};
use crate::error::{Error, Kind};

/// Epoch ticks (2 ms each) for which a guest may compute between the head of its response and its end, and the response
/// still leaves in one piece, with its length. Beyond them what there is goes to the client.
const TICKS_MAX: u32 = 5;

/// Whether a response stays here although it could leave: see [`Outbox::hold`].
#[derive(Debug, Default)]
pub(super) enum Hold {
    #[default]
    Free,
    /// Its guest was interrupted so often since it has opened the response.
    Held { ticks: u32 },
}

impl Hold {
    pub(super) fn is_held(&self) -> bool {
        matches!(self, Self::Held { .. })
    }
}

/// Who waits for what.
#[derive(Debug, Default)]
pub(super) struct Wakers {
    /// A guest that waits for room.
    writer: Option<Waker>,
    /// A connection that waits for something to send, when the guest runs elsewhere.
    reader: Option<Waker>,
}

impl Wakers {
    pub(super) fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }

    fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }
}

impl Outbox {
    /// Fixes the head of the response and lets it go as soon as the guest waits for anything.
    ///
    /// # Errors
    /// When this cannot be a response, or its fields are beyond a limit.
    pub(in super::super) fn open(&self, status: StatusCode, headers: HeaderMap) -> Result<(), Error> {
        let unfit = |why: String| Error::new(Kind::BadResponse, why);
        if status.is_informational() {
            return Err(unfit(format!("{status} is not the status of a final response")));
        }
        self.start(status, headers).map_err(|error| match (error, self.broken()) {
            (SendError::Limit, Some(Broken::Limit(limit))) => limit.into(),
            (SendError::State, _) => unfit("the response was set twice".to_owned()),
            _ => unfit("its Content-Length is not a number, or there are several".to_owned()),
        })?;
        let mut inner = self.lock();
        (inner.released, inner.gathers) = (true, true);
        inner.wake_reader();
        Ok(())
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
        inner.wake_reader();
        Ok(())
    }

    /// The body has come to its end; the connection need not wait for the guest.
    ///
    /// # Errors
    /// When less was written than was declared, or the trailers are beyond a limit: the response is broken off.
    pub(in super::super) fn complete(&self, trailers: Option<HeaderMap>) -> Result<(), SendError> {
        let mut inner = self.lock();
        if inner.stage == Stage::Ended {
            return Ok(());
        }
        if !inner.has_no_content() && inner.owed.unwrap_or(0) > 0 {
            inner.stage = Stage::Ended;
            inner.wake_reader();
            return Err(SendError::Length);
        }
        if let Some(mut trailers) = trailers {
            let unfit: Vec<_> = trailers.keys().filter(|name| !is_trailer(name)).cloned().collect();
            unfit.iter().for_each(|name| drop(trailers.remove(name)));
            if let Err(error) = inner.check_fields(&trailers) {
                inner.stage = Stage::Ended;
                inner.wake_reader();
                return Err(error);
            }
            inner.trailers = Some(trailers).filter(|trailers| !trailers.is_empty());
        }
        (inner.stage, inner.completed) = (Stage::Ended, true);
        inner.wake_reader();
        Ok(())
    }

    /// The guest will not complete the body: the response is broken off.
    pub(in super::super) fn abandon(&self) {
        let mut inner = self.lock();
        inner.broken.get_or_insert(Broken::Abandoned);
        inner.wake_reader();
    }

    /// Whether the response is complete whatever the guest still does.
    pub(in super::super) fn is_complete(&self) -> bool {
        self.lock().completed
    }

    /// Whether nothing stands in the way of its being complete.
    pub(in super::super) fn is_sound(&self) -> bool {
        let inner = self.lock();
        let is_short = !inner.has_no_content() && inner.owed.unwrap_or(0) > 0;
        inner.broken.is_none() && !inner.gone && !is_short
    }

    /// Keeps the response here until the guest has stopped, see [`Self::stopped`]: while it runs, more may come that can
    /// go with it. A response that is complete by then leaves in one piece, with its length.
    pub(in super::super) fn hold(&self) {
        self.lock().hold = Hold::Held { ticks: 0 };
    }

    /// The guest has stopped: it waits, or `is_computing` and was interrupted by an epoch tick. What it has opened may
    /// leave, unless it is to go on at once and has done so for at most [`TICKS_MAX`] ticks.
    pub(in super::super) fn stopped(&self, is_computing: bool) {
        let mut inner = self.lock();
        match inner.hold {
            // While there is nothing, ticks do not count.
            Hold::Held { .. } if inner.stage == Stage::Open => {}
            Hold::Held { ticks } if is_computing && ticks < TICKS_MAX => {
                inner.hold = Hold::Held { ticks: ticks + 1 };
            }
            Hold::Held { .. } => {
                inner.hold = Hold::Free;
                inner.wake_reader();
            }
            Hold::Free => {}
        }
    }

    /// The guest goes on in another thread: what it says is not looked at before it has stopped there, just as at home.
    /// But for what it had said when it stopped last: its connection may not have come to that yet.
    pub(in super::super) fn go_elsewhere(&self) {
        let mut inner = self.lock();
        let has_head = inner.head.is_some() && inner.released;
        let may_leave = !inner.hold.is_held() && (has_head || !inner.buffer.is_empty());
        inner.is_elsewhere = !may_leave;
    }

    /// The guest has stopped there, but not ended.
    pub(in super::super) fn stop_elsewhere(&self) {
        let mut inner = self.lock();
        inner.is_elsewhere = false;
        if inner.head.is_some() && inner.released || !inner.buffer.is_empty() || inner.completed {
            inner.wake_reader();
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
    /// Tells a connection whose guest runs elsewhere that there is something to send.
    pub(super) fn wake_reader(&mut self) {
        if !self.hold.is_held() && !self.is_elsewhere {
            self.wakers.wake_reader();
        }
    }

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

#[cfg(test)]
mod tests {
    use http::Method;

    use super::super::super::field_limits::FieldLimits;
    use super::*;

    fn outbox() -> Outbox {
        Outbox::new(&Method::GET, u64::MAX, FieldLimits::none())
    }

    fn is_released(outbox: &Outbox) -> bool {
        outbox.take_released_head().is_some()
    }

    #[test]
    fn a_held_response_leaves_when_its_guest_waits() {
        let outbox = outbox();
        outbox.hold();
        outbox.stopped(false);
        outbox.open(StatusCode::OK, HeaderMap::new()).unwrap();
        assert!(!is_released(&outbox), "that was before there was anything");
        outbox.stopped(false);
        assert!(is_released(&outbox));
    }

    #[test]
    fn a_held_response_leaves_when_its_guest_computes_for_long() {
        let outbox = outbox();
        outbox.hold();
        (0..100).for_each(|_| outbox.stopped(true));
        outbox.open(StatusCode::OK, HeaderMap::new()).unwrap();
        for tick in 0..TICKS_MAX {
            outbox.stopped(true);
            assert!(!is_released(&outbox), "tick {tick}");
        }
        outbox.stopped(true);
        assert!(is_released(&outbox));
    }

    #[test]
    fn what_a_guest_says_elsewhere_is_seen_when_it_stops_or_is_done() {
        let outbox = outbox();
        outbox.go_elsewhere();
        outbox.open(StatusCode::OK, HeaderMap::new()).unwrap();
        outbox.push(b"first").unwrap();
        assert!(!is_released(&outbox) && outbox.take_chunk().is_none());
        outbox.stop_elsewhere();
        assert!(is_released(&outbox));
        assert_eq!(outbox.take_chunk().as_deref(), Some(&b"first"[..]));
        outbox.go_elsewhere();
        outbox.push(b"last").unwrap();
        assert!(outbox.take_chunk().is_none());
        outbox.complete(None).unwrap();
        // Whoever sees that it is complete must not miss its end.
        assert!(outbox.is_complete());
        assert_eq!(outbox.take_chunk().as_deref(), Some(&b"last"[..]));
    }

    #[test]
    fn what_it_had_said_when_it_stopped_is_not_hidden_again() {
        let outbox = outbox();
        outbox.go_elsewhere();
        outbox.open(StatusCode::OK, HeaderMap::new()).unwrap();
        outbox.push(b"first").unwrap();
        outbox.stop_elsewhere();
        // The next slice begins before the connection has looked.
        outbox.go_elsewhere();
        assert!(is_released(&outbox));
        assert_eq!(outbox.take_chunk().as_deref(), Some(&b"first"[..]));
    }
}
