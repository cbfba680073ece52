//! The handlers of a deployment: their modules found, kept, checked and linked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::HeaderName;

use super::link;
use crate::builder;
use crate::config::{Config, HandlerConfig, KvBackend, KvConfig, ProblemKind, Problems};
use crate::guest::cache::CodeCache;
use crate::guest::{DatabaseGrant, Directory, Guest, GuestEngine, GuestSettings, Next, Outgoing};
use crate::handler::{Handler, Proxy, Split, StickyBy};
use crate::history::{Canary, History, Module, Sticky};
use crate::kv;
use crate::outbound::Outbound;
use crate::resources::Resources;
use crate::sql::Access;
use crate::stats::Registry;
use crate::upstream::ProxySettings;

/// Which modules are deployed, and where they are kept.
#[derive(Clone, Debug, Default)]
pub struct Modules {
    /// Where they are kept; without it they stay where they are, and nothing can be pinned.
    pub history: Option<History>,
    /// Modules of the history that are served whatever the file names, by handler.
    pub pinned: BTreeMap<String, Module>,
    /// A version on trial.
    pub canary: Option<Canary>,
}

/// A handler of `[handlers]`.
#[derive(Clone, Debug)]
pub(super) enum Loaded {
    Guest(Arc<Guest>),
    Split(Arc<Split>),
    Proxy(Arc<Proxy>),
}

impl Loaded {
    pub(super) fn handler(self) -> Handler {
        match self {
            Self::Guest(guest) => Handler::Guest(guest),
            Self::Split(split) => Handler::Split(split),
            Self::Proxy(proxy) => Handler::Proxy(proxy),
        }
    }
}

pub(super) fn proxy(
    name: &str,
    settings: &ProxySettings,
    outbound: &Outbound,
    registry: &Registry,
) -> Arc<Proxy> {
    Arc::new(Proxy::new(&name.into(), settings.clone(), outbound, registry))
}

/// What handlers are loaded with.
pub(super) struct Loader<'a> {
    pub(super) config: &'a Config,
    pub(super) engine: &'a GuestEngine,
    pub(super) resources: &'a Resources,
    pub(super) outbound: &'a Outbound,
    pub(super) directory: &'a Arc<Directory>,
    pub(super) modules: &'a Modules,
    pub(super) problems: &'a Problems,
}

/// All handlers, in the order of the file; none in place of one with a problem. And what was kept of them.
#[derive(Debug, Default)]
pub(super) struct Handlers {
    pub(super) loaded: Vec<Option<Loaded>>,
    pub(super) modules: BTreeMap<String, Module>,
}

/// What they have in common, made once.
struct Common {
    stores: Vec<Option<kv::Store>>,
    cache: CodeCache,
    /// The module of each crate folder that was built.
    binaries: BTreeMap<PathBuf, PathBuf>,
}

