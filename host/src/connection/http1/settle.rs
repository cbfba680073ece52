//! What becomes of the connection behind a response: net/http's rules for bodies that nobody read, and for HTTP/1.0.

use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{Response, Version};
use http_body::Body as _;

use super::response::{Framing, Persistence};
use crate::body::allows_no_body;
use crate::guest::{Leftover, NetworkBody};
use crate::recorded::Recorded;

/// An unread request body is read and forgotten up to this; beyond it the connection closes, as that is cheaper
/// (Go: net/http.maxPostHandlerReadBytes).
pub(super) const DISCARD_BYTES_MAX: u64 = 256 * 1024;

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

/// How a response goes to its client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settled {
    pub(super) version: Version,
    pub(super) framing: Framing,
    pub(super) persistence: Persistence,
    /// The connection ends behind it.
    pub(super) closes: bool,
}

/// What matters of a response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    framing: Framing,
    has_close: bool,
    is_whole: bool,
}

impl Answer {
    pub(super) fn of(response: &Response<Recorded>, facts: &Facts) -> Self {
        // A look at the few names that most responses have is cheaper than the hash of this one.
        let has_close =
            response.headers().iter().any(|(name, value)| *name == CONNECTION && value == "close");
        Self { framing: framing(response, facts), has_close, is_whole: response.body().is_whole() }
    }
}

/// Decides how a response goes to this client. `is_last`: the connection is to end in any case.
pub(super) async fn settle(answer: Answer, request: &NetworkBody, facts: Facts, is_last: bool) -> Settled {
    let wants_close = !facts.keep_alive || is_last || answer.has_close || answer.framing == Framing::Close;
    let closes = wants_close || !is_reusable(request, &facts, answer.is_whole).await;
    let is_10 = facts.version == Version::HTTP_10;
    let persistence = match (is_10, closes) {
        // HTTP/1.0 clients expect the end unless they are told.
        (true, false) => Persistence::KeepAlive,
        (false, true) => Persistence::Close,
        (true, true) | (false, false) => Persistence::Default,
    };
    let version = if is_10 { Version::HTTP_10 } else { Version::HTTP_11 };
    Settled { version, framing: answer.framing, persistence, closes }
}

fn framing(response: &Response<Recorded>, facts: &Facts) -> Framing {
    if facts.is_head || allows_no_body(response.status()) || response.status().is_informational() {
        return Framing::Bodiless;
    }
    let declared = || response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    match response.body().size_hint().exact().or_else(declared) {
        Some(length) => Framing::Length(length),
        None if facts.version == Version::HTTP_10 => Framing::Close,
        None => Framing::Chunked,
    }
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
