//! The data of a store: everything that belongs to one guest instance, and the request it handles.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tracing::Level;
use wasmtime::component::{GuestTaskId, ResourceTable};
use wasmtime::{Engine, Memory, Store, UpdateDeadline};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::budget::{Account, Budget};
use super::capability::{Capabilities, Hooks};
use super::exchange::Exchange;
use super::limits::MemoryLimiter;
use super::log::GuestLog;
use super::next::{Next, Origin};
use super::pulse::Pulse;
use super::share::Share;
use super::stdio::LineStream;
use super::wasi::RANDOM_BYTES_MAX;
use crate::error::Error;

/// Handles (streams, bodies, sets of fields) that one component instance may hold at a time; beyond it host calls that
/// would make another one trap. Each may hold 128 KiB of the host's memory, which the handler's `memory` does not count.
const HANDLES_MAX: usize = 10_000;

/// The same for guests that have folders, each of whose handles may be an open file of this process. Also of core modules.
const FILES_MAX: usize = 1_000;

/// What all instances of one handler have in common.
#[derive(Clone, Debug)]
pub(super) struct Common {
    /// The handler's name.
    pub(super) handler: Arc<str>,
    pub(super) env: Arc<[(String, String)]>,
    /// Folders that may be read, by the names the guest has for them.
    pub(super) folders: Arc<[(String, PathBuf)]>,
    pub(super) memory_bytes_max: u64,
    /// Where that is taken from, and whose part it is.
    pub(super) budget: Option<(Arc<Budget>, Arc<Share>)>,
    /// What a component's set of fields may take, in bytes.
    pub(super) field_bytes_max: usize,
    pub(super) capabilities: Arc<dyn Capabilities>,
    /// The handler behind this one.
    pub(super) next: Option<Arc<dyn Next>>,
}

/// What the state of any instance has.
pub(super) struct Core {
    /// The request and its response; none while an instance waits for one, and where an instance has several at a time.
    pub(super) exchange: Option<Exchange>,
    pub(super) limiter: MemoryLimiter,
    pub(super) log: GuestLog,
    pub(super) env: Arc<[(String, String)]>,
    folders: Arc<[(String, PathBuf)]>,
    /// The handler behind this one, and what a request keeps on the way to it.
    pub(super) next: Option<Arc<dyn Next>>,
    pub(super) origin: Option<Origin>,
    /// Told at every epoch tick.
    pub(super) pulse: Arc<Pulse>,
    /// Standard output and error, once there is a WASI context.
    stdio: Option<[LineStream; 2]>,
}

/// The state of a core module's instance.
pub(super) struct ModuleState {
    pub(super) core: Core,
    /// The guest's exported memory, looked up once.
    pub(super) memory: Option<Memory>,
    /// Made at the first WASI call: many guests never make one.
    wasi: Option<WasiP1Ctx>,
}

/// The state of a component's instance.
pub(super) struct ComponentState {
    pub(super) core: Core,
    pub(super) table: ResourceTable,
    pub(super) hooks: Hooks,
    /// Why there is no response, when the guest has said so itself.
    pub(super) fault: Option<Error>,
    /// Whose requests an instance has that has several, and which of its tasks they are; empty in others.
    pub(super) origins: Vec<(GuestTaskId, Origin)>,
    /// Body bytes that wait for their response to be set (0.2).
    pub(super) early_bytes: Arc<AtomicUsize>,
    http: WasiHttpCtx,
    /// Made at the first WASI call.
    wasi: Option<WasiCtx>,
}

/// State of either kind.
pub(super) trait State: Send + 'static {
    fn core(&mut self) -> &mut Core;
}

impl State for ModuleState {
    fn core(&mut self) -> &mut Core {
        &mut self.core
    }
}

impl State for ComponentState {
    fn core(&mut self) -> &mut Core {
        &mut self.core
    }
}