impl Loader<'_> {
    /// Loads all handlers, those that others call first.
    pub(super) fn load(&self) -> Handlers {
        let config = self.config;
        let common = Common {
            stores: stores(config, self.resources),
            cache: config.process.cache.clone().map_or_else(CodeCache::off, CodeCache::at),
            binaries: self.built_binaries(),
        };
        let depth =
            |&index: &usize| std::iter::successors(Some(index), |&index| config.handlers[index].next).count();
        let mut order: Vec<usize> = (0..config.handlers.len()).collect();
        order.sort_by_key(depth);
        let mut handlers = Handlers { loaded: vec![None; order.len()], ..Handlers::default() };
        for index in order {
            let handler = &config.handlers[index];
            let next = match handler.next {
                None if handler.next_is_wrong => continue, // there would be a second complaint about the same
                None => None,
                Some(next) => {
                    let Some(loaded) = handlers.loaded[next].clone() else { continue }; // it has failed, which was reported
                    let name = config.handlers[next].settings.name.as_str().into();
                    Some(link(name, loaded, self.resources.registry()))
                }
            };
            handlers.loaded[index] = self.handler(handler, next, &common, &mut handlers.modules);
        }
        handlers
    }

    fn handler(
        &self,
        handler: &HandlerConfig,
        next: Option<Arc<dyn Next>>,
        common: &Common,
        modules: &mut BTreeMap<String, Module>,
    ) -> Option<Loaded> {
        if let Some(settings) = &handler.proxy {
            let name = &handler.settings.name;
            return Some(Loaded::Proxy(proxy(name, settings, self.outbound, self.resources.registry())));
        }
        let settings = self.settings(handler, next, common)?;
        let name = &handler.settings.name;
        let (shown, file) = self.file(handler, common, modules)?;
        let deploy = |shown: &str, file: &Path, is_on_trial| {
            let settings = GuestSettings { is_on_trial, ..settings.clone() };
            let deployed = Guest::deploy(self.engine, file, &common.cache, settings);
            let deployed = deployed.map_err(|error| {
                for problem in error.problems {
                    let message = format!("handler `{name}` ({shown}): {problem}");
                    self.problems.add_at_line(ProblemKind::ModuleInvalid, handler.line, message);
                }
            });
            deployed.ok().map(Arc::new)
        };
        let guest = deploy(&shown, &file, false)?;
        let canary = self.modules.canary.as_ref().filter(|canary| canary.handler == *name);
        let Some((canary, history)) = canary.zip(self.modules.history.as_ref()) else {
            return Some(Loaded::Guest(guest));
        };
        let shown = format!("version {}", canary.module.version());
        let other = deploy(&shown, &self.kept(handler, &canary.module, history)?, true)?;
        let sticky = match &canary.sticky {
            Sticky::Client => StickyBy::Client,
            Sticky::Header(name) => StickyBy::Header(HeaderName::from_bytes(name.as_bytes()).ok()?),
            Sticky::Cookie(name) => StickyBy::Cookie(name.clone()),
        };
        Some(Loaded::Split(Arc::new(Split::new(guest, other, canary.share, sticky, canary.salt))))
    }

    fn settings(
        &self,
        handler: &HandlerConfig,
        next: Option<Arc<dyn Next>>,
        common: &Common,
    ) -> Option<GuestSettings> {
        let mut settings = GuestSettings { next, ..handler.settings.clone() };
        settings.grants.outgoing = handler.outbound.as_ref().map(|granted| {
            let (transport, allow) = (granted.transport.clone(), granted.allow.clone());
            Outgoing::new(self.outbound, transport, allow, Arc::clone(self.directory), &settings.limits)
        });
        settings.grants.stores = granted_stores(handler, self.config, &common.stores);
        settings.grants.databases = databases(self.config, handler, self.resources, self.problems)?;
        Some(settings)
    }

    /// The file of a handler's module, where it is kept if it is, and how it is called to people.
    fn file(
        &self,
        handler: &HandlerConfig,
        common: &Common,
        modules: &mut BTreeMap<String, Module>,
    ) -> Option<(String, PathBuf)> {
        let name = &handler.settings.name;
        let pinned = self.modules.pinned.get(name);
        if let Some((module, history)) = pinned.zip(self.modules.history.as_ref()) {
            modules.insert(name.clone(), module.clone());
            return Some((format!("version {}", module.version()), self.kept(handler, module, history)?));
        }
        let file = match common.binaries.get(&handler.wasm) {
            Some(built) => built,
            None if handler.wasm.is_dir() => return None, // its build failed, which was reported
            None => &handler.wasm,
        };
        if !file.exists() {
            let message = format!("`wasm`: there is no file or folder {}", file.display());
            self.problems.add_at_line(ProblemKind::FileMissing, handler.line, message);
            return None;
        }
        let shown = file.display().to_string();
        let Some(history) = &self.modules.history else { return Some((shown, file.clone())) };
        let form = file.extension().and_then(|form| form.to_str()).unwrap_or("wasm");
        match history.keep_file(file, form) {
            Ok(module) => {
                let kept = history.path(&module);
                modules.insert(name.clone(), module);
                Some((shown, kept))
            }
            Err(error) => {
                let message =
                    format!("handler `{name}`: {shown} cannot be kept in the state folder: {error}");
                self.problems.add_at_line(ProblemKind::FileMissing, handler.line, message);
                None
            }
        }
    }

    /// The file of a module that was kept, if it is what it was.
    fn kept(&self, handler: &HandlerConfig, module: &Module, history: &History) -> Option<PathBuf> {
        let wrong = |error| {
            let (name, version) = (&handler.settings.name, module.version());
            let message = format!(
                "handler `{name}` (version {version}): {error}; deploy it again, or roll back to another one"
            );
            self.problems.add_at_line(ProblemKind::FileMissing, handler.line, message);
        };
        history.checked(module).map_err(wrong).ok()
    }

    /// Builds every handler that is a crate folder; answers where each folder's module is.
    fn built_binaries(&self) -> BTreeMap<PathBuf, PathBuf> {
        let is_built = |handler: &&HandlerConfig| {
            handler.wasm.is_dir() && !self.modules.pinned.contains_key(&handler.settings.name)
        };
        let crates = self.config.handlers.iter().filter(is_built);
        let folders: Vec<_> = crates.map(|handler| handler.wasm.clone()).collect();
        let mut built = BTreeMap::new();
        for (folder, result) in builder::build(&folders) {
            match result {
                Ok(file) => drop(built.insert(folder, file)),
                Err(error) => {
                    for handler in self.config.handlers.iter().filter(|handler| handler.wasm == folder) {
                        let message = format!("handler `{}`: {error}", handler.settings.name);
                        self.problems.add_at_line(ProblemKind::BuildFailed, handler.line, message);
                    }
                }
            }
        }
        built
    }
}

