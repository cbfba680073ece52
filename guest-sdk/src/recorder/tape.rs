//! [`Tape`]: the implementation of [`Exchange`] for tests.
//!
//! It behaves as ABI.md sections 4 and 6 say, so that a handler meets under `cargo test` the same errors as in a guest.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use wasmux_abi::{Errno, RESPOND_BYTES_MAX};

use super::Recorder;
use crate::{
    Error, Handler, Request, ResponseWriter, TestRequest,
    buffer::Buffer,
    exchange::{self, Exchange, HEAD_INLINE_BYTES},
    fields,
    test_request::NextHandler,
};

/// What the client of a test does.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) head: Vec<u8>,
    pub(crate) is_head_request: bool,
    /// What is left of the request body; a read returns at most one of these.
    pub(crate) chunks: VecDeque<Vec<u8>>,
    /// How the request body ends, if not well.
    pub(crate) body_error: Option<Errno>,
    /// A field block.
    pub(crate) trailers: Vec<u8>,
    /// The client leaves when it has got this many bytes of the body.
    pub(crate) gone_after: Option<usize>,
    /// The handler behind, and the request that it gets if nothing is changed.
    pub(crate) next: Option<(NextHandler, TestRequest)>,
}

/// The host's side of one exchange.
#[derive(Default)]
struct State {
    script: Script,
    is_read: bool,
    response: Option<Head>,
    is_ended: bool,
    body: Vec<u8>,
    trailers: HeaderMap,
    interim: Vec<(StatusCode, HeaderMap)>,
    flushes: Vec<usize>,
    is_broken_off: bool,
    /// The request body went to the next handler.
    is_sent_on: bool,
    reply: Option<Reply>,
}

/// The response of the handler behind.
struct Reply {
    recorded: Recorder,
    /// Bytes of its body that were read.
    read: usize,
}

struct Head {
    status: StatusCode,
    headers: HeaderMap,
    length: Option<usize>,
    is_streamed: bool,
}

impl Head {
    fn parse(status: u16, block: &[u8], is_streamed: bool) -> Result<Self, Errno> {
        let status = StatusCode::from_u16(status).map_err(|_| Errno::Invalid)?;
        if status.is_informational() {
            return Err(Errno::Invalid);
        }
        let headers = fields::parse(block);
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Self { status, headers, length, is_streamed })
    }

    fn has_body(&self) -> bool {
        !matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }
}

impl State {
    fn is_gone(&self) -> bool {
        self.script.gone_after.is_some_and(|bytes| self.body.len() >= bytes)
    }

    /// Sets the head, once.
    fn set_response(&mut self, head: Head) -> Result<(), Errno> {
        if self.response.is_some() {
            return Err(Errno::State);
        }
        self.response = Some(head);
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<(), Errno> {
        let Some(head) = self.response.as_ref().filter(|head| head.is_streamed && !self.is_ended) else {
            return Err(Errno::State);
        };
        if !head.has_body() {
            return Err(Errno::NoBody);
        }
        if self.is_gone() {
            return Err(Errno::Gone);
        }
        let room = head.length.map_or(usize::MAX, |length| length - self.body.len()).min(data.len());
        if !self.script.is_head_request {
            self.body.extend_from_slice(&data[..room]);
        }
        if room < data.len() { Err(Errno::Length) } else { Ok(()) }
    }

    fn into_recorder(self) -> Recorder {
        let head = self.response.unwrap_or(Head {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            length: None,
            is_streamed: false,
        });
        let is_short = head.length.is_some_and(|length| self.body.len() < length);
        Recorder {
            status: head.status,
            headers: head.headers,
            body: self.body,
            trailers: self.trailers,
            interim: self.interim,
            flushes: self.flushes,
            is_streamed: head.is_streamed,
            is_broken_off: self.is_broken_off || is_short && head.is_streamed && !self.script.is_head_request,
        }
    }
}

/// A handler that is known as one only.
struct NextRef<'h>(&'h dyn Handler);

impl Handler for NextRef<'_> {
    fn serve_http(&self, w: &mut ResponseWriter, r: &mut Request) -> Result<(), Error> {
        self.0.serve_http(w, r)
    }
}

/// A handle on the [`State`]; request and writer have one each.
#[derive(Clone)]
pub(crate) struct Tape(Rc<RefCell<State>>);

impl Tape {
    /// Runs a handler on what a client does.
    pub(super) fn record(handler: &impl Handler, script: Script) -> Recorder {
        let tape = Self(Rc::new(RefCell::new(State { script, ..State::default() })));
        exchange::run(handler, &tape);
        std::mem::take(&mut *tape.0.borrow_mut()).into_recorder()
    }
}

impl Exchange for Tape {
    fn request_head(&self, into: &mut Buffer<HEAD_INLINE_BYTES>) {
        into.extend(&self.0.borrow().script.head);
    }

    fn request_read(&self, into: &mut [u8]) -> Result<usize, Errno> {
        let state = &mut *self.0.borrow_mut();
        if state.is_sent_on {
            return Err(Errno::State);
        }
        let Some(chunk) = state.script.chunks.front_mut() else {
            state.is_read = state.script.body_error.is_none();
            return state.script.body_error.map_or(Ok(0), Err);
        };
        let count = chunk.len().min(into.len());
        into[..count].copy_from_slice(&chunk[..count]);
        chunk.drain(..count);
        if chunk.is_empty() {
            state.script.chunks.pop_front();
        }
        Ok(count)
    }

