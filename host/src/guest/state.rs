//! The data of a store: everything that belongs to one guest instance and its request.

use std::sync::Arc;

use tracing::Level;
use wasmtime::Memory;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p1::WasiP1Ctx;

use super::exchange::Exchange;
use super::limits::MemoryLimiter;
use super::log::GuestLog;
use super::stdio::LineStream;
use super::wasi::RANDOM_BYTES_MAX;

/// Everything that belongs to one instance.
pub(super) struct State {
    /// The request and its response; none while an instance only initialises.
    pub(super) exchange: Option<Exchange>,
    /// The guest's exported memory, looked up once.
    pub(super) memory: Option<Memory>,
    pub(super) limiter: MemoryLimiter,
    pub(super) log: Option<GuestLog>,
    pub(super) env: Arc<[(String, String)]>,
    /// Made at the first WASI call: many guests never make one.
    wasi: Option<WasiP1Ctx>,
}

impl State {
    pub(super) fn new(
        exchange: Exchange,
        handler: Arc<str>,
        env: Arc<[(String, String)]>,
        memory_bytes_max: u64,
    ) -> Self {
        let log = GuestLog::new(handler, exchange.request.id.clone());
        Self {
            exchange: Some(exchange),
            memory: None,
            limiter: MemoryLimiter { bytes_max: memory_bytes_max, refused: false },
            log: Some(log),
            env,
            wasi: None,
        }
    }

    /// State without a request, for looking at types only.
    pub(super) fn detached() -> Self {
        let limiter = MemoryLimiter { bytes_max: 0, refused: false };
        Self { exchange: None, memory: None, limiter, log: None, env: Arc::new([]), wasi: None }
    }

    /// WASI preview 1 with clocks, randomness, the handler's environment and log lines for output; nothing else.
    pub(super) fn wasi(&mut self) -> &mut WasiP1Ctx {
        self.wasi.get_or_insert_with(|| {
            let mut builder = WasiCtxBuilder::new();
            builder
                .envs(&self.env)
                .allow_tcp(false)
                .allow_udp(false)
                .max_random_size(u64::from(RANDOM_BYTES_MAX));
            if let Some(log) = &self.log {
                builder.stdout(LineStream::new(log.clone(), Level::INFO));
                builder.stderr(LineStream::new(log.clone(), Level::WARN));
            }
            builder.build_p1()
        })
    }
}
