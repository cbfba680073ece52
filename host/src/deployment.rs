//! What is being served: an immutable set of routes and their handlers, checked as a whole.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use wasmux_mux::Mux;

use crate::builder;
use crate::chain::{Callee, Link};
use crate::config::{
    Config, HandlerConfig, KvBackend, KvConfig, ProblemKind, Problems, RouteConfig, RouteTarget, ServerConfig,
};
use crate::guest::cache::CodeCache;
use crate::guest::{DatabaseGrant, Directory, Guest, GuestEngine, GuestSettings, Next, Outgoing, RouteInfo};
use crate::handler::{Files, Fixed, Handler, Proxy};
use crate::kv;
use crate::outbound::Outbound;
use crate::resources::Resources;
use crate::sql::Access;
use crate::upstream::ProxySettings;

/// Routes and handlers in force. A request keeps the one it began with to its last byte.
#[derive(Debug)]
pub struct Deployment {
    /// The name of each server and its patterns, each with its route. Servers with the same routes share them.
    servers: Vec<(String, Arc<Mux<Route>>)>,
    /// Handlers that others call by name; they know each other only weakly.
    _callees: Vec<Arc<dyn Next>>,
}

/// One pattern and what it points at.
#[derive(Debug)]
pub struct Route {
    /// The handler.
    pub handler: Arc<Handler>,
    /// Its name: that of a guest, or the built-in's kind.
    pub name: Arc<str>,
    /// The pattern, in the form that guests get it.
    pub info: Arc<RouteInfo>,
}

impl Deployment {
    /// Builds crates, loads modules and opens folders.
    ///
    /// Everything that is wrong is added to `problems`; the deployment is `None` if anything was. Crates are
    /// built with cargo, whose progress goes to standard error.
    #[must_use]
    pub fn build(
        config: &Config,
        engine: &GuestEngine,
        resources: &Resources,
        problems: &Problems,
    ) -> Option<Self> {
        let outbound = match resources.outbound(&config.outbound) {
            Ok(outbound) => outbound,
            Err(why) => {
                let message = format!("[outbound]: the HTTP client cannot be made: {why}");
                problems.add_at_line(ProblemKind::BadValue, 1, message);
                return None;
            }
        };
        let directory = Arc::<Directory>::default();
        let guests = load_handlers(config, engine, (resources, &outbound, &directory), problems);
        let handler = |route: &RouteConfig| route_handler(route, config, (&guests, &outbound), problems);
        // All of them before the first is given up, so that everything that is wrong shows in one run.
        let tables: Vec<Vec<_>> =
            config.tables.iter().map(|table| table.routes.iter().map(handler).collect()).collect();
        let muxes = config.tables.iter().zip(tables).map(|(table, handlers)| {
            let handlers = handlers.into_iter().collect::<Option<Vec<_>>>()?;
            Some(Arc::new(table.mux.map(|pattern, &index| {
                let (name, handler) = handlers[index].clone();
                let names = pattern.names().map(str::to_owned).collect();
                let info = Arc::new(RouteInfo { pattern: pattern.as_str().to_owned(), names });
                Route { handler, name, info }
            })))
        });
        let muxes = muxes.collect::<Option<Vec<_>>>()?;
        let server = |server: &ServerConfig| (server.name.clone(), Arc::clone(&muxes[server.routes]));
        let servers = config.servers.iter().map(server).collect();
        let callees = callees(config, &guests);
        let known = callees.iter().map(|(name, callee)| (name.clone(), Arc::downgrade(callee)));
        directory.fill(known);
        let _callees = callees.into_iter().map(|(_, callee)| callee).collect();
        guests.iter().all(Option::is_some).then_some(Self { servers, _callees })
    }

    /// The patterns of the server of this name.
    #[must_use]
    pub fn mux(&self, server: &str) -> Option<&Mux<Route>> {
        // A handful at most, and the first is the usual one.
        self.servers.iter().find(|(name, _)| name == server).map(|(_, mux)| &**mux)
    }
}

/// A handler of `[handlers]`.
#[derive(Clone, Debug)]
enum Loaded {
    Guest(Arc<Guest>),
    Proxy(Arc<Proxy>),
}

fn proxy(settings: &ProxySettings, outbound: &Outbound) -> Arc<Proxy> {
    Arc::new(Proxy::new(settings.clone(), outbound))
}

