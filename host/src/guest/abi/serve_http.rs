//! The `serve_http` ABI: what a core module imports from `wasmux:http/1` and the other modules of wasmux.
//!
//! `guest-sdk/abi/ABI.md` is the specification; each function here says its section there. Every number from a guest
//! is checked before use: a bad pointer or block traps, a bad status or field is an errno, nothing is a host error.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::time::Instant;
use tracing::Level;
use wasmtime::{Caller, Linker, Result};
use wasmux_abi::{Errno, FIELD_BLOCK_BYTES_MAX, FIELD_COUNT_MAX, HTTP_MODULE, LOG_MODULE, RESPOND_BYTES_MAX};

use super::super::exchange::Exchange;
use super::super::log;
use super::super::memory::{self, Region};
use super::super::outbox::{Outbox, SendError};
use super::super::request_body::ReadError;
use super::super::state::ModuleState;
use crate::limit::Limit;

mod client;
mod head;
mod instance;
mod keyvalue;
mod next;
mod restore;
mod settings;
mod sql;

pub(super) use instance::can_restore;
pub(in super::super) use instance::{Instance, Linked};

/// Defines the functions of ABI.md sections 4, 5, 6, 9 and 10.
pub(in super::super) fn add_to_linker(linker: &mut Linker<ModuleState>) -> Result<()> {
    linker
        .func_wrap(HTTP_MODULE, "request_head", request_head)?
        .func_wrap_async(HTTP_MODULE, "request_read", |caller, (ptr, len): (u32, u32)| {
            Box::new(request_read(caller, ptr, len))
        })?
        .func_wrap(HTTP_MODULE, "request_trailers", request_trailers)?
        .func_wrap(HTTP_MODULE, "respond", respond)?
        .func_wrap(HTTP_MODULE, "response_timeout", response_timeout)?
        .func_wrap(HTTP_MODULE, "response_interim", response_interim)?
        .func_wrap(HTTP_MODULE, "response_start", response_start)?
        .func_wrap_async(HTTP_MODULE, "response_write", |caller, (ptr, len): (u32, u32)| {
            Box::new(response_write(caller, ptr, len))
        })?
        .func_wrap_async(HTTP_MODULE, "response_flush", |caller, (): ()| Box::new(response_flush(caller)))?
        .func_wrap(HTTP_MODULE, "response_trailers", response_trailers)?
        .func_wrap(HTTP_MODULE, "response_abort", response_abort)?
        .func_wrap(HTTP_MODULE, "client_gone", client_gone)?
        .func_wrap(LOG_MODULE, "log", log_line)?
        .func_wrap(LOG_MODULE, "enabled", log_enabled)?;
    next::add_to_linker(linker)?;
    settings::add_to_linker(linker)?;
    keyvalue::add_to_linker(linker)?;
    sql::add_to_linker(linker)?;
    client::add_to_linker(linker)
}

/// A host call's answer: a value, or an errno.
type Answer<T = ()> = Result<T, Errno>;

fn code(answer: Answer) -> i32 {
    answer.map_or_else(Errno::code, |()| 0)
}

fn exchange(state: &mut ModuleState) -> Result<&mut Exchange> {
    // Functions called from a start function or `_initialize` see the request as well: it is the instance's only one.
    state.core.exchange.as_deref_mut().ok_or_else(|| wasmtime::format_err!("there is no request"))
}

fn request_head(mut caller: Caller<'_, ModuleState>, ptr: u32, len: u32) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    let buffer = Region::new("request_head", ptr, len).within_mut(data)?;
    Ok(head::write(exchange(state)?, buffer) as i32)
}

async fn request_read(mut caller: Caller<'_, ModuleState>, ptr: u32, len: u32) -> Result<i32> {
    let region = Region::new("request_read", ptr, len);
    region.within_mut(memory::split(&mut caller)?.0)?;
    if len == 0 {
        return Ok(0);
    }
    let exchange = exchange(caller.data_mut())?;
    if exchange.request.body.was_handed_on() {
        return Ok(Errno::State.code());
    }
    if exchange.outbox.is_gone() && !exchange.request.body.has_ended() {
        return Ok(Errno::Gone.code());
    }
    match exchange.request.body.read(len as usize).await {
        Ok(chunk) => {
            let buffer = region.within_mut(memory::split(&mut caller)?.0)?;
            buffer[..chunk.len()].copy_from_slice(&chunk);
            Ok(chunk.len() as i32)
        }
        Err(ReadError::Gone) => Ok(Errno::Gone.code()),
        Err(ReadError::Broken | ReadError::Slow) => Ok(Errno::Broken.code()),
        Err(ReadError::Limit) => Ok(Errno::Limit.code()),
    }
}

