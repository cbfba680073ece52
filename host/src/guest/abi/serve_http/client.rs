//! `wasmux:client/1` (ABI.md section 11): calls to other servers and handlers.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full};
use tokio::time::{Instant, timeout_at};
use wasmtime::{Caller, Linker, Result};
use wasmux_abi::{CALL_BODY_BYTES_MAX, CALL_NO_DECOMPRESSION, CALL_STREAMED, CLIENT_MODULE, Errno};

use super::super::super::calls::{CALLS_MAX, OutCall, request_body};
use super::super::super::capability::display;
use super::super::super::memory::{self, Region};
use super::super::super::outgoing::Cause;
use super::super::super::state::ModuleState;
use super::{Answer, code, head, parse_fields};
use crate::outbound::{Call, OutBody, Rewind};

type Guest<'c> = Caller<'c, ModuleState>;

/// Longest URL, in bytes: that of the `http` crate's type.
const URL_BYTES_MAX: usize = u16::MAX as usize - 1;

/// A body goes to its call in pieces of at most so many bytes.
const PIECE_BYTES: usize = 64 << 10;

/// Redirects that one call follows, whatever its guest asks for: each is another request.
const REDIRECTS_MAX: u32 = 20;

/// What a guest waits for without a time limit of its own.
const FOREVER: u32 = u32::MAX;

type Sent = (u32, u32, u32, u32, u32, u32, u32, u32, u32, u32);

pub(super) fn add_to_linker(linker: &mut Linker<ModuleState>) -> Result<()> {
    linker
        .func_wrap_async(
            CLIENT_MODULE,
            "send",
            |caller, (m, m_len, u, u_len, f, f_len, b, b_len, o, o_len): Sent| {
                Box::new(
                    async move { send(caller, [(m, m_len), (u, u_len), (f, f_len), (b, b_len), (o, o_len)]) },
                )
            },
        )?
        .func_wrap_async(CLIENT_MODULE, "write", |caller, (call, ptr, len): (u32, u32, u32)| {
            Box::new(write(caller, call, ptr, len))
        })?
        .func_wrap_async(CLIENT_MODULE, "finish", |caller, (call, ptr, len): (u32, u32, u32)| {
            Box::new(finish(caller, call, ptr, len))
        })?
        .func_wrap_async(CLIENT_MODULE, "wait", |caller, (calls, count, ms): (u32, u32, u32)| {
            Box::new(wait(caller, calls, count, ms))
        })?
        .func_wrap(CLIENT_MODULE, "head", response_head)?
        .func_wrap_async(CLIENT_MODULE, "read", |caller, (call, ptr, len): (u32, u32, u32)| {
            Box::new(read(caller, call, ptr, len))
        })?
        .func_wrap(CLIENT_MODULE, "trailers", trailers)?
        .func_wrap(CLIENT_MODULE, "error", error)?
        .func_wrap(CLIENT_MODULE, "close", |mut caller: Guest<'_>, call: u32| {
            caller.data_mut().calls.close(call);
        })?;
    Ok(())
}

/// The words of a call's options, each 0 when it is not there.
struct Options<'o>(&'o [u8]);

impl Options<'_> {
    fn word(&self, index: usize) -> u32 {
        let word = self.0.get(index * 4..).and_then(|rest| rest.first_chunk::<4>());
        word.map_or(0, |word| u32::from_le_bytes(*word))
    }

    fn duration(&self, index: usize) -> Option<Duration> {
        Some(self.word(index)).filter(|ms| *ms > 0).map(|ms| Duration::from_millis(ms.into()))
    }

    fn has(&self, flag: u32) -> bool {
        self.word(0) & flag != 0
    }

    fn call(&self) -> Call {
        Call {
            redirects: self.word(1).min(REDIRECTS_MAX),
            deadline: self.duration(2).map(|timeout| Instant::now() + timeout),
            connect_timeout: self.duration(3),
            first_byte_timeout: self.duration(4),
            between_bytes_timeout: self.duration(5),
            decompress: !self.has(CALL_NO_DECOMPRESSION),
            ..Call::default()
        }
    }
}

fn send(mut caller: Guest<'_>, parts: [(u32, u32); 5]) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    let mut slices = [&[][..]; 5];
    for (slice, (ptr, len)) in slices.iter_mut().zip(parts) {
        *slice = Region::new("send", ptr, len).within(data)?;
    }
    let [method, url, block, body, options] = slices;
    let fields = parse_fields("send", block)?;
    let options = Options(options);
    let request = fields.and_then(|fields| request(method, url, fields));
    let request = request
        .and_then(|request| if body.len() > CALL_BODY_BYTES_MAX { Err(Errno::Limit) } else { Ok(request) });
    match request.and_then(|request| begin(state, request, Bytes::copy_from_slice(body), &options)) {
        Ok(handle) => Ok(handle as i32),
        Err(errno) => Ok(errno.code()),
    }
}

fn request(method: &[u8], url: &[u8], fields: HeaderMap) -> Answer<Request<()>> {
    if url.len() > URL_BYTES_MAX {
        return Err(Errno::Limit);
    }
    let uri = Uri::try_from(url).map_err(|_| Errno::Invalid)?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(Errno::Invalid);
    }
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method).map_err(|_| Errno::Invalid)?;
    (*request.uri_mut(), *request.headers_mut()) = (uri, fields);
    Ok(request)
}

