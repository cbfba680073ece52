//! The way from a handler to its client beside the response: interim responses, and whether the client still sends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::guest::ClientLink;

/// Interim responses that wait for the connection; beyond it further ones are left out.
const INTERIM_BYTES_MAX: usize = 64 * 1024;

/// Shared by an HTTP/1 connection and the guests that serve its requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Link(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// There are interim responses.
    has_interim: AtomicBool,
    has_stopped_sending: AtomicBool,
    interim: Mutex<Interim>,
}

#[derive(Debug, Default)]
struct Interim {
    /// To be written before anything else.
    bytes: Vec<u8>,
    /// This client may get some, now.
    is_taken: bool,
    /// The connection says `100 Continue` by itself.
    expects_continue: bool,
}

impl Link {
    fn interim(&self) -> MutexGuard<'_, Interim> {
        // A poisoned lock means a panic between two assignments; the data is still whole.
        self.0.interim.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request begins. Interim responses are not for HTTP/1.0 clients (RFC 9110 section 15.2).
    pub(super) fn begin(&self, takes_interim: bool, expects_continue: bool) {
        *self.interim() = Interim { bytes: Vec::new(), is_taken: takes_interim, expects_continue };
        self.0.has_interim.store(false, Ordering::Release);
    }

    /// The interim responses that wait, if there are any.
    pub(super) fn take_interim(&self) -> Option<Vec<u8>> {
        self.0.has_interim.swap(false, Ordering::AcqRel).then(|| std::mem::take(&mut self.interim().bytes))
    }

    /// What is sent from now on is the response. Says what is to go before it.
    pub(super) fn answered(&self) -> Option<Vec<u8>> {
        self.interim().is_taken = false;
        self.take_interim()
    }

    pub(super) fn set_stopped_sending(&self) {
        self.0.has_stopped_sending.store(true, Ordering::Release);
    }
}

impl ClientLink for Link {
    fn has_stopped_sending(&self) -> bool {
        self.0.has_stopped_sending.load(Ordering::Acquire)
    }

    fn send_interim(&self, status: StatusCode, headers: &HeaderMap) {
        let mut interim = self.interim();
        // That one is sent when the body is asked for, and once is enough.
        let is_said = status == StatusCode::CONTINUE && interim.expects_continue;
        if is_said || !interim.is_taken || interim.bytes.len() >= INTERIM_BYTES_MAX {
            return;
        }
        let reason = status.canonical_reason().unwrap_or("Interim Response");
        let lines = &mut interim.bytes;
        lines.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).as_bytes());
        let is_of_the_final =
            |name: &HeaderName| [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION].contains(name);
        push_fields(lines, headers.iter().filter(|(name, _)| !is_of_the_final(name)));
        lines.extend_from_slice(b"\r\n");
        self.0.has_interim.store(true, Ordering::Release);
    }
}

fn push_fields<'f>(lines: &mut Vec<u8>, fields: impl Iterator<Item = (&'f HeaderName, &'f HeaderValue)>) {
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
        assert_eq!(link.take_interim(), None, "nobody has said that this client may get one");
        link.begin(true, false);
        link.send_interim(StatusCode::EARLY_HINTS, &hints());
        let expected = b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n";
        assert_eq!(link.take_interim().as_deref(), Some(&expected[..]));
        assert_eq!(link.take_interim(), None, "once");
        assert_eq!(link.answered(), None);
        link.send_interim(StatusCode::EARLY_HINTS, &hints());
        assert_eq!(link.take_interim(), None, "the response has begun");
    }

    #[test]
    fn interim_responses_that_wait_are_bounded() {
        let link = Link::default();
        link.begin(true, false);
        for _ in 0..10_000 {
            link.send_interim(StatusCode::EARLY_HINTS, &hints());
        }
        let waiting = link.take_interim().unwrap().len();
        assert!((INTERIM_BYTES_MAX..INTERIM_BYTES_MAX + 100).contains(&waiting), "{waiting}");
    }
}
