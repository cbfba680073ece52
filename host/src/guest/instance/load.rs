//! From a handler's file to its guest: checked, and linked now or with its first request.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::super::abi::Abi;
use super::super::admission::Admission;
use super::super::artifact::{Artifact, LoadError, is_precompiled};
use super::super::cache::CodeCache;
use super::super::engine::{GuestEngine, Lane};
use super::super::field_limits::FieldLimits;
use super::super::isolation::{Isolation, MakesRoom, Parked};
use super::super::origin::{self, Origin, Source};
use super::super::resident::Resident;
use super::super::seats::Crowd;
use super::super::state::Common;
use super::super::take::TakeLimit;
use super::super::verdict::{Contract, Verdict, Wanted};
use super::{Guest, GuestSettings};

/// Where a guest's code is.
enum Code {
    /// Here, to stay.
    Linked(Abi),
    /// Where it can be had from.
    Kept(Box<Origin>),
}

impl Guest {
    /// Links an artifact with what the host provides. Its code stays in memory.
    ///
    /// # Errors
    /// When an export is missing or has the wrong type, an import cannot be satisfied, or the memory it starts with is
    /// beyond its limit.
    pub fn new(
        engine: &GuestEngine,
        artifact: &Artifact,
        settings: GuestSettings,
    ) -> Result<Self, LoadError> {
        let (abi, verdict) = check(engine, artifact, &settings)?;
        Self::with(engine, Code::Linked(abi), &verdict, settings)
    }

    /// Checks a `.wasm`, `.wat` or `.cwasm` file, and sees to it that the cache has its code, which is loaded for the first
    /// request. What was checked in an earlier run is not looked into again. Without a cache the code stays in memory; compiled
    /// code, which a file may have instead, does so too.
    ///
    /// # Errors
    /// With a sentence for everything that is in the way of running it.
    pub fn deploy(
        engine: &GuestEngine,
        path: &Path,
        cache: &CodeCache,
        mut settings: GuestSettings,
    ) -> Result<Self, LoadError> {
        let start = settings.snapshot.map(|snapshot| settings.start(snapshot));
        if is_precompiled(path)? {
            settings.version = origin::version(&origin::digest_of(path)?);
            return match start {
                None => Self::new(engine, &Artifact::load_compiled(engine, path)?, settings),
                Some(_) => Err(Artifact::no_start()),
            };
        }
        let source = Source::read(path)?;
        settings.version = origin::version(&source.digest);
        // A start says in the log what has come of it, each time.
        let known = if start.is_none() { origin::recall(engine, cache, &source) } else { None };
        let wanted = Wanted {
            limits: &settings.limits,
            grants: &settings.grants,
            instances: engine.instances(),
            has_next: settings.next.is_some(),
            is_concurrent: matches!(settings.isolation, Isolation::Concurrent(..)),
        };
        let known = known.filter(|(verdict, _)| verdict.fits(&wanted));
        let (verdict, file) = match known {
            Some(known) => {
                engine.ledger().code().hits.increment();
                known
            }
            None => {
                let artifact = Artifact::of(engine, &source.bytes, cache, start.as_ref())?;
                let (abi, verdict) = check(engine, &artifact, &settings)?;
                let Some(file) = artifact.file else {
                    return Self::with(engine, Code::Linked(abi), &verdict, settings);
                };
                if start.is_none() {
                    origin::note(engine, cache, &source, &verdict, &file);
                }
                (verdict, file)
            }
        };
        let origin = Origin {
            engine: engine.clone(),
            cache: cache.clone(),
            path: path.to_owned(),
            digest: source.digest,
            start,
            code: file,
            lane: lane(engine, &verdict)?,
            limits: settings.limits.clone(),
            restores: settings.isolation == Isolation::Request,
        };
        Self::with(engine, Code::Kept(Box::new(origin)), &verdict, settings)
    }

