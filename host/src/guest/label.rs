//! Whose work it is that a guest does: for the log, and for what is counted.

use std::sync::Arc;

use super::admission;
use super::limits::Breaker;
use super::outbox::Outbox;
use super::pulse::Pulse;
use super::share::Share;
use crate::error::{Error, Kind, Origin};
use crate::limit::Limit;
use crate::request_id::RequestId;

/// Whose work it is.
#[derive(Clone, Debug)]
pub(super) struct Label {
    pub(super) request: RequestId,
    /// The handler's.
    pub(super) share: Arc<Share>,
    pub(super) breaker: Option<Breaker>,
    /// Says whether its guest computes.
    pub(super) pulse: Arc<Pulse>,
}

impl Label {
    /// The handler's name.
    pub(super) fn handler(&self) -> &str {
        self.share.name()
    }

    /// Counts the limit that a request has hit, if it was one.
    pub(super) fn count(&self, error: Error) -> Error {
        let Kind::Limit(limit) = error.kind() else { return error };
        admission::count(&self.share, self.breaker, limit, &self.pulse);
        let is_shed = error.kind().origin() == Origin::Host;
        if is_shed && !self.share.is_news(limit) { error.old_news() } else { error }
    }

    /// What has become of a request that has hit a limit which its guest was told of: what that has made of it, or else the
    /// limit. It is counted and logged in any case.
    pub(super) fn settle(
        &self,
        outbox: &Outbox,
        limit: Limit,
        result: Result<(), Error>,
    ) -> Result<(), Error> {
        let kind = Kind::Limit(limit);
        match result {
            Err(error) if error.kind() == kind => return Err(error),
            Err(cause) if outbox.is_open() => return Err(Error::new(kind, cause)),
            Ok(()) if outbox.is_open() => return Err(kind.into()),
            _ => {}
        }
        self.share.hit(limit);
        let (handler, request_id, reason) = (self.handler(), self.request.as_str(), limit.name());
        match kind.origin() {
            Origin::Client => tracing::debug!(handler, request_id, reason, "{}", limit.sentence()),
            _ => tracing::warn!(handler, request_id, reason, "{}", limit.sentence()),
        }
        result
    }

    /// Takes note of a client that has not waited for its response.
    pub(super) fn client_gone(&self) {
        self.share.disconnected();
        let (handler, request_id) = (self.handler(), self.request.as_str());
        tracing::debug!(
            handler,
            request_id,
            reason = "client_gone",
            "the client went away before it was served"
        );
    }
}
