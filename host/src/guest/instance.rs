//! A handler's guest: checked and linked once, then an instance for every request, fresh or warm.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Response;
use tokio::time::Instant;

use super::abi::{Abi, Stop};
use super::admission::{Admission, AtWork};
use super::artifact::{Artifact, LoadError};
use super::call::{Call, Label, OnDisconnect};
use super::capability::Nothing;
use super::compute::{Compute, Work};
use super::engine::GuestEngine;
use super::exchange::{Exchange, Incoming};
use super::failure::failure;
use super::fair::{Account, Fair};
use super::field_limits::FieldLimits;
use super::isolation::{Isolation, Live, MakesRoom as _, Parked};
use super::limits::Limits;
use super::next::Next;
use super::outbox::Outbox;
use super::places::Taken;
use super::pulse::Pulse;
use super::seats::Crowd;
use super::share::Share;
use super::snapshot::{Snapshot, Start};
use super::state::Common;
use super::take::TakeLimit;
use crate::body::Body;
use crate::error::{Error, Kind, chain};
use crate::limit::Limit;
use crate::tempo::Tempo;

mod shared;

/// How long a component whose client has gone away may take note of that before it is stopped: ten epoch ticks, enough to
/// log a line, and so little that the guest's CPU is free again before a tenth of a second has passed.
const DISCONNECT_GRACE: Duration = Duration::from_millis(20);

/// What routes.toml says about a handler, beside its wasm.
#[derive(Clone, Debug, Default)]
pub struct GuestSettings {
    /// The handler's name, for logs.
    pub name: String,
    /// Environment variables it sees, and no others.
    pub env: Vec<(String, String)>,
    /// Folders whose files it may read: their names for the guest, and where they are.
    pub folders: Vec<(String, PathBuf)>,
    /// What a request may use up.
    pub limits: Limits,
    /// What happens when its client goes away.
    pub on_disconnect: OnDisconnect,
    /// What its requests share.
    pub isolation: Isolation,
    /// It is started once, when it is loaded, and its instances begin there.
    pub snapshot: Option<Snapshot>,
    /// The handler behind it, which it may call.
    pub next: Option<Arc<dyn Next>>,
}

impl GuestSettings {
    /// How it is started for its snapshot, accepting what `snapshot` says.
    #[must_use]
    pub fn start(&self, snapshot: Snapshot) -> Start {
        Start {
            handler: self.name.clone(),
            env: self.env.clone(),
            folders: self.folders.clone(),
            memory_bytes_max: self.limits.memory_bytes_max,
            timeout: self.limits.timeout,
            snapshot,
        }
    }
}

/// A handler's code, ready to be instantiated.
pub struct Guest {
    abi: Abi,
    admission: Admission,
    common: Common,
    /// What it uses of the host, together with its other deployments.
    share: Arc<Share>,
    compute: Arc<Compute>,
    limits: Limits,
    /// The limits on how its responses are taken.
    take: Arc<TakeLimit>,
    on_disconnect: OnDisconnect,
    isolation: Isolation,
    parked: Arc<Parked>,
    /// Instances that serve several requests at a time.
    crowd: Arc<Crowd>,
    /// A warm instance has served a second request.
    is_reusable: AtomicBool,
    /// One has failed to, so that no further one is kept.
    is_unfit: AtomicBool,
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guest").field("name", &self.common.handler).finish_non_exhaustive()
    }
}

