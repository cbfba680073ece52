//! The places of an engine's pool, fair between handlers.
//!
//! While there are enough, who comes gets one. When they run short, the free place goes to whoever waits and has the
//! fewest (max-min fairness), and the last quarter is kept for handlers with less than their equal share. So one
//! handler whose requests take for ever never shuts out the others, and one that is alone has all of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::oneshot;

use super::share::{Ledger, Share};

/// The part of the places that is kept for handlers with less than their share.
const KEPT: u32 = 4;

/// All of one engine.
#[derive(Debug)]
pub(super) struct Places {
    capacity: u32,
    ledger: Arc<Ledger>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    free: u32,
    /// Numbers those who wait, over all users.
    next: u64,
    waiting: usize,
    users: Vec<User>,
}

/// A handler.
#[derive(Debug)]
struct User {
    /// When it is gone, so is its handler, and another one may have its number.
    share: Weak<Share>,
    taken: u32,
    waiters: BTreeMap<u64, Waiter>,
}

impl User {
    fn is_gone(&self) -> bool {
        self.share.strong_count() == 0 && self.taken == 0 && self.waiters.is_empty()
    }
}

#[derive(Debug)]
struct Waiter {
    places: u32,
    go: oneshot::Sender<()>,
}

/// A handler, to its engine's places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UserId(usize);

/// Places that are taken until this is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    from: Arc<Places>,
    user: UserId,
    places: u32,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.from.give_back(self.user, self.places);
    }
}

/// Somebody who waits for places. Dropping it ends the wait.
#[derive(Debug)]
pub(super) struct Wait {
    from: Arc<Places>,
    user: UserId,
    places: u32,
    number: u64,
    told: oneshot::Receiver<()>,
    is_over: bool,
}

impl Places {
    pub(super) fn new(capacity: u32, ledger: &Arc<Ledger>) -> Self {
        let inner = Inner { free: capacity, next: 0, waiting: 0, users: Vec::new() };
        Self { capacity, ledger: Arc::clone(ledger), inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All there are, and those in use.
    pub(super) fn counts(&self) -> (u32, u32) {
        (self.capacity, self.capacity - self.lock().free)
    }

    /// The user that this share belongs to.
    pub(super) fn user(&self, share: &Arc<Share>) -> UserId {
        let mut inner = self.lock();
        let known = inner.users.iter().position(|user| user.share.as_ptr() == Arc::as_ptr(share));
        if let Some(known) = known {
            return UserId(known);
        }
        let user = User { share: Arc::downgrade(share), taken: 0, waiters: BTreeMap::new() };
        if let Some(free) = inner.users.iter().position(User::is_gone) {
            inner.users[free] = user;
            return UserId(free);
        }
        inner.users.push(user);
        UserId(inner.users.len() - 1)
    }

    /// Takes places if they are free and nobody waits.
    pub(super) fn try_take(self: &Arc<Self>, user: UserId, places: u32) -> Option<Taken> {
        let mut inner = self.lock();
        if inner.waiting > 0 || inner.free < places || !self.is_fair(&inner, user, places, inner.free) {
            return None;
        }
        inner.take(user, places);
        Some(Taken { from: Arc::clone(self), user, places })
    }

    /// Waits for places.
    pub(super) fn wait(self: &Arc<Self>, user: UserId, places: u32) -> Wait {
        let (go, told) = oneshot::channel();
        let mut inner = self.lock();
        let number = inner.next;
        inner.next += 1;
        inner.waiting += 1;
        inner.users[user.0].waiters.insert(number, Waiter { places, go });
        self.hand_out(&mut inner);
        Wait { from: Arc::clone(self), user, places, number, told, is_over: false }
    }

    /// Whether a handler other than `own` waits that could have the next free place.
    pub(super) fn others_wait(&self, own: UserId) -> bool {
        let inner = self.lock();
        inner.waiting > 0
            && (0..inner.users.len()).map(UserId).any(|user| {
                let first = inner.users[user.0].waiters.first_key_value();
                user != own
                    && first.is_some_and(|(_, waiter)| {
                        self.is_fair(&inner, user, waiter.places, inner.free.saturating_add(1))
                    })
            })
    }

    /// Whether a user may have further places when so many are free.
    fn is_fair(&self, inner: &Inner, user: UserId, places: u32, free: u32) -> bool {
        let handlers = u64::from(self.ledger.handlers_in_use());
        let taken = u64::from(inner.users[user.0].taken);
        let kept = self.capacity.div_ceil(KEPT);
        handlers <= 1 || taken * handlers < u64::from(self.capacity) || free >= places.saturating_add(kept)
    }

    /// Hands free places to those who wait: whoever has the fewest comes first, and is waited for if it needs several.
    fn hand_out(&self, inner: &mut Inner) {
        while inner.waiting > 0 {
            let waiting = inner.users.iter().enumerate().filter_map(|(index, user)| {
                let (number, waiter) = user.waiters.first_key_value()?;
                let is_fair = self.is_fair(inner, UserId(index), waiter.places, inner.free);
                is_fair.then_some((user.taken, *number, UserId(index), waiter.places))
            });
            let next = waiting.min_by_key(|(taken, number, ..)| (*taken, *number));
            let Some((_, number, user, places)) = next else { return };
            if places > inner.free {
                return;
            }
            inner.take(user, places);
            if let Some(waiter) = inner.remove(user, number) {
                // Who waits takes itself out before it stops listening: somebody hears this.
                let _ = waiter.go.send(());
            }
        }
    }

    fn give_back(&self, user: UserId, places: u32) {
        let mut inner = self.lock();
        inner.free += places;
        inner.users[user.0].taken -= places;
        self.hand_out(&mut inner);
    }
}

impl Inner {
    fn take(&mut self, user: UserId, places: u32) {
        self.free -= places;
        self.users[user.0].taken += places;
    }

    fn remove(&mut self, user: UserId, number: u64) -> Option<Waiter> {
        let waiter = self.users[user.0].waiters.remove(&number)?;
        self.waiting -= 1;
        Some(waiter)
    }
}

impl Wait {
    /// Whether it is not its turn yet.
    pub(super) fn goes_on(&self) -> bool {
        self.from.lock().users[self.user.0].waiters.contains_key(&self.number)
    }

    /// The places, if it was its turn already.
    pub(super) fn claim(mut self) -> Result<Taken, Self> {
        if self.goes_on() {
            return Err(self);
        }
        self.is_over = true;
        Ok(Taken { from: Arc::clone(&self.from), user: self.user, places: self.places })
    }

    /// Waits for its turn.
    pub(super) async fn taken(mut self) -> Taken {
        // The sender is not dropped before it has sent.
        let _ = (&mut self.told).await;
        self.is_over = true;
        Taken { from: Arc::clone(&self.from), user: self.user, places: self.places }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut inner = self.from.lock();
        if inner.remove(self.user, self.number).is_some() {
            // It may have been in others' way.
            self.from.hand_out(&mut inner);
        } else {
            drop(inner);
            self.from.give_back(self.user, self.places); // which it was told of, and has not heard
        }
    }
}

#[cfg(test)]
mod tests;
