//! Which handlers have their code in memory: those that are asked, up to a number, and of these the latest used.
//!
//! A handler's code is mapped and linked for its first request, by one task however many requests wait, off the threads
//! that serve sockets. Beyond the number, those go that have not been used for longest and have no request at work; the next
//! one finds their code in the cache again. What cannot be had again (there is no cache, or the file is compiled code) stays.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use super::abi::Abi;
use super::artifact::LoadError;
use super::images::{Image, WasmFile};
use super::isolation::MakesRoom;
use super::origin::{Origin, Remade};
use super::share::Share;
use crate::error::{Error, Kind};

/// How long a handler whose code cannot be loaded is left alone.
const RETRY_PAUSE: Duration = Duration::from_secs(10);

/// What code is found by: its file in the cache, and whether instances are put back.
type Key = (PathBuf, bool);

/// Code that is mapped and linked.
pub(super) struct Loaded {
    pub(super) abi: Abi,
    file: WasmFile,
    /// The name of the latest of its handlers.
    name: Mutex<Arc<str>>,
    /// The handlers that have it: several with the same file, or deployments of one.
    holders: Mutex<Vec<Weak<Resident>>>,
}

/// The code of all handlers that is in memory.
pub(super) struct Residents {
    max: usize,
    since: Instant,
    loaded: Mutex<BTreeMap<Key, Weak<Loaded>>>,
    /// Code that never leaves.
    pinned: Mutex<Vec<Weak<Loaded>>>,
    loads: AtomicU64,
    evictions: AtomicU64,
    /// Code is mapped by as many threads as there are cores, and made again by one.
    mapping: Semaphore,
    making: Semaphore,
}

/// One deployment of a handler, and its code as long as that is in memory.
pub(super) struct Resident {
    loaded: ArcSwapOption<Loaded>,
    /// When it was last used, in nanoseconds since [`Residents::since`].
    used_ns: AtomicU64,
    /// None: the code stays in memory.
    origin: Option<Origin>,
    state: Mutex<State>,
    /// `state` is another one.
    changed: Notify,
    share: Arc<Share>,
    /// Instances of it that wait for requests.
    warm: Vec<Arc<dyn MakesRoom>>,
    residents: Arc<Residents>,
}

