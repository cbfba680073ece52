//! The memory of all guests together, fair between handlers as the places are.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::share::{Ledger, Share};
use crate::error::{Error, Kind, chain};
use crate::limit::Limit;

/// The part that is kept for handlers with less than their share.
const KEPT: u64 = 4;

/// Ends idle instances, which make room for those with work.
pub(super) trait Evicts: Send + Sync {
    /// Ends one; says whether there was one.
    fn evict(&self) -> bool;
}

/// What all instances of all handlers may have, and what they do have.
#[derive(Debug)]
pub(super) struct Budget {
    bytes_max: u64,
    bytes: AtomicU64,
    ledger: Arc<Ledger>,
    idle: Mutex<Vec<Weak<dyn Evicts>>>,
}

impl std::fmt::Debug for dyn Evicts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evicts").finish_non_exhaustive()
    }
}

impl Budget {
    pub(super) fn new(bytes_max: u64, ledger: &Arc<Ledger>) -> Self {
        Self { bytes_max, bytes: AtomicU64::new(0), ledger: Arc::clone(ledger), idle: Mutex::default() }
    }

    /// Who ends idle instances when memory is short.
    pub(super) fn evicts<E: Evicts + 'static>(&self, idle: &Arc<E>) {
        let idle: Weak<E> = Arc::downgrade(idle);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(idle);
    }

    /// Ends one idle instance; says whether there was one.
    fn evict(&self) -> bool {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).clone();
        idle.iter().filter_map(Weak::upgrade).any(|idle| idle.evict())
    }

    /// Bytes in use.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn take(&self, share: &Share, bytes: u64) -> bool {
        let handlers = u64::from(self.ledger.handlers_in_use());
        let has_less = || share.memory_bytes().saturating_mul(handlers) < self.bytes_max;
        let after = |before: u64| {
            let after = before.checked_add(bytes).filter(|after| *after <= self.bytes_max)?;
            let is_fair = handlers <= 1 || after <= self.bytes_max - self.bytes_max / KEPT || has_less();
            is_fair.then_some(after)
        };
        let taken = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after).is_ok();
        if taken {
            share.add_memory(bytes);
        }
        taken
    }

    fn give_back(&self, share: &Share, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        share.remove_memory(bytes);
    }
}

/// What one instance has of it; given back in the end.
#[derive(Debug)]
pub(super) struct Account {
    budget: Arc<Budget>,
    share: Arc<Share>,
    bytes: u64,
    was_refused: bool,
}

impl Account {
    pub(super) fn new(budget: &Arc<Budget>, share: &Arc<Share>) -> Self {
        Self { budget: Arc::clone(budget), share: Arc::clone(share), bytes: 0, was_refused: false }
    }

    /// The instance has had so much at a time.
    pub(super) fn note_peak(&self, bytes: u64) {
        self.share.memory_peak_bytes.raise(bytes);
    }

    /// Takes further bytes, for which idle instances have to go if need be; says whether they are to be had.
    pub(super) fn take(&mut self, bytes: u64) -> bool {
        let mut is_taken = self.budget.take(&self.share, bytes);
        while !is_taken && self.budget.evict() {
            is_taken = self.budget.take(&self.share, bytes);
        }
        if is_taken {
            self.bytes += bytes;
        }
        self.was_refused |= !is_taken;
        is_taken
    }

    /// Gives bytes back that were taken.
    pub(super) fn give_back(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.budget.give_back(&self.share, bytes);
    }

    /// A request begins; what earlier ones were refused is not its fault.
    pub(super) fn begin(&mut self) {
        self.was_refused = false;
    }

    /// What made a guest fail: this, if it was refused memory.
    pub(super) fn blame(&self, error: Error) -> Error {
        match error.kind() {
            Kind::Trapped | Kind::Limit(Limit::Memory) if self.was_refused => {
                Error::new(Kind::Limit(Limit::GuestMemory), chain(&error))
            }
            _ => error,
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A budget of 1000 bytes and the shares of so many handlers.
    fn budget(handlers: usize) -> (Arc<Budget>, Vec<Arc<Share>>) {
        let ledger = Arc::new(Ledger::default());
        let shares: Vec<_> = (0..handlers).map(|index| ledger.share(&index.to_string().into())).collect();
        shares.iter().for_each(|share| ledger.enlist(share));
        (Arc::new(Budget::new(1_000, &ledger)), shares)
    }

    #[test]
    fn one_handler_has_all_and_no_more() {
        let (budget, shares) = budget(1);
        let mut account = Account::new(&budget, &shares[0]);
        assert!(account.take(600) && account.take(400));
        assert!(!account.take(1));
        account.give_back(100);
        assert!(account.take(100));
        drop(account);
        assert_eq!((budget.bytes(), shares[0].memory_bytes()), (0, 0));
    }

    #[test]
    fn the_last_quarter_is_for_those_with_less_than_their_share() {
        let (budget, shares) = budget(2);
        let [mut large, mut small] = [0, 1].map(|index| Account::new(&budget, &shares[index]));
        assert!(large.take(600) && large.take(150));
        assert!(!large.take(1), "beyond three quarters");
        assert!(small.take(250));
        assert!(!small.take(1));
        drop(large);
        assert!(small.take(500), "the places of others are free again");
    }

    #[test]
    fn who_was_refused_is_told_so() {
        let (budget, shares) = budget(1);
        let mut account = Account::new(&budget, &shares[0]);
        assert_eq!(account.blame(Kind::Trapped.into()).kind(), Kind::Trapped);
        assert!(!account.take(1_001));
        assert_eq!(account.blame(Kind::Trapped.into()).kind(), Kind::Limit(Limit::GuestMemory));
        assert_eq!(account.blame(Limit::Cpu.into()).kind(), Kind::Limit(Limit::Cpu));
        account.begin();
        assert_eq!(account.blame(Kind::Trapped.into()).kind(), Kind::Trapped);
    }

    #[test]
    fn idle_instances_go_first() {
        struct Idle(std::sync::Mutex<Vec<Account>>);
        impl Evicts for Idle {
            fn evict(&self) -> bool {
                self.0.lock().unwrap().pop().is_some()
            }
        }
        let (budget, shares) = budget(1);
        let mut idle = Vec::new();
        for _ in 0..4 {
            let mut account = Account::new(&budget, &shares[0]);
            assert!(account.take(250));
            idle.push(account);
        }
        let idle = Arc::new(Idle(std::sync::Mutex::new(idle)));
        budget.evicts(&idle);
        let mut account = Account::new(&budget, &shares[0]);
        assert!(account.take(400));
        assert_eq!((idle.0.lock().unwrap().len(), budget.bytes()), (2, 900));
    }
}