/// Loads all handlers, those that others call first.
fn load_handlers(
    config: &Config,
    engine: &GuestEngine,
    (resources, outbound, directory): (&Resources, &Outbound, &Arc<Directory>),
    problems: &Problems,
) -> Vec<Option<Loaded>> {
    let stores = stores(config, resources);
    let cache = config.process.cache.clone().map_or_else(CodeCache::off, CodeCache::at);
    let binaries = built_binaries(config, problems);
    let load = |handler: &HandlerConfig, next: Option<Arc<dyn Next>>| {
        if let Some(settings) = &handler.proxy {
            return Some(Loaded::Proxy(proxy(settings, outbound)));
        }
        if handler.wasm.is_dir() && !binaries.contains_key(&handler.wasm) {
            return None; // its build failed, which was reported
        }
        if !handler.wasm.exists() {
            let message = format!("`wasm`: there is no file or folder {}", handler.wasm.display());
            problems.add_at_line(ProblemKind::FileMissing, handler.line, message);
            return None;
        }
        let file = binaries.get(&handler.wasm).unwrap_or(&handler.wasm);
        let mut settings = GuestSettings { next, ..handler.settings.clone() };
        settings.grants.outgoing = handler.outbound.as_ref().map(|granted| {
            let (transport, allow) = (granted.transport.clone(), granted.allow.clone());
            Outgoing::new(outbound, transport, allow, Arc::clone(directory), &settings.limits)
        });
        settings.grants.stores = granted_stores(handler, config, &stores);
        settings.grants.databases = databases(config, handler, resources, problems)?;
        match Guest::deploy(engine, file, &cache, settings) {
            Ok(guest) => Some(Loaded::Guest(Arc::new(guest))),
            Err(error) => {
                let name = &handler.settings.name;
                for problem in error.problems {
                    let message = format!("handler `{name}` ({}): {problem}", file.display());
                    problems.add_at_line(ProblemKind::ModuleInvalid, handler.line, message);
                }
                None
            }
        }
    };
    let depth =
        |&index: &usize| std::iter::successors(Some(index), |&index| config.handlers[index].next).count();
    let mut order: Vec<usize> = (0..config.handlers.len()).collect();
    order.sort_by_key(depth);
    let mut guests: Vec<Option<Loaded>> = vec![None; order.len()];
    for index in order {
        let handler = &config.handlers[index];
        let next = match handler.next {
            None if handler.next_is_wrong => continue, // there would be a second complaint about the same
            None => None,
            Some(next) => {
                let Some(loaded) = guests[next].clone() else { continue }; // it has failed, which was reported
                let name = config.handlers[next].settings.name.as_str().into();
                Some(link(name, loaded))
            }
        };
        guests[index] = load(handler, next);
    }
    guests
}

fn link(name: Arc<str>, handler: Loaded) -> Arc<dyn Next> {
    let to: Arc<dyn Callee> = match handler {
        Loaded::Guest(guest) => guest,
        Loaded::Proxy(proxy) => proxy,
    };
    Arc::new(Link { name, to })
}

/// Those that others may call, by name.
fn callees(config: &Config, handlers: &[Option<Loaded>]) -> Vec<(String, Arc<dyn Next>)> {
    let called: Vec<_> = config.handlers.iter().flat_map(|handler| &handler.outbound).collect();
    let is_called = |name: &String| {
        called.iter().any(|outbound| outbound.allow.handlers().contains(&name.to_ascii_lowercase()))
    };
    let named = config.handlers.iter().map(|handler| &handler.settings.name).zip(handlers);
    let callees = named.filter(|(name, _)| is_called(name));
    let callees = callees
        .filter_map(|(name, handler)| Some((name.clone(), link(name.as_str().into(), handler.clone()?))));
    callees.collect()
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
    Some(kv::Store::new(backend, config.limits))
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

/// Brings the databases of a deployment, which is good otherwise, to where their migrations lead. What is applied stays, also when
/// a later one fails and the deployment with it.
pub fn migrate(config: &Config, resources: &Resources, problems: &Problems) {
    for database in &config.databases {
        let Some(folder) = &database.migrations else { continue };
        let name = &database.settings.name;
        let applied = match resources.databases().open(&database.settings) {
            Ok(database) => database.migrate(folder),
            Err(error) => Err(error.into()),
        };
        match applied {
            Ok(0) => {}
            Ok(count) => tracing::info!("[sql.{name}]: {count} migrations applied"),
            Err(error) => {
                let message = format!("[sql.{name}] `migrations`: {error}");
                problems.add_at_line(ProblemKind::DatabaseInvalid, database.line, message);
            }
        }
    }
}

/// Builds every handler that is a crate folder; answers where each folder's module is.
fn built_binaries(config: &Config, problems: &Problems) -> BTreeMap<PathBuf, PathBuf> {
    let crates = config.handlers.iter().filter(|handler| handler.wasm.is_dir());
    let folders: Vec<_> = crates.map(|handler| handler.wasm.clone()).collect();
    let mut built = BTreeMap::new();
    for (folder, result) in builder::build(&folders) {
        match result {
            Ok(file) => drop(built.insert(folder, file)),
            Err(error) => {
                for handler in config.handlers.iter().filter(|handler| handler.wasm == folder) {
                    let message = format!("handler `{}`: {error}", handler.settings.name);
                    problems.add_at_line(ProblemKind::BuildFailed, handler.line, message);
                }
            }
        }
    }
    built
}

fn route_handler(
    route: &RouteConfig,
    config: &Config,
    (guests, outbound): (&[Option<Loaded>], &Outbound),
    problems: &Problems,
) -> Option<(Arc<str>, Arc<Handler>)> {
    Some(match route.target.as_ref()? {
        RouteTarget::Handler(index) => {
            let handler = match guests[*index].clone()? {
                Loaded::Guest(guest) => Handler::Guest(guest),
                Loaded::Proxy(proxy) => Handler::Proxy(proxy),
            };
            (config.handlers[*index].settings.name.as_str().into(), Arc::new(handler))
        }
        RouteTarget::Respond(respond) => {
            let fixed = Fixed::new(respond.status, respond.headers.clone(), respond.body.clone());
            ("respond".into(), Arc::new(Handler::Fixed(fixed)))
        }
        RouteTarget::Redirect(redirect) => {
            let fixed = Fixed::redirect(redirect.status, redirect.location.clone());
            ("redirect".into(), Arc::new(Handler::Fixed(fixed)))
        }
        RouteTarget::Proxy(settings) => ("proxy".into(), Arc::new(Handler::Proxy(proxy(settings, outbound)))),
        RouteTarget::Files(files) => match Files::new(&files.folder, files.strip_prefix.clone()) {
            Ok(files) => ("files".into(), Arc::new(Handler::Files(files))),
            Err(error) => {
                let message = format!("`files`: cannot open {}: {error}", files.folder.display());
                problems.add_at_line(ProblemKind::FileMissing, route.line, message);
                return None;
            }
        },
    })
}
