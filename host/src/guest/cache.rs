//! Compiled code, snapshots and verdicts on disk, found again by what they were made from.
//!
//! Invariant: a file appears under its name complete or not at all (written aside, synced, renamed), so a crash or a full disk
//! costs a compilation, never a broken start. Whoever can write to the folder can run code as this program:
//! it is made for the owner only.

use std::fs;
use std::hash::{Hash as _, Hasher};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;
use wasmtime::{Engine, Module, Precompiled};

use super::compile::Compiler;
use super::engine::GuestEngine;
use super::restorable;
use super::snapshot::Start;
use super::verdict::Verdict;
use crate::stats::CodeStats;

/// Where compiled code is kept, if anywhere.
#[derive(Clone, Debug, Default)]
pub struct CodeCache {
    folder: Option<PathBuf>,
}

impl CodeCache {
    /// A cache in `folder`, which is made when the first file is stored.
    #[must_use]
    pub fn at(folder: PathBuf) -> Self {
        Self { folder: Some(folder) }
    }

    /// No cache: everything is compiled each time.
    #[must_use]
    pub fn off() -> Self {
        Self { folder: None }
    }

    /// Starts a checked binary module and takes its snapshot, or reads what an earlier run has taken of the same bytes, started
    /// with the same settings. The second value is what the guest has said, if it was started.
    ///
    /// # Errors
    /// A sentence when there is none. Trouble with the cache itself is logged and costs only time.
    pub(super) fn snapshot(
        &self,
        compiler: Compiler,
        wasm: &[u8],
        start: &Start,
    ) -> Result<(Vec<u8>, Option<Vec<u8>>), String> {
        let take = || compiler.snapshot(wasm, start).map(|started| (started.wasm, Some(started.said)));
        // Its bytes are checked like those of any module; but what has been started may hold secrets.
        let Some(folder) = self.folder.as_ref().filter(|folder| !folder.exists() || is_private(folder))
        else {
            return take();
        };
        let path = folder.join(format!("{}.snapshot", snapshot_key(compiler, wasm, start)?));
        match whole(&path) {
            Ok(wasm) => return Ok((wasm, None)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), "a cached snapshot is unusable, taking it again: {error}")
            }
        }
        let taken = take()?;
        let kept = [&*Sha256::digest(&taken.0), &*taken.0].concat();
        if let Err(error) = store(folder, &path, &kept) {
            tracing::warn!(folder = %folder.display(), "a snapshot could not be cached: {error}");
        }
        Ok(taken)
    }

    /// The folder, if it is there and nobody else can write to it.
    fn trusted(&self) -> Option<&Path> {
        self.folder.as_deref().filter(|folder| is_private(folder))
    }

    /// What an earlier run has found of a file, and the file that has its code, if that is there.
    pub(super) fn recall(&self, key: &str) -> Option<(Verdict, PathBuf)> {
        let folder = self.trusted()?;
        let record = fs::read(folder.join(format!("{key}.verdict"))).ok()?;
        let Record { code, code_bytes, verdict } = serde_json::from_slice(&record).ok()?;
        let code = folder.join(code);
        let is_there = fs::metadata(&code).is_ok_and(|found| found.len() == code_bytes);
        is_there.then_some((verdict, code))
    }

    /// Keeps what was found of a file for later runs, which look into it again if that fails.
    pub(super) fn note(&self, key: &str, verdict: &Verdict, code: &Path) {
        let (Some(folder), Some(name)) = (self.trusted(), code.file_name()) else { return };
        let kept = fs::metadata(code).and_then(|found| {
            let code = name.to_string_lossy().into_owned();
            let record = Record { code, code_bytes: found.len(), verdict: verdict.clone() };
            store(folder, &folder.join(format!("{key}.verdict")), &serde_json::to_vec(&record)?)
        });
        if let Err(error) = kept {
            tracing::debug!(folder = %folder.display(), "a verdict could not be cached: {error}");
        }
    }

    /// Loads code that [`Self::compile`] has put into the cache.
    ///
    /// # Errors
    /// When it is not there, damaged, or others could have changed it.
    pub(super) fn load_kept(&self, engine: &Engine, code: &Path) -> wasmtime::Result<Compiled> {
        wasmtime::ensure!(self.trusted().is_some(), "its folder is gone, or others can write to it");
        load(engine, code)
    }

    /// Compiles a checked binary module, or loads what an earlier run compiled from the same bytes with the same engine. The
    /// second value is the file that has the code now, if it is kept.
    ///
    /// # Errors
    /// A sentence when there is no code, or none that the engine can hold. Trouble with the cache itself is logged and
    /// costs only time.
    pub(super) fn compile(
        &self,
        engine: &Engine,
        compiler: Compiler,
        wasm: &[u8],
        stats: &CodeStats,
    ) -> Result<(Compiled, Option<PathBuf>), String> {
        let unkept = |code: Vec<u8>| load_made(engine, &code).map(|compiled| (compiled, None));
        let compile = || {
            stats.misses.increment();
            let begin = Instant::now();
            let code = compiler.compile(engine, &restorable::prepare(wasm)?);
            stats.compiled.add(begin.elapsed());
            code
        };
        let Some(folder) = &self.folder else { return unkept(compile()?) };
        let path = folder.join(format!("{}.cwasm", key(engine, wasm)));
        if folder.exists() && !is_private(folder) {
            tracing::warn!(folder = %folder.display(), "others can write to the code cache, so it is not used; chmod go-w it");
            return unkept(compile()?);
        }
        if path.exists() {
            match load(engine, &path) {
                Ok(compiled) => {
                    stats.hits.increment();
                    return Ok((compiled, Some(path)));
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), "cached code is unusable, compiling again: {error:#}")
                }
            }
        }
        let code = compile()?;
        if let Err(error) = store(folder, &path, &code) {
            tracing::warn!(folder = %folder.display(), "compiled code could not be cached: {error}");
            return unkept(code);
        }
        match load(engine, &path) {
            Ok(compiled) => Ok((compiled, Some(path))),
            Err(error) => {
                // Code that exceeds what the pool can hold is found out here, and is not worth keeping.
                let _ = fs::remove_file(&path);
                Err(unfit(&error))
            }
        }
    }
}

