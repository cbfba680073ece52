//! The body of a request: read piece by piece, never collected.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::Sleep;
use wasmtime_wasi_http::Error as HttpError;

pub(crate) use self::network::Leftover;
pub use self::network::{BodyError, NetworkBody};
use super::outbox::Outbox;
use crate::limit::Limit;
use crate::tempo::{Slow, Tempo, Wait};

mod network;

/// Why a request body could not be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadError {
    /// The client went away.
    Gone,
    /// The body ended early or was malformed.
    Broken,
    /// It is longer than the handler's limit.
    Limit,
    /// The client sends it slower than the handler allows.
    Slow,
}

#[derive(Debug)]
enum From {
    Network(NetworkBody),
    Memory,
    /// The next handler has it.
    Elsewhere,
    /// Another guest, whose handler comes before this one.
    Guest(UnsyncBoxBody<Bytes, HttpError>),
}

/// The request body as a handler reads it.
#[derive(Debug)]
pub struct RequestBody {
    from: From,
    /// Received, not yet handed out.
    rest: Bytes,
    trailers: Option<HeaderMap>,
    /// What the client declared; the source forgets it as it is read.
    declared: Option<u64>,
    /// Bytes the handler may still receive.
    allowance: u64,
    /// How slowly the client may send it.
    clock: Option<ReadClock>,
    end: Option<Result<(), ReadError>>,
}

/// Runs while somebody waits for the client.
#[derive(Debug)]
struct ReadClock {
    tempo: Tempo,
    wait: Wait,
    timer: Option<Pin<Box<Sleep>>>,
    /// Where it is noted that time is up.
    outbox: Arc<Outbox>,
}

impl ReadClock {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ReadError> {
        let (until, slow) = self.wait.until(&self.tempo);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        ready!(timer.as_mut().poll(cx));
        self.outbox.note_limit(match slow {
            Slow::Idle => Limit::RequestBodyIdle,
            Slow::Rate => Limit::RequestBodyRate,
        });
        Poll::Ready(ReadError::Slow)
    }
}