    fn request_trailers(&self) -> Result<Vec<u8>, Errno> {
        let state = self.0.borrow();
        if state.is_read { Ok(state.script.trailers.clone()) } else { Err(Errno::State) }
    }

    fn respond(&self, status: u16, block: &[u8], body: &[u8]) -> Result<(), Errno> {
        let state = &mut *self.0.borrow_mut();
        let mut head = Head::parse(status, block, false)?;
        if !head.has_body() && !body.is_empty() {
            return Err(Errno::NoBody);
        }
        let has_own_length = state.script.is_head_request || head.status == StatusCode::NOT_MODIFIED;
        if head.has_body() && !has_own_length {
            head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        state.set_response(head)?;
        if !state.script.is_head_request {
            state.body = body.to_vec();
        }
        Ok(())
    }

    fn response_timeout(&self, ms: u32, status: u16, block: &[u8], body: &[u8]) -> Result<(), Errno> {
        // Nobody interrupts a handler here; but what the host would refuse is refused.
        if ms == 0 {
            return Ok(());
        }
        let head = Head::parse(status, block, false)?;
        if body.len() > RESPOND_BYTES_MAX {
            return Err(Errno::Limit);
        }
        let has_left = self.0.borrow().response.as_ref().is_some_and(|head| head.is_streamed);
        if has_left {
            Err(Errno::State)
        } else if head.has_body() || body.is_empty() {
            Ok(())
        } else {
            Err(Errno::NoBody)
        }
    }

    fn response_interim(&self, status: u16, block: &[u8]) -> Result<(), Errno> {
        let state = &mut *self.0.borrow_mut();
        let status = StatusCode::from_u16(status).map_err(|_| Errno::Invalid)?;
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Errno::Invalid);
        }
        if state.response.is_some() {
            return Err(Errno::State);
        }
        state.interim.push((status, fields::parse(block)));
        Ok(())
    }

    fn response_start(&self, status: u16, block: &[u8]) -> Result<(), Errno> {
        self.0.borrow_mut().set_response(Head::parse(status, block, true)?)
    }

    fn response_write(&self, data: &[u8]) -> Result<(), Errno> {
        self.0.borrow_mut().write(data)
    }

    fn response_flush(&self) -> Result<(), Errno> {
        let state = &mut *self.0.borrow_mut();
        if !state.response.as_ref().is_some_and(|head| head.is_streamed) {
            return Err(Errno::State);
        }
        if state.is_gone() {
            return Err(Errno::Gone);
        }
        state.flushes.push(state.body.len());
        Ok(())
    }

    fn response_trailers(&self, block: &[u8]) -> Result<(), Errno> {
        let state = &mut *self.0.borrow_mut();
        if state.response.is_none() || std::mem::replace(&mut state.is_ended, true) {
            return Err(Errno::State);
        }
        state.trailers = fields::parse(block);
        Ok(())
    }

    fn next_send(&self, method: &[u8], target: &[u8], block: &[u8]) -> Result<(), Errno> {
        let (handler, script) = {
            let state = &mut *self.0.borrow_mut();
            let Some((handler, request)) = state.script.next.take() else { return Err(Errno::State) };
            if state.response.is_some() {
                return Err(Errno::State);
            }
            state.is_sent_on = true;
            let pairs = wasmux_abi::fields(block).map_err(|_| Errno::Invalid)?;
            let headers = pairs.map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            let chunks = std::mem::take(&mut state.script.chunks);
            (handler, request.sent_on(method, target, Some(headers).filter(|_| !block.is_empty()), chunks))
        };
        let recorded = Self::record(&NextRef(&*handler.0), script);
        self.0.borrow_mut().reply = Some(Reply { recorded, read: 0 });
        Ok(())
    }

    fn next_head(&self) -> Result<Vec<u8>, Errno> {
        let state = self.0.borrow();
        let recorded = &state.reply.as_ref().ok_or(Errno::State)?.recorded;
        let mut head = u32::from(recorded.status.as_u16()).to_le_bytes().to_vec();
        head.extend(fields::to_block(&recorded.headers));
        Ok(head)
    }

    fn next_read(&self, into: &mut [u8]) -> Result<usize, Errno> {
        let state = &mut *self.0.borrow_mut();
        let reply = state.reply.as_mut().ok_or(Errno::State)?;
        let left = &reply.recorded.body[reply.read..];
        if left.is_empty() && reply.recorded.is_broken_off {
            return Err(Errno::Broken);
        }
        let count = left.len().min(into.len());
        into[..count].copy_from_slice(&left[..count]);
        reply.read += count;
        Ok(count)
    }

    fn next_trailers(&self) -> Result<Vec<u8>, Errno> {
        let state = self.0.borrow();
        let reply = state.reply.as_ref().ok_or(Errno::State)?;
        Ok(fields::to_block(&reply.recorded.trailers))
    }

    fn next_forward(&self) -> Result<(), Errno> {
        let state = &mut *self.0.borrow_mut();
        let Reply { recorded, read } = state.reply.take().ok_or(Errno::State)?;
        state.write(&recorded.body[read..])?;
        if !recorded.trailers.is_empty() {
            (state.trailers, state.is_ended) = (recorded.trailers, true);
        }
        if recorded.is_broken_off { Err(Errno::Broken) } else { Ok(()) }
    }

    fn client_gone(&self) -> bool {
        self.0.borrow().is_gone()
    }

    fn break_off(&self) {
        self.0.borrow_mut().is_broken_off = true;
    }
}
