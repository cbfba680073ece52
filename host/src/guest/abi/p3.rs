//! wasi:http 0.3: components that export the async function `handler.handle(request)`.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use http_body::Body as _;
use http_body_util::combinators::UnsyncBoxBody;
use wasmtime::component::{Accessor, ComponentExportIndex, InstancePre, Linker, Resource, TypedFunc};
use wasmtime::{Engine, Store};
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p3::{Request, Response};
use wasmtime_wasi_http::{Error as HttpError, FieldMap};

use super::super::artifact::{ComponentCode, LoadError};
use super::super::components::{self, Standard};
use super::super::exchange::Exchange;
use super::super::outbox::Outbox;
use super::super::state::{Common, ComponentState, new_store};
use super::Stop;
use crate::error::{Error, Kind};

type Handle = TypedFunc<(Resource<Request>,), (Result<Resource<Response>, ErrorCode>,)>;

/// Defines the whole of WASI 0.3 and of wasi:http 0.3.
pub(in super::super) fn add_to_linker(linker: &mut Linker<ComponentState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p3::add_to_linker(linker)?;
    wasmtime_wasi_http::p3::add_to_linker(linker)
}

/// A component, linked.
pub(in super::super) struct Linked {
    engine: Engine,
    pre: InstancePre<ComponentState>,
    handle: ComponentExportIndex,
}

impl Linked {
    pub(super) fn new(code: &ComponentCode) -> Result<Self, LoadError> {
        let handle = components::exported_function(code, Standard::P3)?;
        Ok(Self { engine: code.lane.engine.clone(), pre: components::link(code)?, handle })
    }
}

/// One instance and its store.
pub(in super::super) struct Instance {
    linked: Arc<Linked>,
    pub(super) store: Store<ComponentState>,
    handle: Option<Handle>,
}

impl Instance {
    pub(super) fn new(linked: &Arc<Linked>, common: &Common) -> Self {
        let store = new_store(&linked.engine, ComponentState::new(common));
        Self { linked: Arc::clone(linked), store, handle: None }
    }

    pub(super) async fn serve(&mut self) -> Result<(), Stop> {
        let exchange = self.store.data_mut().core.exchange.take();
        let Some(exchange) = exchange else { return Err(Error::from(Kind::Internal).into()) };
        let Self { linked, store, handle } = self;
        let handle = match handle {
            Some(handle) => *handle,
            None => {
                let instance = linked.pre.instantiate_async(&mut *store).await?;
                let function = instance.get_typed_func(&mut *store, linked.handle)?;
                *handle.insert(function)
            }
        };
        store
            .run_concurrent(async |accessor| {
                answer(accessor, handle, exchange).await?;
                // What the guest still does after its response belongs to this request.
                poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
                Ok(())
            })
            .await?
    }
}

/// Runs the guest's function, and sends what it answers to the outbox.
async fn answer(accessor: &Accessor<ComponentState>, handle: Handle, exchange: Exchange) -> Result<(), Stop> {
    let outbox = exchange.outbox;
    let (parts, body) = exchange.request.into_http().into_parts();
    let uri = parts.uri.into_parts();
    let headers =
        accessor.with(|mut store| FieldMap::new_immutable(&mut store.data_mut().hooks, parts.headers));
    let (request, processed) =
        Request::new(parts.method, uri.scheme, uri.authority, uri.path_and_query, headers, None, body);
    let request =
        accessor.with(|mut store| store.data_mut().table.push(request)).map_err(wasmtime::Error::from)?;
    let (response,) = handle.call_concurrent(accessor, (request,)).await?;
    let response = match response {
        Ok(response) => response,
        Err(code) => return Err(Error::new(Kind::GuestError, format!("{code:?}")).into()),
    };
    let response = accessor.with(|mut store| {
        let response = store.data_mut().table.delete(response)?;
        response.into_http(&mut store, processed)
    })?;
    let (parts, body) = response.into_parts();
    outbox.open(parts.status, parts.headers).map_err(|cause| Error::new(Kind::BadResponse, cause))?;
    send(&outbox, body).await
}

async fn send(outbox: &Outbox, mut body: UnsyncBoxBody<bytes::Bytes, HttpError>) -> Result<(), Stop> {
    loop {
        // A client that has gone away is told to the guest by dropping its stream.
        if poll_fn(|cx| outbox.poll_room(cx)).await.is_err() {
            return Ok(());
        }
        match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            None => {
                let _ = outbox.complete(None);
                return Ok(());
            }
            Some(Err(error)) => return Err(Error::new(Kind::BadResponse, format!("{error:?}")).into()),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => drop(outbox.push(&data)),
                Err(frame) => {
                    let _ = outbox.complete(frame.into_trailers().ok());
                    return Ok(());
                }
            },
        }
    }
}
