//! The request: its head, then its body, then its trailers.

use wasip2::{
    clocks::monotonic_clock::Instant,
    http::types::{IncomingRequest, Method, Scheme},
    random::random::get_random_u64,
};
use wasmux_abi::Errno;

use super::incoming::Body;
use crate::sys::incoming_head::{Field, Parts, fit_request_id};

/// The request, and how far it was read.
pub(super) struct Incoming {
    body: Body, // before the request, whose child it is
    request: IncomingRequest,
}

impl Incoming {
    pub(super) fn new(request: IncomingRequest) -> Self {
        Self { body: Body::Unread, request }
    }

    /// The head as ABI.md section 3.1 has it, and whether the method is HEAD.
    pub(super) fn head(&mut self) -> (Vec<u8>, bool) {
        let request = &self.request;
        let method = request.method();
        let is_head = matches!(method, Method::Head);
        let fields = request.headers().entries();
        let parts = Parts {
            method: method_name(method),
            scheme: request.scheme().map(scheme_name),
            authority: request.authority(),
            path_with_query: request.path_with_query(),
            request_id: request_id(&fields),
            fields,
        };
        (parts.encode(), is_head)
    }

    /// Reads body bytes, waiting for them; 0 at the end.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Result<usize, Errno> {
        self.open().read(into, None)
    }

    /// Waits until there is something to read, the end of the body included; false when it is `at` before that.
    pub(super) fn wait_until(&mut self, at: Instant) -> bool {
        self.open().wait_until(at)
    }

    /// The trailers, behind a body that was read to its end.
    pub(super) fn trailers(&mut self) -> Result<Vec<Field>, Errno> {
        self.body.trailers(None)
    }

    fn open(&mut self) -> &mut Body {
        self.body.open(|| self.request.consume());
        &mut self.body
    }
}

fn method_name(method: Method) -> String {
    let known = match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(name) => return name,
    };
    known.to_owned()
}

fn scheme_name(scheme: Scheme) -> String {
    match scheme {
        Scheme::Http => "http".to_owned(),
        Scheme::Https => "https".to_owned(),
        Scheme::Other(name) => name,
    }
}

/// The id that the request has brought along, as wasmux takes it; else one is made.
fn request_id(fields: &[Field]) -> String {
    let sent = fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-request-id"));
    match fit_request_id(sent.map(|(_, value)| value.as_slice())) {
        Some(id) => id.to_owned(),
        None => format!("{:016x}", get_random_u64()),
    }
}
