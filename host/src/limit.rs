//! The limits that a request can hit, by name: what the log, the metrics and the response to the client say.

/// Header lines of one request, beyond which it gets 431 (Go: net/http.Server.MaxHeaderValueCount). Far from the 24,576
/// names that a `HeaderMap` can have: at that number even setting a field that is there panics.
pub const HEADERS_MAX: usize = 500;

/// A limit, named as its key in routes.toml where it has one. What happens at each is a row of `rescue`'s table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Wall clock of a request.
    Timeout,
    /// Time that a guest has computed.
    Cpu,
    /// Memory of an instance: linear memories, tables, and what the host holds for it.
    Memory,
    /// Depth of a guest's calls.
    Stack,
    /// Streams, bodies, files and the like that an instance holds at a time.
    Handles,
    /// Requests of a handler that may wait.
    Queue,
    /// How long they may.
    QueueTimeout,
    /// Requests have waited for too long for a while now, so that new ones are turned away at once.
    Overload,
    /// The handler has failed too often and rests.
    Breaker,
    /// Instances of all handlers.
    Instances,
    /// Memory of all instances.
    GuestMemory,
    /// Body of the request, in bytes.
    RequestBody,
    /// Body of the response, in bytes.
    ResponseBody,
    /// Header fields of the request: how many.
    RequestHeaders,
    /// Header fields of the request, in bytes.
    RequestHeaderBytes,
    /// Header fields of the response: how many.
    ResponseHeaders,
    /// Header fields of the response, in bytes.
    ResponseHeaderBytes,
    /// How long the client may send nothing of a body that is waited for.
    RequestBodyIdle,
    /// Bytes per second of a request body, at least.
    RequestBodyRate,
    /// How long the client may take nothing of a response that waits for it.
    ResponseBodyIdle,
    /// Bytes per second of a response that the client takes, at least.
    ResponseBodyRate,
    /// What a guest may log for a request, in bytes.
    Log,
    /// Of a database that the handler was granted: rows, bytes, time, connections or room.
    Sql,
    /// Calls of a handler to others at a time.
    OutboundConcurrency,
    /// And in a second.
    OutboundRate,
}

impl Limit {
    /// All of them.
    pub const ALL: [Self; 25] = [
        Self::Timeout,
        Self::Cpu,
        Self::Memory,
        Self::Stack,
        Self::Handles,
        Self::Queue,
        Self::QueueTimeout,
        Self::Overload,
        Self::Breaker,
        Self::Instances,
        Self::GuestMemory,
        Self::RequestBody,
        Self::ResponseBody,
        Self::RequestHeaders,
        Self::RequestHeaderBytes,
        Self::ResponseHeaders,
        Self::ResponseHeaderBytes,
        Self::RequestBodyIdle,
        Self::RequestBodyRate,
        Self::ResponseBodyIdle,
        Self::ResponseBodyRate,
        Self::Log,
        Self::Sql,
        Self::OutboundConcurrency,
        Self::OutboundRate,
    ];

    /// The reason that logs and metrics give, such as `timeout`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Stack => "stack",
            Self::Handles => "handles",
            Self::Queue => "queue",
            Self::QueueTimeout => "queue_timeout",
            Self::Overload => "overload",
            Self::Breaker => "breaker",
            Self::Instances => "instances",
            Self::GuestMemory => "guest_memory",
            Self::RequestBody => "request_body",
            Self::ResponseBody => "response_body",
            Self::RequestHeaders => "request_headers",
            Self::RequestHeaderBytes => "request_header_bytes",
            Self::ResponseHeaders => "response_headers",
            Self::ResponseHeaderBytes => "response_header_bytes",
            Self::RequestBodyIdle => "request_body_idle",
            Self::RequestBodyRate => "request_body_rate",
            Self::ResponseBodyIdle => "response_body_idle",
            Self::ResponseBodyRate => "response_body_rate",
            Self::Log => "log",
            Self::Sql => "sql",
            Self::OutboundConcurrency => "outbound_concurrency",
            Self::OutboundRate => "outbound_rate",
        }
    }

    /// What it means to hit it, for the log.
    pub(crate) const fn sentence(self) -> &'static str {
        match self {
            Self::Timeout => "the handler's `timeout` has passed",
            Self::Cpu => "the guest has computed for longer than the handler's `cpu` limit",
            Self::Memory => "the guest has run into the handler's `memory` limit",
            Self::Stack => "the guest's calls are nested beyond `stack` in [server]",
            Self::Handles => "the guest holds more than the handler's `handles` limit",
            Self::Queue => "as many requests wait for the handler as its `queue` has room for",
            Self::QueueTimeout => "the request has waited for longer than the handler's `queue_timeout`",
            Self::Overload => "requests of the handler come faster than it can answer them",
            Self::Breaker => "the handler has failed too often and rests (`breaker`)",
            Self::Instances => "all guest instances are in use (`instances` in [server])",
            Self::GuestMemory => "the memory for guests is used up (`guest_memory` in [server])",
            Self::RequestBody => "the request body is larger than the handler's `request_body` limit",
            Self::ResponseBody => {
                "the response body is larger than the handler's `response_body` limit, or than 64 KiB in one call"
            }
            Self::RequestHeaders => "the request has more header lines than the handler's `request_headers`",
            Self::RequestHeaderBytes => {
                "the request's header is larger than the handler's `request_header_bytes`"
            }
            Self::ResponseHeaders => {
                "the response has more header lines than the handler's `response_headers`"
            }
            Self::ResponseHeaderBytes => {
                "the response's header is larger than the handler's `response_header_bytes`"
            }
            Self::RequestBodyIdle => "the client sent nothing of its body for `request_body_idle`",
            Self::RequestBodyRate => "the client sends its body slower than `request_body_rate`",
            Self::ResponseBodyIdle => "the client took nothing of the response for `response_body_idle`",
            Self::ResponseBodyRate => "the client takes the response slower than `response_body_rate`",
            Self::Log => "the guest has logged as much as the handler's `log` limit allows",
            Self::Sql => "a statement has hit a limit of its database",
            Self::OutboundConcurrency => {
                "the handler makes more calls at a time than its `outbound_concurrency`"
            }
            Self::OutboundRate => "the handler makes more calls in a second than its `outbound_rate`",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn all_are_listed_in_order_and_have_names_of_their_own() {
        assert!(Limit::ALL.iter().enumerate().all(|(index, limit)| *limit as usize == index));
        let names: BTreeSet<_> = Limit::ALL.iter().map(|limit| limit.name()).collect();
        assert_eq!(names.len(), Limit::ALL.len());
    }
}
