//! From a handler's file to its snapshot.

use std::path::Path;
use std::time::Instant;

use super::super::artifact::{Artifact, LoadError, binary, checked, is_precompiled, read};
use super::super::cache::CodeCache;
use super::super::engine::GuestEngine;
use super::super::inspect::Inspection;
use super::super::log::TARGET;
use super::Start;

impl Artifact {
    /// The module of a handler when it has started, in the binary format. The log says what came of it.
    ///
    /// # Errors
    /// With a sentence for everything that is in the way of running it, or of its snapshot.
    pub fn snapshot(
        engine: &GuestEngine,
        path: &Path,
        cache: &CodeCache,
        start: &Start,
    ) -> Result<Vec<u8>, LoadError> {
        if is_precompiled(path)? {
            return Err(Self::no_start());
        }
        Self::started(engine, &read(path)?, cache, start)
    }

    /// Why compiled code has no snapshot.
    pub(in super::super) fn no_start() -> LoadError {
        LoadError::one(
            "`snapshot` starts a module before it is compiled, and this is compiled code: name the `.wasm` it was made from"
                .to_owned(),
        )
    }

    /// [`Self::snapshot`], of the bytes of a file.
    pub(in super::super) fn started(
        engine: &GuestEngine,
        bytes: &[u8],
        cache: &CodeCache,
        start: &Start,
    ) -> Result<Vec<u8>, LoadError> {
        let wasm = binary(bytes)?;
        let inspection = checked(engine, &wasm)?;
        if inspection.is_component() {
            return Err(LoadError::one(
                "`snapshot` is for core modules, and this is a component: leave it out; where starting costs too much, \
                 `isolation = \"reuse\"` keeps instances warm"
                    .to_owned(),
            ));
        }
        let begun = Instant::now();
        let (snapshot, said) =
            cache.snapshot(engine.plain().compiler, &wasm, start).map_err(LoadError::one)?;
        let is_new = said.is_some();
        let handler = &*start.handler;
        for line in said.iter().flat_map(|said| said.split(|&byte| byte == b'\n')) {
            let line = line.trim_ascii_end();
            if !line.is_empty() {
                tracing::info!(target: TARGET, handler, "{}", line.escape_ascii());
            }
        }
        let memory = |inspection: &Inspection| inspection.memory.map_or(0, |memory| memory.initial >> 10);
        let after = checked(engine, &snapshot)?;
        tracing::info!(
            handler,
            "snapshot {} in {} ms: {} KiB of WebAssembly are {} KiB now, and {} KiB of memory at the start {} KiB",
            if is_new { "taken" } else { "found" },
            begun.elapsed().as_millis(),
            wasm.len() >> 10,
            snapshot.len() >> 10,
            memory(&inspection),
            memory(&after),
        );
        Ok(snapshot)
    }
}
