//! A handler's guest: checked once, and linked for its first request; an instance for every request, fresh or warm.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Response;
use tokio::time::Instant;

use super::abi::Stop;
use super::admission::{Admission, AtWork};
use super::call::{Call, Job, OnDisconnect};
use super::compute::Compute;
use super::exchange::{Exchange, Incoming};
use super::failure::failure;
use super::fair::{Account, Fair};
use super::field_limits::FieldLimits;
use super::grants::Grants;
use super::isolation::{Isolation, Live, Parked, Reuse};
use super::label::Label;
use super::limits::Limits;
use super::next::Next;
use super::outbox::Outbox;
use super::places::Taken;
use super::pulse::Pulse;
use super::resident::{Loaded, Resident};
use super::seats::Crowd;
use super::share::Share;
use super::snapshot::{Snapshot, Start};
use super::spans::{EndsSpans, Spans};
use super::state::Common;
use super::take::TakeLimit;
use super::verdict::Contract;
use crate::body::Body;
use crate::error::{Error, Kind, chain};
use crate::limit::Limit;
use crate::request_id::RequestId;
use crate::tempo::Tempo;

mod load;
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
    /// What it may reach beyond its requests.
    pub grants: Grants,
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
    /// The first digits of the digest of its code; set when it is deployed.
    pub version: Arc<str>,
    /// It is tried beside the handler's version, and has a queue and a breaker of its own.
    pub is_on_trial: bool,
}

impl GuestSettings {
    /// How it is started for its snapshot, accepting what `snapshot` says.
    #[must_use]
    pub fn start(&self, snapshot: Snapshot) -> Start {
        Start {
            handler: self.name.clone(),
            env: self.env.clone(),
            folders: self.grants.folders.clone(),
            memory_bytes_max: self.limits.memory_bytes_max,
            timeout: self.limits.timeout,
            snapshot,
        }
    }
}

/// A handler's code, in memory or ready to be loaded.
pub struct Guest {
    code: Arc<Resident>,
    contract: Contract,
    /// Instances are put back into the state that they were made in.
    restores: bool,
    admission: Admission,
    common: Arc<Common>,
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
    /// How often one was put back into the state that it was made in.
    restored: AtomicU64,
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guest").field("name", self.share.name()).finish_non_exhaustive()
    }
}

impl Guest {
    /// The limits of every request.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The first 12 digits of the SHA-256 of its code's file, in hexadecimal; empty when it has come from no file.
    #[must_use]
    pub fn version(&self) -> &Arc<str> {
        &self.common.version
    }

    /// How often an instance was put back, after a request, into the state that it was made in.
    #[must_use]
    pub fn restored(&self) -> u64 {
        self.restored.load(Ordering::Relaxed)
    }

    /// Answers one request.
    ///
    /// # Errors
    /// When no byte of a response may leave: see [`Kind`]. Later failures come out of the response's body.
    pub fn serve(
        self: Arc<Self>,
        request: Incoming,
    ) -> impl Future<Output = Result<Response<Body>, Error>> + Send {
        let (share, pulse) = (Arc::clone(&self.share), Arc::<Pulse>::default());
        let fields = FieldLimits::response(&self.limits);
        let outbox = Outbox::new(&request.parts.method, self.limits.response_body_bytes_max, fields);
        let (outbox, id) = (Arc::new(outbox), request.id.clone());
        let label = Label { request: id, share, breaker: self.limits.breaker, pulse: Arc::clone(&pulse) };
        // Many hands pass it on: in one place it is a pointer for all of them.
        let exchange =
            Box::new(Exchange { request, deadline_ms: 0, outbox, pulse, reply: None, spans: None });
        async move {
            let outbox = Arc::clone(&exchange.outbox);
            let now = Instant::now();
            let deadline = now + self.limits.timeout;
            let job = match self.begin(exchange, now, deadline).await {
                Ok(job) => job,
                Err(error) => return Err(label.count(error)),
            };
            let response = Call::new(job, outbox, deadline, self.grace(), label).first_byte().await;
            Ok(response?.map(|body| body.taken_within(&self.take)))
        }
    }

    /// Lets the request in, and hands it to an instance.
    async fn begin(
        self: &Arc<Self>,
        mut exchange: Box<Exchange>,
        now: Instant,
        deadline: Instant,
    ) -> Result<Job, Error> {
        let Exchange { request, outbox, pulse, .. } = &mut *exchange;
        if request.body.declared_length().is_some_and(|length| length > self.limits.request_body_bytes_max) {
            return Err(Limit::RequestBody.into());
        }
        FieldLimits::request(&self.limits).check(&request.parts.headers)?;
        request.body.limit(self.limits.request_body_bytes_max);
        let tempo = Tempo { idle: self.limits.request_body_idle, rate: self.limits.request_body_rate };
        request.body.clock(tempo, outbox);
        let (pulse, outbox, notes) = (Arc::clone(pulse), Arc::clone(outbox), request.notes.clone());
        let spans = Spans::begin(request, self.share.name(), self.version());
        let ends_spans = EndsSpans(spans.clone());
        exchange.deadline_ms = unix_ms() + self.limits.timeout.as_millis() as u64;
        let at_work = self.admission.enter(&pulse, now, deadline, notes.as_deref()).await?;
        spans.iter().for_each(|spans| spans.let_in());
        exchange.spans = spans;
        if let Isolation::Concurrent(reuse, concurrency) = self.isolation {
            let at_work = (at_work, ends_spans);
            let work = Arc::clone(self).run_shared(exchange, deadline, at_work, (reuse, concurrency));
            return Ok(Job::Seated(Box::pin(work)));
        }
        let mut live = self.live(&pulse, now, deadline).await?;
        let id = exchange.request.id.clone();
        if live.served > 0 {
            exchange.instantiated();
        }
        live.instance.begin(exchange);
        let account = Account::Request(Arc::clone(&outbox), notes);
        let work = Box::pin(Arc::clone(self).run((at_work, ends_spans), live, outbox, id));
        Ok(Job::Alone(Fair::new(work, &self.compute, &pulse, &self.share, account, self.limits.cpu)))
    }

