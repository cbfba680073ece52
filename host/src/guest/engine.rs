//! The wasm engines: the only `wasmtime::Config`, the instance pools, the epoch clock, and what guests may import.
//!
//! There are two. The plain one runs core modules and wasi:http 0.2 components and has no machinery for concurrency
//! inside an instance, which would cost every call; the concurrent one runs what needs it (wasi:http 0.3). Invariant:
//! everything a guest can import is in these linkers; what is not there is refused at load.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use wasmtime::{
    Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, Linker, OptLevel,
    PoolingAllocationConfig, WasmBacktraceDetails, component,
};

use super::abi::{p2, p3, serve_http};
use super::artifact::LoadError;
use super::budget::{Budget, Evicts};
use super::compile::{CompileIn, Compiler};
use super::compute::Compute;
use super::isolation::MakesRoom;
use super::limits::TABLE_ELEMENTS_MAX;
use super::places::Places;
use super::resident::Residents;
use super::share::Ledger;
use super::state::{ComponentState, ModuleState};
use super::{drafts, sockets, sql, timezone, wasi};

/// How often the epoch advances, and so the longest a guest computes before it lets others run on its thread.
pub const EPOCH_TICK: Duration = Duration::from_millis(2);

/// Native stack that host calls have on top of what wasm frames may use.
pub(super) const HOST_STACK_BYTES: usize = 512 << 10;

/// The largest memory any handler's `memory` limit can grant: what a pool slot reserves.
pub const MEMORY_BYTES_CEILING: u64 = 4 << 30;

/// Memory that a finished request may leave resident, in bytes, where the kernel can tell which pages are dirty.
pub(super) const KEEP_RESIDENT_BYTES: usize = 1 << 20;

/// Core modules inside one component, on average over all instances at work. Python's has about forty.
const CORE_INSTANCES_PER_GUEST: u32 = 64;

/// Core modules inside one component, at most.
const CORE_INSTANCES_MAX: u32 = 1_000;

/// Tables of one component, on average over all instances at work: each of its modules may have its own.
pub(super) const TABLES_PER_GUEST: u32 = 8;

/// Handlers that are looked at for a warm instance that can make room.
const EVICTION_SAMPLE: usize = 8;

/// What all guests together may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineSettings {
    /// Guests of each kind (with and without concurrency inside) that run at a time.
    pub instances: u32,
    /// Memory of all of them, in bytes.
    pub memory_bytes_max: u64,
    /// Native stack that the calls of one may use, in bytes.
    pub stack_bytes_max: u64,
    /// Where modules are compiled.
    pub compile: CompileIn,
    /// Handlers whose code is kept in memory.
    pub resident_handlers: u32,
}

impl EngineSettings {
    /// So many instances, and everything else as it is by default.
    #[must_use]
    pub fn with_instances(instances: u32) -> Self {
        Self {
            instances,
            memory_bytes_max: u64::MAX,
            stack_bytes_max: 512 << 10,
            compile: CompileIn::Process,
            resident_handlers: u32::MAX,
        }
    }
}

/// Compiles and runs guests. Cheap to share; one for the program.
#[derive(Clone)]
pub struct GuestEngine(Arc<Engines>);

struct Engines {
    plain: Arc<Lane>,
    /// What core modules may import.
    modules: Linker<ModuleState>,
    offered: BTreeSet<(String, String)>,
    /// Made when the first guest needs it: a pool is address space.
    concurrent: Mutex<Option<Arc<Lane>>>,
    settings: EngineSettings,
    ledger: Arc<Ledger>,
    budget: Arc<Budget>,
    /// Where those go on that compute.
    compute: Arc<Compute>,
    /// Whose code is in memory.
    residents: Arc<Residents>,
}

/// One engine, what components on it may import, and its free places.
pub(super) struct Lane {
    pub(super) engine: Engine,
    pub(super) compiler: Compiler,
    pub(super) components: component::Linker<ComponentState>,
    /// One place for each memory the pool can hold.
    pub(super) places: Arc<Places>,
    pub(super) ledger: Arc<Ledger>,
    /// Where warm instances wait, which may have to make room.
    warm: Mutex<Warm>,
}

/// The warm instances of each handler, and whose turn it is to be looked at.
#[derive(Default)]
struct Warm {
    all: Vec<Weak<dyn MakesRoom>>,
    next: usize,
}

/// Counts one that waits, as long as it is there.
pub(super) struct Waiting<'c>(&'c AtomicU32);

