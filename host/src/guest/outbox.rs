//! Where a guest puts its response and the connection takes it from.
//!
//! Both sides run in one task (see `call`): the connection polls the guest whenever it can take more, so a guest that
//! waits for room needs no waker. Invariant: at most [`BUFFER_BYTES`] wait here, and what was taken is never changed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap};
use http::{Method, StatusCode};

use self::fields::{is_trailer, normalise};
use self::standard::{Hold, Wakers};
use self::timeout::Prepared;
use super::field_limits::FieldLimits;
use crate::body::allows_no_body;
use crate::limit::Limit;

mod fields;
mod standard;
mod timeout;

/// Body bytes that may wait for the connection; beyond it a guest that writes is suspended.
pub(super) const BUFFER_BYTES: usize = 64 * 1024;

/// Why a guest may not send what it wants to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendError {
    Gone,
    State,
    Invalid,
    Limit,
    NoBody,
    Length,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No response yet.
    Open,
    /// `start` was called; body bytes may follow.
    Streaming,
    /// Nothing may follow.
    Ended,
}

/// A response that is complete.
#[derive(Debug)]
pub(super) enum Finished {
    /// Head and whole body in one; its length is known.
    Whole(StatusCode, HeaderMap, Bytes),
    /// A streamed response, of which nothing or not everything was taken yet.
    Streamed,
}

#[derive(Debug)]
struct Inner {
    stage: Stage,
    head: Option<(StatusCode, HeaderMap)>,
    whole: Option<Bytes>,
    buffer: BytesMut,
    trailers: Option<HeaderMap>,
    /// The head may leave: a byte was written or a flush asked for.
    released: bool,
    /// The guest has returned.
    returned: bool,
    /// Body bytes are counted but not sent: the answer to HEAD.
    headless: bool,
    /// The status allows no body.
    bodiless: bool,
    /// Declared Content-Length that is still to be written.
    owed: Option<u64>,
    /// Bytes the handler may still send.
    allowance: u64,
    /// What each section of fields may have.
    fields: FieldLimits,
    /// A limit that was hit, whatever the guest makes of it: its fields were refused, or reading its request's body failed.
    limit_hit: Option<Limit>,
    /// Why the response cannot be completed, when it cannot.
    broken: Option<Broken>,
    gone: bool,
    /// The answer for the case that the guest is not done in time.
    prepared: Option<Prepared>,
    /// The response is complete whatever the guest still does.
    completed: bool,
    /// A response that is complete before anything of it was taken is sent in one piece.
    gathers: bool,
    hold: Hold,
    /// The guest runs in another thread now.
    is_elsewhere: bool,
    wakers: Wakers,
}

/// Why a guest's response is broken off although the guest has not trapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// It went beyond a limit of the handler.
    Limit(Limit),
    /// The guest asked for it.
    Aborted,
    /// It ended the body before it was complete.
    Abandoned,
}

/// The response of one request, on its way.
#[derive(Debug)]
pub(super) struct Outbox(Mutex<Inner>);

