//! A handler's guest: checked and linked once, then a fresh instance for every request.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Response;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use wasmtime::{
    ExternType, Instance, InstancePre, ModuleExport, PoolConcurrencyLimitError, Store, Trap, UpdateDeadline,
};

use wasmtime_wasi::I32Exit;

use super::artifact::{Artifact, LoadError};
use super::call::{Call, OnDisconnect};
use super::engine::GuestEngine;
use super::exchange::{Exchange, Incoming};
use super::limits::Limits;
use super::outbox::Outbox;
use super::state::State;
use crate::body::Body;
use crate::error::{Error, Kind};

/// How long a request waits for a free instance before it is shed.
const INSTANCE_WAIT: Duration = Duration::from_secs(1);

/// What routes.toml says about a handler, beside its wasm.
#[derive(Clone, Debug, Default)]
pub struct GuestSettings {
    /// The handler's name, for logs.
    pub name: String,
    /// Environment variables it sees, and no others.
    pub env: Vec<(String, String)>,
    /// What a request may use up.
    pub limits: Limits,
    /// What happens when its client goes away.
    pub on_disconnect: OnDisconnect,
}

/// A handler's code, ready to be instantiated.
pub struct Guest {
    engine: GuestEngine,
    pre: InstancePre<State>,
    memory: ModuleExport,
    serve_http: ModuleExport,
    initialize: Option<ModuleExport>,
    name: Arc<str>,
    env: Arc<[(String, String)]>,
    limits: Limits,
    on_disconnect: OnDisconnect,
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guest").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Guest {
    /// Links an artifact with what the host provides.
    ///
    /// # Errors
    /// When an export is missing or has the wrong type, an import has the wrong type, or the memory it starts with is
    /// beyond its limit.
    pub fn new(
        engine: &GuestEngine,
        artifact: &Artifact,
        settings: GuestSettings,
    ) -> Result<Self, LoadError> {
        let module = &artifact.module;
        let pre =
            engine.linker.instantiate_pre(module).map_err(|error| LoadError::one(format!("{error:#}")))?;
        let export = |name: &str| module.get_export_index(name);
        let memory =
            export(wasmux_abi::MEMORY).ok_or_else(|| missing_export("memory", "its linear memory"))?;
        let serve_http =
            export(wasmux_abi::SERVE_HTTP).ok_or_else(|| missing_export("serve_http", "() -> ()"))?;
        if export("_start").is_some() {
            return Err(LoadError::one(
                "the module is a program (it exports `_start`), not a handler".to_owned(),
            ));
        }
        check_signature(artifact, wasmux_abi::SERVE_HTTP)?;
        check_signature(artifact, wasmux_abi::INITIALIZE)?;
        check_memory(artifact, settings.limits.memory_bytes_max)?;
        Ok(Self {
            engine: engine.clone(),
            memory,
            serve_http,
            initialize: export(wasmux_abi::INITIALIZE),
            pre,
            name: settings.name.into(),
            env: settings.env.into(),
            limits: settings.limits,
            on_disconnect: settings.on_disconnect,
        })
    }

    /// The limits of every request.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Answers one request in an instance of its own.
    ///
    /// # Errors
    /// When no byte of a response may leave: see [`Kind`]. Later failures come out of the response's body.
    pub async fn serve(self: Arc<Self>, mut request: Incoming) -> Result<Response<Body>, Error> {
        if request.body.declared_length().is_some_and(|length| length > self.limits.request_body_bytes_max) {
            return Err(Kind::BodyTooLarge.into());
        }
        request.body.limit(self.limits.request_body_bytes_max);
        let outbox = Arc::new(Outbox::new(&request.parts.method, self.limits.response_body_bytes_max));
        let deadline_ms = unix_ms() + self.limits.timeout.as_millis() as u64;
        let deadline = Instant::now() + self.limits.timeout;
        let on_disconnect = self.on_disconnect;
        let exchange = Exchange { request, deadline_ms, outbox: Arc::clone(&outbox) };
        let work = Box::pin(self.run(exchange));
        Call::new(work, outbox, deadline, on_disconnect).first_byte().await
    }

    async fn run(self: Arc<Self>, exchange: Exchange) -> Result<(), Error> {
        let _permit = self.admit().await?;
        let state =
            State::new(exchange, Arc::clone(&self.name), Arc::clone(&self.env), self.limits.memory_bytes_max);
        let mut store = Store::new(&self.engine.engine, state);
        store.limiter(|state| &mut state.limiter);
        store.set_epoch_deadline(1);
        // tokio's own yield, not wasmtime's: it lets the thread poll its sockets before this guest goes on, so that
        // guests that compute for ever cannot starve the others' I/O.
        store.epoch_deadline_callback(|_| {
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
        });
        match self.call(&mut store).await {
            Ok(()) => Ok(()),
            // Runtimes that end a handler by ending the program.
            Err(error) if error.downcast_ref::<I32Exit>().is_some_and(|exit| exit.0 == 0) => Ok(()),
            Err(error) => Err(failure(error, store.data().limiter.refused, self.limits.memory_bytes_max)),
        }
    }