/// A store that holds its guest to its limits and lets others run at every epoch tick.
pub(super) fn new_store<S: State>(engine: &Engine, state: S) -> Store<S> {
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.core().limiter);
    store.set_epoch_deadline(1);
    // tokio's own yield, not wasmtime's: it lets the thread poll its sockets before this guest goes on, so that
    // guests that compute for ever cannot starve the others' I/O.
    store.epoch_deadline_callback(|mut store| {
        store.data_mut().core().pulse.interrupt()?;
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
    store
}

impl Core {
    fn new(common: &Common) -> Self {
        Self {
            exchange: None,
            limiter: MemoryLimiter::new(
                common.memory_bytes_max,
                common.budget.as_ref().map(|(budget, share)| Account::new(budget, share)),
            ),
            log: GuestLog::new(Arc::clone(&common.handler), None),
            env: Arc::clone(&common.env),
            folders: Arc::clone(&common.folders),
            next: common.next.clone(),
            origin: None,
            pulse: Arc::default(),
            stdio: None,
        }
    }

    /// Hands the instance its next request. What the guest prints from now on is said with that request's id.
    fn begin(&mut self, exchange: Exchange) {
        self.log = GuestLog::new(Arc::clone(&self.log.handler), Some(exchange.request.id.clone()));
        for stream in self.stdio.iter().flatten() {
            stream.switch(&self.log);
        }
        self.limiter.begin();
        self.origin = self.next.is_some().then(|| Origin::of(&exchange.request));
        self.pulse = Arc::clone(&exchange.pulse);
        self.exchange = Some(exchange);
    }

    /// Clocks, randomness, the handler's environment and folders, and log lines for output; nothing else.
    fn wasi(&mut self) -> WasiCtxBuilder {
        let [out, err] = self.stdio.get_or_insert_with(|| {
            [LineStream::new(self.log.clone(), Level::INFO), LineStream::new(self.log.clone(), Level::WARN)]
        });
        let mut builder = WasiCtxBuilder::new();
        builder
            .envs(&self.env)
            .stdout(out.clone())
            .stderr(err.clone())
            .max_random_size(u64::from(RANDOM_BYTES_MAX));
        for (name, folder) in self.folders.iter() {
            if let Err(error) = builder.preopened_dir(folder, name, FsPerms::ReadOnly) {
                // It was there when the deployment was made.
                let text = format!("the folder {} cannot be opened: {error:#}", folder.display());
                self.log.line(Level::WARN, text.as_bytes());
            }
        }
        builder
    }
}

impl ModuleState {
    pub(super) fn new(common: &Common) -> Self {
        Self { core: Core::new(common), memory: None, wasi: None }
    }

    /// State for looking at types only.
    pub(super) fn detached() -> Self {
        let capabilities = Arc::new(super::capability::Nothing);
        let (handler, env, folders) = ("".into(), Arc::new([]), Arc::new([]));
        Self::new(&Common {
            handler,
            env,
            folders,
            memory_bytes_max: 0,
            budget: None,
            field_bytes_max: 0,
            capabilities,
            next: None,
        })
    }

    pub(super) fn begin(&mut self, exchange: Exchange) {
        self.core.begin(exchange);
    }

    /// WASI preview 1.
    pub(super) fn wasi(&mut self) -> &mut WasiP1Ctx {
        let Self { core, wasi, .. } = self;
        wasi.get_or_insert_with(|| {
            let mut wasi = core.wasi().allow_tcp(false).allow_udp(false).build_p1();
            wasi.ctx().table.set_max_capacity(FILES_MAX);
            wasi
        })
    }
}

impl ComponentState {
    pub(super) fn new(common: &Common) -> Self {
        let core = Core::new(common);
        let mut table = ResourceTable::new();
        table.set_max_capacity(if common.folders.is_empty() { HANDLES_MAX } else { FILES_MAX });
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(common.field_bytes_max);
        Self {
            hooks: Hooks::new(Arc::clone(&common.capabilities), core.log.clone()),
            core,
            table,
            fault: None,
            origins: Vec::new(),
            early_bytes: Arc::default(),
            http,
            wasi: None,
        }
    }

    pub(super) fn begin(&mut self, exchange: Exchange) {
        self.core.begin(exchange);
        self.hooks.switch(&self.core.log);
    }
}

impl WasiView for ComponentState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let Self { core, table, hooks, wasi, .. } = self;
        let ctx = wasi.get_or_insert_with(|| {
            let mut builder = core.wasi();
            hooks.allow_sockets(&mut builder);
            builder.build()
        });
        WasiCtxView { ctx, table }
    }
}

impl WasiHttpView for ComponentState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}