enum State {
    Idle,
    Loading,
    /// It could not be loaded, and is not tried again until then.
    Failed(Instant, Arc<str>),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Loaded {
    fn new(abi: Abi, file: WasmFile) -> Arc<Self> {
        Arc::new(Self { abi, file, name: Mutex::default(), holders: Mutex::default() })
    }

    /// What addresses in it belong to.
    fn image(&self) -> Image {
        // Not from the handlers: the last reference to one must not be a profiler's.
        let handler = Arc::clone(&lock(&self.name));
        Image { code: self.abi.code(), file: self.file.clone(), handler }
    }

    fn hold(&self, holder: &Arc<Resident>) {
        let mut holders = lock(&self.holders);
        holders.retain(|holder| holder.strong_count() > 0);
        holders.push(Arc::downgrade(holder));
        lock(&self.name).clone_from(holder.share.name());
    }

    fn holders(&self) -> Vec<Arc<Resident>> {
        lock(&self.holders).iter().filter_map(Weak::upgrade).collect()
    }

    /// When one of its handlers was last used, if none has a request at work.
    fn idle_since(&self) -> Option<u64> {
        let holders = self.holders();
        let is_idle = holders.iter().all(|holder| holder.share.running() == 0);
        is_idle.then(|| latest_use(&holders))
    }
}

fn latest_use(holders: &[Arc<Resident>]) -> u64 {
    holders.iter().map(|holder| holder.used_ns.load(Ordering::Relaxed)).max().unwrap_or_default()
}

impl Residents {
    /// Room for `max` handlers.
    pub(super) fn new(max: u32) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            max: max as usize,
            since: Instant::now(),
            loaded: Mutex::default(),
            pinned: Mutex::default(),
            loads: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
            mapping: Semaphore::new(cores),
            making: Semaphore::new(1),
        }
    }

    /// Those in memory that can leave it, how often code was loaded, and how often it had to go.
    pub(super) fn counts(&self) -> (usize, u64, u64) {
        let resident = lock(&self.loaded).values().filter(|loaded| loaded.strong_count() > 0).count();
        (resident, self.loads.load(Ordering::Relaxed), self.evictions.load(Ordering::Relaxed))
    }

    /// All code that is in memory.
    pub(super) fn images(&self) -> Vec<Image> {
        let pinned: Vec<_> = lock(&self.pinned).iter().filter_map(Weak::upgrade).collect();
        let loaded: Vec<_> = lock(&self.loaded).values().filter_map(Weak::upgrade).collect();
        pinned.into_iter().chain(loaded).map(|loaded| loaded.image()).collect()
    }

    /// Takes note of code that never leaves.
    fn pin(&self, loaded: &Arc<Loaded>) {
        let mut pinned = lock(&self.pinned);
        pinned.retain(|loaded| loaded.strong_count() > 0);
        pinned.push(Arc::downgrade(loaded));
    }

    fn find(&self, key: &Key) -> Option<Arc<Loaded>> {
        lock(&self.loaded).get(key).and_then(Weak::upgrade)
    }

    /// Code that was just loaded, or what another handler has loaded of the same meanwhile.
    fn enter(&self, key: Key, loaded: Arc<Loaded>) -> Arc<Loaded> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        let mut all = lock(&self.loaded);
        if let Some(present) = all.get(&key).and_then(Weak::upgrade) {
            return present;
        }
        all.insert(key, Arc::downgrade(&loaded));
        loaded
    }

    /// Takes leave of those that were not used for longest, while there are too many.
    fn make_room(&self) {
        let mut all = lock(&self.loaded);
        all.retain(|_, loaded| loaded.strong_count() > 0);
        let excess = all.len().saturating_sub(self.max);
        if excess == 0 {
            return;
        }
        let present: Vec<_> = all.values().filter_map(Weak::upgrade).collect();
        drop(all);
        let idle = present.into_iter().filter_map(|loaded| Some((loaded.idle_since()?, loaded)));
        let mut idle: Vec<_> = idle.collect();
        idle.sort_unstable_by_key(|(used, _)| *used);
        for (_, loaded) in idle.into_iter().take(excess) {
            loaded.holders().iter().for_each(|holder| holder.let_go());
            drop(loaded);
            self.evictions.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Resident {
    /// For code that stays in memory.
    pub(super) fn pinned(
        (abi, file): (Abi, WasmFile),
        share: &Arc<Share>,
        warm: Vec<Arc<dyn MakesRoom>>,
        residents: &Arc<Residents>,
    ) -> Arc<Self> {
        let loaded = Loaded::new(abi, file);
        residents.pin(&loaded);
        let this = Arc::new(Self::new(Some(Arc::clone(&loaded)), None, share, warm, residents));
        loaded.hold(&this);
        this
    }

    /// For code that is loaded when it is needed, and is in memory now only if another handler, or another deployment of this
    /// one, has it there.
    pub(super) fn loadable(
        origin: Origin,
        share: &Arc<Share>,
        warm: Vec<Arc<dyn MakesRoom>>,
        residents: &Arc<Residents>,
    ) -> Arc<Self> {
        let present = residents.find(&origin.key());
        let this = Arc::new(Self::new(present, Some(origin), share, warm, residents));
        if let Some(loaded) = &*this.loaded.load() {
            // It is no newer than it was.
            this.used_ns.store(latest_use(&loaded.holders()), Ordering::Relaxed);
            loaded.hold(&this);
        }
        this
    }

    fn new(
        loaded: Option<Arc<Loaded>>,
        origin: Option<Origin>,
        share: &Arc<Share>,
        warm: Vec<Arc<dyn MakesRoom>>,
        residents: &Arc<Residents>,
    ) -> Self {
        Self {
            loaded: ArcSwapOption::new(loaded),
            used_ns: AtomicU64::new(0),
            origin,
            state: Mutex::new(State::Idle),
            changed: Notify::new(),
            share: Arc::clone(share),
            warm,
            residents: Arc::clone(residents),
        }
    }

    /// Takes note that it is used.
    pub(super) fn touch(&self, now: Instant) {
        let used = now.saturating_duration_since(self.residents.since).as_nanos();
        self.used_ns.store(used as u64, Ordering::Relaxed); // some centuries
    }

    pub(super) fn is_resident(&self) -> bool {
        self.loaded.load().is_some()
    }

    /// Its code, if that is in memory.
    pub(super) fn get(&self, now: Instant) -> Option<Arc<Loaded>> {
        let loaded = self.loaded.load_full()?;
        self.touch(now);
        Some(loaded)
    }

    /// Waits for its code.
    ///
    /// # Errors
    /// When it cannot be loaded, or could not be just before.
    pub(super) async fn load(self: &Arc<Self>) -> Result<Arc<Loaded>, Error> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Before it looks: from here on it hears of every change.
            changed.as_mut().enable();
            if let Some(loaded) = self.get(Instant::now()) {
                return Ok(loaded);
            }
            self.begin()?;
            changed.await;
        }
    }

    /// Sees to it that somebody loads it.
    fn begin(self: &Arc<Self>) -> Result<(), Error> {
        let mut state = lock(&self.state);
        match &*state {
            State::Loading => return Ok(()),
            State::Failed(until, why) if Instant::now() < *until => {
                // The log had it when it happened.
                return Err(Error::new(Kind::Internal, &**why).old_news());
            }
            State::Idle | State::Failed(..) => {}
        }
        *state = State::Loading;
        tokio::spawn(Arc::clone(self).bring());
        Ok(())
    }

    /// Loads it, whoever still waits for it.
    async fn bring(self: Arc<Self>) {
        let brought = match self.in_background(&self.residents.mapping, Self::map).await {
            Ok(()) => Ok(()),
            Err(why) => {
                let handler = &**self.share.name();
                tracing::warn!(handler, "{why}; compiling it again");
                self.in_background(&self.residents.making, Self::make_again).await
            }
        };
        *lock(&self.state) = match brought {
            Ok(()) => State::Idle,
            Err(why) => {
                let (handler, pause) = (&**self.share.name(), RETRY_PAUSE.as_secs());
                tracing::error!(
                    handler,
                    "its code cannot be loaded: {why}; its requests get 500, and it is tried again after {pause} s"
                );
                let why = format!("its code cannot be loaded: {why}");
                State::Failed(Instant::now() + RETRY_PAUSE, why.into())
            }
        };
        self.changed.notify_waiters();
    }

    /// Does it on a thread where that is in nobody's way, when it is its turn.
    async fn in_background(
        self: &Arc<Self>,
        turns: &Semaphore,
        work: fn(&Arc<Self>) -> Result<(), LoadError>,
    ) -> Result<(), String> {
        let Ok(_turn) = turns.acquire().await else { return Err("the program ends".to_owned()) };
        let this = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&this)).await;
        done.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    fn map(self: &Arc<Self>) -> Result<(), LoadError> {
        let Some(origin) = &self.origin else { return Ok(()) }; // it never leaves
        let loaded = match self.residents.find(&origin.key()) {
            Some(loaded) => loaded,
            None => self.residents.enter(origin.key(), Loaded::new(origin.map()?, origin.wasm_file())),
        };
        self.settle(loaded);
        Ok(())
    }

    fn make_again(self: &Arc<Self>) -> Result<(), LoadError> {
        let Some(origin) = &self.origin else { return Ok(()) };
        let Remade { abi, is_kept } = origin.make_again()?;
        let loaded = Loaded::new(abi, origin.wasm_file());
        if is_kept {
            self.settle(self.residents.enter(origin.key(), loaded));
        } else {
            // It would have to be compiled again and again.
            self.residents.pin(&loaded);
            self.settle(loaded);
        }
        Ok(())
    }

    fn settle(self: &Arc<Self>, loaded: Arc<Loaded>) {
        tracing::debug!(handler = &**self.share.name(), "its code is in memory");
        self.touch(Instant::now());
        loaded.hold(self);
        self.loaded.store(Some(loaded));
        self.residents.make_room();
    }

    /// Lets its code go, and all instances that wait.
    fn let_go(&self) {
        if self.loaded.swap(None).is_some() {
            tracing::debug!(handler = &**self.share.name(), "its code leaves memory: others were used later");
        }
        self.end_warm();
    }

    /// Ends instances that wait for requests, as far as they still do.
    pub(super) fn end_warm(&self) {
        self.warm.iter().for_each(|warm| warm.end_all());
    }
}

impl Origin {
    fn key(&self) -> Key {
        (self.code.clone(), self.restores)
    }
}
