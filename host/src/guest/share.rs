//! What each handler uses of the host, by name and over all its deployments: what admission goes by, and what is counted.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::breaker::Breaker;
use super::queue::Queue;
use crate::limit::Limit;
use crate::stats::{CodeStats, Counter, Histogram, Known, Operations, Time, Timed};

/// How often the log is told of requests that a handler's limit turns away.
const NEWS: Duration = Duration::from_secs(1);

/// Requests that averages are made of, about.
const LATEST: u64 = 16;

/// The whole of which `Share::long` is a part.
const ALL: u32 = 1 << 16;

/// One handler's part.
#[derive(Debug)]
pub struct Share {
    name: Arc<str>,
    /// What stands for it in a [`crate::tag::Tag`].
    number: u32,
    /// Its requests at work, and those that wait.
    pub(super) queue: Queue,
    pub(super) breaker: Breaker,
    /// When the log was last told of each limit, in the order of [`Limit::ALL`].
    told: Mutex<[Option<Instant>; Limit::ALL.len()]>,
    /// Time that a request computes, in nanoseconds, averaged over the latest.
    typical_cpu_ns: AtomicU64,
    /// How many of the latest requests have computed for long, of [`ALL`].
    long: AtomicU32,
    /// Its deployments that are in use.
    deployments: AtomicU32,
    counts: Arc<Counts>,
    /// Of a version on trial, its handler's. What it does wrong must not be what the version beside it is judged by.
    of: Option<Arc<Share>>,
    /// Its versions on trial.
    trials: Mutex<Vec<Weak<Share>>>,
}

/// What is counted of a handler, with all its versions.
#[derive(Debug, Default)]
pub struct Counts {
    /// Memory of its instances, in bytes.
    memory_bytes: AtomicU64,
    /// How often each limit was hit, in the order of [`Limit::ALL`].
    hits: [AtomicU64; Limit::ALL.len()],
    /// Requests whose client went away.
    disconnects: AtomicU64,
    /// What was refused to it because it was not granted.
    denials: AtomicU64,
    /// What its guests have computed, in all.
    pub(crate) cpu: Time,
    /// How long requests have waited for their turn.
    pub(crate) queue_wait: Histogram,
    /// And for an instance, those that had to: for places, or for code to be loaded.
    pub(crate) instance_wait: Timed,
    /// Instances that were made.
    pub(crate) instances: Counter,
    /// The most that one of them has had of memory, in bytes.
    pub(crate) memory_peak_bytes: Counter,
    /// Its calls to others, until the head of the response.
    pub(crate) outbound: Operations,
}

impl Deref for Share {
    type Target = Counts;

    fn deref(&self) -> &Counts {
        &self.counts
    }
}

/// What a handler uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Used {
    /// Requests that wait for their turn or an instance.
    pub waiting: u32,
    /// Requests at work.
    pub running: u32,
    /// Memory of its instances, in bytes.
    pub memory_bytes: u64,
    /// Instances that were made.
    pub instances_made: u64,
    /// What its guests have computed, in milliseconds.
    pub cpu_ms: u64,
    /// Requests whose client went away.
    pub disconnects: u64,
    /// What it has asked for and was not granted.
    pub denials: u64,
    /// How often each limit was hit, if it ever was.
    pub limits: BTreeMap<&'static str, u64>,
}

impl Share {
    pub(super) fn new(name: Arc<str>, number: u32, cores: u32) -> Self {
        Self {
            name,
            number,
            queue: Queue::new(cores),
            breaker: Breaker::default(),
            told: Mutex::default(),
            typical_cpu_ns: AtomicU64::new(0),
            long: AtomicU32::new(0),
            deployments: AtomicU32::new(0),
            counts: Arc::default(),
            of: None,
            trials: Mutex::default(),
        }
    }

