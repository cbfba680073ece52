//! Interfaces beside WASI itself that components may import: `wasi:keyvalue`, `wasi:config`, `wasi:logging`.
//!
//! They are drafts; `host/wit` has the form that is linked. Key-value stores and configuration are asked of
//! [`super::capability::Hooks`], and answer that access is denied until they are granted.

use tracing::Level;
use wasmtime::Result;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

use self::bindings::wasi::keyvalue::store::{Error as StoreError, KeyResponse};
use self::bindings::wasi::{config, keyvalue, logging};
use super::capability::{Bucket, Denied, Hooks, NOT_GRANTED};
use super::log::GuestLog;
use super::state::ComponentState;

mod bindings {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "drafts",
        imports: { default: trappable },
        with: { "wasi:keyvalue/store.bucket": crate::guest::capability::Bucket },
    });
}

/// What the interfaces work on.
struct View<'s> {
    hooks: &'s Hooks,
    log: &'s GuestLog,
    table: &'s mut ResourceTable,
}

struct Drafts;

impl HasData for Drafts {
    type Data<'s> = View<'s>;
}

/// Defines all three.
pub(super) fn add_to_linker(linker: &mut Linker<ComponentState>) -> Result<()> {
    bindings::Drafts::add_to_linker::<_, Drafts>(linker, view)?;
    // wasmCloud's tools drop the version of this one.
    linker.instance("wasi:logging/logging")?.func_wrap("log", |mut store, (level, context, message)| {
        logging::logging::Host::log(&mut view(store.data_mut()), level, context, message)
    })
}

fn view(state: &mut ComponentState) -> View<'_> {
    let ComponentState { hooks, core, table, .. } = state;
    View { hooks, log: &core.log, table }
}

impl View<'_> {
    /// A bucket that the guest has opened. As long as none can be opened, there is none to be used.
    fn bucket(&self, bucket: &Resource<Bucket>) -> Result<&Bucket> {
        Ok(self.table.get(bucket)?)
    }
}

impl keyvalue::store::Host for View<'_> {
    fn open(&mut self, name: String) -> Result<Result<Resource<Bucket>, StoreError>> {
        match self.hooks.open_store(&name) {
            Ok(bucket) => Ok(Ok(self.table.push(bucket)?)),
            Err(Denied) => Ok(Err(StoreError::AccessDenied)),
        }
    }
}

impl keyvalue::store::HostBucket for View<'_> {
    fn get(&mut self, bucket: Resource<Bucket>, _: String) -> Result<Result<Option<Vec<u8>>, StoreError>> {
        match *self.bucket(&bucket)? {}
    }

    fn set(&mut self, bucket: Resource<Bucket>, _: String, _: Vec<u8>) -> Result<Result<(), StoreError>> {
        match *self.bucket(&bucket)? {}
    }

    fn delete(&mut self, bucket: Resource<Bucket>, _: String) -> Result<Result<(), StoreError>> {
        match *self.bucket(&bucket)? {}
    }

    fn exists(&mut self, bucket: Resource<Bucket>, _: String) -> Result<Result<bool, StoreError>> {
        match *self.bucket(&bucket)? {}
    }

    fn list_keys(
        &mut self,
        bucket: Resource<Bucket>,
        _: Option<u64>,
    ) -> Result<Result<KeyResponse, StoreError>> {
        match *self.bucket(&bucket)? {}
    }

    fn drop(&mut self, bucket: Resource<Bucket>) -> Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl keyvalue::atomics::Host for View<'_> {
    fn increment(&mut self, bucket: Resource<Bucket>, _: String, _: u64) -> Result<Result<u64, StoreError>> {
        match *self.bucket(&bucket)? {}
    }
}

impl keyvalue::batch::Host for View<'_> {
    fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        _: Vec<String>,
    ) -> Result<Result<Vec<Option<(String, Vec<u8>)>>, StoreError>> {
        match *self.bucket(&bucket)? {}
    }

    fn set_many(
        &mut self,
        bucket: Resource<Bucket>,
        _: Vec<(String, Vec<u8>)>,
    ) -> Result<Result<(), StoreError>> {
        match *self.bucket(&bucket)? {}
    }

    fn delete_many(&mut self, bucket: Resource<Bucket>, _: Vec<String>) -> Result<Result<(), StoreError>> {
        match *self.bucket(&bucket)? {}
    }
}

impl config::store::Host for View<'_> {
    fn get(&mut self, key: String) -> Result<Result<Option<String>, config::store::Error>> {
        Ok(self.hooks.setting(&key).map_err(config::store::Error::from))
    }

    fn get_all(&mut self) -> Result<Result<Vec<(String, String)>, config::store::Error>> {
        Ok(self.hooks.settings().map_err(config::store::Error::from))
    }
}

impl From<Denied> for config::store::Error {
    /// The interface has no error of its own for this.
    fn from(Denied: Denied) -> Self {
        Self::Upstream(format!("access denied: {NOT_GRANTED}"))
    }
}

impl logging::logging::Host for View<'_> {
    fn log(&mut self, level: logging::logging::Level, context: String, message: String) -> Result<()> {
        let level = match level {
            logging::logging::Level::Trace => Level::TRACE,
            logging::logging::Level::Debug => Level::DEBUG,
            logging::logging::Level::Info => Level::INFO,
            logging::logging::Level::Warn => Level::WARN,
            logging::logging::Level::Error | logging::logging::Level::Critical => Level::ERROR,
        };
        if context.is_empty() {
            self.log.line(level, message.as_bytes());
        } else if super::log::is_enabled(level) {
            self.log.line(level, format!("{context}: {message}").as_bytes());
        }
        Ok(())
    }
}