fn begin(state: &mut ModuleState, request: Request<()>, body: Bytes, options: &Options<'_>) -> Answer<u32> {
    let Some(outgoing) = state.core.common.grants.outgoing.clone() else { return Err(Errno::Denied) };
    let cause = state.core.exchange.as_deref().map(|exchange| Cause::of(&exchange.request));
    let share = Arc::clone(&state.core.common.share);
    let sending_bytes = body.len();
    let is_streamed = options.has(CALL_STREAMED);
    let again = body.clone();
    let mut call = options.call();
    if !is_streamed {
        let rewind: Rewind = Arc::new(move || -> OutBody {
            Full::new(again.clone()).map_err(|never| match never {}).boxed_unsync()
        });
        call.rewind = Some(rewind);
    }
    let (target, asker) = (display(request.uri()), state.calls.asker(&state.core.log));
    state.calls.add(|| {
        let (body, upload) = request_body(body, is_streamed);
        let request = request.map(|()| body);
        let cause = cause.unwrap_or_default();
        OutCall::start(upload, sending_bytes, async move {
            let answered = outgoing.send(request, call, &cause, &share).await;
            answered.inspect_err(|error| asker.report(&target, error))
        })
    })
}

async fn write(mut caller: Guest<'_>, call: u32, ptr: u32, len: u32) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    let data = Region::new("write", ptr, len).within(data)?;
    let Ok(call) = state.calls.get(call) else { return Ok(Errno::Invalid.code()) };
    // In pieces, so that the host never holds more than two of them.
    for piece in data.chunks(PIECE_BYTES) {
        if let Err(errno) = call.write(Frame::data(Bytes::copy_from_slice(piece))).await {
            return Ok(errno.code());
        }
    }
    Ok(0)
}

async fn finish(mut caller: Guest<'_>, call: u32, ptr: u32, len: u32) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    let fields = parse_fields("finish", Region::new("finish", ptr, len).within(data)?)?;
    let Ok(call) = state.calls.get(call) else { return Ok(Errno::Invalid.code()) };
    let finished = match fields {
        Ok(fields) if fields.is_empty() => Ok(()),
        Ok(fields) => call.write(Frame::trailers(fields)).await,
        Err(errno) => Err(errno),
    };
    if finished.is_ok() {
        call.end_upload();
    }
    Ok(code(finished))
}

async fn wait(mut caller: Guest<'_>, ptr: u32, count: u32, ms: u32) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    let handles = Region::new("wait", ptr, count.saturating_mul(4)).within(data)?;
    if count as usize > CALLS_MAX {
        return Ok(Errno::Limit.code());
    }
    let handles: Vec<u32> = handles.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
    let calls = &mut state.calls;
    let any = poll_fn(|cx| calls.poll_any(&handles, cx));
    let first = if ms == FOREVER {
        any.await
    } else {
        let at = Instant::now() + Duration::from_millis(ms.into());
        timeout_at(at, any).await.unwrap_or(Err(Errno::Timeout))
    };
    Ok(first.map_or_else(Errno::code, |index| index as i32))
}

fn response_head(mut caller: Guest<'_>, call: u32, ptr: u32, len: u32) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    let buffer = Region::new("head", ptr, len).within_mut(data)?;
    match state.calls.get(call).and_then(OutCall::received) {
        Ok(received) => Ok(head::write_response(received.status, &received.headers, buffer) as i32),
        Err(errno) => Ok(errno.code()),
    }
}

async fn read(mut caller: Guest<'_>, call: u32, ptr: u32, len: u32) -> Result<i32> {
    let region = Region::new("read", ptr, len);
    let (data, state) = memory::split(&mut caller)?;
    region.within_mut(data)?;
    let Ok(call) = state.calls.get(call) else { return Ok(Errno::Invalid.code()) };
    if len == 0 {
        return Ok(0);
    }
    match call.read(len as usize).await {
        Ok(piece) => {
            let buffer = region.within_mut(memory::split(&mut caller)?.0)?;
            buffer[..piece.len()].copy_from_slice(&piece);
            Ok(piece.len() as i32)
        }
        Err(errno) => Ok(errno.code()),
    }
}

fn trailers(mut caller: Guest<'_>, call: u32, ptr: u32, len: u32) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    let buffer = Region::new("trailers", ptr, len).within_mut(data)?;
    match state.calls.get(call).and_then(OutCall::received) {
        Ok(received) if received.has_ended => Ok(head::write_fields(&received.trailers, buffer) as i32),
        Ok(_) => Ok(Errno::State.code()),
        Err(errno) => Ok(errno.code()),
    }
}

fn error(mut caller: Guest<'_>, call: u32, ptr: u32, len: u32) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    let buffer = Region::new("error", ptr, len).within_mut(data)?;
    let text = match state.calls.get(call) {
        Ok(call) => call.error().map(ToString::to_string).unwrap_or_default(),
        Err(errno) => return Ok(errno.code()),
    };
    if let Some(room) = buffer.get_mut(..text.len()) {
        room.copy_from_slice(text.as_bytes());
    }
    Ok(text.len() as i32)
}
