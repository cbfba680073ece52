//! A core module and its instances: the exports it must have, looked up once, and the calls into them.

use std::sync::Arc;

use wasmtime::{Engine, ExternType, InstancePre, Module, ModuleExport, Store, TypedFunc};
use wasmtime_wasi::I32Exit;

use super::super::super::artifact::LoadError;
use super::super::super::engine::GuestEngine;
use super::super::super::limits::Limits;
use super::super::super::state::{Common, ModuleState, new_store};
use super::super::Stop;
use super::restore::{Baseline, Restorer};

/// A module, linked.
pub(in super::super::super) struct Linked {
    engine: Engine,
    pre: InstancePre<ModuleState>,
    memory: ModuleExport,
    serve_http: ModuleExport,
    initialize: Option<ModuleExport>,
    /// None where instances are not to be put back, or cannot be.
    restorer: Option<Restorer>,
}

impl Linked {
    /// `restores`: whether instances are to be put back into the state that they were made in.
    pub(in super::super) fn new(
        engine: &GuestEngine,
        module: &Module,
        limits: &Limits,
        restores: bool,
    ) -> Result<Self, LoadError> {
        let pre = engine.modules().instantiate_pre(module);
        let pre = pre.map_err(|error| LoadError::one(format!("{error:#}")))?;
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
        check_signature(module, wasmux_abi::SERVE_HTTP)?;
        check_signature(module, wasmux_abi::INITIALIZE)?;
        check_memory(module, limits.memory_bytes_max)?;
        let initialize = export(wasmux_abi::INITIALIZE);
        let restorer = if restores { Restorer::new(module) } else { None };
        Ok(Self { engine: engine.plain().engine.clone(), pre, memory, serve_http, initialize, restorer })
    }

    pub(in super::super) fn module(&self) -> &Module {
        self.pre.module()
    }
}

/// Whether instances can be put back into the state that they were made in.
pub(in super::super) fn can_restore(module: &Module) -> bool {
    Restorer::new(module).is_some()
}

/// One instance and its store.
pub(in super::super::super) struct Instance {
    linked: Arc<Linked>,
    pub(in super::super) store: Store<ModuleState>,
    live: Option<Live>,
    /// The guest has ended itself.
    has_exited: bool,
}

/// What is looked up once.
struct Live {
    serve_http: TypedFunc<(), ()>,
    initialize: Option<TypedFunc<(), ()>>,
    /// The guest has been initialised and not been put back since.
    is_initialized: bool,
    baseline: Option<Baseline>,
}

impl Instance {
    pub(in super::super) fn new(linked: &Arc<Linked>, common: &Arc<Common>) -> Self {
        let store = new_store(&linked.engine, ModuleState::new(common));
        Self { linked: Arc::clone(linked), store, live: None, has_exited: false }
    }

    pub(in super::super) async fn serve(&mut self) -> Result<(), Stop> {
        match self.call().await {
            // Runtimes that end a handler by ending the program.
            Err(error) if error.downcast_ref::<I32Exit>().is_some_and(|exit| exit.0 == 0) => {
                self.has_exited = true;
                Ok(())
            }
            ended => ended.map_err(Stop::from),
        }
    }

    pub(in super::super) fn may_serve_again(&self) -> bool {
        !self.has_exited
    }

    /// Puts the instance back into the state that it was made in, as if nothing had run yet; says whether that could be done.
    /// If not, it is of no further use.
    pub(in super::super) fn restore(&mut self) -> bool {
        let Self { linked, store, live, .. } = self;
        let Some(live) = live else { return false };
        let (Some(restorer), Some(baseline)) = (&linked.restorer, &live.baseline) else { return false };
        store.data_mut().renew();
        live.is_initialized = false;
        restorer.put_back(baseline, store)
    }

    async fn call(&mut self) -> wasmtime::Result<()> {
        let Self { linked, store, live, .. } = self;
        let live = match live {
            Some(live) => live,
            None => {
                let made = live.insert(Live::new(linked, store).await?);
                store.data().core.exchange.iter().for_each(|exchange| exchange.instantiated());
                made
            }
        };
        if !live.is_initialized {
            if let Some(initialize) = &live.initialize {
                initialize.call_async(&mut *store, ()).await?;
            }
            live.is_initialized = true;
        }
        live.serve_http.call_async(&mut *store, ()).await
    }
}

impl Live {
    async fn new(linked: &Linked, store: &mut Store<ModuleState>) -> wasmtime::Result<Self> {
        let instance = linked.pre.instantiate_async(&mut *store).await?;
        let memory = instance.get_module_export(&mut *store, &linked.memory);
        store.data_mut().memory = memory.and_then(wasmtime::Extern::into_memory);
        let baseline =
            linked.restorer.as_ref().and_then(|restorer| restorer.remember(&instance, &mut *store));
        let serve_http = function(&instance, store, &linked.serve_http)?;
        let initialize = linked.initialize.as_ref();
        let initialize = initialize.map(|export| function(&instance, store, export)).transpose()?;
        Ok(Self { serve_http, initialize, is_initialized: false, baseline })
    }
}

fn function(
    instance: &wasmtime::Instance,
    store: &mut Store<ModuleState>,
    export: &ModuleExport,
) -> wasmtime::Result<TypedFunc<(), ()>> {
    let export = instance.get_module_export(&mut *store, export);
    let Some(function) = export.and_then(wasmtime::Extern::into_func) else {
        wasmtime::bail!("an export checked at load is not a function");
    };
    function.typed(&*store)
}

fn missing_export(name: &str, what: &str) -> LoadError {
    LoadError::one(format!(
        "the module does not export `{name}` ({what}); build it with the SDK's #[handler]"
    ))
}

fn check_signature(module: &Module, name: &str) -> Result<(), LoadError> {
    let found = match module.get_export(name) {
        None => return Ok(()),
        Some(ExternType::Func(ty)) if ty.params().len() == 0 && ty.results().len() == 0 => return Ok(()),
        Some(ExternType::Func(_)) => "has parameters or results",
        Some(_) => "is not a function",
    };
    Err(LoadError::one(format!("export `{name}` must be a function () -> (), but {found}")))
}

fn check_memory(module: &Module, bytes_max: u64) -> Result<(), LoadError> {
    let Some(ExternType::Memory(memory)) = module.get_export(wasmux_abi::MEMORY) else {
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