    /// One permit for each instance the pool can hold, so that a full pool is a wait and not an error.
    async fn admit(&self) -> Result<OwnedSemaphorePermit, Error> {
        let permits = Arc::clone(&self.engine.permits);
        let permit = tokio::time::timeout(INSTANCE_WAIT, permits.acquire_owned()).await;
        permit
            .map_err(|_| Error::from(Kind::Overloaded))?
            .map_err(|closed| Error::new(Kind::Internal, closed))
    }

    async fn call(&self, store: &mut Store<State>) -> wasmtime::Result<()> {
        let instance = self.pre.instantiate_async(&mut *store).await?;
        let memory =
            instance.get_module_export(&mut *store, &self.memory).and_then(wasmtime::Extern::into_memory);
        store.data_mut().memory = memory;
        if let Some(initialize) = &self.initialize {
            call_export(&instance, store, initialize).await?;
        }
        call_export(&instance, store, &self.serve_http).await
    }
}

async fn call_export(
    instance: &Instance,
    store: &mut Store<State>,
    export: &ModuleExport,
) -> wasmtime::Result<()> {
    let export = instance.get_module_export(&mut *store, export);
    let Some(function) = export.and_then(wasmtime::Extern::into_func) else {
        wasmtime::bail!("an export checked at load is not a function");
    };
    function.typed::<(), ()>(&*store)?.call_async(&mut *store, ()).await
}

/// Sorts out what made a guest fail.
fn failure(error: wasmtime::Error, memory_refused: bool, memory_bytes_max: u64) -> Error {
    if error.is::<PoolConcurrencyLimitError>() {
        return Error::new(Kind::Overloaded, error);
    }
    let text = describe(&error);
    if memory_refused {
        let limit = memory_bytes_max >> 10;
        return Error::new(
            Kind::Trapped,
            format!("{text}\nnote: `memory.grow` was refused: limit `memory` is {limit} KiB"),
        );
    }
    Error::new(Kind::Trapped, text)
}

/// The trap and the guest's backtrace with function names, innermost first.
fn describe(error: &wasmtime::Error) -> String {
    let cause = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    match error.downcast_ref::<wasmtime::WasmBacktrace>() {
        Some(backtrace) if has_plain_names(backtrace) => format!("{cause}\n{backtrace}"),
        Some(backtrace) => format!("{cause}\n{}", backtrace.to_string().escape_debug()),
        None => cause,
    }
}

/// Names come from the module, which may be anybody's: they must not break the log's form.
fn has_plain_names(backtrace: &wasmtime::WasmBacktrace) -> bool {
    let is_plain = |name: Option<&str>| !name.is_some_and(|name| name.contains(char::is_control));
    backtrace.frames().iter().all(|frame| {
        is_plain(frame.func_name())
            && is_plain(frame.module().name())
            && frame.symbols().iter().all(|symbol| is_plain(symbol.name()) && is_plain(symbol.file()))
    })
}

fn missing_export(name: &str, what: &str) -> LoadError {
    LoadError::one(format!(
        "the module does not export `{name}` ({what}); build it with the SDK's #[handler]"
    ))
}

fn check_signature(artifact: &Artifact, name: &str) -> Result<(), LoadError> {
    let found = match artifact.module.get_export(name) {
        None => return Ok(()),
        Some(ExternType::Func(ty)) if ty.params().len() == 0 && ty.results().len() == 0 => return Ok(()),
        Some(ExternType::Func(_)) => "has parameters or results",
        Some(_) => "is not a function",
    };
    Err(LoadError::one(format!("export `{name}` must be a function () -> (), but {found}")))
}

fn check_memory(artifact: &Artifact, bytes_max: u64) -> Result<(), LoadError> {
    let Some(ExternType::Memory(memory)) = artifact.module.get_export(wasmux_abi::MEMORY) else {
        return Err(LoadError::one("export `memory` is not a linear memory".to_owned()));
    };
    let (least, unit) = (memory.minimum() * memory.page_size(), 1024);
    if least > bytes_max {
        let (least, limit) = (least / unit, bytes_max / unit);
        return Err(LoadError::one(format!(
            "the module starts with {least} KiB of memory, but its `memory` limit is {limit} KiB; raise the limit or \
             link with a smaller stack"
        )));
    }
    Ok(())
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
