//! wasi:http 0.2: components that export `incoming-handler.handle(request, response-outparam)`.
//!
//! wasmtime-wasi-http provides the types, except for those of the response: its own go through two channels and a task,
//! ours straight into the outbox (see `response`).

use std::pin::pin;
use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::types::ComponentFunc;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable, ResourceType, Type, TypedFunc};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::bindings::io;
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::p2::bindings::http::types::{IncomingRequest, Scheme};

use self::response::ResponseOutparam;
use super::super::components::Linked;
use super::super::exchange::Exchange;
use super::super::pace::paced;
use super::super::state::{Common, ComponentState};
use super::Stop;
use crate::error::{Error, Kind};

mod pipe;
mod response;

type Handle = TypedFunc<(Resource<IncomingRequest>, Resource<ResponseOutparam>), ()>;

/// Defines the whole of WASI 0.2 and of wasi:http 0.2.
pub(in super::super) fn add_to_linker(linker: &mut Linker<ComponentState>) -> wasmtime::Result<()> {
    let mut options = wasmtime_wasi::p2::bindings::LinkOptions::default();
    options.network_error_code(true);
    wasmtime_wasi::p2::add_to_linker_with_options_async(linker, &options)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    linker.allow_shadowing(true);
    io::error::add_to_linker::<_, Io>(linker, table)?;
    io::poll::add_to_linker::<_, Io>(linker, table)?;
    io::streams::add_to_linker::<_, Io>(linker, table)?;
    response::add_to_linker(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// What `wasi:io` needs: the table. wasmtime-wasi takes it from a WASI context, which costs microseconds to make, and many guests
/// use for nothing else.
struct Io;

impl HasData for Io {
    type Data<'s> = &'s mut ResourceTable;
}

fn table(state: &mut ComponentState) -> &mut ResourceTable {
    &mut state.table
}

/// Whether this is [`Handle`]'s type.
pub(super) fn fits(function: &ComponentFunc) -> bool {
    let own_request = Type::Own(ResourceType::host::<IncomingRequest>());
    let own_outparam = Type::Own(ResourceType::host::<ResponseOutparam>());
    let params = function.params().map(|(_, ty)| ty);
    !function.async_() && params.eq([own_request, own_outparam]) && function.results().len() == 0
}

/// One instance and its store.
pub(in super::super) struct Instance {
    linked: Arc<Linked>,
    pub(super) store: Store<ComponentState>,
    handle: Option<Handle>,
    has_exited: bool,
}

impl Instance {
    pub(super) fn new(linked: &Arc<Linked>, common: &Arc<Common>) -> Self {
        Self { linked: Arc::clone(linked), store: linked.store(common), handle: None, has_exited: false }
    }

    pub(super) fn may_serve_again(&self) -> bool {
        !self.has_exited
    }

    pub(super) async fn serve(&mut self) -> Result<(), Stop> {
        let exchange = self.store.data_mut().core.exchange.take();
        let Some(exchange) = exchange else { return Err(Error::from(Kind::Internal).into()) };
        let outbox = Arc::clone(&exchange.outbox);
        let pulse = Arc::clone(&exchange.pulse);
        let ended = {
            let work = pin!(self.call(exchange));
            paced(&pulse, &outbox, work).await
        };
        match ended {
            Ok(()) => {}
            // Runtimes that end a handler by ending the program.
            Err(error) if error.downcast_ref::<I32Exit>().is_some_and(|exit| exit.0 == 0) => {
                self.has_exited = true;
            }
            Err(error) => return Err(error.into()),
        }
        if let Some(fault) = self.store.data_mut().fault.take() {
            return Err(fault.into());
        }
        if outbox.is_open() {
            let cause = "it returned, or dropped its `response-outparam`, without `response-outparam.set`";
            return Err(Error::new(Kind::NoResponse, cause).into());
        }
        Ok(())
    }

    async fn call(&mut self, exchange: Box<Exchange>) -> wasmtime::Result<()> {
        let Self { linked, store, handle, .. } = self;
        let handle = match handle {
            Some(handle) => *handle,
            None => *handle.insert(Box::pin(linked.start(store)).await?),
        };
        exchange.instantiated();
        let scheme = match exchange.request.peer.scheme {
            "https" => Scheme::Https,
            _ => Scheme::Http,
        };
        let Exchange { request, outbox, .. } = *exchange;
        let outparam = ResponseOutparam { outbox, peer: Arc::clone(&request.peer) };
        let request = store.data_mut().http().new_incoming_request(scheme, request.into_http())?;
        let outparam = store.data_mut().table.push(outparam)?;
        handle.call_async(store, (request, outparam)).await
    }
}
