//! The body of a response, under its call's clocks and limits. With its end the connection is free for another request.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::error::OutboundErrorKind as Kind;
use super::gunzip::Gunzip;
use super::pool::Lease;
use super::progress::{End, Progress};
use super::{OutBody, OutboundError};

/// For so long the rest of a request may be on its way when its response has ended, before their connection is given up (Go:
/// net/http.maxWriteWaitBeforeConnReuse).
pub(super) const UPLOAD_GRACE: Duration = Duration::from_millis(50);

/// No body.
pub(super) fn nothing() -> OutBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// Limits on the body of a response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) deadline: Option<Instant>,
    pub(super) idle: Option<Duration>,
    pub(super) bytes: u64,
}

/// The body of a response. Dropped before its end, it cancels the request and closes the connection, or with HTTP/2 its
/// stream.
pub struct InBody {
    body: Incoming,
    gunzip: Option<Box<Gunzip>>,
    /// They came while there was still something to expand.
    trailers: Option<Frame<Bytes>>,
    authority: Arc<str>,
    limits: Limits,
    clock: Option<Pin<Box<Sleep>>>,
    /// Since when the body has had nothing to give.
    waits_since: Option<Instant>,
    connection: Option<Occupied>,
    has_failed: bool,
}

/// The connection of a response under way.
#[derive(Debug)]
pub(super) struct Occupied {
    pub(super) lease: Lease,
    pub(super) upload: Option<Arc<Progress>>,
    /// Neither side has said that this is the last.
    pub(super) is_reusable: bool,
}

impl fmt::Debug for InBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InBody").field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl InBody {
    pub(super) fn new(
        body: Incoming,
        is_gzip: bool,
        authority: Arc<str>,
        limits: Limits,
        connection: Option<Occupied>,
    ) -> Self {
        let gunzip = is_gzip.then(|| Box::new(Gunzip::new()));
        let mut body = Self {
            body,
            gunzip,
            trailers: None,
            authority,
            limits,
            clock: None,
            waits_since: None,
            connection,
            has_failed: false,
        };
        if body.body.is_end_stream() {
            body.let_go();
        }
        body
    }

    /// The response is complete: its connection may serve another one, if it can.
    fn let_go(&mut self) {
        let Some(Occupied { lease, upload, is_reusable }) = self.connection.take() else { return };
        if !is_reusable {
            return drop(lease);
        }
        match upload.as_ref().and_then(|upload| upload.ended()) {
            _ if upload.is_none() => lease.give_back(),
            Some(End::Written) => lease.give_back(),
            Some(End::Failed(_) | End::Dropped) => drop(lease),
            None => {
                let Some(upload) = upload else { return };
                tokio::spawn(async move {
                    if let Ok(End::Written) = tokio::time::timeout(UPLOAD_GRACE, upload.wait()).await {
                        lease.give_back();
                    }
                });
            }
        }
    }

    fn fail(&mut self, kind: Kind) -> OutboundError {
        self.has_failed = true;
        self.connection = None;
        OutboundError::new(kind, &self.authority)
    }

    /// An error once a clock says so; called when the body has nothing to give.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<Kind> {
        let Limits { deadline, idle, .. } = self.limits;
        if deadline.is_none() && idle.is_none() {
            return Poll::Pending;
        }
        let since = *self.waits_since.get_or_insert_with(Instant::now);
        let pause = idle.map(|idle| (since + idle, Kind::BodyTimeout));
        let whole = deadline.map(|deadline| (deadline, Kind::Deadline));
        let first = [pause, whole].into_iter().flatten().min_by_key(|(at, _)| *at);
        let Some((at, kind)) = first else { return Poll::Pending };
        let clock = self.clock.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        loop {
            // One that runs out too early is set again then: cheaper than at each pause.
            if clock.deadline() > at {
                clock.as_mut().reset(at);
            }
            ready!(clock.as_mut().poll(cx));
            if clock.deadline() >= at {
                return Poll::Ready(kind);
            }
            clock.as_mut().reset(at);
        }
    }

    fn poll_received(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OutboundError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => {
                let kind = ready!(self.poll_clock(cx));
                Poll::Ready(Some(Err(self.fail(kind))))
            }
            Poll::Ready(polled) => {
                self.waits_since = None;
                if polled.is_none() || self.body.is_end_stream() {
                    self.let_go();
                }
                Poll::Ready(polled.map(|frame| frame.map_err(|error| self.broken(error))))
            }
        }
    }

    fn broken(&mut self, error: hyper::Error) -> OutboundError {
        let kind = match error.is_parse() {
            true => Kind::Protocol,
            false => Kind::Incomplete,
        };
        self.fail(kind).because(error)
    }

    /// The next piece, decompressed if need be.
    fn poll_expanded(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OutboundError>>> {
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(trailers)));
        }
        loop {
            let Some(gunzip) = &mut self.gunzip else { return self.poll_received(cx) };
            match gunzip.next() {
                Ok(Some(piece)) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(self.fail(Kind::Encoding).because(error)))),
            }
            let end = match ready!(self.poll_received(cx)) {
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        if let Some(gunzip) = &mut self.gunzip {
                            gunzip.push(data);
                        }
                        continue;
                    }
                    Err(trailers) => Some(trailers),
                },
                None => None,
            };
            let finished = self.gunzip.take().map_or(Ok(None), |mut gunzip| gunzip.finish());
            return match finished {
                Ok(Some(piece)) => {
                    self.trailers = end;
                    Poll::Ready(Some(Ok(Frame::data(piece))))
                }
                Ok(None) => Poll::Ready(end.map(Ok)),
                Err(error) => Poll::Ready(Some(Err(self.fail(Kind::Encoding).because(error)))),
            };
        }
    }
}

impl Body for InBody {
    type Data = Bytes;
    type Error = OutboundError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OutboundError>>> {
        let this = self.get_mut();
        if this.has_failed {
            return Poll::Ready(None);
        }
        let polled = ready!(this.poll_expanded(cx));
        if let Some(Ok(frame)) = &polled
            && let Some(data) = frame.data_ref()
        {
            match this.limits.bytes.checked_sub(data.len() as u64) {
                Some(left) => this.limits.bytes = left,
                None => return Poll::Ready(Some(Err(this.fail(Kind::BodyTooLarge)))),
            }
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.has_failed || (self.gunzip.is_none() && self.trailers.is_none() && self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        if self.gunzip.is_some() { SizeHint::new() } else { self.body.size_hint() }
    }
}
