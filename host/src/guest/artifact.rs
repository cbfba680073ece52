//! From bytes to checked, compiled code.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wasmtime::component::Component;
use wasmtime::{Engine, Module};
use wasmux_abi::NEXT_MODULE;

use super::cache::{self, CodeCache, Compiled};
use super::components::{self, Standard};
use super::engine::{GuestEngine, Lane};
use super::inspect::{Inspection, inspect};
use super::snapshot::Start;

/// A module or component, in bytes. The largest that are around, interpreters with their libraries, have some 40 MiB.
const WASM_BYTES_MAX: u64 = 256 << 20;

/// The same in the text format, which takes many times its size while it is read.
const TEXT_BYTES_MAX: usize = 16 << 20;

/// Checked and compiled guest code.
#[derive(Clone)]
pub struct Artifact {
    pub(super) code: Code,
    /// The file of the cache that has it, if one has.
    pub(super) file: Option<PathBuf>,
}

/// Which contract the code keeps.
#[derive(Clone)]
pub(super) enum Code {
    Module(Module),
    /// Exports `wasi:http/incoming-handler` 0.2.
    P2(ComponentCode),
    /// Exports `wasi:http/handler` 0.3.
    P3(ComponentCode),
}

/// A compiled component and the engine it was compiled for.
#[derive(Clone)]
pub(super) struct ComponentCode {
    pub(super) component: Component,
    pub(super) lane: Arc<Lane>,
    /// What its memories have together at the start, in bytes; when that is not known, what the largest has.
    pub(super) memory_bytes: u64,
}

/// Why a binary cannot be run: one sentence for each thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    /// The sentences, most important first; never empty.
    pub problems: Vec<String>,
}

impl LoadError {
    pub(super) fn one(problem: String) -> Self {
        Self::all(vec![problem])
    }

    /// What they quote of a file may be anything: the terminal is not to do what it says.
    pub(super) fn all(problems: Vec<String>) -> Self {
        let harmless = |text: String| text.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}");
        Self { problems: problems.into_iter().map(harmless).collect() }
    }

    /// What was made, if both went well; else the sentences of both.
    pub(super) fn of_both<T>(made: Result<T, Self>, checked: Result<(), Self>) -> Result<T, Self> {
        match (made, checked) {
            (Err(mut first), Err(second)) => {
                first.problems.extend(second.problems);
                Err(first)
            }
            (made, checked) => checked.and(made),
        }
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
        if is_precompiled(path)? {
            return Self::load_compiled(engine, path);
        }
        Self::of(engine, &read(path)?, cache, None)
    }

    /// Loads the bytes of a `.wasm` or `.wat` file; with `start`, as a module that has started.
    ///
    /// # Errors
    /// With a sentence for everything that is in the way of running it, or of starting it for its snapshot.
    pub(super) fn of(
        engine: &GuestEngine,
        bytes: &[u8],
        cache: &CodeCache,
        start: Option<&Start>,
    ) -> Result<Self, LoadError> {
        let wasm = match start {
            None => binary(bytes)?,
            Some(start) => Self::started(engine, bytes, cache, start)?.into(),
        };
        let inspection = checked(engine, &wasm)?;
        let (compiled, file, lane) = Self::compile(engine, &wasm, &inspection, cache)?;
        Ok(Self { file, ..Self::new(compiled, &lane, Some(&inspection))? })
    }

    pub(super) fn load_compiled(engine: &GuestEngine, path: &Path) -> Result<Self, LoadError> {
        let unfit = |error: wasmtime::Error| {
            LoadError::one(format!(
                "the compiled code cannot be loaded ({error:#}); compile it again on this machine"
            ))
        };
        let plain = engine.plain();
        match cache::load(&plain.engine, path) {
            Ok(compiled) => Self::new(compiled, plain, None),
            // Code for the other engine, perhaps.
            Err(error) => {
                let lane = engine.concurrent().map_err(unfit)?;
                let compiled = cache::load(&lane.engine, path).map_err(|_| unfit(error))?;
                Self::new(compiled, &lane, None)
            }
        }
    }

    pub(super) fn compile(
        engine: &GuestEngine,
        wasm: &[u8],
        inspection: &Inspection,
        cache: &CodeCache,
    ) -> Result<(Compiled, Option<PathBuf>, Arc<Lane>), LoadError> {
        let lane = if inspection.needs_concurrency() {
            engine.lane_of_concurrent()?
        } else {
            Arc::clone(engine.plain())
        };
        let (compiled, file) =
            cache.compile(&lane.engine, lane.compiler, wasm, lane.ledger.code()).map_err(LoadError::one)?;
        Ok((compiled, file, lane))
    }

    pub(super) fn new(
        compiled: Compiled,
        lane: &Arc<Lane>,
        inspection: Option<&Inspection>,
    ) -> Result<Self, LoadError> {
        let code = match compiled {
            Compiled::Module(module) => Code::Module(module),
            Compiled::Component(component) => {
                let memory_bytes = components::memory_bytes(&component, inspection);
                let code = ComponentCode { component, lane: Arc::clone(lane), memory_bytes };
                match components::standard(&code)? {
                    Standard::P2 => Code::P2(code),
                    Standard::P3 => Code::P3(code),
                }
            }
        };
        Ok(Self { code, file: None })
    }

    /// The import modules of wasmux itself that a core module uses, each once; none of components, which import standard
    /// interfaces.
    pub(super) fn own_imports(&self) -> Vec<String> {
        let Code::Module(module) = &self.code else { return Vec::new() };
        let mut names: Vec<_> = module.imports().map(|import| import.module().to_owned()).collect();
        names.retain(|name| name.starts_with("wasmux:"));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What it imports to call the handler behind it, if anything.
    pub(super) fn import_of_next(&self) -> Option<String> {
        match &self.code {
            Code::Module(module) => {
                let mut imports = module.imports();
                imports.any(|import| import.module() == NEXT_MODULE).then(|| NEXT_MODULE.to_owned())
            }
            Code::P2(code) | Code::P3(code) => {
                let ty = code.component.component_type();
                let mut names = ty.imports(&code.lane.engine).map(|(name, _)| name.to_owned());
                names.find(|name| Standard::P3.is_exported_as(name))
            }
        }
    }
}

