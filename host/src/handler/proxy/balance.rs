//! Which upstream gets a request, and how each is.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use tokio::task::AbortHandle;

use super::health;
use crate::error::{Error, Kind};
use crate::outbound::{Call, Client, InBody, OutBody, OutboundError, OutboundErrorKind};
use crate::stats::{Outcome, Registry, UpstreamStats};
use crate::upstream::{Balance, HealthCheck, ProxySettings, UpstreamUrl};

/// All upstreams of a proxy.
#[derive(Debug)]
pub(super) struct Upstreams {
    all: Vec<Arc<Upstream>>,
    balance: Balance,
    /// Where the next look begins.
    next: AtomicUsize,
    health: Option<HealthCheck>,
    /// Sends health checks.
    asker: Client,
    /// Asks after them; begins with the first request.
    watching: Mutex<Option<AbortHandle>>,
    is_watched: AtomicBool,
}

/// One upstream.
#[derive(Debug)]
pub(super) struct Upstream {
    url: UpstreamUrl,
    client: Client,
    /// Requests under way.
    active: Arc<AtomicUsize>,
    /// It was found to be ill when it was last asked.
    is_ill: AtomicBool,
    /// It could not be reached, and is left alone until then, in milliseconds of this program's life.
    left_alone_until_ms: AtomicU64,
    fail_timeout: Duration,
    stats: Arc<UpstreamStats>,
}

/// Those that one request has tried, a bit each; further ones are not remembered.
#[derive(Debug, Default)]
pub(super) struct Turn {
    tried: u64,
}

/// One request under way; ends when dropped.
#[derive(Debug)]
pub(super) struct Active(Arc<AtomicUsize>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Upstreams {
    pub(super) fn new(
        proxy: &Arc<str>,
        settings: &ProxySettings,
        (client, asker): (&Client, Client),
        registry: &Registry,
    ) -> Self {
        let upstream = |url: &UpstreamUrl| {
            let stats = registry.upstream(proxy, &url.name);
            // Whatever an earlier deployment has found: nobody asks any more.
            if settings.health.is_none() {
                stats.is_ill.store(false, Ordering::Relaxed);
            }
            Arc::new(Upstream {
                url: url.clone(),
                client: client.clone(),
                active: Arc::default(),
                is_ill: AtomicBool::new(false),
                left_alone_until_ms: AtomicU64::new(0),
                fail_timeout: settings.fail_timeout,
                stats,
            })
        };
        Self {
            all: settings.upstreams.iter().map(upstream).collect(),
            balance: settings.balance,
            next: AtomicUsize::new(0),
            health: settings.health.clone(),
            asker,
            watching: Mutex::new(None),
            is_watched: AtomicBool::new(false),
        }
    }

    /// Begins to ask after the upstreams, if that is wanted and not done yet.
    pub(super) fn watch_health(&self) {
        let Some(check) = &self.health else { return };
        if self.is_watched.swap(true, Ordering::AcqRel) {
            return;
        }
        let task = tokio::spawn(health::watch(self.all.clone(), check.clone(), self.asker.clone()));
        *self.watching.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.abort_handle());
    }

    /// The upstream for a request, which it has not tried yet. When all are ill, being ill does not count: one of them is as
    /// good as another, and may be better than its reputation.
    pub(super) fn choose(&self, turn: &mut Turn) -> &Upstream {
        let count = self.all.len();
        let start = self.next.fetch_add(1, Ordering::Relaxed) % count;
        let order = (0..count).map(|offset| (start + offset) % count);
        let cost = |&index: &usize| {
            let upstream = &self.all[index];
            let active = match self.balance {
                Balance::RoundRobin => 0,
                Balance::LeastConnections => upstream.active.load(Ordering::Relaxed),
            };
            (turn.has(index), !upstream.is_available(), active)
        };
        // The first of the cheapest, as each look begins at another.
        let index = order.min_by_key(cost).unwrap_or(start);
        turn.tried |= bit(index);
        &self.all[index]
    }

    /// Whether there is any that was not tried.
    pub(super) fn has_others(&self, turn: &Turn) -> bool {
        (0..self.all.len()).any(|index| !turn.has(index))
    }
}

impl Drop for Upstreams {
    fn drop(&mut self) {
        if let Some(task) = self.watching.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

impl Turn {
    fn has(&self, index: usize) -> bool {
        self.tried & bit(index) != 0
    }
}

fn bit(index: usize) -> u64 {
    u32::try_from(index).ok().and_then(|index| 1_u64.checked_shl(index)).unwrap_or(0)
}

impl Upstream {
    pub(super) fn name(&self) -> &str {
        &self.url.name
    }

    pub(super) fn unix_socket(&self) -> Option<Arc<Path>> {
        self.url.unix_socket.clone()
    }

    fn is_available(&self) -> bool {
        !self.is_ill.load(Ordering::Relaxed) && self.left_alone_until_ms.load(Ordering::Relaxed) <= now_ms()
    }

    /// The target of a request, behind the upstream's own path (Go: httputil.ProxyRequest.SetURL).
    pub(super) fn uri(&self, target: &PathAndQuery) -> Result<Uri, Error> {
        let base = self.url.uri.path().trim_end_matches('/');
        let mut parts = self.url.uri.clone().into_parts();
        parts.path_and_query = Some(match base.is_empty() {
            true => target.clone(),
            false => format!("{base}{target}").parse().map_err(internal)?,
        });
        Uri::from_parts(parts).map_err(internal)
    }

    /// Sends a request, and takes note of whether there is anybody.
    pub(super) async fn send(
        &self,
        request: Request<OutBody>,
        call: Call,
    ) -> Result<(Response<InBody>, Active), OutboundError> {
        self.active.fetch_add(1, Ordering::AcqRel);
        let active = Active(Arc::clone(&self.active));
        let operation = self.stats.requests.begin();
        let sent = self.client.send(request, call).await;
        operation.ended(sent.as_ref().map_or_else(|error| error.kind.outcome(), |_| Outcome::Ok));
        match sent {
            Ok(response) => {
                self.left_alone_until_ms.store(0, Ordering::Relaxed);
                Ok((response, active))
            }
            Err(error) => {
                if speaks_against_it(error.kind) {
                    let until = now_ms().saturating_add(millis(self.fail_timeout));
                    self.left_alone_until_ms.store(until, Ordering::Relaxed);
                }
                Err(error)
            }
        }
    }

    /// Takes note of what a health check has found.
    pub(super) fn set_health(&self, found: Result<(), String>) {
        let is_ill = found.is_err();
        self.stats.is_ill.store(is_ill, Ordering::Relaxed);
        if self.is_ill.swap(is_ill, Ordering::Relaxed) == is_ill {
            return;
        }
        match found {
            Ok(()) => tracing::info!(upstream = self.name(), "upstream is well again"),
            Err(why) => tracing::warn!(upstream = self.name(), "upstream is ill: {why}"),
        }
    }
}

/// Whether an error is the upstream's, so that the next request had better go elsewhere.
const fn speaks_against_it(kind: OutboundErrorKind) -> bool {
    use OutboundErrorKind::{
        Closed, Connect, ConnectTimeout, Dns, DnsTimeout, HeaderTimeout, RequestTimeout, TlsHandshake,
        TlsTimeout,
    };
    matches!(
        kind,
        Closed
            | Connect
            | ConnectTimeout
            | Dns
            | DnsTimeout
            | HeaderTimeout
            | RequestTimeout
            | TlsHandshake
            | TlsTimeout
    )
}

fn internal(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(Kind::Internal, error)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn now_ms() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    // Never 0, which is "not at all".
    millis(START.elapsed()) + 1
}
