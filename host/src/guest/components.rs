//! What a component exports and imports, against what the host expects and provides.

use std::sync::Arc;

use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, InstancePre, Lift, Linker, Lower, TypedFunc,
};
use wasmtime::{Engine, Store};

use super::artifact::{ComponentCode, LoadError};
use super::engine::TABLES_PER_GUEST;
use super::imports;
use super::inspect::Inspection;
use super::limits::Limits;
use super::state::{Common, ComponentState, new_store};

/// Parts that wasmtime keeps for a handle of a task, stream or future: its ends, its state, who waits for it.
const TASK_PARTS: usize = 4;

/// And what it needs for the requests themselves.
const TASK_PARTS_SPARE: usize = 1_000;

/// The standard contracts between host and handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standard {
    /// wasi:http 0.2.
    P2,
    /// wasi:http 0.3.
    P3,
}

impl Standard {
    /// The interface whose function `handle` is called, without its version.
    pub(super) const fn interface(self) -> &'static str {
        match self {
            Self::P2 => "wasi:http/incoming-handler",
            Self::P3 => "wasi:http/handler",
        }
    }

    /// What its versions start with; the linker takes all of them for one (semantic versioning).
    const fn versions(self) -> &'static str {
        match self {
            Self::P2 => "0.2.",
            Self::P3 => "0.3.",
        }
    }

    /// Whether this is the name of its interface, in a version that is not a draft.
    pub(super) fn is_exported_as(self, name: &str) -> bool {
        name.split_once('@').is_some_and(|(interface, version)| {
            interface == self.interface() && version.starts_with(self.versions()) && !version.contains('-')
        })
    }
}

/// Which contract a component keeps: the newest, if it exports both.
///
/// # Errors
/// When it keeps none.
pub(super) fn standard(code: &ComponentCode) -> Result<Standard, LoadError> {
    let found =
        [Standard::P3, Standard::P2].into_iter().find(|&standard| export_name(code, standard).is_some());
    found.ok_or_else(|| LoadError::one(no_handler(&export_names(&code.component, &code.lane.engine))))
}

fn export_names(component: &Component, engine: &Engine) -> Vec<String> {
    component.component_type().exports(engine).map(|(name, _)| name.to_owned()).collect()
}

/// The sentence for a component that no request can be given to.
pub(super) fn no_handler<S: AsRef<str>>(names: &[S]) -> String {
    const NAMED_MAX: usize = 10;
    let named = names.iter().take(NAMED_MAX);
    let mut named: Vec<_> =
        named.map(|name| format!("`{}`", imports::advice::printable(name.as_ref()))).collect();
    if names.len() > NAMED_MAX {
        named.push(format!("{} others", names.len() - NAMED_MAX));
    }
    let exports = if named.is_empty() { "nothing".to_owned() } else { named.join(", ") };
    format!(
        "the component exports neither `wasi:http/incoming-handler@0.2.x` nor `wasi:http/handler@0.3.x`, so no request \
         can be given to it; it exports {exports}{}",
        names.iter().find_map(|name| hint(name.as_ref())).unwrap_or_default()
    )
}

/// What an export says about where a component that is no handler comes from.
fn hint(export: &str) -> Option<&'static str> {
    let (interface, _) = export.split_once('@').unwrap_or((export, ""));
    match interface {
        "wasi:http/incoming-handler" | "wasi:http/handler" => {
            Some(", which is a draft: build it again with a newer SDK")
        }
        "wasi:cli/run" => Some(": it is a program, not a handler; build it with an SDK for wasi:http"),
        "fermyon:spin/inbound-http" => Some(": it is for Spin alone; build it with an SDK for wasi:http"),
        _ => None,
    }
}

fn export_name(code: &ComponentCode, standard: Standard) -> Option<String> {
    export_names(&code.component, &code.lane.engine).into_iter().find(|name| standard.is_exported_as(name))
}

/// A component, linked with what the host provides.
pub(super) struct Linked {
    engine: Engine,
    pre: InstancePre<ComponentState>,
    handle: ComponentExportIndex,
}

impl Linked {
    /// Links it. `fits` says whether a function has the type of `standard`'s `handle`.
    ///
    /// # Errors
    /// With a sentence for each import that nobody provides, or when the handler's function is not as it must be.
    pub(super) fn new(
        code: &ComponentCode,
        standard: Standard,
        fits: fn(&ComponentFunc) -> bool,
    ) -> Result<Self, LoadError> {
        let pre = link(code)?;
        let handle = exported_function(code, standard, fits)?;
        Ok(Self { engine: code.lane.engine.clone(), pre, handle })
    }

    pub(super) fn component(&self) -> &Component {
        self.pre.component()
    }

