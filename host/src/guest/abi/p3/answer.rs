//! One request and its response, inside a store that may have others.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::combinators::UnsyncBoxBody;
use wasmtime::component::Accessor;
use wasmtime_wasi_http::p3::Request;
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::{Error as HttpError, FieldMap};

use super::super::super::exchange::Exchange;
use super::super::super::failure::answered;
use super::super::super::masks::Masks;
use super::super::super::next::Origin;
use super::super::super::outbox::{Broken, Outbox, SendError};
use super::super::super::state::ComponentState;
use super::super::Stop;
use super::{Called, Handle};
use crate::error::{Error, Kind};
use crate::limit::Limit;

/// Runs the guest's function, and sends what it answers to the outbox. `origin` is for those who have several requests.
pub(super) async fn answer(
    accessor: &Accessor<ComponentState>,
    handle: Handle,
    exchange: Box<Exchange>,
    origin: Option<Origin>,
) -> Result<(), Stop> {
    let Exchange { request, outbox, .. } = *exchange;
    let (parts, body) = request.into_http().into_parts();
    let uri = parts.uri.into_parts();
    let is_told_apart = origin.is_some();
    let (call, processed) = accessor.with(|mut store| {
        let state = store.data_mut();
        let headers = FieldMap::new_immutable(&mut state.hooks, parts.headers);
        let (request, processed) =
            Request::new(parts.method, uri.scheme, uri.authority, uri.path_and_query, headers, None, body);
        let request = state.table.push(request)?;
        let call = handle.start_call_concurrent(&mut store, (request,))?;
        if let Some(origin) = origin {
            store.data_mut().origins.push((call.task(), origin));
        }
        wasmtime::error::Ok((call, processed))
    })?;
    let task = call.task();
    let answered = respond(accessor, handle, call, processed, &outbox).await;
    if is_told_apart {
        accessor.with(|mut store| store.data_mut().origins.retain(|(known, _)| *known != task));
    }
    answered
}

/// Waits for what the function returns, and sends it.
async fn respond(
    accessor: &Accessor<ComponentState>,
    handle: Handle,
    call: Called,
    processed: impl Future<Output = Result<(), HttpError>> + Send + 'static,
    outbox: &Outbox,
) -> Result<(), Stop> {
    let (response,) = handle.finish_call_concurrent(accessor, call).await?;
    let masks = accessor.with(|mut store| Arc::clone(&store.data_mut().core.common.masks));
    let response = match response {
        Ok(response) => response,
        // The guest has read what the host did not let it read on.
        Err(ErrorCode::HttpRequestBodySize(_)) => return Err(Error::from(Limit::RequestBody).into()),
        Err(code) => return Err(answered(&code, &masks).into()),
    };
    let response = accessor.with(|mut store| {
        let response = store.data_mut().table.delete(response)?;
        response.into_http(&mut store, processed)
    })?;
    let (parts, body) = response.into_parts();
    outbox.open(parts.status, parts.headers)?;
    send(outbox, body, &masks).await
}

/// Moves the body into the outbox, piece by piece as there is room. Dropping it tells the guest that nobody reads on.
async fn send(outbox: &Outbox, mut body: UnsyncBoxBody<Bytes, HttpError>, masks: &Masks) -> Result<(), Stop> {
    if outbox.has_no_content() {
        let _ = outbox.complete(None);
        return Ok(());
    }
    loop {
        if let Err(error) = poll_fn(|cx| outbox.poll_room(cx)).await {
            return refused(outbox, error);
        }
        match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            None => return complete(outbox, None),
            Some(Err(error)) => {
                return Err(Error::new(Kind::BadResponse, masks.apply(&unfinished(&error))).into());
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    if let Err(error) = outbox.push(&data) {
                        return refused(outbox, error);
                    }
                }
                Err(frame) => return complete(outbox, frame.into_trailers().ok()),
            },
        }
    }
}

fn complete(outbox: &Outbox, trailers: Option<http::HeaderMap>) -> Result<(), Stop> {
    outbox.complete(trailers).or_else(|error| refused(outbox, error))
}

/// What becomes of the request when no more of its response is taken.
fn refused(outbox: &Outbox, error: SendError) -> Result<(), Stop> {
    match error {
        SendError::Limit => match outbox.broken() {
            Some(Broken::Limit(limit)) => Err(Error::from(limit).into()),
            _ => Err(Error::from(Limit::ResponseBody).into()),
        },
        SendError::Length => {
            Err(Error::new(Kind::BadResponse, "its body is not as long as its Content-Length").into())
        }
        // Nobody is there for it, or it is complete.
        SendError::Gone | SendError::State | SendError::Invalid | SendError::NoBody => Ok(()),
    }
}

/// Why a body ended before it was complete, in words.
fn unfinished(error: &HttpError) -> String {
    match error {
        HttpError::HttpResponseBodySize(Some(length)) => {
            format!("its body is not as long as its Content-Length: {length} bytes")
        }
        HttpError::HttpResponseBodySize(None) => "its body is not as long as its Content-Length".to_owned(),
        error => format!("its body ended with an error: {error}"),
    }
}
