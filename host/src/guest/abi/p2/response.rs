//! The response of `wasi:http/types` 0.2: `outgoing-response`, `outgoing-body` and `response-outparam`, on the outbox.
//!
//! The functions here take the place of wasmtime-wasi-http's. Each says what its WIT function says; what differs from
//! there is said where it differs.

use std::sync::Arc;

use http::StatusCode;
use wasmtime::component::{Linker, LinkerInstance, Resource, ResourceType};
use wasmtime::{Result, StoreContextMut};
use wasmtime_wasi::p2::DynOutputStream;
use wasmtime_wasi_http::FieldMap;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, OutgoingRequest};
use wasmtime_wasi_http::p2::body::{HostOutgoingBody, StreamContext};

use super::super::super::exchange::Peer;
use super::super::super::failure::answered;
use super::super::super::held::{Held, field_bytes};
use super::super::super::outbox::Outbox;
use super::super::super::state::ComponentState;
use super::pipe::{Pipe, PipeStream};

/// The interface, at the version that wasmtime-wasi-http defines it with; imports of other 0.2 versions find it too.
const TYPES: &str = "wasi:http/types@0.2.12";

/// Body bytes of an outgoing request that wait for the network, in one chunk.
const REQUEST_CHUNK_BYTES: usize = 64 * 1024;

/// `outgoing-response`.
struct OutgoingResponse {
    status: StatusCode,
    headers: FieldMap,
    body: Option<Arc<Pipe>>,
    _held: Held,
}

/// `outgoing-body`: of a response, or of a request that the guest sends itself.
enum OutgoingBody {
    Response { pipe: Arc<Pipe>, was_written: bool },
    Request(HostOutgoingBody),
}

/// `response-outparam`.
pub(super) struct ResponseOutparam {
    pub(super) outbox: Arc<Outbox>,
    pub(super) peer: Arc<Peer>,
}

type Store<'a> = StoreContextMut<'a, ComponentState>;

pub(super) fn add_to_linker(linker: &mut Linker<ComponentState>) -> Result<()> {
    let mut types = linker.instance(TYPES)?;
    resource::<OutgoingResponse>(&mut types, "outgoing-response", |_| ())?;
    resource::<ResponseOutparam>(&mut types, "response-outparam", |_| ())?;
    // Without `finish` the body counts as incomplete.
    resource::<OutgoingBody>(&mut types, "outgoing-body", |body| match body {
        OutgoingBody::Response { pipe, .. } => pipe.abandon(),
        OutgoingBody::Request(body) => body.abort(),
    })?;
    types.func_wrap("[constructor]outgoing-response", new)?;
    types.func_wrap("[method]outgoing-response.status-code", status_code)?;
    types.func_wrap("[method]outgoing-response.set-status-code", set_status_code)?;
    types.func_wrap("[method]outgoing-response.headers", headers)?;
    types.func_wrap("[method]outgoing-response.body", response_body)?;
    types.func_wrap("[method]outgoing-request.body", request_body)?;
    types.func_wrap("[method]outgoing-body.write", write)?;
    types.func_wrap("[static]outgoing-body.finish", finish)?;
    types.func_wrap("[method]response-outparam.send-informational", send_informational)?;
    types.func_wrap("[static]response-outparam.set", set)
}

fn resource<T: Send + 'static>(
    types: &mut LinkerInstance<'_, ComponentState>,
    name: &str,
    dropped: impl Fn(T) + Send + Sync + 'static,
) -> Result<()> {
    types.resource(name, ResourceType::host::<T>(), move |mut store, rep| {
        dropped(store.data_mut().table.delete(Resource::new_own(rep))?);
        Ok(())
    })
}

fn new(mut store: Store<'_>, (headers,): (Resource<FieldMap>,)) -> Result<(Resource<OutgoingResponse>,)> {
    let ComponentState { table, response_bytes, .. } = store.data_mut();
    let mut headers = table.delete(headers)?;
    headers.set_immutable();
    let held = Held::new(response_bytes, field_bytes(&headers));
    let response = OutgoingResponse { status: StatusCode::OK, headers, body: None, _held: held };
    Ok((table.push(response)?,))
}

fn status_code(mut store: Store<'_>, (response,): (Resource<OutgoingResponse>,)) -> Result<(u16,)> {
    Ok((store.data_mut().table.get(&response)?.status.as_u16(),))
}

fn set_status_code(
    mut store: Store<'_>,
    (response, status): (Resource<OutgoingResponse>, u16),
) -> Result<(Result<(), ()>,)> {
    let response = store.data_mut().table.get_mut(&response)?;
    let status = StatusCode::from_u16(status).map_err(drop);
    Ok((status.map(|status| response.status = status),))
}

