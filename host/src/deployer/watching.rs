//! What deployments are made of in watch mode: crates that are built when they have changed, and modules that nobody writes to.

use std::io;
use std::path::Path;

use super::{From, Source};
use crate::builder::Workshop;
use crate::config::Config;
use crate::deployment::Modules;
use crate::history::{History, Record};

/// What watch mode needs beside. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Watching {
    /// What is built, and out of what.
    pub workshop: Workshop,
    /// Copies of the modules that are served: what they were made from may be written to at any moment.
    shelf: History,
}

impl Watching {
    /// Keeps copies of modules in this folder, which is to be removed in the end.
    ///
    /// # Errors
    /// When it cannot be written to.
    pub fn new(scratch: &Path) -> io::Result<Self> {
        Ok(Self { workshop: Workshop::default(), shelf: History::open(scratch, 1)? })
    }

    /// Builds what has to be built for this configuration.
    pub(super) fn modules(&self, config: &Config, source: &Source) -> Modules {
        let guests = config.handlers.iter().filter(|handler| handler.proxy.is_none());
        let handlers = guests.map(|handler| (handler.settings.name.clone(), handler.wasm.clone())).collect();
        let files = match &source.from {
            From::File(file) => std::slice::from_ref(file),
            From::Module(_) => &[],
        };
        let built = self.workshop.build(handlers, files);
        Modules { history: Some(self.shelf.clone()), built: Some(built), ..Modules::default() }
    }

    /// Removes copies of modules that are not served any more.
    pub(super) fn tidy(&self, served: &Record) {
        let served = served.modules.values().map(|module| self.shelf.path(module)).collect();
        if let Err(error) = self.shelf.remove_others(&served) {
            tracing::warn!("copies of modules cannot be removed: {error}");
        }
    }
}