    /// A store for one instance.
    pub(super) fn store(&self, common: &Arc<Common>) -> Store<ComponentState> {
        let mut store = new_store(&self.engine, ComponentState::new(common));
        // Those in the guest's own tables too, which the host keeps for it, and what one call may hand to the host.
        store.set_max_component_handles(common.handles_max as usize);
        store.set_hostcall_fuel(usize::try_from(common.memory_bytes_max).unwrap_or(usize::MAX));
        if let Some(tasks) = store.concurrent_resource_table() {
            tasks.set_max_capacity(common.handles_max as usize * TASK_PARTS + TASK_PARTS_SPARE);
        }
        store
    }

    /// Instantiates the component in a store of its own, and answers the handler's function.
    ///
    /// # Errors
    /// When the pool is full, or what the guest does at its start traps.
    pub(super) async fn start<Params, Results>(
        &self,
        store: &mut Store<ComponentState>,
    ) -> wasmtime::Result<TypedFunc<Params, Results>>
    where
        Params: ComponentNamedList + Lower + Send + Sync,
        Results: ComponentNamedList + Lift + Send + Sync,
    {
        let instance = self.pre.instantiate_async(&mut *store).await?;
        instance.get_typed_func(store, self.handle)
    }
}

/// Where the handler's function is. `fits` judges its type, in which the host's resources have taken their places: the
/// imports must be satisfied.
///
/// # Errors
/// When it is not there, or has another type.
fn exported_function(
    code: &ComponentCode,
    standard: Standard,
    fits: fn(&ComponentFunc) -> bool,
) -> Result<ComponentExportIndex, LoadError> {
    let (interface, engine) = (standard.interface(), &code.lane.engine);
    let missing = || LoadError::one(format!("`{interface}` has no function `handle` of the standard's type"));
    let name = export_name(code, standard).ok_or_else(missing)?;
    let instance = code.component.get_export_index(None, &name).ok_or_else(missing)?;
    let function = code.component.get_export_index(Some(&instance), "handle").ok_or_else(missing)?;
    let linked = code.lane.components.substituted_component_type(&code.component).map_err(|_| missing())?;
    let Some(ComponentItem::ComponentInstance(instance)) = linked.get_export(engine, &name).map(|it| it.ty)
    else {
        return Err(missing());
    };
    match instance.get_export(engine, "handle").map(|it| it.ty) {
        Some(ComponentItem::ComponentFunc(ty)) if fits(&ty) => Ok(function),
        _ => Err(missing()),
    }
}

/// What a component's memories have together at the start, in bytes. When the same module is instantiated several times,
/// or the binary was not seen, that of the largest one.
pub(super) fn memory_bytes(component: &Component, inspection: Option<&Inspection>) -> u64 {
    let Some(required) = component.resources_required() else { return 0 };
    let defined = inspection.and_then(|inspection| Some((inspection.parts?.memories, inspection.memory?)));
    match defined {
        Some((memories, memory)) if memories == required.num_memories => memory.initial,
        _ => required.max_initial_memory_size.unwrap_or(0),
    }
}

/// Whether the pool, and the handler's limit, have room for one instance.
///
/// # Errors
/// When they never will.
pub(super) fn check_size(code: &ComponentCode, instances: u32, limits: &Limits) -> Result<(), LoadError> {
    let Some(required) = code.component.resources_required() else { return Ok(()) };
    let (memories, tables) = (required.num_memories, required.num_tables);
    let needed = memories.max(tables.div_ceil(TABLES_PER_GUEST));
    if needed > instances {
        return Err(LoadError::one(format!(
            "one instance of it has {memories} memories and {tables} tables, more than `instances` = {instances} makes \
             room for; set it to {needed} at least"
        )));
    }
    if code.memory_bytes > limits.memory_bytes_max {
        let (least, limit) = (code.memory_bytes >> 10, limits.memory_bytes_max >> 10);
        return Err(LoadError::one(format!(
            "the component starts with {least} KiB of memory, but its `memory` limit is {limit} KiB; raise the limit"
        )));
    }
    Ok(())
}

/// Satisfies a component's imports.
///
/// # Errors
/// With a sentence for each import that nobody provides.
fn link(code: &ComponentCode) -> Result<InstancePre<ComponentState>, LoadError> {
    link_with(code, &code.lane.components)
}

/// [`link`], with a linker of one's own.
pub(super) fn link_with(
    code: &ComponentCode,
    linker: &Linker<ComponentState>,
) -> Result<InstancePre<ComponentState>, LoadError> {
    let link = linker.instantiate_pre(&code.component);
    link.map_err(|complaint| imports::explain(&code.component, linker, &complaint))
}
