//! The outermost body: sees a response to its end, for the access log and for failures that come after the head.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::access_log::Record;
use crate::activity::Busy;
use crate::body::Body;
use crate::error::Error;
use crate::guest::{Peer, Take};
use crate::request_id::RequestId;
use crate::rescue;
use crate::stall::StreamClock;
use crate::stats::Meter;

/// Largest piece that is handed to an HTTP/2 connection: one frame of the usual size.
const H2_PIECE_BYTES: usize = 16 * 1024;

/// A response body whose end is put on record.
#[derive(Debug)]
pub struct Recorded {
    body: Body,
    record: Option<Box<Record>>,
    meter: Meter,
    id: RequestId,
    /// On HTTP/2, its stream's clock.
    stall: Option<Arc<StreamClock>>,
    /// Polled and not yet passed on: on HTTP/2, what goes to the connection stays in its memory until the client makes
    /// room, so it goes in small pieces.
    rest: Bytes,
    /// Marks its connection as busy until the last byte.
    _peer: Arc<Peer>,
    _busy: Busy,
}

impl Recorded {
    pub(crate) fn new(
        body: Body,
        (record, meter): (Option<Box<Record>>, Meter),
        id: RequestId,
        peer: &Arc<Peer>,
        busy: Busy,
    ) -> Self {
        let has_content = !body.is_end_stream();
        let stall =
            peer.stall.as_ref().filter(|_| has_content).and_then(|_| StreamClock::begin(take(&body, &id)));
        Self { body, record, meter, id, stall, rest: Bytes::new(), _peer: Arc::clone(peer), _busy: busy }
    }

    /// How slowly the client may take it, if the handler says so.
    pub(crate) fn take(&self) -> Option<Take> {
        take(&self.body, &self.id)
    }

    /// See [`Body::break_off`].
    pub(crate) fn break_off(&mut self) {
        self.body.break_off();
    }

    /// Its connection becomes a tunnel. The request is counted as it is now; what moves is counted on.
    pub(crate) fn switched(&mut self) {
        self.meter.count();
    }

    /// So many bytes have come from the client through a tunnel.
    pub(crate) fn received(&self, bytes: usize) {
        if let Some(route) = self.meter.route() {
            route.request_bytes.add(bytes as u64);
        }
        if let Some(record) = &self.record {
            record.received(bytes);
        }
    }

    /// So many bytes have gone to the client through a tunnel.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.meter.sent(bytes);
        if let Some(record) = &mut self.record {
            record.sent(bytes);
        }
    }

    /// The tunnel has not come to a good end.
    pub(crate) fn broken(&mut self) {
        if let Some(record) = &mut self.record {
            record.broken();
        }
    }

    /// Whether all of it is there.
    pub(crate) fn is_whole(&self) -> bool {
        self.body.is_whole()
    }

    fn account(&mut self, polled: &Poll<Option<Result<Frame<Bytes>, Error>>>) {
        if let Some(stall) = &self.stall {
            stall.asked(match polled {
                Poll::Ready(Some(Ok(frame))) => Some(frame.data_ref().map_or(0, Bytes::len)),
                Poll::Ready(_) => Some(0),
                Poll::Pending => None,
            });
        }
        if let Poll::Ready(Some(Err(error))) = polled {
            let handler = self.meter.route().map(|route| &*route.handler);
            handler.inspect(|handler| handler.failed(error.kind()));
            rescue::report(error, handler.map_or("-", |handler| &handler.name), &self.id);
        }
        if let Poll::Ready(Some(Ok(frame))) = polled {
            self.meter.sent(frame.data_ref().map_or(0, Bytes::len));
        }
        let Some(record) = &mut self.record else { return };
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                let all_is_taken = record.sent(frame.data_ref().map_or(0, Bytes::len));
                // Behind trailers there is nothing, which need not be asked for.
                if all_is_taken && self.stall.is_none() || frame.is_trailers() {
                    record.ended();
                }
            }
            Poll::Ready(Some(Err(_))) => return record.broken(),
            Poll::Ready(None) => record.ended(),
            Poll::Pending => {}
        }
        if self.stall.is_none() && self.body.is_end_stream() {
            record.ended();
        }
    }
}

/// The limit on how `body` is taken, under the request's id.
fn take(body: &Body, id: &RequestId) -> Option<Take> {
    body.take_limit().map(|limit| Take::new(Arc::clone(limit), id.clone()))
}

impl Drop for Recorded {
    fn drop(&mut self) {
        if self.stall.as_ref().is_some_and(|clock| clock.is_over()) {
            self.break_off();
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
        let mut polled = match self.rest.is_empty() {
            true => Pin::new(&mut self.body).poll_frame(cx),
            false => Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.rest))))),
        };
        if self.stall.is_some()
            && let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(data) = frame.data_mut()
            && data.len() > H2_PIECE_BYTES
        {
            self.rest = data.split_off(H2_PIECE_BYTES);
        }
        self.account(&polled);
        polled
    }

    fn is_end_stream(&self) -> bool {
        // On HTTP/2 the end is only told when it is asked for, which is when the client has made room for all before it.
        self.stall.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