    /// That of a version on trial: its queue and its breaker are its own, its counters the handler's.
    fn trial(of: &Arc<Self>, cores: u32) -> Arc<Self> {
        let trial = Self {
            counts: Arc::clone(&of.counts),
            of: Some(Arc::clone(of)),
            ..Self::new(Arc::clone(&of.name), of.number, cores)
        };
        let trial = Arc::new(trial);
        let mut trials = of.trials.lock().unwrap_or_else(PoisonError::into_inner);
        trials.retain(|trial| trial.strong_count() > 0);
        trials.push(Arc::downgrade(&trial));
        drop(trials);
        trial
    }

    /// The handler's.
    pub(super) fn of_handler(self: &Arc<Self>) -> &Arc<Self> {
        self.of.as_ref().unwrap_or(self)
    }

    /// The sum of a number over it and its versions on trial.
    fn sum(&self, number: impl Fn(&Self) -> u32) -> u32 {
        let trials = self.trials.lock().unwrap_or_else(PoisonError::into_inner);
        number(self) + trials.iter().filter_map(Weak::upgrade).map(|trial| number(&trial)).sum::<u32>()
    }

    /// The handler's name.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What stands for it in a [`crate::tag::Tag`]; never 0.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Requests that wait, for their turn or for an instance.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.sum(|share| share.queue.waiting())
    }

    /// Requests at work.
    #[must_use]
    pub fn running(&self) -> u32 {
        self.sum(|share| share.queue.running())
    }

    /// Memory of its instances, in bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn add_memory(&self, bytes: u64) {
        self.memory_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn remove_memory(&self, bytes: u64) {
        self.memory_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// What it uses now and has had, as the admin API tells it.
    #[must_use]
    pub fn used(&self) -> Used {
        let limits = Limit::ALL.into_iter().map(|limit| (limit.name(), self.hits(limit)));
        Used {
            waiting: self.waiting(),
            running: self.running(),
            memory_bytes: self.memory_bytes(),
            instances_made: self.instances.get(),
            cpu_ms: u64::try_from(self.cpu.get().as_millis()).unwrap_or(u64::MAX),
            disconnects: self.disconnects(),
            denials: self.denials(),
            limits: limits.filter(|(_, hits)| *hits > 0).collect(),
        }
    }

    /// Counts a request that has hit a limit.
    pub(crate) fn hit(&self, limit: Limit) {
        self.hits[limit as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the log has not had this limit for a second: of requests that are turned away there may be many.
    pub(super) fn is_news(&self, limit: Limit) -> bool {
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = &mut told[limit as usize];
        let is_news = latest.is_none_or(|latest| now.duration_since(latest) >= NEWS);
        if is_news {
            *latest = Some(now);
        }
        is_news
    }

    /// Counts a request whose client went away before it had all of its response.
    pub(crate) fn disconnected(&self) {
        self.disconnects.fetch_add(1, Ordering::Relaxed);
    }

    /// How often requests have hit `limit`.
    #[must_use]
    pub fn hits(&self, limit: Limit) -> u64 {
        self.hits[limit as usize].load(Ordering::Relaxed)
    }

    /// Requests whose client went away.
    #[must_use]
    pub fn disconnects(&self) -> u64 {
        self.disconnects.load(Ordering::Relaxed)
    }

    /// Counts something that it has asked for and was not granted.
    pub(super) fn denied(&self) {
        self.denials.fetch_add(1, Ordering::Relaxed);
    }

    /// What was refused to it because it was not granted: calls, stores, names and the like.
    #[must_use]
    pub fn denials(&self) -> u64 {
        self.denials.load(Ordering::Relaxed)
    }

    pub(super) fn begin_computing(&self) {
        self.queue.begin_computing();
    }

    pub(super) fn end_computing(&self) {
        self.queue.end_computing();
    }

    /// Takes note of what a request has computed, and whether that was for long.
    pub(super) fn note_cpu(&self, cpu: Duration, is_long: bool) {
        // Two at a time may lose one of them, which does no harm to an average.
        let cpu = u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX) / LATEST;
        let typical = self.typical_cpu_ns.load(Ordering::Relaxed);
        self.typical_cpu_ns.store(typical - typical / LATEST + cpu, Ordering::Relaxed);
        let long = self.long.load(Ordering::Relaxed);
        let more = if is_long { ALL / LATEST as u32 } else { 0 };
        self.long.store(long - long / LATEST as u32 + more, Ordering::Relaxed);
    }

    /// Whether most of the latest requests have computed for long.
    pub(super) fn is_slow(&self) -> bool {
        self.long.load(Ordering::Relaxed) > ALL / 2
    }

    /// What a request computes, averaged over the latest.
    pub(super) fn typical_cpu(&self) -> Duration {
        Duration::from_nanos(self.typical_cpu_ns.load(Ordering::Relaxed))
    }
}

/// The shares of all handlers. A name keeps its share as long as anything of it is there, and a while longer.
#[derive(Debug)]
pub struct Ledger {
    shares: Known<Arc<str>, Share>,
    /// How many there have been.
    numbers: AtomicU32,
    /// Names with a deployment.
    in_use: AtomicU32,
    cores: u32,
    /// What was compiled for all of them.
    code: CodeStats,
}

impl Default for Ledger {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        Self {
            shares: Known::default(),
            numbers: AtomicU32::new(0),
            in_use: AtomicU32::new(0),
            cores,
            code: CodeStats::default(),
        }
    }
}

