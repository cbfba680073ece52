//! Where a handler's code comes from: found when it is deployed, mapped when it is needed, made again when it is gone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::abi::Abi;
use super::artifact::{Artifact, LoadError, read};
use super::cache::{self, CodeCache};
use super::engine::{GuestEngine, Lane};
use super::images::WasmFile;
use super::limits::Limits;
use super::snapshot::Start;
use super::verdict::Verdict;

/// A file that was checked, and what was compiled from it.
pub(super) struct Origin {
    pub(super) engine: GuestEngine,
    pub(super) cache: CodeCache,
    /// The handler's file, and what it had in it when it was checked.
    pub(super) path: PathBuf,
    pub(super) digest: [u8; 32],
    pub(super) start: Option<Start>,
    /// The file of the cache that has its code.
    pub(super) code: PathBuf,
    pub(super) lane: Arc<Lane>,
    pub(super) limits: Limits,
    /// Whether instances are put back where that is possible.
    pub(super) restores: bool,
}

/// Code that was made again, and whether the cache has it now.
pub(super) struct Remade {
    pub(super) abi: Abi,
    pub(super) is_kept: bool,
}

/// A handler's file.
pub(super) struct Source {
    pub(super) bytes: Vec<u8>,
    pub(super) digest: [u8; 32],
}

impl Source {
    pub(super) fn read(path: &Path) -> Result<Self, LoadError> {
        let bytes = read(path)?;
        let digest = Sha256::digest(&bytes).into();
        Ok(Self { bytes, digest })
    }
}

/// The digest of a file of any size.
pub(super) fn digest_of(path: &Path) -> Result<[u8; 32], LoadError> {
    let mut digest = Sha256::new();
    let read = std::fs::File::open(path).and_then(|mut file| std::io::copy(&mut file, &mut digest));
    read.map_err(|error| LoadError::one(format!("it cannot be read: {error}")))?;
    Ok(digest.finalize().into())
}

/// What names the code with this digest in logs and metrics: its first 12 digits.
pub(super) fn version(digest: &[u8; 32]) -> Arc<str> {
    digest[..6].iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

/// What an earlier run has found of the same file, and where its code is.
pub(super) fn recall(engine: &GuestEngine, cache: &CodeCache, source: &Source) -> Option<(Verdict, PathBuf)> {
    cache.recall(&cache::verdict_key(engine, &source.digest))
}

/// Keeps what was found for the next run.
pub(super) fn note(engine: &GuestEngine, cache: &CodeCache, source: &Source, verdict: &Verdict, code: &Path) {
    cache.note(&cache::verdict_key(engine, &source.digest), verdict, code);
}

impl Origin {
    /// The file, if its code was compiled from what is in it.
    pub(super) fn wasm_file(&self) -> WasmFile {
        self.start.is_none().then(|| (self.path.clone(), self.digest))
    }

    /// Maps the code that the cache has.
    ///
    /// # Errors
    /// When it is not there, or damaged.
    pub(super) fn map(&self) -> Result<Abi, LoadError> {
        let unusable = |error| LoadError::one(format!("its code is not in the cache any more ({error:#})"));
        let compiled = self.cache.load_kept(&self.lane.engine, &self.code).map_err(unusable)?;
        let artifact = Artifact::new(compiled, &self.lane, None)?;
        Abi::link(&self.engine, &artifact, &self.limits, self.restores)
    }

    /// Does again what was done when it was deployed.
    ///
    /// # Errors
    /// When the file is not what it was, or no code can be made of it.
    pub(super) fn make_again(&self) -> Result<Remade, LoadError> {
        let source = Source::read(&self.path)?;
        if source.digest != self.digest {
            return Err(LoadError::one(format!(
                "its code is not in the cache any more, and {} has changed since it was deployed: reload (SIGHUP) to serve \
                 what it has now",
                self.path.display()
            )));
        }
        let artifact = Artifact::of(&self.engine, &source.bytes, &self.cache, self.start.as_ref())?;
        let abi = Abi::link(&self.engine, &artifact, &self.limits, self.restores)?;
        Ok(Remade { abi, is_kept: artifact.file.is_some() })
    }
}
