//! What surrounds a handler under test beside its request: what routes.toml would grant it.

use std::{cell::RefCell, collections::BTreeMap};

/// Set by the methods of [`TestRequest`](crate::TestRequest), and in force while [`Recorder::serve`](crate::Recorder::serve)
/// runs the handler, on its thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) config: BTreeMap<String, String>,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
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
