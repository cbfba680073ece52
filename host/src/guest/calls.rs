//! The calls that a core module has under way: each is a task of its own, and its handle an index here.
//!
//! Dropping a call ends its task, and with it the connection or the handler that it was made to. All of them end with the
//! request that they were made for.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Full, StreamBody};
use tokio::sync::{mpsc, oneshot};
use wasmtime_wasi_http::{Error as HttpError, WasiBody};
use wasmux_abi::Errno;

use super::capability::Asker;
use super::log::GuestLog;
use super::next::Tied;
use super::outgoing::{AnswerBody, Answered, OutgoingError};
use crate::outbound::OutboundErrorKind as Kind;

/// Calls that one request may have under way.
pub(super) const CALLS_MAX: usize = 64;

/// One call.
pub(super) struct OutCall {
    upload: Option<Upload>,
    stage: Stage,
    /// Bytes of its request that wait here to be sent.
    sending_bytes: usize,
    _task: Tied,
}

/// The way of a body that the guest sends piece by piece. One piece waits: that is the back-pressure. Dropped before the
/// guest has finished it, the body breaks off: what a guest gave up on must not pass for all of it.
pub(super) struct Upload {
    pieces: mpsc::Sender<Frame<Bytes>>,
    is_finished: Arc<AtomicBool>,
}

enum Stage {
    Waiting(oneshot::Receiver<Result<Answered, OutgoingError>>),
    Answered(Box<Received>),
    Failed(OutgoingError),
}

/// A response on its way to the guest.
pub(super) struct Received {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: AnswerBody,
    rest: Bytes,
    pub(super) trailers: HeaderMap,
    pub(super) has_ended: bool,
}

/// What the guest sends: all of it, or the beginning, to which more is added.
pub(super) fn request_body(first: Bytes, is_streamed: bool) -> (WasiBody, Option<Upload>) {
    if !is_streamed {
        return (Full::new(first).map_err(|never| match never {}).boxed_unsync(), None);
    }
    let (pieces, mut receiver) = mpsc::channel(1);
    let is_finished = Arc::new(AtomicBool::new(false));
    let upload = Upload { pieces, is_finished: Arc::clone(&is_finished) };
    let mut first = Some(first).filter(|first| !first.is_empty());
    let frames = futures_util::stream::poll_fn(move |cx| match first.take() {
        Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
        None => match ready!(receiver.poll_recv(cx)) {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None if is_finished.load(Ordering::Acquire) => Poll::Ready(None),
            None => Poll::Ready(Some(Err(broken_off()))),
        },
    });
    (StreamBody::new(frames).boxed_unsync(), Some(upload))
}

fn broken_off() -> HttpError {
    HttpError::InternalError(Some("the guest has not finished the request's body".to_owned()))
}

impl OutCall {
    /// Starts it: `sending` is its future.
    pub(super) fn start(
        upload: Option<Upload>,
        sending_bytes: usize,
        sending: impl Future<Output = Result<Answered, OutgoingError>> + Send + 'static,
    ) -> Self {
        let (answer, answered) = oneshot::channel();
        let task = tokio::spawn(async move {
            let _ = answer.send(sending.await);
        });
        Self { upload, stage: Stage::Waiting(answered), sending_bytes, _task: Tied(task) }
    }

