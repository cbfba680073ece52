//! The data of a store: everything that belongs to one guest instance, and the request it handles.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tracing::Level;
use wasmtime::component::{GuestTaskId, ResourceTable};
use wasmtime::{Engine, Memory, Store, UpdateDeadline};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::budget::{Account, Budget};
use super::calls::Calls;
use super::capability::Hooks;
use super::databases::Session;
use super::exchange::Exchange;
use super::grants::{Folder, Grants};
use super::held;
use super::limits::MemoryLimiter;
use super::log::GuestLog;
use super::masks::Masks;
use super::next::{Next, Origin};
use super::pulse::Pulse;
use super::share::Share;
use super::stdio::LineStream;
use super::wasi::RANDOM_BYTES_MAX;
use crate::error::Error;

/// What all instances of one handler have in common.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) env: Vec<(String, String)>,
    pub(super) memory_bytes_max: u64,
    /// Where that is taken from.
    pub(super) budget: Option<Arc<Budget>>,
    /// What a component's set of fields may take, in bytes.
    pub(super) field_bytes_max: usize,
    /// Streams, bodies, files and the like that an instance may hold at a time.
    pub(super) handles_max: u32,
    /// What may be logged for a request, in bytes.
    pub(super) log_bytes_max: u64,
    /// What the handler, whose name it has, uses of the host.
    pub(super) share: Arc<Share>,
    /// What it may reach beyond its own request.
    pub(super) grants: Arc<Grants>,
    /// What is kept out of its log lines.
    pub(super) masks: Arc<Masks>,
    /// The handler behind this one.
    pub(super) next: Option<Arc<dyn Next>>,
    /// The first digits of the digest of its code, for logs.
    pub(super) version: Arc<str>,
}

/// What the state of any instance has.
pub(super) struct Core {
    pub(super) common: Arc<Common>,
    /// The request and its response; none while an instance waits for one, and where an instance has several at a time.
    pub(super) exchange: Option<Box<Exchange>>,
    pub(super) limiter: MemoryLimiter,
    pub(super) log: GuestLog,
    /// What a request keeps on the way to the handler behind this one.
    pub(super) origin: Option<Origin>,
    /// Told at every epoch tick; none before the first request.
    pub(super) pulse: Option<Arc<Pulse>>,
    /// What it holds of its databases, once it asks for one.
    databases: Option<Box<Session>>,
    /// Standard output and error, once there is a WASI context.
    stdio: Option<[LineStream; 2]>,
}

/// The state of a core module's instance.
pub(super) struct ModuleState {
    pub(super) core: Core,
    /// Its calls to others.
    pub(super) calls: Calls,
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
    /// What the fields of responses take that were made and not set (0.2), in bytes.
    pub(super) response_bytes: Arc<AtomicUsize>,
    http: WasiHttpCtx,
    /// Made at the first WASI call.
    wasi: Option<WasiCtx>,
}

/// State of either kind.
pub(super) trait State: Send + 'static {
    fn core(&mut self) -> &mut Core;

    /// What the host holds for the instance at the moment, in bytes.
    fn held_bytes(&mut self) -> usize;
}

impl State for ModuleState {
    fn core(&mut self) -> &mut Core {
        &mut self.core
    }

    /// Results of databases, and what waits to be sent; of the rest it can have no more than one, or no more than 64 KiB.
    fn held_bytes(&mut self) -> usize {
        self.core.result_bytes() + self.calls.held_bytes()
    }
}

impl State for ComponentState {
    fn core(&mut self) -> &mut Core {
        &mut self.core
    }

    fn held_bytes(&mut self) -> usize {
        let counted = [&self.early_bytes, &self.response_bytes].map(|bytes| bytes.load(Ordering::Relaxed));
        held::bytes(&mut self.table) + counted.iter().sum::<usize>() + self.core.result_bytes()
    }
}

/// Counts what the host holds for an instance, now that it has become more; traps when that is too much.
pub(super) fn hold<S: State>(state: &mut S) -> wasmtime::Result<()> {
    let held = state.held_bytes() as u64;
    if state.core().limiter.hold(held) {
        return Ok(());
    }
    wasmtime::bail!("the host holds {held} bytes for the instance, which is too much for its `memory`")
}

