//! What is counted while it happens: plain counters in the places where things happen, and one registry that knows them all.
//!
//! Knows nobody who counts. Counters are read without stopping anybody: two of them may be a request apart. What a series
//! is named by lives as long as somebody has it, over reloads too, and five minutes longer: so their number is bounded by what is
//! configured, never by what clients send.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

mod histogram;
mod known;
mod operations;
mod route;

pub use histogram::Histogram;
pub(crate) use known::Known;
pub use operations::{Operation, Operations, Outcome, Timed};
pub use route::{CODES, HandlerStats, Meter, RouteKey, RouteStats};

/// A number that only grows, or one that goes up and down. Relaxed: nothing else is decided by it.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// None so far.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// One less, of those that were added.
    pub fn decrement(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// At least so much.
    pub fn raise(&self, to: u64) {
        // Mostly it is higher, which is cheaper to see.
        if self.get() < to {
            self.0.fetch_max(to, Ordering::Relaxed);
        }
    }

    /// What it has come to.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A sum of times.
#[derive(Debug, Default)]
pub struct Time(Counter);

impl Time {
    /// So much more.
    pub fn add(&self, time: Duration) {
        self.0.add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// What it has come to.
    #[must_use]
    pub fn get(&self) -> Duration {
        Duration::from_nanos(self.0.get())
    }

    /// The same in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.get().as_secs_f64()
    }
}

/// One server: its connections, and the requests that no route of it is for.
#[derive(Debug)]
pub struct ServerStats {
    /// Its name.
    pub name: Arc<str>,
    /// Connections that are open.
    pub connections: Counter,
    /// Connections that it has accepted.
    pub accepted: Counter,
    /// Of the open ones, those that a 101 has made tunnels of.
    pub upgraded: Counter,
    /// HTTP/2 connections that were ended because the client does not keep to the protocol.
    pub http2_errors: Counter,
    /// Requests without a route.
    pub unrouted: Arc<RouteStats>,
}

/// A proxy's name, and that of one of its upstreams.
pub type UpstreamKey = (Arc<str>, Arc<str>);

/// One upstream of a proxy.
#[derive(Debug, Default)]
pub struct UpstreamStats {
    /// Requests that were sent to it, health checks aside, until the head of the response.
    pub requests: Operations,
    /// Whether its latest health check has failed.
    pub is_ill: AtomicBool,
}

/// What code was compiled, and what the cache had of it.
#[derive(Debug, Default)]
pub struct CodeStats {
    /// Handlers whose code the cache had when they were deployed.
    pub hits: Counter,
    /// And those for whom it had none.
    pub misses: Counter,
    /// Modules that were compiled, and for how long.
    pub compiled: Timed,
}

/// All counters of a process that are not kept by guests.
#[derive(Debug)]
pub struct Registry {
    /// Those that listen, which a process keeps to its end.
    servers: Mutex<BTreeMap<Arc<str>, Arc<ServerStats>>>,
    routes: Known<RouteKey, RouteStats>,
    /// Numbers that routes have had.
    numbers: AtomicU32,
    handlers: Known<Arc<str>, HandlerStats>,
    upstreams: Known<UpstreamKey, UpstreamStats>,
    stores: Known<String, Operations>,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            servers: Mutex::default(),
            routes: Known::default(),
            numbers: AtomicU32::new(0),
            handlers: Known::default(),
            // One that is ill and gone is not to be worried about.
            upstreams: Known::of_the_present(),
            stores: Known::default(),
        }
    }
}

impl Registry {
    fn lock_servers(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<ServerStats>>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server of this name.
    pub fn server(&self, name: &str) -> Arc<ServerStats> {
        if let Some(known) = self.lock_servers().get(name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        let unrouted = self.route(RouteKey::unrouted(Arc::clone(&name)));
        let made = Arc::new(ServerStats {
            name: Arc::clone(&name),
            connections: Counter::new(),
            accepted: Counter::new(),
            upgraded: Counter::new(),
            http2_errors: Counter::new(),
            unrouted,
        });
        Arc::clone(self.lock_servers().entry(name).or_insert(made))
    }

    /// The route of this server, pattern, handler and version.
    pub fn route(&self, key: RouteKey) -> Arc<RouteStats> {
        let handler = self.handler(&key.handler);
        self.routes.get(key, |key| {
            // None is given twice: what a profile has of a route that is gone must not become another's.
            let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
            RouteStats::new(handler, Arc::clone(&key.version), number)
        })
    }

    /// The handler of this name.
    pub fn handler(&self, name: &Arc<str>) -> Arc<HandlerStats> {
        self.handlers.get(Arc::clone(name), |name| HandlerStats::new(Arc::clone(name)))
    }

    /// The upstream of this name, of a proxy of that name.
    pub fn upstream(&self, handler: &Arc<str>, upstream: &Arc<str>) -> Arc<UpstreamStats> {
        self.upstreams.get((Arc::clone(handler), Arc::clone(upstream)), |_| UpstreamStats::default())
    }

    /// The key-value store of this name.
    pub fn store(&self, name: &str) -> Arc<Operations> {
        self.stores.get(name.to_owned(), |_| Operations::default())
    }

    /// All servers.
    #[must_use]
    pub fn servers(&self) -> Vec<Arc<ServerStats>> {
        self.lock_servers().values().cloned().collect()
    }

    /// All routes, and those that there were a while ago.
    #[must_use]
    pub fn routes(&self) -> Vec<(RouteKey, Arc<RouteStats>)> {
        self.routes.all()
    }

    /// Those that a deployment in use has.
    #[must_use]
    pub fn routes_in_use(&self) -> Vec<(RouteKey, Arc<RouteStats>)> {
        self.routes.in_use()
    }

    /// All handlers, built-in ones too.
    #[must_use]
    pub fn handlers(&self) -> Vec<(Arc<str>, Arc<HandlerStats>)> {
        self.handlers.all()
    }

    /// All upstreams, with the names of their proxies.
    #[must_use]
    pub fn upstreams(&self) -> Vec<(UpstreamKey, Arc<UpstreamStats>)> {
        self.upstreams.all()
    }

    /// All key-value stores.
    #[must_use]
    pub fn stores(&self) -> Vec<(String, Arc<Operations>)> {
        self.stores.all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_outlive_those_who_have_them() {
        let registry = Registry::default();
        let key = || RouteKey {
            server: "".into(),
            pattern: "/".into(),
            handler: "hello".into(),
            version: "abc".into(),
        };
        let old = registry.route(key());
        old.request_bytes.add(3);
        let new = registry.route(key());
        drop(old);
        assert_eq!(new.request_bytes.get(), 3, "a reload goes on counting");
        assert_eq!((registry.routes().len(), registry.handlers().len()), (1, 1));
        drop(new);
        assert_eq!((registry.routes().len(), registry.handlers().len()), (1, 1));
        assert_eq!(registry.route(key()).request_bytes.get(), 3, "a rollback too");
        drop(registry.upstream(&"proxy".into(), &"a".into()));
        assert_eq!(registry.upstreams().len(), 0);
    }

    #[test]
    fn servers_stay() {
        let registry = Registry::default();
        registry.server("main").accepted.increment();
        assert_eq!(registry.server("main").accepted.get(), 1);
        assert_eq!(registry.routes().len(), 1, "for what no route is for");
    }

    #[test]
    fn peaks_only_rise() {
        let peak = Counter::default();
        [5, 3, 9, 1].into_iter().for_each(|bytes| peak.raise(bytes));
        assert_eq!(peak.get(), 9);
    }
}