/// The stores that the configuration declares, in its order; none in place of one with a problem. They are opened when they
/// are first used.
fn stores(config: &Config, resources: &Resources) -> Vec<Option<kv::Store>> {
    config.stores.iter().map(|config| store(config, resources)).collect()
}

/// A store that the configuration declares; none if there is a problem with it.
pub(crate) fn store(config: &KvConfig, resources: &Resources) -> Option<kv::Store> {
    let backend = match config.backend.as_ref()? {
        KvBackend::Embedded(file) => kv::Backend::Embedded(resources.embedded(file)),
        KvBackend::Redis(url) => kv::Backend::Redis(resources.redis(url).ok()?),
    };
    Some(kv::Store::new(backend, config.limits).counted(resources.registry().store(&config.name)))
}

/// What a handler was granted of them, by their names.
fn granted_stores(
    handler: &HandlerConfig,
    config: &Config,
    stores: &[Option<kv::Store>],
) -> Vec<(String, kv::Grant)> {
    let granted = handler.stores.iter().filter_map(|grant| {
        let store = stores[grant.store].clone()?;
        let name = config.stores[grant.store].name.clone();
        Some((name, kv::Grant::new(store, grant.prefix.clone(), grant.read_only)))
    });
    granted.collect()
}

/// The databases that a handler was granted. `None` when one of them cannot be had, which is reported.
fn databases(
    config: &Config,
    handler: &HandlerConfig,
    resources: &Resources,
    problems: &Problems,
) -> Option<Arc<Vec<DatabaseGrant>>> {
    let grant = |(name, access): &(String, Access)| {
        let database = config.databases.iter().find(|database| database.settings.name == *name)?;
        match resources.databases().open(&database.settings) {
            Ok(database) => {
                Some(DatabaseGrant { database, access: *access, handler: Arc::from(&*handler.settings.name) })
            }
            Err(error) => {
                let message = format!("[sql.{name}]: {error}");
                problems.add_at_line(ProblemKind::DatabaseInvalid, database.line, message);
                None
            }
        }
    };
    handler.databases.iter().map(grant).collect::<Option<_>>().map(Arc::new)
}
