//! What a connection's two ends tell each other past hyper: the service, which makes responses, and the gate, which
//! has the socket.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::time::Instant;

use super::head::Restored;
use crate::guest::{ClientLink, Take};
use crate::tempo::{Slow, Tempo};

/// Interim responses that wait for the connection; beyond it further ones are left out.
const INTERIM_BYTES_MAX: usize = 64 * 1024;

/// Shared by the gate, the service and the response body of one HTTP/1 connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Link(Arc<Mutex<State>>);

/// The request in progress, as the gate found it.
#[derive(Debug, Default)]
pub(super) struct Expected {
    pub(super) restored: Option<Restored>,
    /// The client waits for `100 Continue`.
    pub(super) expects_continue: bool,
    /// The client lets the connection be used again.
    pub(super) keep_alive: bool,
}

#[derive(Debug, Default)]
struct State {
    expected: Expected,
    /// Interim responses that are to be written before anything else.
    interim: BytesMut,
    /// Trailer fields that are to replace the empty trailer section that hyper writes.
    trailers: Option<Bytes>,
    /// Writing beyond this time fails.
    write_deadline: Option<Instant>,
    /// Reading of the body beyond this time fails.
    read_deadline: Option<Instant>,
    /// Somebody waits for the next flush.
    flush: Flush,
    awaited: Awaited,
    /// How slowly the client may take the response, if its handler says so.
    take: Option<Take>,
    /// The client was slower.
    is_too_slow: bool,
    has_stopped_sending: bool,
    takes_interim: bool,
    is_closing: bool,
    expects_continue: bool,
}

/// What the client is to get next, as far as it is known before it is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Awaited {
    /// Nobody knows.
    #[default]
    Nothing,
    /// The head of a response.
    Head,
    /// A chunk of its body, or the last one.
    Chunk,
}

#[derive(Debug, Default)]
enum Flush {
    #[default]
    Unasked,
    Asked(Waker),
    Done,
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A poisoned lock means a panic between two assignments; the data is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // --- the service's side

    /// What the gate knows about the request that hyper hands over now.
    pub(super) fn take_expected(&self) -> Expected {
        std::mem::take(&mut self.lock().expected)
    }

    /// Whether interim responses may be sent: not to HTTP/1.0 clients (RFC 9110 section 15.2).
    pub(super) fn set_takes_interim(&self, takes: bool) {
        self.lock().takes_interim = takes;
    }

    /// The head of the response goes to hyper.
    pub(super) fn answered(&self, awaited: Awaited, take: Option<Take>) {
        let mut state = self.lock();
        (state.awaited, state.take) = (awaited, take);
    }

    /// Whether the response was broken off because of its client.
    pub(super) fn is_too_slow(&self) -> bool {
        self.lock().is_too_slow
    }

    /// Its body has come to its end.
    pub(super) fn ended(&self) {
        self.lock().awaited = Awaited::Nothing;
    }

    /// Whether the next response is to be the last.
    pub(super) fn is_closing(&self) -> bool {
        self.lock().is_closing
    }

    /// Hands trailer fields to the gate, which sends them behind the last chunk.
    pub(super) fn send_trailers(&self, trailers: &HeaderMap) {
        let mut lines = BytesMut::new();
        push_fields(&mut lines, trailers.iter());
        self.lock().trailers = Some(lines.freeze());
    }

