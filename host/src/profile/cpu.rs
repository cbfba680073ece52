//! Who computes: a session that samples all threads until it is told to end.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::oneshot;

use super::maps::{Mapped, mapped};
use super::sample::Cause;
use super::signal::{Sampling, Timer, this_thread};
use super::symbols::Symbols;
use super::threads::{name, threads};
use super::unwind::Unwinder;
use super::{Profile, SAMPLES_PER_SECOND, Sample, ValueType};
use crate::guest::{GuestEngine, Image};
use crate::stats::Registry;
use crate::tag::Tag;

/// How often samples are taken out of the handler's hands.
const DRAIN_PERIOD: Duration = Duration::from_millis(20);

/// How often it is looked for new threads.
const LOOK_PERIOD: Duration = Duration::from_millis(100);

/// Frames of different stacks that are kept, 48 MiB; samples of others beyond are counted as lost.
const FRAMES_MAX: usize = 6 << 20;

/// What is sampled until it is finished, or dropped.
#[derive(Debug)]
pub(super) struct Session {
    /// Dropped to end it.
    end: Sender<()>,
    /// Told when sampling has begun.
    begun: Option<oneshot::Receiver<()>>,
    thread: JoinHandle<Collected>,
}

/// What one kind of sample has in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    tag: Tag,
    thread: Arc<str>,
    addresses: Vec<u64>,
}

/// What the session's thread has.
struct Collected {
    guests: GuestEngine,
    registry: Arc<Registry>,
    host: Vec<Mapped>,
    /// By address; held, so that what was sampled can still be looked up in the end.
    images: BTreeMap<u64, Image>,
    counts: HashMap<Key, i64>,
    /// In the keys of `counts`.
    frames: usize,
    /// Why a thread could not be sampled.
    failed: Option<io::Error>,
    routes: HashMap<u32, Arc<str>>,
    names: HashMap<i32, Arc<str>>,
    began: SystemTime,
    took: Duration,
    lost: u64,
}

impl Session {
    /// Begins to sample.
    ///
    /// # Errors
    /// `AlreadyExists` when there is another session; or no thread can be started.
    pub(super) fn start(guests: GuestEngine, registry: Arc<Registry>) -> io::Result<Self> {
        // As many as all processors can make until they are taken out, and some more.
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let sampling = Sampling::start(Cause::Timer, 32 + cores * 4)?;
        let (end, ended) = channel();
        let (begin, begun) = oneshot::channel();
        let collected = Collected {
            guests,
            registry,
            host: mapped(),
            images: BTreeMap::new(),
            counts: HashMap::new(),
            frames: 0,
            failed: None,
            routes: HashMap::new(),
            names: HashMap::new(),
            began: SystemTime::now(),
            took: Duration::ZERO,
            lost: 0,
        };
        let work = move || {
            let is_over = || matches!(ended.recv_timeout(DRAIN_PERIOD), Err(RecvTimeoutError::Disconnected));
            collected.collect(sampling, begin, is_over)
        };
        let thread = std::thread::Builder::new().name("profile".to_owned()).spawn(work)?;
        Ok(Self { end, begun: Some(begun), thread })
    }

    /// Waits until it samples: it has to know the host's code first.
    pub(super) async fn begun(&mut self) {
        if let Some(begun) = self.begun.take() {
            // If its thread has failed, that shows in the end.
            let _ = begun.await;
        }
    }

    /// Ends it, and names what was found.
    ///
    /// # Errors
    /// When its thread has failed.
    pub(super) fn finish(self, handler: Option<&str>) -> io::Result<Profile> {
        drop(self.end);
        let collected = self.thread.join().map_err(|_| io::Error::other("the sampling thread has failed"))?;
        // Some threads may have been; but with none, an empty profile would be a lie.
        match collected.failed {
            Some(error) if collected.counts.is_empty() => Err(error),
            _ => Ok(collected.profile(handler)),
        }
    }
}