impl Outbox {
    /// An outbox for the answer to a request with this method, of at most `bytes_max` body bytes, with header and trailer
    /// sections within `fields`.
    pub(super) fn new(method: &Method, bytes_max: u64, fields: FieldLimits) -> Self {
        Self(Mutex::new(Inner {
            stage: Stage::Open,
            head: None,
            whole: None,
            buffer: BytesMut::new(),
            trailers: None,
            released: false,
            returned: false,
            headless: *method == Method::HEAD,
            bodiless: false,
            owed: None,
            allowance: bytes_max,
            fields,
            limit_hit: None,
            broken: None,
            gone: false,
            prepared: None,
            completed: false,
            gathers: false,
            hold: Hold::default(),
            is_elsewhere: false,
            wakers: Wakers::default(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A poisoned lock means a panic between two assignments above; the data is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // --- the guest's side

    /// The whole response at once.
    pub(super) fn respond(
        &self,
        status: StatusCode,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<(), SendError> {
        let mut inner = self.lock();
        inner.may_start()?;
        inner.check_fields(&headers)?;
        let body = inner
            .check_whole(status, &mut headers, &body)
            .map(|keeps| if keeps { Bytes::new() } else { body });
        if body == Err(SendError::Limit) {
            inner.broken = Some(Broken::Limit(Limit::ResponseBody));
        }
        let body = body?;
        inner.broken.take_if(|broken| matches!(broken, Broken::Limit(_))); // an earlier, larger one was refused
        inner.head = Some((status, headers));
        inner.whole = Some(body);
        inner.stage = Stage::Ended;
        Ok(())
    }

    /// Refuses a response that is too large to be held; without another one, the client gets an error.
    pub(super) fn refuse(&self, limit: Limit) -> Result<(), SendError> {
        let mut inner = self.lock();
        inner.may_start()?;
        inner.broken = Some(Broken::Limit(limit));
        Err(SendError::Limit)
    }

    /// Fixes the head of a response whose body is streamed.
    pub(super) fn start(&self, status: StatusCode, mut headers: HeaderMap) -> Result<(), SendError> {
        let mut inner = self.lock();
        inner.may_start()?;
        inner.check_fields(&headers)?;
        inner.owed = normalise(&mut headers)?;
        if status == StatusCode::NO_CONTENT {
            headers.remove(header::CONTENT_LENGTH); // RFC 9110 section 8.6
        }
        inner.broken.take_if(|broken| matches!(broken, Broken::Limit(_))); // a `respond` that was refused
        inner.bodiless = allows_no_body(status);
        inner.head = Some((status, headers));
        inner.stage = Stage::Streaming;
        Ok(())
    }

    /// Whether an interim response may be sent now.
    pub(super) fn may_send_interim(&self, headers: &HeaderMap) -> Result<(), SendError> {
        let inner = self.lock();
        inner.may_start()?;
        inner.fields.check(headers).map_err(|_| SendError::Limit)
    }

    /// Takes as much of `data` as there is room for, and says how much; pending when there is none.
    pub(super) fn write(&self, data: &[u8]) -> Poll<Result<usize, SendError>> {
        let mut inner = self.lock();
        if let Err(error) = inner.may_write() {
            return Poll::Ready(Err(error));
        }
        if data.is_empty() {
            inner.released = true;
            inner.wake_reader();
            return Poll::Ready(Ok(0));
        }
        let room = BUFFER_BYTES.saturating_sub(inner.buffer.len());
        if room == 0 {
            return Poll::Pending;
        }
        let accepted = inner.accept(&data[..data.len().min(room)]);
        inner.wake_reader();
        Poll::Ready(accepted)
    }

    /// Lets the head go, and is ready when everything written was taken.
    pub(super) fn flush(&self) -> Poll<Result<(), SendError>> {
        let mut inner = self.lock();
        if inner.stage == Stage::Open || inner.whole.is_some() {
            return Poll::Ready(Err(SendError::State));
        }
        if inner.gone {
            return Poll::Ready(Err(SendError::Gone));
        }
        inner.released = true;
        inner.wake_reader();
        if inner.has_no_content() || inner.head.is_none() && inner.buffer.is_empty() {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }

    /// Ends the body with trailer fields.
    pub(super) fn finish_with(&self, trailers: HeaderMap) -> Result<(), SendError> {
        let mut inner = self.lock();
        if inner.stage != Stage::Streaming {
            return Err(SendError::State);
        }
        if !trailers.keys().all(is_trailer) {
            return Err(SendError::Invalid);
        }
        inner.check_fields(&trailers)?;
        // Others were refused.
        inner
            .broken
            .take_if(|broken| matches!(broken, Broken::Limit(limit) if *limit != Limit::ResponseBody));
        inner.stage = Stage::Ended;
        inner.trailers = Some(trailers);
        Ok(())
    }

    /// Asks for the response to be broken off when the guest has returned.
    pub(super) fn abort(&self) {
        self.lock().broken.get_or_insert(Broken::Aborted);
    }

    pub(super) fn is_gone(&self) -> bool {
        self.lock().gone
    }

    // --- the connection's side

    /// Tells the guest that nobody listens any more.
    pub(super) fn set_gone(&self) {
        let mut inner = self.lock();
        inner.gone = true;
        inner.buffer.clear();
        inner.wakers.wake_writer();
    }

    /// The head of a streamed response, once it may leave.
    pub(super) fn take_released_head(&self) -> Option<(StatusCode, HeaderMap)> {
        let mut inner = self.lock();
        let may_leave = (inner.released && !inner.hold.is_held() && !inner.is_elsewhere) || inner.returned;
        if may_leave { inner.head.take() } else { None }
    }

    /// Body bytes that wait, if any.
    pub(super) fn take_chunk(&self) -> Option<Bytes> {
        let mut inner = self.lock();
        let may_leave = !inner.is_elsewhere || inner.returned || inner.completed;
        if inner.buffer.is_empty() || !may_leave {
            return None;
        }
        inner.wakers.wake_writer();
        Some(inner.buffer.split().freeze())
    }

    pub(super) fn take_trailers(&self) -> Option<HeaderMap> {
        self.lock().trailers.take()
    }

    /// The guest has returned: what is its response?
    pub(super) fn finish(&self) -> Finished {
        let mut inner = self.lock();
        inner.returned = true;
        if let Some(body) = inner.whole.take() {
            let (status, headers) = inner.head.take().unwrap_or_default();
            return Finished::Whole(status, headers, body);
        }
        if inner.stage == Stage::Open {
            return Finished::Whole(StatusCode::OK, HeaderMap::new(), Bytes::new());
        }
        if let Some(whole) = inner.gather() {
            return whole;
        }
        inner.stage = Stage::Ended;
        Finished::Streamed
    }

    /// Bytes of the declared Content-Length that were never written.
    pub(super) fn owed(&self) -> u64 {
        let inner = self.lock();
        if inner.has_no_content() { 0 } else { inner.owed.unwrap_or(0) }
    }

    /// Whether the client has everything it was promised, whatever the guest still does.
    pub(super) fn is_served(&self) -> bool {
        let inner = self.lock();
        let is_taken = inner.stage != Stage::Open && inner.head.is_none() && inner.buffer.is_empty();
        is_taken && (inner.completed || inner.headless || inner.bodiless || inner.owed == Some(0))
    }

    /// The response has a head only.
    pub(super) fn has_no_content(&self) -> bool {
        self.lock().has_no_content()
    }

    pub(super) fn broken(&self) -> Option<Broken> {
        self.lock().broken
    }
}

impl Inner {
    fn has_no_content(&self) -> bool {
        self.headless || self.bodiless
    }

    /// Whether this may be a whole response, and whether it keeps a declared length, which then speaks of a body that is
    /// not sent.
    fn check_whole(
        &self,
        status: StatusCode,
        headers: &mut HeaderMap,
        body: &[u8],
    ) -> Result<bool, SendError> {
        let declared = normalise(headers)?;
        if allows_no_body(status) && !body.is_empty() {
            return Err(SendError::NoBody);
        }
        if body.len() as u64 > self.allowance {
            return Err(SendError::Limit);
        }
        let keep_declared =
            (self.headless && status != StatusCode::NO_CONTENT) || status == StatusCode::NOT_MODIFIED;
        if declared.is_some() && !keep_declared {
            headers.remove(header::CONTENT_LENGTH);
        }
        Ok(declared.is_some() && keep_declared)
    }

    fn may_start(&self) -> Result<(), SendError> {
        if self.stage == Stage::Open { Ok(()) } else { Err(SendError::State) }
    }

    fn may_write(&self) -> Result<(), SendError> {
        match self.stage {
            Stage::Open | Stage::Ended => Err(SendError::State),
            Stage::Streaming if self.gone => Err(SendError::Gone),
            Stage::Streaming if matches!(self.broken, Some(Broken::Limit(_))) => Err(SendError::Limit),
            Stage::Streaming if self.bodiless => Err(SendError::NoBody),
            Stage::Streaming => Ok(()),
        }
    }

    fn accept(&mut self, data: &[u8]) -> Result<usize, SendError> {
        let fits = self.owed.unwrap_or(u64::MAX).min(data.len() as u64);
        if fits > self.allowance {
            self.broken = Some(Broken::Limit(Limit::ResponseBody));
            return Err(SendError::Limit);
        }
        if let Some(owed) = &mut self.owed {
            *owed -= fits;
        }
        self.allowance -= fits;
        self.released = true;
        if !self.headless {
            self.buffer.extend_from_slice(&data[..fits as usize]);
        }
        if fits == 0 { Err(SendError::Length) } else { Ok(fits as usize) }
    }
}