impl Guest {
    /// Links an artifact with what the host provides.
    ///
    /// # Errors
    /// When an export is missing or has the wrong type, an import cannot be satisfied, or the memory it starts with is
    /// beyond its limit.
    pub fn new(
        engine: &GuestEngine,
        artifact: &Artifact,
        settings: GuestSettings,
    ) -> Result<Self, LoadError> {
        let next = check_next(artifact, &settings);
        let abi = LoadError::of_both(Abi::link(engine, artifact, &settings.limits), next)?;
        let (lane, places) = artifact.place(engine);
        let parked = Arc::new(Parked::default());
        if settings.isolation != Isolation::Request {
            lane.may_evict(&parked);
        }
        let crowd = Arc::new(Crowd::default());
        if let Isolation::Concurrent(..) = settings.isolation {
            check_concurrent(&abi)?;
            lane.may_evict(&crowd);
        }
        let handler: Arc<str> = settings.name.into();
        let share = engine.ledger().share(&handler);
        let common = Common {
            handler,
            env: settings.env.into(),
            folders: settings.folders.into(),
            memory_bytes_max: settings.limits.memory_bytes_max,
            budget: Some(Arc::clone(engine.budget())),
            field_bytes_max: FieldLimits::response(&settings.limits).set_bytes_max(),
            handles_max: settings.limits.handles_max,
            log_bytes_max: settings.limits.log_bytes_max,
            share: Arc::clone(&share),
            capabilities: Arc::new(Nothing),
            next: settings.next,
        };
        Ok(Self {
            abi,
            admission: Admission::new(&share, &lane, places, &settings.limits),
            take: TakeLimit::new(&settings.limits, &common.handler, &share),
            share,
            compute: Arc::clone(engine.compute()),
            common,
            limits: settings.limits,
            on_disconnect: settings.on_disconnect,
            isolation: settings.isolation,
            parked,
            crowd,
            is_reusable: AtomicBool::new(false),
            is_unfit: AtomicBool::new(false),
        })
    }

    /// The limits of every request.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Answers one request.
    ///
    /// # Errors
    /// When no byte of a response may leave: see [`Kind`]. Later failures come out of the response's body.
    pub async fn serve(self: Arc<Self>, request: Incoming) -> Result<Response<Body>, Error> {
        let (handler, share) = (Arc::clone(&self.common.handler), Arc::clone(&self.share));
        let (breaker, pulse) = (self.limits.breaker, Arc::<Pulse>::default());
        let label = Label { handler, request: request.id.clone(), share, breaker, pulse };
        let served = self.answer(request, label.clone()).await;
        served.map_err(|error| label.count(error))
    }

    async fn answer(self: Arc<Self>, mut request: Incoming, label: Label) -> Result<Response<Body>, Error> {
        if request.body.declared_length().is_some_and(|length| length > self.limits.request_body_bytes_max) {
            return Err(Limit::RequestBody.into());
        }
        FieldLimits::request(&self.limits).check(&request.parts.headers)?;
        let outbox = Outbox::new(&request.parts.method, self.limits.response_body_bytes_max);
        let outbox = Arc::new(outbox.with_fields(FieldLimits::response(&self.limits)));
        request.body.limit(self.limits.request_body_bytes_max);
        let tempo = Tempo { idle: self.limits.request_body_idle, rate: self.limits.request_body_rate };
        request.body.clock(tempo, &outbox);
        let now = Instant::now();
        let deadline = now + self.limits.timeout;
        let deadline_ms = unix_ms() + self.limits.timeout.as_millis() as u64;
        let pulse = Arc::clone(&label.pulse);
        let at_work = self.admission.enter(&pulse, now, deadline).await?;
        let grace = match (self.on_disconnect, &self.abi) {
            (OnDisconnect::Finish, _) => self.limits.timeout,
            (OnDisconnect::Cancel, Abi::ServeHttp(_)) => Duration::ZERO,
            (OnDisconnect::Cancel, Abi::P2(_) | Abi::P3(_)) => DISCONNECT_GRACE,
        };
        let take = Arc::clone(&self.take);
        let exchange = Exchange {
            request,
            deadline_ms,
            outbox: Arc::clone(&outbox),
            pulse: Arc::clone(&pulse),
            reply: None,
        };
        let work: Work = match self.isolation {
            Isolation::Concurrent(reuse, concurrency) => {
                Box::pin(self.run_shared(exchange, deadline, at_work, (reuse, concurrency)))
            }
            Isolation::Request | Isolation::Reuse(_) => {
                let live = self.live(&pulse, deadline).await?;
                let (compute, share) = (Arc::clone(&self.compute), Arc::clone(&self.share));
                let (account, cpu_max) = (Account::Request(Arc::clone(&outbox)), self.limits.cpu);
                let work = Box::pin(self.run(exchange, live, at_work));
                Box::pin(Fair::new(work, &compute, &pulse, &share, account, cpu_max))
            }
        };
        let response = Call::new(work, outbox, deadline, grace, label).first_byte().await;
        // Whether it goes on is now its client's business too, for whom others of its handler need not wait.
        pulse.has_started();
        Ok(response?.map(|body| body.taken_within(&take)))
    }