impl Collected {
    fn collect(
        mut self,
        mut sampling: Sampling,
        begin: oneshot::Sender<()>,
        is_over: impl Fn() -> bool,
    ) -> Self {
        let mut unwinder = Unwinder::new(&self.host);
        let begun = Instant::now();
        self.began = SystemTime::now();
        let _ = begin.send(()); // whoever has asked may be gone
        let mut timers = HashMap::new();
        let mut looked: Option<Instant> = None;
        loop {
            if looked.is_none_or(|looked| looked.elapsed() >= LOOK_PERIOD) {
                if let Err(error) = watch(&mut timers) {
                    self.failed.get_or_insert(error);
                }
                looked = Some(Instant::now());
            }
            let over = is_over();
            if over {
                timers.clear();
            }
            self.look_for_images();
            sampling.drain(|found| {
                let (tag, addresses) = (found.tag, unwinder.addresses(found));
                self.count(tag, found.thread, addresses);
            });
            if over {
                break;
            }
        }
        self.took = begun.elapsed();
        self.lost += sampling.lost();
        self
    }

    /// Code may leave memory, and other code take its place: what is here is held.
    fn look_for_images(&mut self) {
        for image in self.guests.images() {
            self.images.entry(image.addresses().start).or_insert(image);
        }
    }

    fn count(&mut self, tag: Tag, thread: i32, addresses: Vec<u64>) {
        if tag.route != 0 && !self.routes.contains_key(&tag.route) {
            let routes = self.registry.routes().into_iter();
            self.routes.extend(routes.map(|(key, stats)| (stats.number, key.pattern)));
        }
        let thread = self.names.entry(thread).or_insert_with(|| name(thread));
        let key = Key { tag, thread: Arc::clone(thread), addresses };
        if let Some(count) = self.counts.get_mut(&key) {
            *count += 1;
        } else if self.frames < FRAMES_MAX {
            self.frames += key.addresses.len();
            self.counts.insert(key, 1);
        } else {
            self.lost += 1;
        }
    }

    fn profile(self, handler: Option<&str>) -> Profile {
        let shares = self.guests.ledger().shares().into_iter();
        let handlers: HashMap<u32, Arc<str>> = shares.map(|(name, share)| (share.number(), name)).collect();
        let mut symbols = Symbols::new(self.images.into_values(), &self.host);
        let period = 1_000_000_000 / i64::from(SAMPLES_PER_SECOND);
        let mut samples = Vec::new();
        for (Key { tag, thread, addresses }, count) in self.counts {
            let whose = handlers.get(&tag.handler);
            if handler.is_some_and(|wanted| whose.is_none_or(|name| **name != *wanted)) {
                continue;
            }
            let stack = addresses.into_iter().map(|address| symbols.place(address)).collect();
            let labels = [
                ("handler", whose.cloned()),
                ("route", self.routes.get(&tag.route).cloned()),
                ("thread", Some(thread)),
            ];
            let labels = labels.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
            samples.push(Sample { stack, values: vec![count, count * period], labels });
        }
        let (places, mappings) = symbols.into_places();
        let cpu = ValueType { name: "cpu", unit: "nanoseconds" };
        Profile {
            values: vec![ValueType { name: "samples", unit: "count" }, cpu],
            period: Some((cpu, period)),
            began: self.began,
            duration: self.took,
            samples,
            places,
            mappings,
            lost: self.lost,
        }
    }
}

/// Has a timer for each thread, but for this one.
///
/// # Errors
/// Why one of them has none; those that have just ended need none.
fn watch(timers: &mut HashMap<i32, Timer>) -> io::Result<()> {
    let all = threads();
    timers.retain(|thread, _| all.contains(thread));
    let period = Duration::from_secs(1) / SAMPLES_PER_SECOND;
    for thread in all {
        if thread != this_thread() && !timers.contains_key(&thread) {
            match Timer::start(thread, period) {
                Ok(timer) => drop(timers.insert(thread, timer)),
                Err(error) if [Some(libc::ESRCH), Some(libc::EINVAL)].contains(&error.raw_os_error()) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}