    /// How long a guest may go on when its client has gone away.
    fn grace(&self) -> Duration {
        match (self.on_disconnect, self.contract) {
            (OnDisconnect::Finish, _) => self.limits.timeout,
            (OnDisconnect::Cancel, Contract::ServeHttp) => Duration::ZERO,
            (OnDisconnect::Cancel, Contract::P2 | Contract::P3) => DISCONNECT_GRACE,
        }
    }

    /// Runs the guest for the request that `live` was handed.
    async fn run(
        self: Arc<Self>,
        // Of the two the instance goes first, when this is dropped: who is let in then finds its place.
        (mut at_work, spans): (AtWork, EndsSpans),
        mut live: Live,
        outbox: Arc<Outbox>,
        id: RequestId,
    ) -> Result<(), Error> {
        let served = live.instance.serve().await;
        live.served += 1;
        let ended = match served {
            Ok(()) => {
                // What is broken off may be so in the guest as well.
                if outbox.is_sound() {
                    self.keep(live);
                }
                Ok(())
            }
            Err(stop) => self.failed(live, stop, &outbox, &id),
        };
        spans.ended(ended.as_ref().err().map(Error::kind));
        at_work.ended(ended.as_ref().err());
        ended
    }

    /// What becomes of a request whose guest has failed.
    fn failed(&self, mut live: Live, stop: Stop, outbox: &Outbox, id: &RequestId) -> Result<(), Error> {
        let error = match stop {
            Stop::Fault(error) => error,
            Stop::Trap(error) => {
                let core = live.instance.core();
                let (limiter, masks) = (&core.limiter, &core.common.masks);
                limiter.blame(failure(error, masks, limiter.refused, self.limits.memory_bytes_max))
            }
        };
        // An answer all the same.
        let is_reused = live.served > 1 && self.isolation != Isolation::Request;
        if is_reused && error.kind() != Kind::GuestError {
            self.note_failed_reuse(live.served, id.as_str());
        }
        if !outbox.is_complete() {
            return Err(error);
        }
        // The client has all of its response: this is nobody's error but the guest's own.
        let (handler, request_id, reason, chain) =
            (&**self.share.name(), id.as_str(), error.kind().name(), chain(&error));
        tracing::error!(handler, request_id, reason, "after its complete response: {chain}");
        Ok(())
    }

    /// A warm instance if there is one; else a new one, or whichever is there first.
    async fn live(&self, pulse: &Pulse, now: Instant, deadline: Instant) -> Result<Live, Error> {
        if let Some(live) = self.parked.take() {
            self.code.touch(now);
            return Ok(live);
        }
        let code = self.code(pulse, now, deadline).await?;
        // Mostly there is room, and nothing to set up a wait for.
        if let Some(taken) = self.admission.try_place() {
            return Ok(self.fresh(taken, &code));
        }
        let found = async {
            tokio::select! {
                biased;
                taken = self.admission.place() => self.fresh(taken, &code),
                live = self.parked.wait() => live,
            }
        };
        let live = Box::pin(self.admission.instance(pulse, deadline, found)).await?;
        self.admission.start_anew(pulse);
        Ok(live)
    }

    /// The handler's code, which is loaded first if need be.
    async fn code(&self, pulse: &Pulse, now: Instant, deadline: Instant) -> Result<Arc<Loaded>, Error> {
        if let Some(code) = self.code.get(now) {
            return Ok(code);
        }
        let code = Box::pin(self.admission.code(pulse, deadline, self.code.load())).await?;
        self.admission.start_anew(pulse);
        Ok(code)
    }

    fn fresh(&self, places: Taken, code: &Loaded) -> Live {
        self.share.instances.increment();
        Live { instance: code.abi.instance(&self.common), served: 0, _places: places }
    }

    /// Keeps an instance for the next request, if it is to be reused or can be put back, and fit for it.
    fn keep(&self, mut live: Live) {
        let (reuse, restores) = match self.isolation {
            Isolation::Reuse(reuse) => (reuse, false),
            Isolation::Request if self.restores => (Reuse::RESTORED, true),
            _ => return,
        };
        if live.served > 1 {
            self.is_reusable.store(true, Ordering::Relaxed);
        }
        let is_wanted = live.served < reuse.requests_max && !self.is_unfit.load(Ordering::Relaxed);
        if !is_wanted || !live.instance.may_serve_again() {
            return;
        }
        if restores {
            if !live.instance.restore() {
                return;
            }
            self.restored.fetch_add(1, Ordering::Relaxed);
        }
        live.instance.rest();
        self.parked.park(live, reuse.idle_max);
        self.admission.make_room();
        if !self.code.is_resident() {
            self.code.end_warm(); // of code that has left meanwhile nothing is to stay
        }
    }

    /// Some runtimes serve one request and never a second one. The first failure of a second request, before any other
    /// was ever served, is taken for that.
    fn note_failed_reuse(&self, served: u32, request_id: &str) {
        let handler = &**self.share.name();
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
        self.code.end_warm();
    }
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