    fn with(
        engine: &GuestEngine,
        code: Code,
        verdict: &Verdict,
        settings: GuestSettings,
    ) -> Result<Self, LoadError> {
        let lane = lane(engine, verdict)?;
        let (parked, crowd) = (Arc::<Parked>::default(), Arc::<Crowd>::default());
        let restores = settings.isolation == Isolation::Request && verdict.restores;
        let mut warm: Vec<Arc<dyn MakesRoom>> = Vec::new();
        if settings.isolation != Isolation::Request || restores {
            lane.may_evict(&parked);
            warm.push(Arc::<Parked>::clone(&parked));
        }
        if let Isolation::Concurrent(..) = settings.isolation {
            lane.may_evict(&crowd);
            warm.push(Arc::<Crowd>::clone(&crowd));
        }
        let handler: Arc<str> = settings.name.into();
        let ledger = engine.ledger();
        let share = if settings.is_on_trial { ledger.trial(&handler) } else { ledger.share(&handler) };
        let code = match code {
            Code::Linked(abi) => Resident::pinned(abi, &share, warm, engine.residents()),
            Code::Kept(origin) => Resident::loadable(*origin, &share, warm, engine.residents()),
        };
        let common = Common {
            env: settings.env,
            memory_bytes_max: settings.limits.memory_bytes_max,
            budget: Some(Arc::clone(engine.budget())),
            field_bytes_max: FieldLimits::response(&settings.limits).set_bytes_max(),
            handles_max: settings.limits.handles_max,
            log_bytes_max: settings.limits.log_bytes_max,
            share: Arc::clone(&share),
            masks: Arc::new(settings.grants.masks()),
            grants: Arc::new(settings.grants),
            next: settings.next,
            version: settings.version,
        };
        Ok(Self {
            code,
            contract: verdict.contract,
            restores,
            admission: Admission::new(&share, &lane, verdict.memories, &settings.limits),
            take: TakeLimit::new(&settings.limits, &handler, &share),
            share,
            compute: Arc::clone(engine.compute()),
            common: Arc::new(common),
            limits: settings.limits,
            on_disconnect: settings.on_disconnect,
            isolation: settings.isolation,
            parked,
            crowd,
            is_reusable: AtomicBool::new(false),
            is_unfit: AtomicBool::new(false),
            restored: AtomicU64::new(0),
        })
    }
}

/// Links an artifact, and asks of it what routes.toml demands of the handler.
fn check(
    engine: &GuestEngine,
    artifact: &Artifact,
    settings: &GuestSettings,
) -> Result<(Abi, Verdict), LoadError> {
    let granted = settings.grants.check(&artifact.own_imports(), &settings.name);
    let next = LoadError::of_both(check_next(artifact, settings), granted);
    let restores = settings.isolation == Isolation::Request;
    let abi = LoadError::of_both(Abi::link(engine, artifact, &settings.limits, restores), next)?;
    let verdict = Verdict::of(artifact, Abi::can_restore(artifact));
    if let Isolation::Concurrent(..) = settings.isolation {
        check_concurrent(verdict.contract)?;
    }
    Ok((abi, verdict))
}

/// The engine that it runs on.
fn lane(engine: &GuestEngine, verdict: &Verdict) -> Result<Arc<Lane>, LoadError> {
    if verdict.concurrent { engine.lane_of_concurrent() } else { Ok(Arc::clone(engine.plain())) }
}

/// Only one contract has several requests in an instance.
fn check_concurrent(contract: Contract) -> Result<(), LoadError> {
    let what = match contract {
        Contract::ServeHttp => "a core module",
        Contract::P2 => "a wasi:http 0.2 component",
        Contract::P3 => return Ok(()),
    };
    Err(LoadError::one(format!(
        "`isolation = \"concurrent\"` is for wasi:http 0.3 components; this is {what}, of which an instance serves one \
         request at a time: set `isolation` to \"reuse\" or \"request\""
    )))
}

/// A guest that calls the handler behind it needs one, and the other way round.
fn check_next(artifact: &Artifact, settings: &GuestSettings) -> Result<(), LoadError> {
    let name = &settings.name;
    match (artifact.import_of_next(), &settings.next) {
        (Some(import), None) => Err(LoadError::one(format!(
            "it calls the handler behind it (it imports `{import}`), but there is none: name one, `next = \"…\"` in \
             [handlers.{name}]"
        ))),
        (None, Some(_)) => Err(LoadError::one(
            "it has a `next`, but calls none: it imports neither `wasmux:next/1` (the SDK's `next`) nor \
             `wasi:http/handler` 0.3"
                .to_owned(),
        )),
        _ => Ok(()),
    }
}