fn request_trailers(mut caller: Caller<'_, ModuleState>, ptr: u32, len: u32) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    let buffer = Region::new("request_trailers", ptr, len).within_mut(data)?;
    match exchange(state)?.request.body.trailers() {
        Some(trailers) => Ok(head::write_fields(trailers, buffer) as i32),
        None => Ok(Errno::State.code()),
    }
}

fn respond(
    mut caller: Caller<'_, ModuleState>,
    status: u32,
    ptr: u32,
    len: u32,
    body: u32,
    body_len: u32,
) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    let fields = parse_fields("respond", Region::new("respond", ptr, len).within(data)?)?;
    let body = Region::new("respond", body, body_len).within(data)?;
    let outbox = &exchange(state)?.outbox;
    Ok(code(final_status(status).and_then(|status| {
        let fields = checked(outbox, fields, len)?;
        if body.len() > RESPOND_BYTES_MAX {
            return outbox.refuse(Limit::ResponseBody).map_err(errno);
        }
        // The copy is what lets the instance go before the response is written.
        outbox.respond(status, fields, Bytes::copy_from_slice(body)).map_err(errno)
    })))
}

#[allow(clippy::too_many_arguments, reason = "the ABI's own signature, less the caller")]
fn response_timeout(
    mut caller: Caller<'_, ModuleState>,
    ms: u32,
    status: u32,
    ptr: u32,
    len: u32,
    body: u32,
    body_len: u32,
) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    let fields = Region::new("response_timeout", ptr, len).within(data)?;
    let body = Region::new("response_timeout", body, body_len).within(data)?;
    let outbox = &exchange(state)?.outbox;
    if ms == 0 {
        outbox.disarm();
        return Ok(0);
    }
    let fields = parse_fields("response_timeout", fields)?;
    let at = Instant::now() + Duration::from_millis(ms.into());
    Ok(code(final_status(status).and_then(|status| {
        let fields = fields?;
        if body.len() > RESPOND_BYTES_MAX {
            return Err(Errno::Limit);
        }
        outbox.arm(at, status, fields, Bytes::copy_from_slice(body)).map_err(errno)
    })))
}

fn response_interim(mut caller: Caller<'_, ModuleState>, status: u32, ptr: u32, len: u32) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    let fields = parse_fields("response_interim", Region::new("response_interim", ptr, len).within(data)?)?;
    let status_ok = (100..200).contains(&status) && status != 101;
    let valid = if status_ok { fields } else { Err(Errno::Invalid) };
    let exchange = exchange(state)?;
    Ok(code(valid.and_then(|fields| {
        exchange.outbox.may_send_interim(&fields).map_err(errno)?;
        if let (Some(link), Ok(status)) = (&exchange.request.peer.link, StatusCode::try_from(status as u16)) {
            link.send_interim(status, &fields);
        }
        Ok(())
    })))
}

fn response_start(mut caller: Caller<'_, ModuleState>, status: u32, ptr: u32, len: u32) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    let fields = parse_fields("response_start", Region::new("response_start", ptr, len).within(data)?)?;
    let outbox = &exchange(state)?.outbox;
    Ok(code(final_status(status).and_then(|status| {
        let fields = checked(outbox, fields, len)?;
        outbox.start(status, fields).map_err(errno)
    })))
}

async fn response_write(mut caller: Caller<'_, ModuleState>, ptr: u32, len: u32) -> Result<i32> {
    let region = Region::new("response_write", ptr, len);
    let mut written = 0;
    loop {
        match poll_fn(|_| write_from(&mut caller, region, written)).await? {
            Ok(count) => written += count,
            Err(error) => return Ok(errno(error).code()),
        }
        if written == len as usize {
            return Ok(0);
        }
    }
}

