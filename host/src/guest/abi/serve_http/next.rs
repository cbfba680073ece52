//! `wasmux:next/1` (ABI.md section 6): the handler behind this one.

use std::future::poll_fn;

use bytes::Buf as _;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Uri};
use wasmtime::{Caller, Linker, Result};
use wasmux_abi::{Errno, NEXT_MODULE};

use super::super::super::exchange::{Exchange, Incoming, RawTarget};
use super::super::super::memory::{self, Region};
use super::super::super::next::Reply;
use super::super::super::request_body::RequestBody;
use super::super::super::state::ModuleState;
use super::{Answer, code, errno, exchange, head, parse_fields};

type Guest<'c> = Caller<'c, ModuleState>;

pub(super) fn add_to_linker(linker: &mut Linker<ModuleState>) -> Result<()> {
    linker
        .func_wrap_async(NEXT_MODULE, "next_send", |caller, (m, m_len, t, t_len, f, f_len): Sent| {
            Box::new(next_send(caller, [(m, m_len), (t, t_len), (f, f_len)]))
        })?
        .func_wrap(NEXT_MODULE, "next_head", next_head)?
        .func_wrap_async(NEXT_MODULE, "next_read", |caller, (ptr, len): (u32, u32)| {
            Box::new(next_read(caller, ptr, len))
        })?
        .func_wrap(NEXT_MODULE, "next_trailers", next_trailers)?
        .func_wrap_async(NEXT_MODULE, "next_forward", |caller, (): ()| Box::new(next_forward(caller)))?;
    Ok(())
}

type Sent = (u32, u32, u32, u32, u32, u32);

async fn next_send(mut caller: Guest<'_>, parts: [(u32, u32); 3]) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    let [method, target, block] = parts.map(|(ptr, len)| Region::new("next_send", ptr, len));
    let (method, target, block) = (method.within(data)?, target.within(data)?, block.within(data)?);
    let fields = if block.is_empty() { Ok(None) } else { parse_fields("next_send", block)?.map(Some) };
    let Some(next) = state.core.common.next.clone() else { return Ok(Errno::State.code()) };
    let exchange = exchange(state)?;
    let incoming = fields.and_then(|fields| request(exchange, method, target, fields));
    match incoming {
        Ok(incoming) => {
            let reply = Reply::new(next.serve(incoming).await);
            super::exchange(caller.data_mut())?.reply = Some(Box::new(reply));
            Ok(0)
        }
        Err(errno) => Ok(errno.code()),
    }
}

/// The request as the guest hands it on: what it does not give stays as received, the body in any case.
fn request(
    exchange: &mut Exchange,
    method: &[u8],
    target: &[u8],
    fields: Option<HeaderMap>,
) -> Result<Incoming, Errno> {
    if exchange.reply.is_some() || !exchange.outbox.is_open() {
        return Err(Errno::State);
    }
    let outer = &mut exchange.request;
    let mut parts = outer.parts.clone();
    if !method.is_empty() {
        parts.method = Method::from_bytes(method).map_err(|_| Errno::Invalid)?;
    }
    if !target.is_empty() {
        let target = PathAndQuery::try_from(target).map_err(|_| Errno::Invalid)?;
        if !target.as_str().starts_with('/') {
            return Err(Errno::Invalid);
        }
        parts.extensions.remove::<RawTarget>();
        parts.uri = Uri::from(target);
    }
    if let Some(fields) = fields {
        parts.headers = fields;
    }
    let body = std::mem::replace(&mut outer.body, RequestBody::handed_on());
    let (authority, values, id) = (outer.authority.clone(), outer.values.clone(), outer.id.clone());
    let (route, peer, via) = (outer.route.clone(), outer.peer.clone(), outer.via.clone());
    let notes = outer.notes.clone();
    Ok(Incoming { parts, authority, body, route, values, id, peer, via, notes })
}

fn reply(state: &mut ModuleState) -> Result<Option<&mut Reply>> {
    Ok(exchange(state)?.reply.as_deref_mut())
}

fn next_head(mut caller: Guest<'_>, ptr: u32, len: u32) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    let buffer = Region::new("next_head", ptr, len).within_mut(data)?;
    let Some(reply) = reply(state)? else { return Ok(Errno::State.code()) };
    Ok(head::write_response(reply.status, &reply.headers, buffer) as i32)
}

async fn next_read(mut caller: Guest<'_>, ptr: u32, len: u32) -> Result<i32> {
    let region = Region::new("next_read", ptr, len);
    region.within_mut(memory::split(&mut caller)?.0)?;
    let Some(reply) = reply(caller.data_mut())? else { return Ok(Errno::State.code()) };
    if len == 0 {
        return Ok(0);
    }
    if reply.fill().await.is_err() {
        return Ok(Errno::Broken.code());
    }
    let chunk = reply.rest.split_to(reply.rest.len().min(len as usize));
    let buffer = region.within_mut(memory::split(&mut caller)?.0)?;
    buffer[..chunk.len()].copy_from_slice(&chunk);
    Ok(chunk.len() as i32)
}

fn next_trailers(mut caller: Guest<'_>, ptr: u32, len: u32) -> Result<i32> {
    let (data, state) = memory::split(&mut caller)?;
    let buffer = Region::new("next_trailers", ptr, len).within_mut(data)?;
    match reply(state)? {
        Some(reply) if reply.has_ended => Ok(head::write_fields(&reply.trailers, buffer) as i32),
        _ => Ok(Errno::State.code()),
    }
}

/// The rest of the body goes to the client without a detour through the guest.
async fn next_forward(mut caller: Guest<'_>) -> Result<i32> {
    let exchange = exchange(caller.data_mut())?;
    let Some(reply) = exchange.reply.as_deref_mut() else { return Ok(Errno::State.code()) };
    let outbox = exchange.outbox.clone();
    let forwarded: Answer = async {
        loop {
            reply.fill().await.map_err(|_| Errno::Broken)?;
            if reply.rest.is_empty() {
                break;
            }
            let written = poll_fn(|_| outbox.write(&reply.rest)).await.map_err(errno)?;
            reply.rest.advance(written);
        }
        if reply.trailers.is_empty() {
            return Ok(());
        }
        outbox.finish_with(std::mem::take(&mut reply.trailers)).map_err(errno)
    }
    .await;
    Ok(code(forwarded))
}
