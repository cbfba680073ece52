//! Calls as `wasi:http/outgoing-handler` 0.2 has them.
//!
//! The standard knows neither redirects nor a time for all of a call: both are seen to here, while the guest waits.

use std::{cell::RefCell, time::Duration};

use http::HeaderMap;
use wasip2::{
    clocks::monotonic_clock::{self, Instant},
    http::{
        outgoing_handler,
        types::{
            Fields, FutureIncomingResponse, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
            RequestOptions, Scheme,
        },
    },
    io::{poll::poll, streams::OutputStream},
};
use wasmux_abi::{CALL_STREAMED, Errno};

use super::{
    error_code,
    incoming::{Body, is_ready_by},
};
use crate::{
    client::{
        Options,
        redirect::{Next, Trail},
        url::Url,
    },
    fields::{self, FieldBlock},
    sys::incoming_head::Field,
};

/// Calls that can be waited for at a time, as in modules.
const WAITED_MAX: usize = 64;

/// Why there is no response, for the SDK and in words; none where the SDK's own say as much.
type Failure = (Errno, String);

fn invalid<E>(_: E) -> Errno {
    Errno::Invalid
}

/// A call. It goes on, to where redirects lead, while somebody waits for it.
pub(crate) struct Call(RefCell<State>);

/// What is inside others comes before them: it is dropped first.
struct State {
    upload: Option<Upload>,
    body: Body,
    response: Option<IncomingResponse>,
    future: FutureIncomingResponse,
    trailers: Vec<Field>,
    failure: Option<Failure>,
    deadline: Option<Instant>,
    options: Options,
    /// Redirects that are still followed, and what they need: none where they are not.
    left: u32,
    trail: Option<Trail>,
    replay: Vec<u8>,
}

/// A request's body on its way; the stream comes before the body, whose child it is.
struct Upload(OutputStream, OutgoingBody);