/// A store that holds its guest to its limits and lets others run at every epoch tick.
pub(super) fn new_store<S: State>(engine: &Engine, state: S) -> Store<S> {
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.core().limiter);
    store.set_epoch_deadline(1);
    // tokio's own yield, not wasmtime's: it lets the thread poll its sockets before this guest goes on, so that
    // guests that compute for ever cannot starve the others' I/O.
    store.epoch_deadline_callback(|mut store| {
        hold(store.data_mut())?;
        if let Some(pulse) = &store.data_mut().core().pulse {
            pulse.interrupt()?;
        }
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
    store
}

impl Core {
    fn new(common: &Arc<Common>) -> Self {
        Self {
            common: Arc::clone(common),
            exchange: None,
            limiter: MemoryLimiter::new(
                common.memory_bytes_max,
                common.budget.as_ref().map(|budget| Account::new(budget, &common.share)),
            ),
            log: GuestLog::new((&common.share, &common.version), common.log_bytes_max, &common.masks),
            origin: None,
            pulse: None,
            databases: None,
            stdio: None,
        }
    }

    /// What the instance holds of its databases.
    pub(super) fn databases(&mut self) -> &mut Session {
        self.databases.get_or_insert_with(|| {
            let Common { grants, share, handles_max, .. } = &*self.common;
            Box::new(Session::new(&grants.databases, &self.log, share, *handles_max))
        })
    }

    fn result_bytes(&self) -> usize {
        self.databases.as_ref().map_or(0, |databases| databases.held_bytes())
    }

    /// Ends all that a request has left with databases.
    pub(super) fn leave_databases(&mut self) {
        self.databases = None;
    }

    /// Hands the instance its next request. What the guest prints from now on is said with that request's id.
    fn begin(&mut self, exchange: Box<Exchange>) {
        self.stdio.iter().flatten().for_each(LineStream::end_line);
        self.log.begin(Some(&exchange.request));
        self.limiter.begin();
        self.origin = self.origin_of(&exchange);
        self.pulse = Some(Arc::clone(&exchange.pulse));
        self.exchange = Some(exchange);
    }

    /// What a request keeps, if there is a handler behind this one.
    pub(super) fn origin_of(&self, exchange: &Exchange) -> Option<Origin> {
        self.common.next.is_some().then(|| Origin::of(&exchange.request))
    }

    /// Clocks, randomness, the handler's environment and folders, and log lines for output; nothing else.
    fn wasi(&mut self) -> WasiCtxBuilder {
        let [out, err] = self.stdio.get_or_insert_with(|| {
            [LineStream::new(self.log.clone(), Level::INFO), LineStream::new(self.log.clone(), Level::WARN)]
        });
        let mut builder = WasiCtxBuilder::new();
        builder
            .envs(&self.common.env)
            .stdout(out.clone())
            .stderr(err.clone())
            .max_random_size(u64::from(RANDOM_BYTES_MAX));
        for Folder { name, path, read_only } in &self.common.grants.folders {
            let perms = if *read_only { FsPerms::ReadOnly } else { FsPerms::ReadWrite };
            if let Err(error) = builder.preopened_dir(path, name, perms) {
                // It was there when the deployment was made.
                let text = format!("the folder {} cannot be opened: {error:#}", path.display());
                self.log.line(Level::WARN, text.as_bytes());
            }
        }
        builder
    }
}

impl ModuleState {
    pub(super) fn new(common: &Arc<Common>) -> Self {
        Self { core: Core::new(common), calls: Calls::default(), memory: None, wasi: None }
    }

    /// State for looking at types only.
    pub(super) fn detached() -> Self {
        Self::new(&Arc::new(Common {
            env: Vec::new(),
            memory_bytes_max: 0,
            budget: None,
            field_bytes_max: 0,
            handles_max: 0,
            log_bytes_max: 0,
            share: Arc::new(Share::new("".into(), 0, 1)),
            grants: Arc::default(),
            masks: Arc::default(),
            next: None,
            version: Arc::default(),
        }))
    }

    pub(super) fn begin(&mut self, exchange: Box<Exchange>) {
        self.core.begin(exchange);
    }

    /// Ends the calls that a request has left behind.
    pub(super) fn end_calls(&mut self) {
        self.calls = Calls::default();
    }

    /// Ends all that a request has left with the host: open files, unfinished lines, calls.
    pub(super) fn renew(&mut self) {
        (self.wasi, self.core.stdio) = (None, None);
        self.core.leave_databases();
        self.end_calls();
    }

    /// WASI preview 1.
    pub(super) fn wasi(&mut self) -> &mut WasiP1Ctx {
        let Self { core, wasi, .. } = self;
        wasi.get_or_insert_with(|| {
            let mut wasi = core.wasi().allow_tcp(false).allow_udp(false).build_p1();
            wasi.ctx().table.set_max_capacity(core.common.handles_max as usize);
            wasi
        })
    }
}

impl ComponentState {
    pub(super) fn new(common: &Arc<Common>) -> Self {
        let core = Core::new(common);
        let mut table = ResourceTable::new();
        table.set_max_capacity(common.handles_max as usize);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(common.field_bytes_max);
        Self {
            hooks: Hooks::new(Arc::clone(&common.grants), core.log.clone()),
            core,
            table,
            fault: None,
            origins: Vec::new(),
            early_bytes: Arc::default(),
            response_bytes: Arc::default(),
            http,
            wasi: None,
        }
    }

    pub(super) fn begin(&mut self, exchange: Box<Exchange>) {
        self.hooks.begin(&exchange.request);
        self.core.begin(exchange);
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
