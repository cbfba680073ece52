//! The log, as it comes.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream as _;
use http_body::{Body, Frame};
use tokio::sync::OwnedSemaphorePermit;

use crate::telemetry::Follow;

/// Clients that follow the log at one time.
pub(super) const FOLLOWERS_MAX: usize = 16;

/// Lines, each a JSON object (application/x-ndjson).
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) follow: Follow,
    /// Only of this handler.
    pub(super) handler: Option<String>,
    pub(super) _permit: Option<OwnedSemaphorePermit>,
}

impl Body for Lines {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        loop {
            match std::task::ready!(Pin::new(&mut this.follow).poll_next(cx)) {
                None => return Poll::Ready(None),
                Some(line)
                    if this.handler.as_ref().is_some_and(|name| line.handler.as_ref() != Some(name)) => {}
                Some(line) => {
                    let mut text = serde_json::to_vec(&*line).unwrap_or_default();
                    text.push(b'\n');
                    return Poll::Ready(Some(Ok(Frame::data(text.into()))));
                }
            }
        }
    }
}