/// A file of the cache: what was found of a handler's file, and which one has its code.
#[derive(Serialize, Deserialize)]
struct Record {
    code: String,
    code_bytes: u64,
    verdict: Verdict,
}

/// Code that is ready to be linked.
#[derive(Clone)]
pub(super) enum Compiled {
    Module(Module),
    Component(Component),
}

/// Loads what our own compiler has just made.
#[expect(unsafe_code, reason = "compiled code is native code: loading it is trusting it")]
fn load_made(engine: &Engine, code: &[u8]) -> Result<Compiled, String> {
    // SAFETY: the bytes come from this program's compiler, here or in the process that it started for it.
    let loaded = unsafe {
        match Engine::detect_precompiled(code) {
            Some(Precompiled::Component) => Component::deserialize(engine, code).map(Compiled::Component),
            Some(Precompiled::Module) | None => Module::deserialize(engine, code).map(Compiled::Module),
        }
    };
    loaded.map_err(|error| unfit(&error))
}

fn unfit(error: &wasmtime::Error) -> String {
    format!("it cannot be compiled: {error:#}")
}

/// Loads compiled code.
///
/// # Errors
/// When it is not compiled code, or was made by another version, with other settings or for another machine.
#[expect(unsafe_code, reason = "compiled code is native code: loading it is trusting it")]
pub(super) fn load(engine: &Engine, path: &Path) -> wasmtime::Result<Compiled> {
    // SAFETY: the file is one that `store` wrote, in a folder to which nobody else can write (`is_private`), or a
    // `.cwasm` that the operator names in routes.toml and so trusts like this program itself. wasmtime checks version
    // and settings.
    unsafe {
        match Engine::detect_precompiled_file(path)? {
            Some(Precompiled::Module) => Module::deserialize_file(engine, path).map(Compiled::Module),
            Some(Precompiled::Component) => {
                Component::deserialize_file(engine, path).map(Compiled::Component)
            }
            None => wasmtime::bail!("it is not compiled code"),
        }
    }
}