fn method_of(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "CONNECT" => Method::Connect,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

fn options_of(options: &Options) -> Result<RequestOptions, Errno> {
    let made = RequestOptions::new();
    let nanos = |ms: u32| (ms > 0).then_some(u64::from(ms) * 1_000_000);
    made.set_connect_timeout(nanos(options.connect_timeout_ms)).map_err(invalid)?;
    made.set_first_byte_timeout(nanos(options.first_byte_timeout_ms)).map_err(invalid)?;
    made.set_between_bytes_timeout(nanos(options.between_bytes_timeout_ms)).map_err(invalid)?;
    Ok(made)
}

/// The time so many nanoseconds from now.
fn after(nanos: u64) -> Instant {
    monotonic_clock::now().saturating_add(nanos)
}

/// Sends the head of a request, with the declared length of its body, if it has one.
fn begin(
    method: &str,
    url: &Url,
    fields: &HeaderMap,
    length: Option<usize>,
    options: &Options,
) -> Result<(Upload, FutureIncomingResponse), Failure> {
    let refused = |errno| (errno, String::new());
    let mut list: Vec<Field> = Vec::with_capacity(fields.len() + 1);
    fields::visit(fields, &mut |name, value| {
        list.push((String::from_utf8_lossy(name).into_owned(), value.to_vec()));
    });
    if let Some(credentials) = url.credentials().filter(|_| !fields.contains_key("authorization")) {
        list.push(("authorization".to_owned(), credentials.into_bytes()));
    }
    if let Some(length) = length {
        list.retain(|(name, _)| name != "content-length");
        list.push(("content-length".to_owned(), length.to_string().into_bytes()));
    }
    let scheme = if url.scheme == "https" { Scheme::Https } else { Scheme::Http };
    let make = || {
        let request = OutgoingRequest::new(Fields::from_list(&list).map_err(invalid)?);
        request.set_method(&method_of(method)).map_err(invalid)?;
        request.set_scheme(Some(&scheme)).map_err(invalid)?;
        request.set_authority(Some(&url.authority)).map_err(invalid)?;
        request.set_path_with_query(Some(&url.target())).map_err(invalid)?;
        let body = request.body().map_err(invalid)?;
        let stream = body.write().map_err(invalid)?;
        Ok((request, Upload(stream, body), options_of(options)?))
    };
    let (request, upload, options) = make().map_err(refused)?;
    let sent = outgoing_handler::handle(request, Some(options));
    let future = sent.map_err(|code| (error_code::errno(&code), error_code::words(&code)))?;
    Ok((upload, future))
}

impl Call {
    /// Sends a request. A body that is not streamed has left when this returns, or nobody takes it any more.
    pub(crate) fn send(
        method: &str,
        url: &str,
        block: &[u8],
        body: &[u8],
        options: &Options,
    ) -> Result<Self, Errno> {
        let target = Url::parse(url).ok_or(Errno::Invalid)?;
        let fields = fields::parse(block);
        let is_streamed = options.flags & CALL_STREAMED != 0;
        let length = (!is_streamed && !body.is_empty()).then_some(body.len());
        let deadline = (options.timeout_ms > 0).then(|| after(u64::from(options.timeout_ms) * 1_000_000));
        let (upload, future) =
            begin(method, &target, &fields, length, options).map_err(|(errno, _)| errno)?;
        let follows = options.redirects > 0;
        let trail = if follows { Trail::new(method, url, fields) } else { None };
        let mut state = State {
            upload: Some(upload),
            body: Body::Unread,
            response: None,
            future,
            trailers: Vec::new(),
            failure: None,
            deadline,
            options: *options,
            left: options.redirects,
            replay: if trail.is_some() { body.to_vec() } else { Vec::new() },
            trail,
        };
        if !is_streamed {
            state.send_body(body);
        }
        Ok(Self(RefCell::new(state)))
    }

    pub(crate) fn write(&mut self, data: &[u8]) -> Result<(), Errno> {
        self.0.get_mut().write(data)
    }

    pub(crate) fn finish(&mut self, block: &[u8]) -> Result<(), Errno> {
        self.0.get_mut().finish(block)
    }

    pub(crate) fn head(&mut self) -> Result<Vec<u8>, Errno> {
        let state = self.0.get_mut();
        if let Some((errno, _)) = &state.failure {
            return Err(*errno);
        }
        let response = state.response.as_ref().ok_or(Errno::State)?;
        let mut head = u32::from(response.status()).to_le_bytes().to_vec();
        head.extend_from_slice(block_of(&response.headers().entries()).finish());
        state.body.open(|| response.consume());
        Ok(head)
    }

    /// Reads bytes of the response; at its end the trailers, too, without which it is not whole.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Result<usize, Errno> {
        let state = self.0.get_mut();
        let count = state.body.read(into, state.deadline)?;
        if count == 0 && !into.is_empty() {
            state.trailers.extend(state.body.trailers(state.deadline)?);
        }
        Ok(count)
    }

    pub(crate) fn trailers(&mut self) -> Result<Vec<u8>, Errno> {
        let state = self.0.get_mut();
        match state.body {
            Body::Done => Ok(block_of(&state.trailers).finish().to_vec()),
            Body::Failed(errno) => Err(errno),
            Body::Unread | Body::Open { .. } | Body::Ended(_) => Err(Errno::State),
        }
    }

    /// What there is to say about its failure.
    pub(crate) fn error(&mut self) -> String {
        self.0.get_mut().failure.as_ref().map(|(_, words)| words.clone()).unwrap_or_default()
    }
}

fn block_of(list: &[Field]) -> FieldBlock {
    let mut block = FieldBlock::new();
    list.iter().for_each(|(name, value)| block.push(name.as_bytes(), value));
    block
}

impl State {
    fn send_body(&mut self, body: &[u8]) {
        // What it fails with, the response says better.
        let _ = self.write(body).and_then(|()| self.finish(&[]));
    }