impl<'c> Waiting<'c> {
    pub(super) fn new(count: &'c AtomicU32) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl GuestEngine {
    /// An engine for guests within these settings; starts its epoch clock (a thread that ends with the last clone of the
    /// engine).
    ///
    /// # Errors
    /// When the address space for the pool cannot be reserved.
    pub fn new(settings: EngineSettings) -> wasmtime::Result<Self> {
        let ledger = Arc::<Ledger>::default();
        let budget = Arc::new(Budget::new(settings.memory_bytes_max, &ledger));
        let plain = Arc::new(Lane::new(&settings, &ledger, false)?);
        budget.evicts(&plain);
        let mut modules = Linker::new(&plain.engine);
        serve_http::add_to_linker(&mut modules)?;
        wasi::add_to_linker(&mut modules)?;
        let offered = offered_imports(&plain.engine, &modules);
        let concurrent = Mutex::new(None);
        Ok(Self(Arc::new(Engines {
            plain,
            modules,
            offered,
            concurrent,
            settings,
            ledger,
            budget,
            compute: Arc::default(),
            residents: Arc::new(Residents::new(settings.resident_handlers)),
        })))
    }

    /// The engine of core modules, and of components that need no concurrency inside.
    pub(super) fn plain(&self) -> &Arc<Lane> {
        &self.0.plain
    }

    /// The engine of components that do.
    ///
    /// # Errors
    /// When the address space for its pool cannot be reserved.
    pub(super) fn concurrent(&self) -> wasmtime::Result<Arc<Lane>> {
        let mut slot = self.0.concurrent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = &*slot {
            return Ok(Arc::clone(lane));
        }
        let lane = Arc::new(Lane::new(&self.0.settings, &self.0.ledger, true)?);
        self.0.budget.evicts(&lane);
        Ok(Arc::clone(slot.insert(lane)))
    }

    /// [`Self::concurrent`], for a handler that needs it.
    ///
    /// # Errors
    /// With a sentence, when there is none.
    pub(super) fn lane_of_concurrent(&self) -> Result<Arc<Lane>, LoadError> {
        self.concurrent().map_err(|error| {
            LoadError::one(format!(
                "the engine for wasi:http 0.3 cannot be set up ({error:#}); lower `instances`"
            ))
        })
    }

    /// Memories that the pool of each engine has.
    pub(super) fn instances(&self) -> u32 {
        self.0.settings.instances
    }

    /// What each handler uses.
    #[must_use]
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.0.ledger
    }

    /// What all guests together may have of memory.
    pub(super) fn budget(&self) -> &Arc<Budget> {
        &self.0.budget
    }

    /// Bytes that all of them have.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.0.budget.bytes()
    }

    /// The places of each pool: which it is, those in use, and all there are.
    #[must_use]
    pub fn places(&self) -> Vec<(&'static str, u32, u32)> {
        let concurrent = self.0.concurrent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let lanes = [("plain", Some(Arc::clone(&self.0.plain))), ("concurrent", concurrent)];
        let counts = lanes.into_iter().filter_map(|(name, lane)| Some((name, lane?.places.counts())));
        counts.map(|(name, (capacity, in_use))| (name, in_use, capacity)).collect()
    }

    pub(super) fn compute(&self) -> &Arc<Compute> {
        &self.0.compute
    }

    /// Whose code is in memory.
    pub(super) fn residents(&self) -> &Arc<Residents> {
        &self.0.residents
    }

    /// Handlers whose code is in memory and can leave it, how often code was loaded, and how often it had to go.
    #[must_use]
    pub fn resident_handlers(&self) -> (usize, u64, u64) {
        self.0.residents.counts()
    }

    /// What core modules may import.
    pub(super) fn modules(&self) -> &Linker<ModuleState> {
        &self.0.modules
    }

    /// Whether the host provides this import to core modules.
    #[must_use]
    pub fn offers(&self, module: &str, name: &str) -> bool {
        self.0.offered.contains(&(module.to_owned(), name.to_owned()))
    }
}

impl std::fmt::Debug for GuestEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuestEngine").field("places", &self.places()).finish_non_exhaustive()
    }
}

impl Lane {
    fn new(settings: &EngineSettings, ledger: &Arc<Ledger>, concurrent: bool) -> wasmtime::Result<Self> {
        let engine = Engine::new(&config(settings, concurrent))?;
        let mut components = component::Linker::new(&engine);
        p2::add_to_linker(&mut components)?;
        if concurrent {
            p3::add_to_linker(&mut components)?;
        }
        timezone::add_to_linker(&mut components, concurrent)?;
        sockets::add_to_linker(&mut components, concurrent)?;
        drafts::add_to_linker(&mut components)?;
        sql::add_to_linker(&mut components)?;
        start_epoch_clock(engine.weak())?;
        let places = Arc::new(Places::new(settings.instances, ledger));
        let compiler =
            Compiler { place: settings.compile, concurrent, stack_bytes_max: settings.stack_bytes_max };
        let (ledger, warm) = (Arc::clone(ledger), Mutex::default());
        Ok(Self { engine, compiler, components, places, ledger, warm })
    }

