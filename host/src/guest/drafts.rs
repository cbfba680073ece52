//! Interfaces beside WASI itself that components may import: `wasi:keyvalue`, `wasi:config`, `wasi:logging`.
//!
//! They are drafts; `host/wit` has the form that is linked. Key-value stores (`keyvalue`) and configuration are asked
//! of [`super::capability::Hooks`], and answer that access is denied until they are granted.

use tracing::Level;
use wasmtime::Result;
use wasmtime::component::{HasData, Linker, ResourceTable};

use self::bindings::wasi::{config, logging};
use super::capability::{Denied, Hooks, NOT_GRANTED};
use super::log::GuestLog;
use super::state::ComponentState;

pub(super) mod bindings {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "drafts",
        imports: {
            "wasi:keyvalue/store.[method]bucket.get": async | trappable,
            "wasi:keyvalue/store.[method]bucket.set": async | trappable,
            "wasi:keyvalue/store.[method]bucket.delete": async | trappable,
            "wasi:keyvalue/store.[method]bucket.exists": async | trappable,
            "wasi:keyvalue/store.[method]bucket.list-keys": async | trappable,
            "wasi:keyvalue/atomics.increment": async | trappable,
            "wasi:keyvalue/batch.get-many": async | trappable,
            "wasi:keyvalue/batch.set-many": async | trappable,
            "wasi:keyvalue/batch.delete-many": async | trappable,
            default: trappable,
        },
        with: { "wasi:keyvalue/store.bucket": crate::guest::capability::Bucket },
    });
}

/// What the interfaces work on.
pub(super) struct View<'s> {
    pub(super) hooks: &'s Hooks,
    pub(super) log: &'s GuestLog,
    pub(super) table: &'s mut ResourceTable,
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