/// The next frame of a body on the network, or an error when its client takes too long to send it.
fn poll_network(
    body: &NetworkBody,
    clock: &mut Option<ReadClock>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, ReadError>>> {
    let polled = body.poll_frame(cx);
    let Some(clock) = clock else { return polled };
    match polled {
        Poll::Pending => {
            let error = ready!(clock.poll(cx));
            // What comes of it now is of no use, nor is the connection behind it.
            body.close();
            Poll::Ready(Some(Err(error)))
        }
        Poll::Ready(frame) => {
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            clock.wait.went_on(data.map_or(0, Bytes::len));
            Poll::Ready(frame)
        }
    }
}

impl RequestBody {
    /// A body from the network.
    #[must_use]
    pub fn network(body: NetworkBody) -> Self {
        let declared = match body.leftover() {
            Leftover::Nothing => Some(0),
            Leftover::Declared(length) => Some(length),
            Leftover::Unknown | Leftover::Broken => None,
        };
        let (rest, end) = (Bytes::new(), None);
        Self {
            from: From::Network(body),
            rest,
            trailers: None,
            declared,
            allowance: u64::MAX,
            clock: None,
            end,
        }
    }

    /// What a guest hands on to the next handler, of this length if it is known.
    pub(super) fn guest(body: UnsyncBoxBody<Bytes, HttpError>, declared: Option<u64>) -> Self {
        let (rest, end) = (Bytes::new(), None);
        Self {
            from: From::Guest(body),
            rest,
            trailers: None,
            declared,
            allowance: u64::MAX,
            clock: None,
            end,
        }
    }

    /// What is left here of a body that was handed on.
    pub(super) fn handed_on() -> Self {
        Self { from: From::Elsewhere, ..Self::full(Bytes::new()) }
    }

    pub(super) fn was_handed_on(&self) -> bool {
        matches!(self.from, From::Elsewhere)
    }

    /// A body that is all there.
    #[must_use]
    pub fn full(body: Bytes) -> Self {
        let declared = Some(body.len() as u64);
        let (rest, end) = (body, Some(Ok(())));
        Self { from: From::Memory, rest, trailers: None, declared, allowance: u64::MAX, clock: None, end }
    }

    /// Reading beyond `bytes` fails from now on.
    pub(super) fn limit(&mut self, bytes: u64) {
        self.allowance = bytes;
        if self.rest.len() as u64 > bytes {
            (self.rest, self.end) = (Bytes::new(), Some(Err(ReadError::Limit)));
        }
    }

    /// Reading from a client that is slower than `tempo` fails from now on, which is noted in `outbox`.
    pub(super) fn clock(&mut self, tempo: Tempo, outbox: &Arc<Outbox>) {
        if let From::Network(_) = self.from
            && self.declared != Some(0)
        {
            let (wait, timer, outbox) = (Wait::default(), None, Arc::clone(outbox));
            self.clock = Some(ReadClock { tempo, wait, timer, outbox });
        }
    }

    /// The declared length, 0 when there is no body, or `None` when it is to be read to its end.
    #[must_use]
    pub fn declared_length(&self) -> Option<u64> {
        self.declared
    }

    /// At most `len_max` further bytes; empty at the end of the body, from then on always. Cancel safe.
    pub(super) async fn read(&mut self, len_max: usize) -> Result<Bytes, ReadError> {
        poll_fn(|cx| self.poll_read(cx, len_max)).await
    }

    /// [`Self::read`] for those who poll.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        len_max: usize,
    ) -> Poll<Result<Bytes, ReadError>> {
        while self.rest.is_empty() {
            if let Some(end) = self.end {
                return Poll::Ready(end.map(|()| Bytes::new()));
            }
            let frame = match &mut self.from {
                From::Memory | From::Elsewhere => None,
                From::Network(body) => ready!(poll_network(body, &mut self.clock, cx)),
                From::Guest(body) => {
                    let frame = ready!(std::pin::Pin::new(body).poll_frame(cx));
                    frame.map(|frame| frame.map_err(|_| ReadError::Broken))
                }
            };
            match frame {
                None => self.end = Some(Ok(())),
                Some(Err(error)) => self.end = Some(Err(error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.len() as u64 > self.allowance => self.end = Some(Err(ReadError::Limit)),
                    Ok(data) => {
                        self.allowance -= data.len() as u64;
                        self.rest = data;
                    }
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
            }
        }
        Poll::Ready(Ok(self.rest.split_to(len_max.min(self.rest.len()))))
    }

    /// Whether reading has come to an end, good or bad: every further read says the same.
    pub(super) fn has_ended(&self) -> bool {
        self.rest.is_empty() && self.end.is_some()
    }

    /// The trailer fields, once the body was read to its end.
    pub(super) fn trailers(&self) -> Option<&HeaderMap> {
        static NONE: std::sync::LazyLock<HeaderMap> = std::sync::LazyLock::new(HeaderMap::new);
        (self.rest.is_empty() && self.end == Some(Ok(()))).then(|| self.trailers.as_ref().unwrap_or(&NONE))
    }
}

/// The body as wasi:http takes it.
impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let body = self.get_mut();
        Poll::Ready(match ready!(body.poll_read(cx, usize::MAX)) {
            Ok(data) if data.is_empty() => body.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))),
            Ok(data) => Some(Ok(Frame::data(data))),
            Err(ReadError::Gone) => Some(Err(HttpError::ConnectionTerminated)),
            Err(ReadError::Broken) => Some(Err(HttpError::HttpProtocolError)),
            Err(ReadError::Limit) => Some(Err(HttpError::HttpRequestBodySize(None))),
            Err(ReadError::Slow) => Some(Err(HttpError::ConnectionReadTimeout)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.declared == Some(0) && self.rest.is_empty()
    }
}