/// Whether nobody else can put code into the folder.
#[cfg(unix)]
fn is_private(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    let own = rustix::process::geteuid().as_raw();
    fs::metadata(folder)
        .is_ok_and(|folder| folder.mode() & WRITABLE_BY_OTHERS == 0 && [own, 0].contains(&folder.uid()))
}

#[cfg(not(unix))]
fn is_private(_: &Path) -> bool {
    true
}

/// All that compiling depends on, beside the module.
fn hasher(engine: &Engine) -> Sha256 {
    struct Sha(Sha256);
    impl Hasher for Sha {
        fn finish(&self) -> u64 {
            0 // never asked for: the digest is used instead
        }
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
    }
    let mut hasher = Sha(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.0.update(restorable::REVISION);
    hasher.0
}

fn key(engine: &Engine, wasm: &[u8]) -> String {
    hex(hasher(engine).chain_update(wasm))
}

/// To be changed with what is checked of a module, or offered to it.
const VERDICT_REVISION: &[u8] = b"verdict 1";

/// All that checking the file with this digest depends on, but for the settings of its handler.
pub(super) fn verdict_key(engine: &GuestEngine, digest: &[u8; 32]) -> String {
    let mut hasher = hasher(&engine.plain().engine);
    hasher.update(VERDICT_REVISION);
    hasher.update(env!("CARGO_PKG_VERSION"));
    // What a pool has room for, and what it has of native stack.
    hasher.update(engine.instances().to_le_bytes());
    hasher.update(engine.plain().compiler.stack_bytes_max.to_le_bytes());
    hex(hasher.chain_update(digest))
}

/// To be changed with what a start may do or what is made of it, so that no snapshot is used that is not what it would be.
const SNAPSHOT_REVISION: &[u8] = b"snapshot 1";

/// All that a start depends on.
fn snapshot_key(compiler: Compiler, wasm: &[u8], start: &Start) -> Result<String, String> {
    let mut hasher = Sha256::new();
    for part in [SNAPSHOT_REVISION, &compiler.stack_bytes_max.to_le_bytes(), &start.to_json()?] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    Ok(hex(hasher.chain_update(wasm)))
}

/// A snapshot, behind its digest: of what has lost its end the rest may still be a module.
fn whole(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut digest = [0; 32];
    let mut file = fs::File::open(path)?;
    file.read_exact(&mut digest)?;
    let mut wasm = Vec::new();
    file.read_to_end(&mut wasm)?;
    if *Sha256::digest(&wasm) == digest { Ok(wasm) } else { Err(ErrorKind::InvalidData.into()) }
}

fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn store(folder: &Path, path: &Path, code: &[u8]) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(code)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::{EngineSettings, GuestEngine};

    #[test]
    fn each_engine_has_code_of_its_own() {
        let engine = GuestEngine::new(EngineSettings::with_instances(1)).unwrap();
        let (plain, concurrent) = (engine.plain(), engine.concurrent().unwrap());
        let wasm = wat::parse_str("(component)").unwrap();
        assert_ne!(key(&plain.engine, &wasm), key(&concurrent.engine, &wasm));
        let again = GuestEngine::new(EngineSettings::with_instances(7)).unwrap();
        assert_eq!(
            key(&plain.engine, &wasm),
            key(&again.plain().engine, &wasm),
            "`instances` does not matter"
        );
    }
}