/// Writes what there is room for, straight from the guest's memory.
fn write_from(
    caller: &mut Caller<'_, ModuleState>,
    region: Region,
    at: usize,
) -> Poll<Result<Result<usize, SendError>>> {
    let (data, state) = memory::split(caller)?;
    let data = &region.within(data)?[at..];
    exchange(state)?.outbox.write(data).map(Ok)
}

async fn response_flush(mut caller: Caller<'_, ModuleState>) -> Result<i32> {
    let outbox = exchange(caller.data_mut())?.outbox.clone();
    let flushed = poll_fn(|_| outbox.flush()).await;
    Ok(code(flushed.map_err(errno)))
}

fn response_trailers(mut caller: Caller<'_, ModuleState>, ptr: u32, len: u32) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    let fields = parse_fields("response_trailers", Region::new("response_trailers", ptr, len).within(data)?)?;
    let outbox = &exchange(state)?.outbox;
    Ok(code(fields.and_then(|fields| outbox.finish_with(fields).map_err(errno))))
}

fn response_abort(mut caller: Caller<'_, ModuleState>) -> Result<()> {
    exchange(caller.data_mut())?.outbox.abort();
    Ok(())
}

fn client_gone(mut caller: Caller<'_, ModuleState>) -> Result<i32> {
    let exchange = exchange(caller.data_mut())?;
    let link = exchange.request.peer.link.as_ref();
    Ok(i32::from(exchange.outbox.is_gone() || link.is_some_and(|link| link.has_stopped_sending())))
}

fn log_line(mut caller: Caller<'_, ModuleState>, level: i32, ptr: u32, len: u32) -> Result<()> {
    let (data, state) = memory::split(&mut caller)?;
    let text = Region::new("log", ptr, len).within(data)?;
    state.core.log.line(log_level(level), text);
    Ok(())
}

fn log_enabled(_: Caller<'_, ModuleState>, level: i32) -> i32 {
    i32::from(log::is_enabled(log_level(level)))
}

fn log_level(level: i32) -> Level {
    match level {
        ..=1 => Level::ERROR,
        2 => Level::WARN,
        3 => Level::INFO,
        4 => Level::DEBUG,
        _ => Level::TRACE,
    }
}

fn final_status(status: u32) -> Answer<StatusCode> {
    let status = u16::try_from(status).map_err(|_| Errno::Invalid)?;
    if status < 200 { Err(Errno::Invalid) } else { StatusCode::from_u16(status).map_err(|_| Errno::Invalid) }
}

fn errno(error: SendError) -> Errno {
    match error {
        SendError::Gone => Errno::Gone,
        SendError::State => Errno::State,
        SendError::Invalid => Errno::Invalid,
        SendError::Limit => Errno::Limit,
        SendError::NoBody => Errno::NoBody,
        SendError::Length => Errno::Length,
    }
}

/// The fields of a response. Of a block that was too large, `len` bytes, the response takes note.
fn checked(outbox: &Outbox, fields: Answer<HeaderMap>, len: u32) -> Answer<HeaderMap> {
    if let Err(Errno::Limit) = fields {
        let is_large = len as usize > FIELD_BLOCK_BYTES_MAX;
        let limit = if is_large { Limit::ResponseHeaderBytes } else { Limit::ResponseHeaders };
        outbox.refuse(limit).map_err(errno)?;
    }
    fields
}

/// Reads a field block: a malformed one traps, one with names or values that HTTP does not allow is an errno.
fn parse_fields(call: &str, block: &[u8]) -> Result<Answer<HeaderMap>> {
    if block.len() > FIELD_BLOCK_BYTES_MAX {
        return Ok(Err(Errno::Limit));
    }
    let Ok(fields) = wasmux_abi::fields(block) else {
        wasmtime::bail!(
            "{call}: the lengths in the field block do not add up to its own, {} bytes",
            block.len()
        );
    };
    if fields.len() > FIELD_COUNT_MAX {
        return Ok(Err(Errno::Limit));
    }
    let mut headers = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields {
        match (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            (Ok(name), Ok(value)) => headers.append(name, value),
            _ => return Ok(Err(Errno::Invalid)),
        };
    }
    Ok(Ok(headers))
}