    /// Lets these warm instances be asked to make room.
    pub(super) fn may_evict<W: MakesRoom + 'static>(&self, warm: &Arc<W>) {
        let Warm { all, .. } = &mut *self.warm.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == all.capacity() {
            all.retain(|warm| warm.strong_count() > 0);
        }
        let warm: Weak<W> = Arc::downgrade(warm);
        all.push(warm);
    }

    /// Ends a warm instance that waits for a request; says whether there was one. Of many handlers it looks at a few, and
    /// takes the instance that has waited longest: those that are asked often keep theirs.
    pub(super) fn evict(&self) -> bool {
        let lock = || self.warm.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = lock().oldest_of(EVICTION_SAMPLE);
        // Whoever was to make room may have been asked again meanwhile.
        oldest.is_some_and(|oldest| oldest.evict())
            || lock().all.iter().filter_map(Weak::upgrade).any(|warm| warm.evict())
    }
}

impl Warm {
    /// Whoever has the instance that has waited longest, of the next `count` that have any.
    fn oldest_of(&mut self, count: usize) -> Option<Arc<dyn MakesRoom>> {
        let (all, start) = (&self.all, self.next);
        let in_turn = (0..all.len()).map(|step| (start + step) % all.len());
        let waiting = in_turn.filter_map(|index| {
            let warm = all[index].upgrade()?;
            Some((warm.idle_since()?, index, warm))
        });
        let sample: Vec<_> = waiting.take(count).collect();
        self.next = sample.last().map_or(0, |(_, index, _)| index + 1);
        sample.into_iter().min_by_key(|(since, ..)| *since).map(|(.., warm)| warm)
    }
}

impl Evicts for Lane {
    fn evict(&self) -> bool {
        Self::evict(self)
    }
}

fn config(settings: &EngineSettings, concurrent: bool) -> Config {
    let instances = settings.instances;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(instances.saturating_mul(CORE_INSTANCES_PER_GUEST))
        .max_core_instances_per_component(
            CORE_INSTANCES_MAX.min(instances.saturating_mul(CORE_INSTANCES_PER_GUEST)),
        )
        .total_component_instances(instances)
        .total_memories(instances)
        .total_tables(instances.saturating_mul(TABLES_PER_GUEST))
        .total_stacks(instances)
        .max_memories_per_module(1)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_memory_size(MEMORY_BYTES_CEILING as usize);
    // With PAGEMAP_SCAN the kernel names the dirty pages and only those are restored; without it every kept byte would
    // be. wasmtime 48 does not see dirty pages that were swapped out (wasmtime#14357), so swap rules it out: another
    // request's bytes would stay behind.
    if swap_is_off() {
        pool.pagemap_scan(Enabled::Auto)
            .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
            .table_keep_resident(TABLE_ELEMENTS_MAX * size_of::<usize>());
    }
    let mut config = compiler(settings.stack_bytes_max, concurrent);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// All that matters for the code of guests, and nothing for running it.
pub(super) fn compiler(stack_bytes_max: u64, concurrent: bool) -> Config {
    let stack = stack_bytes_max as usize;
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .async_stack_size(stack + HOST_STACK_BYTES)
        .max_wasm_stack(stack)
        .memory_reservation(MEMORY_BYTES_CEILING)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .wasm_memory64(false)
        // What joins the components inside a component is compiled to modules with the memories of both sides.
        .wasm_multi_memory(true)
        .concurrency_support(concurrent);
    config
}

/// For code that runs once, and not for long.
pub(super) fn rehearsal(stack_bytes_max: u64) -> Config {
    let mut config = compiler(stack_bytes_max, false);
    config.cranelift_opt_level(OptLevel::None);
    config
}

/// Whether the machine has no swap. Where that cannot be read, it is taken to have some.
fn swap_is_off() -> bool {
    // The first line is a heading; each further one is a swap area.
    std::fs::read_to_string("/proc/swaps").is_ok_and(|areas| areas.lines().count() <= 1)
}

fn start_epoch_clock(engine: EngineWeak) -> std::io::Result<()> {
    std::thread::Builder::new().name("epoch".into()).spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(EPOCH_TICK);
        }
    })?;
    Ok(())
}

fn offered_imports(engine: &Engine, linker: &Linker<ModuleState>) -> BTreeSet<(String, String)> {
    let mut store = wasmtime::Store::new(engine, ModuleState::detached());
    linker.iter(&mut store).map(|(module, name, _)| (module.to_owned(), name.to_owned())).collect()
}