/// Looks into a binary, and refuses what cannot be run.
pub(super) fn checked(engine: &GuestEngine, wasm: &[u8]) -> Result<Inspection, LoadError> {
    let inspection = inspect(wasm, engine).map_err(LoadError::one)?;
    if inspection.problems.is_empty() { Ok(inspection) } else { Err(LoadError::all(inspection.problems)) }
}

/// Whether a file has compiled code in it.
pub(super) fn is_precompiled(path: &Path) -> Result<bool, LoadError> {
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(LoadError::one("it is not a file".to_owned()));
    }
    let unreadable = |error| LoadError::one(format!("it cannot be read: {error}"));
    let mut start = Vec::new();
    std::fs::File::open(path).map_err(unreadable)?.take(4).read_to_end(&mut start).map_err(unreadable)?;
    // All compiled code is ELF; what else that may be, wasmtime says.
    Ok(start == b"\x7fELF" && Engine::detect_precompiled_file(path).is_ok_and(|found| found.is_some()))
}

/// The bytes of a `.wasm` or `.wat` file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    let unreadable = |error| LoadError::one(format!("it cannot be read: {error}"));
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(WASM_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > WASM_BYTES_MAX {
        return Err(LoadError::one(format!(
            "it is larger than {} MiB, which is as large as a module may be; strip what it does not need",
            WASM_BYTES_MAX >> 20
        )));
    }
    Ok(bytes)
}

/// Turns the text format into the binary one; anything else passes through.
pub(super) fn binary(bytes: &[u8]) -> Result<std::borrow::Cow<'_, [u8]>, LoadError> {
    // It quotes the line that is wrong, which may be the whole file.
    const CHARS_MAX: usize = 1_000;
    if bytes.len() > TEXT_BYTES_MAX && !bytes.starts_with(b"\0asm") {
        return Err(LoadError::one(format!(
            "not valid WebAssembly: text may have {} MiB at most; translate it to the binary format",
            TEXT_BYTES_MAX >> 20
        )));
    }
    wat::parse_bytes(bytes).map_err(|error| {
        let mut text = error.to_string();
        if let Some((end, _)) = text.char_indices().nth(CHARS_MAX) {
            text.replace_range(end.., "…");
        }
        LoadError::one(format!("not valid WebAssembly: {text}"))
    })
}

#[cfg(test)]
mod tests;
