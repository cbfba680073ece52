//! What surrounds a handler under test beside its request: what routes.toml would grant it.

use std::{cell::RefCell, collections::BTreeMap};

use super::client::Upstream;
use super::kv;
use super::sql::Databases;

/// Set by the methods of [`TestRequest`](crate::TestRequest), and in force while [`Recorder::serve`](crate::Recorder::serve)
/// runs the handler, on its thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) stores: BTreeMap<String, kv::Store>,
    pub(crate) databases: Databases,
    /// Who answers the handler's calls; nobody: they are refused.
    pub(crate) upstream: Option<Upstream>,
}

thread_local! {
    pub(super) static WORLD: RefCell<World> = RefCell::default();
}

/// Puts the world back that was there before.
pub(crate) struct Entered(Option<World>);

impl World {
    /// This world is in force until the result is dropped.
    pub(crate) fn enter(self) -> Entered {
        Entered(Some(WORLD.replace(self)))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.take().map(|before| WORLD.replace(before));
    }
}

/// The key-value store of this name.
pub(super) fn store(name: &str) -> Option<kv::Store> {
    WORLD.with_borrow(|world| world.stores.get(name).cloned())
}

/// Asks the databases under test.
pub(super) fn databases<T>(ask: impl FnOnce(&Databases) -> T) -> T {
    WORLD.with_borrow(|world| ask(&world.databases))
}

/// The configuration under test.
pub(crate) mod config {
    use super::WORLD;

    pub(crate) fn get(name: &str) -> Option<String> {
        WORLD.with_borrow(|world| world.config.get(name).cloned())
    }

    pub(crate) fn all() -> Vec<(String, String)> {
        WORLD.with_borrow(|world| world.config.clone().into_iter().collect())
    }
}
