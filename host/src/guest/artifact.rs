//! From bytes to checked, compiled code.

use std::fmt;
use std::path::Path;

use wasmtime::{Engine, Module, Precompiled};

use super::cache::{self, CodeCache};
use super::engine::GuestEngine;
use super::inspect::{Inspection, inspect};
use super::instance::{Guest, GuestSettings};

/// Checked and compiled guest code.
#[derive(Clone)]
pub struct Artifact {
    pub(super) module: Module,
}

/// Why a binary cannot be run: one sentence for each thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    /// The sentences, most important first; never empty.
    pub problems: Vec<String>,
}

impl LoadError {
    pub(super) fn one(problem: String) -> Self {
        Self { problems: vec![problem] }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("; "))
    }
}

impl std::error::Error for LoadError {}

impl Artifact {
    /// Loads a `.wasm`, `.wat` or `.cwasm` file; which one it is, its bytes say.
    ///
    /// # Errors
    /// With a sentence for everything that is in the way of running it.
    pub fn load(engine: &GuestEngine, path: &Path, cache: &CodeCache) -> Result<Self, LoadError> {
        let bytes = read(path)?;
        let module = match Engine::detect_precompiled(&bytes) {
            Some(Precompiled::Module) => cache::load(&engine.engine, path).map_err(|error| {
                LoadError::one(format!(
                    "the compiled code cannot be loaded ({error:#}); compile it again on this machine"
                ))
            })?,
            Some(Precompiled::Component) => {
                return Err(LoadError::one(
                    "it is a compiled component, which this version cannot run".to_owned(),
                ));
            }
            None => compile(engine, &bytes, cache)?,
        };
        Ok(Self { module })
    }

    /// Looks into a `.wasm` or `.wat` file, and tries all that is done at load, without running it.
    ///
    /// # Errors
    /// When the file cannot be read or is not WebAssembly.
    pub fn inspect(engine: &GuestEngine, path: &Path) -> Result<Inspection, LoadError> {
        let bytes = read(path)?;
        if Engine::detect_precompiled(&bytes).is_some() {
            return Err(LoadError::one(
                "it is compiled code; inspect the `.wasm` it was made from".to_owned(),
            ));
        }
        let wasm = binary(&bytes)?;
        let mut inspection = inspect(&wasm, engine).map_err(LoadError::one)?;
        if inspection.problems.is_empty() {
            let artifact = compile(engine, &wasm, &CodeCache::off());
            let guest =
                artifact.and_then(|module| Guest::new(engine, &Self { module }, GuestSettings::default()));
            inspection.problems.extend(guest.err().into_iter().flat_map(|error| error.problems));
        }
        Ok(inspection)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(LoadError::one(format!("{} is not a file", path.display())));
    }
    std::fs::read(path).map_err(|error| LoadError::one(format!("cannot read {}: {error}", path.display())))
}

/// Turns the text format into the binary one; anything else passes through.
fn binary(bytes: &[u8]) -> Result<std::borrow::Cow<'_, [u8]>, LoadError> {
    wat::parse_bytes(bytes).map_err(|error| LoadError::one(format!("not valid WebAssembly: {error}")))
}

fn compile(engine: &GuestEngine, bytes: &[u8], cache: &CodeCache) -> Result<Module, LoadError> {
    let wasm = binary(bytes)?;
    let inspection = inspect(&wasm, engine).map_err(LoadError::one)?;
    if !inspection.problems.is_empty() {
        return Err(LoadError { problems: inspection.problems });
    }
    cache
        .compile(&engine.engine, &wasm)
        .map_err(|error| LoadError::one(format!("it cannot be compiled: {error:#}")))
}