    /// Ready when everything that hyper had when this was first polled has been given to the kernel.
    pub(super) fn poll_flushed(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        match state.flush {
            Flush::Done => {
                state.flush = Flush::Unasked;
                Poll::Ready(())
            }
            _ => {
                state.flush = Flush::Asked(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    // --- the gate's side

    /// A head goes to hyper.
    pub(super) fn begin(
        &self,
        expected: Expected,
        read_deadline: Option<Instant>,
        write_deadline: Option<Instant>,
    ) {
        let mut state = self.lock();
        state.expects_continue = expected.expects_continue;
        (state.awaited, state.take) = (Awaited::Head, None);
        (state.expected, state.read_deadline, state.write_deadline) =
            (expected, read_deadline, write_deadline);
    }

    pub(super) fn awaited(&self) -> Awaited {
        self.lock().awaited
    }

    pub(super) fn take_interim(&self) -> BytesMut {
        std::mem::take(&mut self.lock().interim)
    }

    pub(super) fn has_trailers(&self) -> bool {
        self.lock().trailers.is_some()
    }

    pub(super) fn take_trailers(&self) -> Option<Bytes> {
        self.lock().trailers.take()
    }

    pub(super) fn read_deadline(&self) -> Option<Instant> {
        self.lock().read_deadline
    }

    pub(super) fn write_deadline(&self) -> Option<Instant> {
        self.lock().write_deadline
    }

    /// What is demanded of the client.
    pub(super) fn tempo(&self) -> Option<Tempo> {
        self.lock().take.as_ref().map(Take::tempo)
    }

    /// The client is slower than its response's handler allows.
    pub(super) fn set_too_slow(&self, slow: Slow) {
        let mut state = self.lock();
        state.is_too_slow = true;
        if let Some(take) = &state.take {
            take.hit(slow);
        }
    }

    pub(super) fn flushed(&self) {
        let mut state = self.lock();
        if let Flush::Asked(_) = state.flush
            && let Flush::Asked(waker) = std::mem::replace(&mut state.flush, Flush::Done)
        {
            drop(state);
            waker.wake();
        }
    }

    /// The next response is the last.
    pub(super) fn set_closing(&self) {
        self.lock().is_closing = true;
    }

    pub(super) fn set_stopped_sending(&self) {
        self.lock().has_stopped_sending = true;
    }
}

impl ClientLink for Link {
    fn has_stopped_sending(&self) -> bool {
        self.lock().has_stopped_sending
    }

    fn send_interim(&self, status: StatusCode, headers: &HeaderMap) {
        let mut state = self.lock();
        // hyper says that one when the body is asked for, and once is enough.
        let is_said = status == StatusCode::CONTINUE && state.expects_continue;
        if is_said || !state.takes_interim || state.interim.len() >= INTERIM_BYTES_MAX {
            return;
        }
        let reason = status.canonical_reason().unwrap_or("Interim Response");
        let interim = &mut state.interim;
        interim.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).as_bytes());
        let is_of_the_final =
            |name: &HeaderName| [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION].contains(name);
        push_fields(interim, headers.iter().filter(|(name, _)| !is_of_the_final(name)));
        interim.extend_from_slice(b"\r\n");
    }
}

fn push_fields<'f>(lines: &mut BytesMut, fields: impl Iterator<Item = (&'f HeaderName, &'f HeaderValue)>) {
    for (name, value) in fields {
        lines.extend_from_slice(name.as_str().as_bytes());
        lines.extend_from_slice(b": ");
        lines.extend_from_slice(value.as_bytes());
        lines.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hints() -> HeaderMap {
        [
            (http::header::LINK, HeaderValue::from_static("</a.css>")),
            (CONNECTION, HeaderValue::from_static("x")),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn interim_responses_are_for_clients_that_know_them() {
        let link = Link::default();
        link.send_interim(StatusCode::EARLY_HINTS, &hints());
        assert_eq!(link.take_interim(), "", "nobody has said that this client may get one");
        link.set_takes_interim(true);
        link.send_interim(StatusCode::EARLY_HINTS, &hints());
        assert_eq!(link.take_interim(), "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n");
        assert_eq!(link.take_interim(), "", "once");
    }

    #[test]
    fn interim_responses_that_wait_are_bounded() {
        let link = Link::default();
        link.set_takes_interim(true);
        for _ in 0..10_000 {
            link.send_interim(StatusCode::EARLY_HINTS, &hints());
        }
        let waiting = link.take_interim().len();
        assert!((INTERIM_BYTES_MAX..INTERIM_BYTES_MAX + 100).contains(&waiting), "{waiting}");
    }

    #[test]
    fn a_flush_is_told_to_whoever_waits_for_it() {
        let link = Link::default();
        let cx = Context::from_waker(Waker::noop());
        link.flushed();
        assert!(link.poll_flushed(&cx).is_pending(), "a flush before the question is no answer");
        link.flushed();
        assert!(link.poll_flushed(&cx).is_ready());
        assert!(link.poll_flushed(&cx).is_pending(), "each question has its own answer");
    }
}
