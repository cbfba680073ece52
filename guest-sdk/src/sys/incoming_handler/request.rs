//! The request: its head, then its body, then its trailers.

use wasip2::{
    clocks::monotonic_clock::{self, Instant},
    http::types::{IncomingBody, IncomingRequest, Method, Scheme},
    io::{
        poll::poll,
        streams::{InputStream, StreamError},
    },
    random::random::get_random_u64,
};
use wasmux_abi::Errno;

use super::errno_of;
use crate::sys::incoming_head::{Field, Parts, fit_request_id};

/// The request, and how far it was read.
pub(super) struct Incoming {
    body: Body, // before the request, whose child it is
    request: IncomingRequest,
}

enum Body {
    Unread,
    Open {
        stream: InputStream, // before the body, whose child it is
        body: IncomingBody,
    },
    /// Read to its end; the trailers behind it are still to come.
    Ended(IncomingBody),
    /// Nothing is to come.
    Done,
    Failed(Errno),
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
        self.open();
        let Body::Open { stream, .. } = &self.body else {
            return if let Body::Failed(errno) = self.body { Err(errno) } else { Ok(0) };
        };
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            match stream.blocking_read(into.len() as u64) {
                Ok(bytes) if bytes.is_empty() => {} // woken too early
                Ok(bytes) => {
                    let count = bytes.len().min(into.len());
                    into[..count].copy_from_slice(&bytes[..count]);
                    return Ok(count);
                }
                Err(StreamError::Closed) => {
                    self.end();
                    return Ok(0);
                }
                Err(error) => {
                    let errno = errno_of(&error, Errno::Broken);
                    self.body = Body::Failed(errno);
                    return Err(errno);
                }
            }
        }
    }

    /// Waits until there is something to read, the end of the body included; false when it is `at` before that.
    pub(super) fn wait_until(&mut self, at: Instant) -> bool {
        self.open();
        let Body::Open { stream, .. } = &self.body else { return true };
        let (readable, late) = (stream.subscribe(), monotonic_clock::subscribe_instant(at));
        poll(&[&readable, &late]).contains(&0)
    }

    /// The trailers, behind a body that was read to its end.
    pub(super) fn trailers(&mut self) -> Result<Vec<Field>, Errno> {
        match std::mem::replace(&mut self.body, Body::Done) {
            Body::Ended(body) => {
                let future = IncomingBody::finish(body);
                loop {
                    match future.get() {
                        None => future.subscribe().block(),
                        Some(Ok(Ok(Some(fields)))) => return Ok(fields.entries()),
                        Some(Ok(Ok(None))) => return Ok(Vec::new()),
                        Some(Ok(Err(_)) | Err(())) => return Err(Errno::Broken),
                    }
                }
            }
            Body::Done => Ok(Vec::new()),
            other => {
                self.body = other;
                Err(Errno::State)
            }
        }
    }

    fn open(&mut self) {
        if let Body::Unread = self.body {
            let opened = self.request.consume().and_then(|body| Ok((body.stream()?, body)));
            self.body = match opened {
                Ok((stream, body)) => Body::Open { stream, body },
                Err(()) => Body::Failed(Errno::State),
            };
        }
    }

    fn end(&mut self) {
        if let Body::Open { stream, body } = std::mem::replace(&mut self.body, Body::Done) {
            drop(stream); // the body cannot end before its stream
            self.body = Body::Ended(body);
        }
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