    /// Ready when there is a response, or a reason why there is none.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Stage::Waiting(answered) = &mut self.stage else { return Poll::Ready(()) };
        let answer = ready!(Pin::new(answered).poll(cx)).unwrap_or(Err(OutgoingError::Inside));
        self.sending_bytes = 0;
        self.stage = match answer {
            Ok(response) => {
                let (parts, body) = response.into_parts();
                Stage::Answered(Box::new(Received {
                    status: parts.status,
                    headers: parts.headers,
                    body,
                    rest: Bytes::new(),
                    trailers: HeaderMap::new(),
                    has_ended: false,
                }))
            }
            Err(error) => Stage::Failed(error),
        };
        Poll::Ready(())
    }

    /// The response.
    ///
    /// # Errors
    /// `STATE` when it is not there yet, or why there is none.
    pub(super) fn received(&mut self) -> Result<&mut Received, Errno> {
        match &mut self.stage {
            Stage::Waiting(_) => Err(Errno::State),
            Stage::Answered(received) => Ok(received),
            Stage::Failed(error) => Err(error.errno()),
        }
    }

    /// Why it has failed, if it has.
    pub(super) fn error(&self) -> Option<&OutgoingError> {
        if let Stage::Failed(error) = &self.stage { Some(error) } else { None }
    }

    /// Adds to the request's body, when there is room for it.
    ///
    /// # Errors
    /// `STATE` when the body has ended, `GONE` when nobody takes it any more.
    pub(super) async fn write(&mut self, frame: Frame<Bytes>) -> Result<(), Errno> {
        let Some(upload) = &self.upload else { return Err(Errno::State) };
        upload.pieces.send(frame).await.map_err(|_| Errno::Gone)
    }

    /// The request's body has ended.
    pub(super) fn end_upload(&mut self) {
        if let Some(upload) = self.upload.take() {
            upload.is_finished.store(true, Ordering::Release);
        }
    }

    /// Up to `max` bytes of the response; none at its end.
    ///
    /// # Errors
    /// As [`Self::received`], and when the response breaks off.
    pub(super) async fn read(&mut self, max: usize) -> Result<Bytes, Errno> {
        let received = self.received()?;
        while received.rest.is_empty() && !received.has_ended {
            match poll_fn(|cx| Pin::new(&mut received.body).poll_frame(cx)).await {
                None => received.has_ended = true,
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => received.rest = data,
                    Err(frame) => received.trailers = frame.into_trailers().unwrap_or_default(),
                },
                Some(Err(error)) => {
                    let errno = if error.errno() == Errno::Failed { Errno::Broken } else { error.errno() };
                    self.stage = Stage::Failed(error);
                    return Err(errno);
                }
            }
        }
        Ok(received.rest.split_to(received.rest.len().min(max)))
    }
}

impl OutgoingError {
    /// The same for core modules.
    fn errno(&self) -> Errno {
        match self {
            Self::Denied(_) => Errno::Denied,
            Self::Limit(_) => Errno::Limit,
            Self::Length => Errno::Length,
            Self::Loop(_) | Self::Inside => Errno::Failed,
            Self::Outside(error) => match error.kind {
                Kind::BadRequest => Errno::Invalid,
                Kind::RequestTooLarge | Kind::BodyTooLarge | Kind::HeaderTooLarge => Errno::Limit,
                kind if kind.is_timeout() => Errno::Timeout,
                _ => Errno::Failed,
            },
        }
    }
}

/// The calls of one request, by handle.
#[derive(Default)]
pub(super) struct Calls {
    slots: Vec<Option<OutCall>>,
    /// Made with the first call.
    asker: Option<Asker>,
}

impl Calls {
    /// Who says in `log` what was refused.
    pub(super) fn asker(&mut self, log: &GuestLog) -> Asker {
        self.asker.get_or_insert_with(|| Asker::new(log.clone())).clone()
    }

    /// Adds one; its handle.
    ///
    /// # Errors
    /// `LIMIT` when there are as many as there may be.
    pub(super) fn add(&mut self, start: impl FnOnce() -> OutCall) -> Result<u32, Errno> {
        let free = self.slots.iter().position(Option::is_none);
        let index = match free {
            Some(index) => index,
            None if self.slots.len() < CALLS_MAX => {
                self.slots.push(None);
                self.slots.len() - 1
            }
            None => return Err(Errno::Limit),
        };
        self.slots[index] = Some(start());
        Ok(index as u32)
    }

    /// # Errors
    /// `INVALID` when there is no such call.
    pub(super) fn get(&mut self, handle: u32) -> Result<&mut OutCall, Errno> {
        self.slots.get_mut(handle as usize).and_then(Option::as_mut).ok_or(Errno::Invalid)
    }

    /// Ends one.
    pub(super) fn close(&mut self, handle: u32) {
        if let Some(slot) = self.slots.get_mut(handle as usize) {
            *slot = None;
        }
    }

    /// Ready with the first of these that is ready.
    ///
    /// # Errors
    /// `INVALID` when there is no such call.
    pub(super) fn poll_any(&mut self, handles: &[u32], cx: &mut Context<'_>) -> Poll<Result<usize, Errno>> {
        for (index, handle) in handles.iter().enumerate() {
            let is_ready = self.get(*handle).map(|call| call.poll_ready(cx).is_ready());
            match is_ready {
                Err(errno) => return Poll::Ready(Err(errno)),
                Ok(true) => return Poll::Ready(Ok(index)),
                Ok(false) => {}
            }
        }
        Poll::Pending
    }

    /// What the host holds for them, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.slots.iter().flatten().map(|call| call.sending_bytes).sum()
    }
}