fn headers(
    mut store: Store<'_>,
    (response,): (Resource<OutgoingResponse>,),
) -> Result<(Resource<FieldMap>,)> {
    let table = &mut store.data_mut().table;
    let headers = table.get(&response)?.headers.clone();
    Ok((table.push(headers)?,))
}

fn response_body(
    mut store: Store<'_>,
    (response,): (Resource<OutgoingResponse>,),
) -> Result<(Result<Resource<OutgoingBody>, ()>,)> {
    let ComponentState { table, early_bytes, .. } = store.data_mut();
    let response = table.get_mut(&response)?;
    if response.body.is_some() {
        return Ok((Err(()),));
    }
    let pipe = Arc::clone(response.body.insert(Arc::new(Pipe::new(Arc::clone(early_bytes)))));
    Ok((Ok(table.push(OutgoingBody::Response { pipe, was_written: false })?),))
}

fn request_body(
    mut store: Store<'_>,
    (request,): (Resource<OutgoingRequest>,),
) -> Result<(Result<Resource<OutgoingBody>, ()>,)> {
    let table = &mut store.data_mut().table;
    let request = table.get_mut(&request)?;
    let length = request.headers.get(http::header::CONTENT_LENGTH);
    let length = length.map(|text| text.to_str().ok().and_then(|text| text.parse().ok()).ok_or(()));
    let (None, Ok(length)) = (&request.body, length.transpose()) else { return Ok((Err(()),)) };
    let (body, sent) = HostOutgoingBody::new(StreamContext::Request, length, 1, REQUEST_CHUNK_BYTES);
    request.body = Some(sent);
    Ok((Ok(table.push(OutgoingBody::Request(body))?),))
}

fn write(
    mut store: Store<'_>,
    (body,): (Resource<OutgoingBody>,),
) -> Result<(Result<Resource<DynOutputStream>, ()>,)> {
    let table = &mut store.data_mut().table;
    let stream: Option<DynOutputStream> = match table.get_mut(&body)? {
        OutgoingBody::Response { was_written: true, .. } => None,
        OutgoingBody::Response { pipe, was_written } => {
            *was_written = true;
            Some(Box::new(PipeStream(Arc::clone(pipe))))
        }
        OutgoingBody::Request(body) => body.take_output_stream(),
    };
    let Some(stream) = stream else { return Ok((Err(()),)) };
    Ok((Ok(table.push_child(stream, &body)?),))
}

fn finish(
    mut store: Store<'_>,
    (body, trailers): (Resource<OutgoingBody>, Option<Resource<FieldMap>>),
) -> Result<(Result<(), ErrorCode>,)> {
    let table = &mut store.data_mut().table;
    let body = table.delete(body)?;
    let trailers = trailers.map(|trailers| table.delete(trailers)).transpose()?;
    Ok((match body {
        OutgoingBody::Response { pipe, .. } => pipe.finish(trailers.map(Into::into)),
        OutgoingBody::Request(body) => body.finish(trailers),
    },))
}

fn send_informational(
    mut store: Store<'_>,
    (outparam, status, headers): (Resource<ResponseOutparam>, u16, Resource<FieldMap>),
) -> Result<(Result<(), ErrorCode>,)> {
    let table = &mut store.data_mut().table;
    let headers = table.delete(headers)?;
    let ResponseOutparam { outbox, peer } = table.get(&outparam)?;
    let status = StatusCode::from_u16(status)
        .ok()
        .filter(|&status| status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS);
    let (Some(status), Ok(())) = (status, outbox.may_send_interim(&headers)) else {
        return Ok((Err(ErrorCode::HttpProtocolError),));
    };
    if let Some(link) = &peer.link {
        link.send_interim(status, &headers);
    }
    Ok((Ok(()),))
}

/// Sends the head of the response; what its body has so far, and what it will have, follows.
fn set(
    mut store: Store<'_>,
    (outparam, response): (Resource<ResponseOutparam>, Result<Resource<OutgoingResponse>, ErrorCode>),
) -> Result<()> {
    let state = store.data_mut();
    let ResponseOutparam { outbox, .. } = state.table.delete(outparam)?;
    let response = match response {
        Ok(response) => state.table.delete(response)?,
        Err(code) => {
            state.fault = Some(answered(&code, &state.core.common.masks));
            return Ok(());
        }
    };
    let OutgoingResponse { status, headers, body, .. } = response;
    if let Err(error) = outbox.open(status, headers.into()) {
        state.fault = Some(error);
        return Ok(());
    }
    match body {
        Some(pipe) => pipe.attach(outbox),
        None => drop(outbox.complete(None)),
    }
    Ok(())
}
