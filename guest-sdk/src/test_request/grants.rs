//! What routes.toml would grant the handler under test.

use std::rc::Rc;

use super::TestRequest;
use crate::{
    client::{Called, Reply},
    recorder::{World, client::Upstream},
    sql,
};

impl TestRequest {
    /// Sets a value of the handler's configuration; see [`config`](crate::config).
    #[must_use]
    pub fn config(mut self, name: &str, value: &str) -> Self {
        self.world.config.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Grants the handler a key-value store: one of [`Store::in_memory`](crate::kv::Store::in_memory), which the test can fill
    /// before and look into after.
    #[must_use]
    pub fn kv(mut self, name: &str, store: &crate::kv::Store) -> Self {
        self.world.stores.insert(name.to_owned(), store.clone().into_host());
        self
    }

    /// Has a function stand in for the database of this name: it gets each statement with its values, and `BEGIN`, `COMMIT` and
    /// `ROLLBACK` besides; see [`sql`](crate::sql).
    #[must_use]
    pub fn sql(
        mut self,
        name: &str,
        answer: impl FnMut(&str, &[sql::Value]) -> sql::Result<sql::Answer> + 'static,
    ) -> Self {
        self.world.databases.insert(name, answer);
        self
    }

    /// Has this function answer the calls that the handler makes; see [`client`](crate::client). Without one they are refused.
    #[must_use]
    pub fn upstream(mut self, answer: impl Fn(&Called) -> Reply + 'static) -> Self {
        self.world.upstream = Some(Upstream(Rc::new(answer)));
        self
    }

    /// What surrounds the handler while it is tested.
    pub(crate) fn world(&self) -> World {
        self.world.clone()
    }
}
