//! The answer that a guest has prepared for the case that it is not done in time (ABI.md, `response_timeout`).
//!
//! A guest cannot interrupt itself, so the host holds answer and time, and puts the one in place of whatever the guest
//! has made so far when the other has come. Invariant: never after a byte of the response may have left.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use super::{Outbox, SendError, Stage};

/// What is answered at `at`.
#[derive(Debug)]
pub(super) struct Prepared {
    at: Instant,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Outbox {
    /// Prepares an answer for `at`, in place of an earlier one.
    pub(in super::super) fn arm(
        &self,
        at: Instant,
        status: StatusCode,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<(), SendError> {
        let mut inner = self.lock();
        if inner.released {
            return Err(SendError::State);
        }
        inner.fields.check(&headers).map_err(|_| SendError::Limit)?;
        let body = if inner.check_whole(status, &mut headers, &body)? { Bytes::new() } else { body };
        inner.prepared = Some(Prepared { at, status, headers, body });
        Ok(())
    }

    /// Forgets the prepared answer.
    pub(in super::super) fn disarm(&self) {
        self.lock().prepared = None;
    }

    /// When the prepared answer is due, while it still may be given.
    pub(in super::super) fn timeout_at(&self) -> Option<Instant> {
        let inner = self.lock();
        inner.prepared.as_ref().filter(|_| !inner.released).map(|prepared| prepared.at)
    }

    /// Puts the prepared answer in place of what there is, after which the guest can add nothing; says whether it could. The
    /// guest may be at work elsewhere, and change its mind just now.
    pub(in super::super) fn give_prepared(&self) -> bool {
        let mut inner = self.lock();
        if inner.released {
            return false;
        }
        let Some(Prepared { status, headers, body, .. }) =
            inner.prepared.take_if(|prepared| prepared.at <= Instant::now())
        else {
            return false;
        };
        inner.broken = None;
        inner.owed = None;
        inner.trailers = None;
        inner.buffer.clear();
        inner.head = Some((status, headers));
        inner.whole = Some(body);
        inner.stage = Stage::Ended;
        true
    }
}
