//! Values that are named, each for as long as somebody has it and a while longer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long what nobody has any more is still known: its last numbers are to be seen by who looks once a minute.
const KEPT: Duration = Duration::from_secs(300);

/// With so many names, those that nobody has any more are looked for.
const SWEEP_AT_LEAST: usize = 64;

/// With so many, those go at once.
const UNUSED_MAX: usize = 1_024;

/// Values that others hold, by what they are named by.
#[derive(Debug)]
pub(crate) struct Known<K, V> {
    names: Mutex<Names<K, V>>,
    kept: Duration,
}

#[derive(Debug)]
struct Names<K, V> {
    values: BTreeMap<K, Entry<V>>,
    sweep_at: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: Arc<V>,
    /// When it was first seen that nobody else has it.
    unused_since: Option<Instant>,
}

impl<K, V> Default for Known<K, V> {
    fn default() -> Self {
        Self::kept_for(KEPT)
    }
}

impl<K, V> Known<K, V> {
    fn kept_for(kept: Duration) -> Self {
        Self { names: Mutex::new(Names { values: BTreeMap::new(), sweep_at: SWEEP_AT_LEAST }), kept }
    }

    /// Of what says how things are, and not how they were: what nobody has is not known.
    pub(crate) fn of_the_present() -> Self {
        Self::kept_for(Duration::ZERO)
    }

    fn lock(&self) -> MutexGuard<'_, Names<K, V>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord, V> Names<K, V> {
    /// Forgets what nobody has had for so long.
    fn sweep(&mut self, kept: Duration, now: Instant) {
        self.values.retain(|_, entry| {
            if entry.is_used() {
                entry.unused_since = None;
                return true;
            }
            now.duration_since(*entry.unused_since.get_or_insert(now)) < kept
        });
    }
}

impl<V> Entry<V> {
    fn is_used(&self) -> bool {
        Arc::strong_count(&self.value) > 1
    }
}

impl<K: Ord + Clone, V> Known<K, V> {
    /// What is known under this key, or else what is made now.
    pub(crate) fn get(&self, key: K, make: impl FnOnce(&K) -> V) -> Arc<V> {
        let mut names = self.lock();
        if let Some(entry) = names.values.get_mut(&key) {
            entry.unused_since = None;
            return Arc::clone(&entry.value);
        }
        // Not each time, which would take the square of their number.
        if names.values.len() >= names.sweep_at {
            names.sweep(self.kept, Instant::now());
            if names.values.len() >= UNUSED_MAX {
                names.values.retain(|_, entry| entry.is_used());
            }
            names.sweep_at = SWEEP_AT_LEAST.max(names.values.len() * 2);
        }
        let value = Arc::new(make(&key));
        names.values.insert(key, Entry { value: Arc::clone(&value), unused_since: None });
        value
    }

    /// All that somebody has, or has had a while ago, by key.
    pub(crate) fn all(&self) -> Vec<(K, Arc<V>)> {
        self.all_at(Instant::now())
    }

    /// All that somebody has, by key.
    pub(crate) fn in_use(&self) -> Vec<(K, Arc<V>)> {
        let names = self.lock();
        let used = names.values.iter().filter(|(_, entry)| entry.is_used());
        used.map(|(key, entry)| (key.clone(), Arc::clone(&entry.value))).collect()
    }

    fn all_at(&self, now: Instant) -> Vec<(K, Arc<V>)> {
        let mut names = self.lock();
        names.sweep(self.kept, now);
        names.values.iter().map(|(key, entry)| (key.clone(), Arc::clone(&entry.value))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_outlive_those_who_have_them_by_a_while() {
        let (known, begin) = (Known::default(), Instant::now());
        let at = |seconds| known.all_at(begin + Duration::from_secs(seconds)).len();
        let value = known.get("a", |_| 1);
        assert_eq!((at(0), at(1_000)), (1, 1), "in use");
        assert_eq!(known.in_use().len(), 1);
        drop(value);
        assert_eq!(known.in_use().len(), 0);
        assert_eq!((at(1_000), at(1_299)), (1, 1), "seen to be unused at 1000");
        drop(known.get("a", |_| 2));
        assert_eq!((at(1_400), at(1_699), at(1_700)), (1, 1, 0), "used in between");
        assert_eq!(*known.get("a", |_| 3), 3);
    }

    #[test]
    fn the_present_is_not_kept() {
        let known = Known::of_the_present();
        let value = known.get("a", |_| ());
        assert_eq!(known.all().len(), 1);
        drop(value);
        assert_eq!(known.all().len(), 0);
    }

    #[test]
    fn names_that_nobody_has_are_let_go() {
        let known = Known::default();
        let held = known.get(0, |_| ());
        (1..100 * UNUSED_MAX).for_each(|number| drop(known.get(number, |_| ())));
        assert!(known.lock().values.len() <= 2 * UNUSED_MAX);
        assert!(Arc::ptr_eq(&held, &known.get(0, |_| ())));
    }
}
