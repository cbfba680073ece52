//! The outermost body: sees a response to its end, for the access log and for failures that come after the head.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::access_log::Record;
use crate::body::Body;
use crate::error::Error;
use crate::guest::Peer;
use crate::request_id::RequestId;
use crate::rescue;

/// A response body whose end is put on record.
#[derive(Debug)]
pub struct Recorded {
    body: Body,
    record: Option<Box<Record>>,
    /// Whom to name when the body breaks off.
    handler: Option<Arc<str>>,
    id: RequestId,
    /// Marks its connection as busy until the last byte.
    _peer: Arc<Peer>,
}

impl Recorded {
    pub(crate) fn new(
        body: Body,
        record: Option<Box<Record>>,
        handler: Option<Arc<str>>,
        id: RequestId,
        peer: Arc<Peer>,
    ) -> Self {
        Self { body, record, handler, id, _peer: peer }
    }

    fn account(&mut self, polled: &Poll<Option<Result<Frame<Bytes>, Error>>>) {
        if let Poll::Ready(Some(Err(error))) = polled {
            rescue::report(error, self.handler.as_deref().unwrap_or("-"), &self.id);
        }
        let Some(record) = &mut self.record else { return };
        match polled {
            Poll::Ready(Some(Ok(frame))) => record.sent(frame.data_ref().map_or(0, Bytes::len)),
            Poll::Ready(Some(Err(_))) => return record.broken(),
            Poll::Ready(None) => record.ended(),
            Poll::Pending => {}
        }
        if self.body.is_end_stream() {
            record.ended();
        }
    }
}

impl HttpBody for Recorded {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.account(&polled);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
