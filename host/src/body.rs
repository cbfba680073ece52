//! The one response body type.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};

use crate::error::{Error, Kind};
use crate::guest::{GuestBody, TakeLimit};

/// Whether responses with this status never have content (RFC 9110 sections 15.3.5 and 15.4.5).
pub(crate) fn allows_no_body(status: StatusCode) -> bool {
    status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

/// A response body: whole, streamed by a guest, or streamed by something else.
#[derive(Debug)]
pub struct Body {
    inner: Inner,
    /// How slowly its client may take it, if its handler says so.
    take: Option<Arc<TakeLimit>>,
}

#[derive(Debug)]
enum Inner {
    Full(Full<Bytes>),
    // Boxed: streams are the rarer case, and every response future has room for the largest variant.
    Guest(Box<GuestBody>),
    Other(UnsyncBoxBody<Bytes, Error>),
}

impl Body {
    const fn of(inner: Inner) -> Self {
        Self { inner, take: None }
    }

    /// A body of this content, sent with a Content-Length.
    pub fn full(content: impl Into<Bytes>) -> Self {
        Self::of(Inner::Full(Full::new(content.into())))
    }

    /// No content.
    #[must_use]
    pub fn empty() -> Self {
        Self::full(Bytes::new())
    }

    /// Whether all of it is there.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.inner, Inner::Full(_))
    }

    pub(crate) fn guest(body: GuestBody) -> Self {
        Self::of(Inner::Guest(Box::new(body)))
    }

    /// The same body, of which a client must take at least as much as `limit` says.
    pub(crate) fn taken_within(self, limit: &Arc<TakeLimit>) -> Self {
        Self { take: Some(Arc::clone(limit)), ..self }
    }

    pub(crate) fn take_limit(&self) -> Option<&Arc<TakeLimit>> {
        self.take.as_ref()
    }

    /// Its client was too slow, and is not counted as one that went away.
    pub(crate) fn break_off(&mut self) {
        if let Inner::Guest(body) = &mut self.inner {
            body.break_off();
        }
    }

    /// A body whose error, if it ends in one, is shown to somebody first.
    pub(crate) fn observed(self, show: impl Fn(&Error) + Send + 'static) -> Self {
        match self.inner {
            Inner::Full(_) => self,
            inner => {
                let shown = Self::of(inner).map_err(move |error| {
                    show(&error);
                    error
                });
                Self { take: self.take, ..Self::of(Inner::Other(shown.boxed_unsync())) }
            }
        }
    }

    /// Any other body, whose errors mean what `meaning` says.
    pub(crate) fn failing<B>(body: B, meaning: impl Fn(B::Error) -> Error + Send + 'static) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
    {
        Self::of(Inner::Other(body.map_err(meaning).boxed_unsync()))
    }

    /// Any other body; its errors are taken as ours.
    pub(crate) fn other<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<crate::error::Cause>,
    {
        Self::of(Inner::Other(body.map_err(|error| Error::new(Kind::Internal, error)).boxed_unsync()))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.get_mut().inner {
            Inner::Full(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Inner::Guest(body) => body.poll_frame(cx),
            Inner::Other(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Full(body) => body.is_end_stream(),
            Inner::Guest(body) => body.has_no_content(),
            Inner::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Full(body) => body.size_hint(),
            Inner::Guest(_) => SizeHint::new(),
            Inner::Other(body) => body.size_hint(),
        }
    }
}
