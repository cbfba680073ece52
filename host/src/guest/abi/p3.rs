//! wasi:http 0.3: components that export the async function `handler.handle(request)`.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::types::ComponentFunc;
use wasmtime::component::{Linker, Resource, ResourceType, Type, TypedFunc, TypedFuncCallConcurrent};
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p3::{Request, Response};

use self::answer::answer;
use self::settled::settled;
use super::super::components::Linked;
use super::super::pace::paced;
use super::super::state::{Common, ComponentState, Core};
use super::Stop;
use crate::error::{Error, Kind};

mod answer;
mod next;
mod settled;
mod shared;

pub(in super::super) use self::shared::serve as serve_shared;

type Params = (Resource<Request>,);
type Answered = (Result<Resource<Response>, ErrorCode>,);
type Handle = TypedFunc<Params, Answered>;
type Called = TypedFuncCallConcurrent<ComponentState, Params, Answered>;

/// Defines the whole of WASI 0.3 and of wasi:http 0.3, and the handler behind a middleware.
pub(in super::super) fn add_to_linker(linker: &mut Linker<ComponentState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p3::add_to_linker(linker)?;
    wasmtime_wasi_http::p3::add_to_linker(linker)?;
    next::add_to_linker(linker)
}

/// Whether this is [`Handle`]'s type; of the errors, only that there are any.
pub(super) fn fits(function: &ComponentFunc) -> bool {
    let own_request = Type::Own(ResourceType::host::<Request>());
    let own_response = Type::Own(ResourceType::host::<Response>());
    let mut results = function.results();
    let is_answer = match (results.next(), results.next()) {
        (Some(Type::Result(answer)), None) => {
            answer.ok() == Some(own_response) && matches!(answer.err(), Some(Type::Variant(_)))
        }
        _ => false,
    };
    function.async_() && function.params().map(|(_, ty)| ty).eq([own_request]) && is_answer
}

/// One instance and its store.
pub(in super::super) struct Instance {
    linked: Arc<Linked>,
    pub(super) store: Store<ComponentState>,
    handle: Option<Handle>,
}

impl Instance {
    pub(super) fn new(linked: &Arc<Linked>, common: &Arc<Common>) -> Self {
        Self { linked: Arc::clone(linked), store: linked.store(common), handle: None }
    }

    /// What of the guest is called; instantiates it the first time.
    async fn start(&mut self) -> wasmtime::Result<Handle> {
        if let Some(handle) = self.handle {
            return Ok(handle);
        }
        Ok(*self.handle.insert(Box::pin(self.linked.start(&mut self.store)).await?))
    }

    fn core(&mut self) -> &mut Core {
        &mut self.store.data_mut().core
    }

    pub(super) async fn serve(&mut self) -> Result<(), Stop> {
        let exchange = self.core().exchange.take();
        let Some(exchange) = exchange else { return Err(Error::from(Kind::Internal).into()) };
        // A drain waits for what belongs to the connection: here until the guest has done all of its work.
        let _peer = Arc::clone(&exchange.request.peer);
        let handle = self.start().await?;
        exchange.instantiated();
        let outbox = Arc::clone(&exchange.outbox);
        let (store, pulse) = (&mut self.store, Arc::clone(&exchange.pulse));
        // Each in its place: by value they would be moved, and they are large.
        let work = pin!(store.run_concurrent(async |accessor| {
            answer(accessor, handle, exchange, None).await?;
            // What the guest still does after its response belongs to this request.
            poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
            Ok(())
        }));
        let work = pin!(settled(&pulse, work));
        paced(&pulse, &outbox, work).await?
    }
}