    async fn run(self: Arc<Self>, exchange: Exchange, live: Live, mut at_work: AtWork) -> Result<(), Error> {
        let ended = self.run_alone(exchange, live).await;
        at_work.ended(ended.as_ref().err());
        ended
    }

    async fn run_alone(&self, exchange: Exchange, mut live: Live) -> Result<(), Error> {
        let (outbox, id) = (Arc::clone(&exchange.outbox), exchange.request.id.clone());
        live.instance.begin(exchange);
        let served = live.instance.serve().await;
        live.served += 1;
        let error = match served {
            Ok(()) => {
                // What is broken off may be so in the guest as well.
                if outbox.is_sound() {
                    self.keep(live);
                }
                return Ok(());
            }
            Err(Stop::Fault(error)) => error,
            Err(Stop::Trap(error)) => {
                let limiter = &live.instance.core().limiter;
                limiter.blame(failure(error, limiter.refused, self.limits.memory_bytes_max))
            }
        };
        // An answer all the same.
        if live.served > 1 && error.kind() != Kind::GuestError {
            self.note_failed_reuse(live.served, id.as_str());
        }
        if !outbox.is_complete() {
            return Err(error);
        }
        // The client has all of its response: this is nobody's error but the guest's own.
        let (handler, request_id, reason, chain) =
            (&*self.common.handler, id.as_str(), error.kind().name(), chain(&error));
        tracing::error!(handler, request_id, reason, "after its complete response: {chain}");
        Ok(())
    }

    /// A warm instance if there is one; else a new one, or whichever is there first.
    async fn live(&self, pulse: &Pulse, deadline: Instant) -> Result<Live, Error> {
        if let Some(live) = self.parked.take() {
            return Ok(live);
        }
        // Mostly there is room, and nothing to set up a wait for.
        if let Some(taken) = self.admission.try_place() {
            return Ok(self.fresh(taken));
        }
        let found = async {
            tokio::select! {
                biased;
                taken = self.admission.place() => self.fresh(taken),
                live = self.parked.wait() => live,
            }
        };
        let live = self.admission.instance(pulse, deadline, found).await?;
        self.admission.start_anew(pulse);
        Ok(live)
    }

    fn fresh(&self, places: Taken) -> Live {
        Live { instance: self.abi.instance(&self.common), served: 0, _places: places }
    }

    /// Keeps an instance for the next request, if it is to be reused and fit for it.
    fn keep(&self, mut live: Live) {
        let Isolation::Reuse(reuse) = self.isolation else { return };
        if live.served > 1 {
            self.is_reusable.store(true, Ordering::Relaxed);
        }
        let is_wanted = live.served < reuse.requests_max && !self.is_unfit.load(Ordering::Relaxed);
        if is_wanted && live.instance.may_serve_again() {
            live.instance.rest();
            self.parked.park(live, reuse.idle_max);
            self.admission.make_room();
        }
    }

    /// Some runtimes serve one request and never a second one. The first failure of a second request, before any other
    /// was ever served, is taken for that.
    fn note_failed_reuse(&self, served: u32, request_id: &str) {
        let handler = &*self.common.handler;
        if self.is_reusable.load(Ordering::Relaxed) || self.is_unfit.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                handler,
                request_id,
                "it failed on request {served} of a reused instance, which is replaced"
            );
            return;
        }
        tracing::warn!(
            handler,
            request_id,
            "it failed on request {served} of a reused instance and has never survived reuse: every request gets a fresh \
             instance from now on; set `isolation = \"request\"` in [handlers.{handler}]"
        );
        while self.parked.evict() {}
    }
}

/// Only one contract has several requests in an instance.
fn check_concurrent(abi: &Abi) -> Result<(), LoadError> {
    let what = match abi {
        Abi::ServeHttp(_) => "a core module",
        Abi::P2(_) => "a wasi:http 0.2 component",
        Abi::P3(_) => return Ok(()),
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

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
