//! How slowly clients may take the responses of a handler, for the connections, which see them do it.

use std::sync::Arc;

use super::limits::Limits;
use super::share::Share;
use crate::limit::Limit;
use crate::request_id::RequestId;
use crate::tempo::{Slow, Tempo};

/// What all responses of a handler have in common.
#[derive(Debug)]
pub struct TakeLimit {
    tempo: Tempo,
    handler: Arc<str>,
    share: Arc<Share>,
}

impl TakeLimit {
    pub(super) fn new(limits: &Limits, handler: &Arc<str>, share: &Arc<Share>) -> Arc<Self> {
        let tempo = Tempo { idle: limits.response_body_idle, rate: limits.response_body_rate };
        Arc::new(Self { tempo, handler: Arc::clone(handler), share: Arc::clone(share) })
    }
}

/// The limit of one response.
#[derive(Clone, Debug)]
pub(crate) struct Take {
    limit: Arc<TakeLimit>,
    request: RequestId,
}

impl Take {
    pub(crate) fn new(limit: Arc<TakeLimit>, request: RequestId) -> Self {
        Self { limit, request }
    }

    pub(crate) fn tempo(&self) -> Tempo {
        self.limit.tempo
    }

    /// Counts and logs a response that is broken off because its client was too slow.
    pub(crate) fn hit(&self, slow: Slow) {
        let limit = match slow {
            Slow::Idle => Limit::ResponseBodyIdle,
            Slow::Rate => Limit::ResponseBodyRate,
        };
        self.limit.share.hit(limit);
        let (handler, request_id, reason) = (&*self.limit.handler, self.request.as_str(), limit.name());
        tracing::debug!(handler, request_id, reason, "response broken off: {}", limit.sentence());
    }
}
