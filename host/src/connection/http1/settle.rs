//! What becomes of the connection behind a response: net/http's rules for bodies that nobody read, for HTTP/1.0, and
//! for what hyper's encoder leaves out.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderValue, Response, Version};
use http_body::{Body as _, Frame, SizeHint};
use hyper::ext::ReasonPhrase;

use super::link::{Awaited, Link};
use crate::body::allows_no_body;
use crate::error::Error;
use crate::guest::{Leftover, NetworkBody};
use crate::recorded::Recorded;

/// An unread request body is read and forgotten up to this; beyond it the connection closes, as that is cheaper
/// (Go: net/http.maxPostHandlerReadBytes).
const DISCARD_BYTES_MAX: u64 = 256 * 1024;

/// That may take this long; after it the response goes out, and the connection closes behind it.
const DISCARD_WAIT: Duration = Duration::from_secs(1);

/// What the response depends on beside the handler.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) version: Version,
    pub(super) is_head: bool,
    pub(super) expects_continue: bool,
    pub(super) keep_alive: bool,
}

/// Makes a response what this client gets.
pub(super) async fn settle(
    mut response: Response<Recorded>,
    request_body: NetworkBody,
    facts: Facts,
    link: Link,
) -> Response<SettledBody> {
    let wants_close = !facts.keep_alive || link.is_closing() || has_close(&response);
    let closes = wants_close || !is_reusable(&request_body, &facts, response.body().is_whole()).await;
    let is_bodiless = facts.is_head || allows_no_body(response.status());
    let length_is_known =
        response.headers().contains_key(CONTENT_LENGTH) || response.body().size_hint().exact().is_some();
    let headers = response.headers_mut();
    if facts.version == Version::HTTP_10 {
        // Without this field hyper closes, and HTTP/1.0 clients expect nothing else.
        match !closes && (length_is_known || is_bodiless) {
            true => headers.insert(CONNECTION, HeaderValue::from_static("keep-alive")),
            false => headers.remove(CONNECTION),
        };
        *response.version_mut() = Version::HTTP_10;
    } else if closes {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    name_unknown_status(&mut response);
    let is_chunked = facts.version == Version::HTTP_11 && !length_is_known && !is_bodiless;
    let leftover = (!closes).then_some(request_body);
    let awaited = if is_chunked { Awaited::Chunk } else { Awaited::Nothing };
    link.answered(awaited, response.body().take());
    response.map(|body| SettledBody { body, link, is_chunked, leftover, failure: None })
}

/// Whether the next request can be found behind this one's body.
async fn is_reusable(body: &NetworkBody, facts: &Facts, response_is_whole: bool) -> bool {
    match body.leftover() {
        Leftover::Nothing => true,
        Leftover::Broken => false,
        // The client may send the body all the same, or not.
        _ if facts.expects_continue => {
            if !body.was_asked() {
                body.close();
            }
            false
        }
        Leftover::Declared(rest) if rest >= DISCARD_BYTES_MAX => false,
        // A client that sends everything before it reads gets its response, and the connection is as new.
        _ if response_is_whole => {
            tokio::time::timeout(DISCARD_WAIT, body.discard(DISCARD_BYTES_MAX)).await.unwrap_or(false)
        }
        // The handler may yet read it, while it writes.
        _ => true,
    }
}

fn has_close(response: &Response<Recorded>) -> bool {
    response.headers().get(CONNECTION).is_some_and(|value| value == "close")
}

/// net/http's words for a status without any; hyper's are `<none>`.
fn name_unknown_status(response: &mut Response<Recorded>) {
    let status = response.status();
    if status.canonical_reason().is_none()
        && let Ok(reason) = ReasonPhrase::try_from(format!("status code {}", status.as_str()))
    {
        response.extensions_mut().insert(reason);
    }
}

/// A response body on its way into an HTTP/1 connection.
#[derive(Debug)]
pub(super) struct SettledBody {
    body: Recorded,
    link: Link,
    is_chunked: bool,
    /// The request's body, for as long as its rest is to be read.
    leftover: Option<NetworkBody>,
    /// Waits until all before it is sent: hyper drops what it has buffered when it hears of an error.
    failure: Option<Error>,
}

impl http_body::Body for SettledBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if this.failure.is_none() {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Err(error)) => {
                    this.link.ended();
                    this.failure = Some(error);
                }
                Some(Ok(frame)) if frame.is_trailers() => {
                    // hyper sends trailers only to clients that ask for them, and only declared ones; net/http always.
                    if let (true, Some(trailers)) = (this.is_chunked, frame.trailers_ref()) {
                        this.link.send_trailers(trailers);
                    }
                    return Poll::Ready(None);
                }
                frame => return Poll::Ready(frame),
            }
        }
        ready!(this.link.poll_flushed(cx));
        Poll::Ready(this.failure.take().map(Err))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for SettledBody {
    /// The response is out, or has broken off: what the handler has not read of its request is in the next one's way.
    fn drop(&mut self) {
        self.link.ended();
        if self.link.is_too_slow() {
            self.body.break_off();
        }
        let Some(body) = self.leftover.take() else { return };
        if matches!(body.leftover(), Leftover::Declared(_) | Leftover::Unknown)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            // Ends at the latest with the connection, whose clocks run; what is left at the limit closes it.
            runtime.spawn(async move { body.discard(DISCARD_BYTES_MAX).await });
        }
    }
}
