//! What a component imports: which of it the host has, and who could provide the rest.
//!
//! wasmtime's linker stops at the first import it cannot satisfy, and does not say what it holds. So each name is asked
//! for on its own, by a tiny component that imports nothing else; semantic versioning applies there as it does in the end.

use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, LinkerInstance, ResourceType};

use super::artifact::LoadError;

pub(super) mod advice;

/// Imports that are looked at one by one; nobody reads a longer list. Beyond it only wasmtime's first complaint counts.
const SURVEYED_MAX: usize = 1_000;

/// Missing imports that are named; of the rest, how many there are.
pub(super) const NAMED_MAX: usize = 20;

/// One import of a component.
pub(super) struct Import {
    pub(super) name: String,
    pub(super) standing: Standing,
    item: ComponentItem,
}

/// How the host stands to an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has something of this name.
    Provided,
    /// Nobody needs to provide it: there are only types in it.
    Types,
    /// It has nothing of this name.
    Missing,
}

/// Finds out who provides what a component imports, in order; of at most 1000 imports.
///
/// # Errors
/// When the engine fails at the tiny components, which is a fault of the host.
pub(super) fn survey<T: 'static>(component: &Component, linker: &Linker<T>) -> wasmtime::Result<Vec<Import>> {
    let engine = linker.engine();
    let ty = component.component_type();
    let imports: Vec<_> =
        ty.imports(engine).take(SURVEYED_MAX).map(|(name, found)| (name.to_owned(), found.ty)).collect();
    let absent = absent(imports.iter().map(|(name, _)| name.as_str()), linker)?;
    let mut resources = Vec::new();
    let survey = |((name, item), is_absent)| {
        let needs_host = needs_host(&item, engine, &mut resources);
        let standing = match (is_absent, needs_host) {
            (false, _) => Standing::Provided,
            (true, false) => Standing::Types,
            (true, true) => Standing::Missing,
        };
        Import { name, standing, item }
    };
    Ok(imports.into_iter().zip(absent).map(survey).collect())
}

/// Which of these names the linker does not have.
fn absent<'n, T: 'static>(
    names: impl Iterator<Item = &'n str>,
    linker: &Linker<T>,
) -> wasmtime::Result<Vec<bool>> {
    let probes = names.map(|name| probe(name, linker.engine())).collect::<wasmtime::Result<Vec<_>>>()?;
    // A copy that has, beside everything of the linker's, a function for each name that was free.
    let mut filled = linker.clone();
    probes.iter().try_for_each(|probe| filled.define_unknown_imports_as_traps(probe))?;
    let was_free = |probe| linker.instantiate_pre(probe).is_err() && filled.instantiate_pre(probe).is_ok();
    Ok(probes.iter().map(was_free).collect())
}

/// A component that imports a function of this name: whatever the host has there is no such function.
fn probe(name: &str, engine: &Engine) -> wasmtime::Result<Component> {
    Component::from_binary(engine, &wat::parse_str(format!("(component (import {name:?} (func)))"))?)
}

/// Whether there is anything in it that somebody must provide: types are not, nor are resources of earlier imports.
fn needs_host(item: &ComponentItem, engine: &Engine, known: &mut Vec<ResourceType>) -> bool {
    match item {
        ComponentItem::Type(_) => false,
        ComponentItem::Resource(resource) => {
            let is_new = !known.contains(resource);
            known.push(*resource);
            is_new
        }
        ComponentItem::ComponentInstance(instance) => {
            let items = instance.exports(engine).map(|(_, found)| needs_host(&found.ty, engine, known));
            // Every one of them: each may define a resource.
            items.fold(false, |any, needs| any | needs)
        }
        _ => true,
    }
}

/// Why a component cannot be linked: one sentence for each import, given wasmtime's first complaint.
pub(super) fn explain<T: 'static>(
    component: &Component,
    linker: &Linker<T>,
    complaint: &wasmtime::Error,
) -> LoadError {
    let imports = survey(component, linker).unwrap_or_default();
    let missing = || imports.iter().filter(|import| import.standing == Standing::Missing);
    let mut problems: Vec<_> =
        missing().take(NAMED_MAX).map(|import| advice::missing(&import.name)).collect();
    let unnamed = missing().count() - problems.len();
    if unnamed > 0 {
        let or_more = if imports.len() == SURVEYED_MAX { " or more" } else { "" };
        problems.push(format!("it imports {unnamed}{or_more} others that nobody provides"));
    }
    if let Some((name, complaint)) = mismatch(component, linker, &imports) {
        problems.push(advice::mismatch(&name, &complaint));
    }
    if problems.is_empty() {
        problems.push(format!(
            "its imports cannot be satisfied: {}",
            advice::printable(&format!("{complaint:#}"))
        ));
    }
    LoadError::all(problems)
}

/// The first import that the host has, but not as the component wants it: its name, and what is different.
fn mismatch<T: 'static>(
    component: &Component,
    linker: &Linker<T>,
    imports: &[Import],
) -> Option<(String, String)> {
    let engine = linker.engine();
    let mut filled = linker.clone();
    let mut known = Vec::new();
    for import in imports {
        if import.standing == Standing::Missing {
            // What cannot be stood in for (modules, components) will be complained of, and is in the list already.
            let _ = stand_in(&mut filled.root(), &import.name, &import.item, engine, &mut known);
        } else {
            needs_host(&import.item, engine, &mut known);
        }
    }
    let error = filled.instantiate_pre(component).err()?;
    let mut chain = error.chain().map(ToString::to_string);
    let first = chain.next()?;
    let concerned = imports.iter().find(|import| first.contains(&format!("`{}`", import.name)))?;
    let is_listed = concerned.standing == Standing::Missing;
    (!is_listed).then(|| (concerned.name.clone(), chain.collect::<Vec<_>>().join(": ")))
}

/// Defines what has the form of `item` and is never called.
fn stand_in<T: 'static>(
    linker: &mut LinkerInstance<'_, T>,
    name: &str,
    item: &ComponentItem,
    engine: &Engine,
    known: &mut Vec<ResourceType>,
) -> wasmtime::Result<()> {
    struct Nothing;
    match item {
        ComponentItem::ComponentFunc(function) if function.async_() => linker
            .func_new_concurrent(name, |_, _, _, _| {
                Box::pin(async { wasmtime::bail!("nobody provides it") })
            }),
        ComponentItem::ComponentFunc(_) => {
            linker.func_new(name, |_, _, _, _| wasmtime::bail!("nobody provides it"))
        }
        ComponentItem::Resource(_) if needs_host(item, engine, known) => {
            linker.resource(name, ResourceType::host::<Nothing>(), |_, _| Ok(()))
        }
        ComponentItem::ComponentInstance(instance) => {
            let mut linker = linker.instance(name)?;
            let mut items = instance.exports(engine);
            items.try_for_each(|(name, found)| stand_in(&mut linker, name, &found.ty, engine, known))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