impl Ledger {
    /// The share of the handler of this name.
    pub(super) fn share(&self, name: &Arc<str>) -> Arc<Share> {
        // One that has gone and comes back has another number.
        let number = || self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        self.shares.get(Arc::clone(name), |name| Share::new(Arc::clone(name), number(), self.cores))
    }

    /// The share of a version on trial of the handler of this name.
    pub(super) fn trial(&self, name: &Arc<str>) -> Arc<Share> {
        Share::trial(&self.share(name), self.cores)
    }

    /// What was compiled, and what the cache had.
    #[must_use]
    pub fn code(&self) -> &CodeStats {
        &self.code
    }

    /// All of them, by name.
    #[must_use]
    pub fn shares(&self) -> Vec<(Arc<str>, Arc<Share>)> {
        self.shares.all()
    }

    /// Handlers that are deployed, between which everything is shared.
    pub(super) fn handlers_in_use(&self) -> u32 {
        self.in_use.load(Ordering::Relaxed)
    }

    /// There is one more deployment of this handler.
    pub(super) fn enlist(&self, share: &Share) {
        if share.deployments.fetch_add(1, Ordering::Relaxed) == 0 {
            self.in_use.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// And one less.
    pub(super) fn strike(&self, share: &Share) {
        if share.deployments.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.in_use.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_on_trial_counts_for_its_handler_and_queues_for_itself() {
        let (ledger, name) = (Ledger::default(), Arc::from("hello"));
        let (share, trial) = (ledger.share(&name), ledger.trial(&name));
        trial.hit(Limit::Cpu);
        trial.note_cpu(Duration::from_secs(1), true);
        (0..16).for_each(|_| trial.note_cpu(Duration::from_secs(1), true));
        assert_eq!((share.hits(Limit::Cpu), ledger.shares().len()), (1, 1));
        assert!(trial.is_slow() && !share.is_slow());
        assert!(Arc::ptr_eq(trial.of_handler(), &share) && Arc::ptr_eq(share.of_handler(), &share));
    }

    #[test]
    fn a_handler_is_slow_when_most_requests_are() {
        let share = Share::new("slow".into(), 1, 2);
        let note = |count: u32, cpu: Duration, is_long| (0..count).for_each(|_| share.note_cpu(cpu, is_long));
        note(4, Duration::from_secs(10), true);
        assert!(!share.is_slow(), "a few that are very long say little about the others");
        note(100, Duration::from_millis(5), true);
        assert!(share.is_slow());
        let typical = share.typical_cpu().as_micros();
        assert!((4_900..10_000).contains(&typical), "{typical} µs");
        note(100, Duration::from_micros(20), false);
        assert!(!share.is_slow());
        assert!(share.typical_cpu() < Duration::from_millis(1));
    }
}
