//! Tries all that is done when a handler is loaded, to say what is in the way of running it.

use std::path::Path;

use super::abi::Abi;
use super::artifact::{Artifact, LoadError, binary, is_precompiled, read};
use super::cache::{CodeCache, Compiled};
use super::engine::GuestEngine;
use super::imports;
use super::inspect::{Inspection, inspect};
use super::limits::Limits;

impl Artifact {
    /// Looks into a `.wasm` or `.wat` file, and tries all that is done at load, without running it.
    ///
    /// # Errors
    /// When the file cannot be read or is not WebAssembly.
    pub fn inspect(engine: &GuestEngine, path: &Path, cache: &CodeCache) -> Result<Inspection, LoadError> {
        if is_precompiled(path)? {
            return Err(LoadError::one(
                "it is compiled code; inspect the `.wasm` it was made from".to_owned(),
            ));
        }
        let bytes = read(path)?;
        let wasm = binary(&bytes)?;
        let mut inspection = inspect(&wasm, engine).map_err(LoadError::one)?;
        if !inspection.is_component() {
            inspection.set_reset(&wasm);
        }
        // A component that is no handler is worth a look at its imports.
        if inspection.problems.is_empty() || inspection.is_component() {
            let tried = Self::try_out(engine, &wasm, &mut inspection, cache);
            let new = tried.err().into_iter().flat_map(|error| error.problems);
            let new: Vec<_> = new.filter(|problem| !inspection.problems.contains(problem)).collect();
            inspection.problems.extend(new);
        }
        Ok(inspection)
    }

    /// Does all that is done at load, and enters what can be learnt from it.
    pub(super) fn try_out(
        engine: &GuestEngine,
        wasm: &[u8],
        inspection: &mut Inspection,
        cache: &CodeCache,
    ) -> Result<(), LoadError> {
        let (compiled, _, lane) = Self::compile(engine, wasm, inspection, cache)?;
        if let Compiled::Component(component) = &compiled {
            let surveyed = imports::survey(component, &lane.components);
            let failed = |error| LoadError::one(format!("its imports cannot be looked up: {error:#}"));
            inspection.set_providers(&surveyed.map_err(failed)?);
            if let Err(complaint) = lane.components.instantiate_pre(component) {
                return Err(imports::explain(component, &lane.components, &complaint));
            }
        }
        let artifact = Self::new(compiled, &lane, Some(inspection))?;
        // Not all that is asked of a handler: which one is behind it, routes.toml says.
        Abi::link(engine, &artifact, &Limits::default(), true).map(drop)
    }
}
