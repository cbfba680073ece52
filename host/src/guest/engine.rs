//! The wasm engine: the only `wasmtime::Config`, the instance pool, the epoch clock, and what guests may import.
//!
//! Invariant: everything a module can import is in this one linker; what is not there is refused at load.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use wasmtime::{
    Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, Linker, PoolingAllocationConfig,
    WasmBacktraceDetails,
};

use super::abi::serve_http;
use super::limits::TABLE_ELEMENTS_MAX;
use super::state::State;
use super::wasi;

/// How often the epoch advances, and so the longest a guest computes before it lets others run on its thread.
pub const EPOCH_TICK: Duration = Duration::from_millis(2);

/// Native stack of a guest's fiber, and the part of it that wasm frames may use.
const FIBER_STACK_BYTES: usize = 1 << 20;
const WASM_STACK_BYTES: usize = 512 << 10;

/// The largest memory any handler's `memory` limit can grant: what a pool slot reserves.
pub const MEMORY_BYTES_CEILING: u64 = 4 << 30;

/// Memory that a finished request may leave resident in its pool slot, where the kernel can tell which pages are dirty.
const KEEP_RESIDENT_BYTES: usize = 1 << 20;

/// Compiles and runs guests. Cheap to share; one for the program.
#[derive(Clone)]
pub struct GuestEngine {
    pub(super) engine: Engine,
    pub(super) linker: Arc<Linker<State>>,
    /// One permit for each instance the pool can hold.
    pub(super) permits: Arc<Semaphore>,
    offered: Arc<BTreeSet<(String, String)>>,
}

impl GuestEngine {
    /// An engine that runs at most `instances` guests at a time, and starts its epoch clock (a thread that ends with
    /// the last clone of the engine).
    ///
    /// # Errors
    /// When the address space for the pool cannot be reserved.
    pub fn new(instances: u32) -> wasmtime::Result<Self> {
        let engine = Engine::new(&config(instances))?;
        let mut linker = Linker::new(&engine);
        serve_http::add_to_linker(&mut linker)?;
        wasi::add_to_linker(&mut linker)?;
        start_epoch_clock(engine.weak())?;
        let offered = offered_imports(&engine, &linker);
        Ok(Self {
            engine,
            linker: Arc::new(linker),
            permits: Arc::new(Semaphore::new(instances as usize)),
            offered: Arc::new(offered),
        })
    }

    /// Whether the host provides this import to core modules.
    #[must_use]
    pub fn offers(&self, module: &str, name: &str) -> bool {
        self.offered.contains(&(module.to_owned(), name.to_owned()))
    }
}

impl std::fmt::Debug for GuestEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuestEngine").field("free", &self.permits.available_permits()).finish_non_exhaustive()
    }
}

fn config(instances: u32) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(instances)
        .total_memories(instances)
        .total_tables(instances)
        .total_stacks(instances)
        .max_memories_per_module(1)
        .max_tables_per_module(1)
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
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .async_stack_size(FIBER_STACK_BYTES)
        .max_wasm_stack(WASM_STACK_BYTES)
        .memory_reservation(MEMORY_BYTES_CEILING)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .concurrency_support(false);
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

fn offered_imports(engine: &Engine, linker: &Linker<State>) -> BTreeSet<(String, String)> {
    let mut store = wasmtime::Store::new(engine, State::detached());
    linker.iter(&mut store).map(|(module, name, _)| (module.to_owned(), name.to_owned())).collect()
}