    fn write(&mut self, mut data: &[u8]) -> Result<(), Errno> {
        while !data.is_empty() {
            let Some(Upload(stream, _)) = &self.upload else { return Err(Errno::Gone) };
            let room = stream.check_write().map_err(|_| Errno::Gone)?;
            if room == 0 {
                if !is_ready_by(&stream.subscribe(), self.deadline) {
                    self.fail(Errno::Timeout, String::new());
                    return Err(Errno::Gone);
                }
                continue;
            }
            let (now, later) = data.split_at(data.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            stream.write(now).map_err(|_| Errno::Gone)?;
            data = later;
        }
        Ok(())
    }

    fn finish(&mut self, block: &[u8]) -> Result<(), Errno> {
        let Upload(stream, body) = self.upload.take().ok_or(Errno::Gone)?;
        drop(stream); // the body cannot end before its stream
        let trailers = fields::parse(block);
        let mut list: Vec<Field> = Vec::new();
        fields::visit(&trailers, &mut |name, value| {
            list.push((String::from_utf8_lossy(name).into_owned(), value.to_vec()));
        });
        let trailers = if list.is_empty() { None } else { Some(Fields::from_list(&list).map_err(invalid)?) };
        OutgoingBody::finish(body, trailers).map_err(|_| Errno::Gone)
    }

    fn fail(&mut self, errno: Errno, words: String) {
        self.upload = None;
        self.failure = Some((errno, words));
    }

    /// Whether it is known how the call went; a redirect that has come is followed, and leaves that open.
    fn is_settled(&mut self) -> bool {
        if self.failure.is_some() || self.response.is_some() {
            return true;
        }
        match self.future.get() {
            None if self.deadline.is_some_and(|at| monotonic_clock::now() >= at) => {
                self.fail(Errno::Timeout, String::new());
            }
            None => return false,
            Some(Ok(Ok(response))) => match self.follow(&response) {
                Ok(true) => return false,
                Ok(false) => self.response = Some(response),
                Err((errno, words)) => self.fail(errno, words),
            },
            Some(Ok(Err(code))) => self.fail(error_code::errno(&code), error_code::words(&code)),
            Some(Err(())) => self.fail(Errno::State, String::new()),
        }
        true
    }

    /// Whether a response is no answer: the request that it asks for is on its way instead.
    fn follow(&mut self, response: &IncomingResponse) -> Result<bool, Failure> {
        let Some(trail) = &mut self.trail else { return Ok(false) };
        let failed = |words| (Errno::Failed, words);
        let location = response.headers().get("location").into_iter().next();
        let can_replay = self.options.flags & CALL_STREAMED == 0;
        let next = trail.next(response.status(), location.as_deref(), can_replay).map_err(failed)?;
        let Next::Follow { has_body } = next else { return Ok(false) };
        if self.left == 0 {
            return Err(failed(format!("stopped after {} redirects", self.options.redirects)));
        }
        self.left -= 1;
        if !has_body {
            self.replay = Vec::new();
        }
        let length = (!self.replay.is_empty()).then_some(self.replay.len());
        self.upload = None; // before the call that it belongs to
        let (upload, future) = begin(trail.method(), trail.url(), trail.fields(), length, &self.options)?;
        (self.upload, self.future) = (Some(upload), future);
        let body = std::mem::take(&mut self.replay);
        self.send_body(&body);
        self.replay = body;
        Ok(true)
    }
}

/// The index of the first of these calls of which it is known how it went.
pub(crate) fn wait(calls: &[&Call], timeout: Option<Duration>) -> Result<usize, Errno> {
    if calls.len() > WAITED_MAX {
        return Err(Errno::Limit);
    }
    let until = timeout.map(|timeout| after(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX)));
    loop {
        if let Some(index) = calls.iter().position(|call| call.0.borrow_mut().is_settled()) {
            return Ok(index);
        }
        if until.is_some_and(|at| monotonic_clock::now() >= at) {
            return Err(Errno::Timeout);
        }
        let mut pollables: Vec<_> = calls.iter().map(|call| call.0.borrow().future.subscribe()).collect();
        let deadlines = calls.iter().filter_map(|call| call.0.borrow().deadline);
        pollables.extend(deadlines.chain(until).min().map(monotonic_clock::subscribe_instant));
        poll(&pollables.iter().collect::<Vec<_>>());
    }
}
