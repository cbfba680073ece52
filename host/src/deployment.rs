//! What is being served: an immutable set of routes and their handlers, checked as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmux_mux::Mux;

use self::load::{Handlers, Loaded, Loader, proxy};
use crate::chain::{Callee, Link};
use crate::config::{CanaryConfig, Config, ProblemKind, Problems, RouteConfig, RouteTarget, ServerConfig};
use crate::guest::{Directory, GuestEngine, Next, RouteInfo};
use crate::handler::{Counted, Files, Fixed, Handler, Split};
use crate::history::Module;
use crate::outbound::Outbound;
use crate::resources::Resources;
use crate::stats::{Registry, RouteKey, RouteStats};

mod load;

pub use load::Modules;
pub(crate) use load::store;

/// Routes and handlers in force. A request keeps the one it began with to its last byte.
#[derive(Debug)]
pub struct Deployment {
    /// The name of each server and its patterns, each with its route. Servers with the same routes share the handlers.
    servers: Vec<(String, Mux<Route>)>,
    /// Handlers that others call by name; they know each other only weakly.
    _callees: Vec<Arc<dyn Next>>,
    /// The modules that the history keeps of it, by handler.
    modules: BTreeMap<String, Module>,
    /// The handler with two versions.
    split: Option<Arc<Split>>,
    canary: CanaryConfig,
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
    /// What is counted of its requests.
    pub stats: Arc<RouteStats>,
}

impl Deployment {
    /// Builds crates, loads modules and opens folders; modules that `modules` pins instead of those that the file names.
    ///
    /// Everything that is wrong is added to `problems`; the deployment is `None` if anything was. Crates are
    /// built with cargo, whose progress goes to standard error.
    #[must_use]
    pub fn build(
        config: &Config,
        (engine, resources): (&GuestEngine, &Resources),
        modules: &Modules,
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
        let loader = Loader {
            config,
            engine,
            resources,
            outbound: &outbound,
            directory: &directory,
            modules,
            problems,
        };
        let Handlers { loaded: guests, modules } = loader.load();
        let handler = |route: &RouteConfig| {
            route_handler(route, config, (&guests, &outbound, resources.registry()), problems)
        };
        // All of them before the first is given up, so that everything that is wrong shows in one run.
        let tables: Vec<Vec<_>> =
            config.tables.iter().map(|table| table.routes.iter().map(handler).collect()).collect();
        let tables = tables.into_iter().map(|handlers| handlers.into_iter().collect::<Option<Vec<_>>>());
        let tables = tables.collect::<Option<Vec<_>>>()?;
        let registry = resources.registry();
        let server = |server: &ServerConfig| {
            let (mux, handlers) = (&config.tables[server.routes].mux, &tables[server.routes]);
            let server_name: Arc<str> = server.name.as_str().into();
            let mux = mux.map(|pattern, &index| {
                let (name, handler) = handlers[index].clone();
                let names = pattern.names().map(str::to_owned).collect();
                let info = Arc::new(RouteInfo { pattern: pattern.as_str().to_owned(), names });
                let stats = registry.route(RouteKey {
                    server: Arc::clone(&server_name),
                    pattern: pattern.as_str().into(),
                    handler: Arc::clone(&name),
                    version: handler.version(),
                });
                Route { handler, name, info, stats }
            });
            (server.name.clone(), mux)
        };
        let servers = config.servers.iter().map(server).collect();
        let callees = callees(config, &guests, registry);
        let known = callees.iter().map(|(name, callee)| (name.clone(), Arc::downgrade(callee)));
        directory.fill(known);
        let _callees = callees.into_iter().map(|(_, callee)| callee).collect();
        let split = guests.iter().flatten().find_map(|loaded| match loaded {
            Loaded::Split(split) => Some(Arc::clone(split)),
            _ => None,
        });
        guests.iter().all(Option::is_some).then_some(Self {
            servers,
            _callees,
            modules,
            split,
            canary: config.canary.clone(),
        })
    }

    /// The modules that the history keeps of it, by handler; none without one.
    #[must_use]
    pub fn modules(&self) -> &BTreeMap<String, Module> {
        &self.modules
    }

    /// How the version does that there was, and how its canary, if there is one.
    #[must_use]
    pub fn counted(&self) -> Option<[Counted; 2]> {
        self.split.as_ref().map(|split| split.counted())
    }

    /// From now on its canary gets nothing.
    pub fn withdraw_canary(&self) {
        self.split.iter().for_each(|split| split.withdraw());
    }

    /// When its canary is worse.
    #[must_use]
    pub fn canary_config(&self) -> &CanaryConfig {
        &self.canary
    }

    /// The servers and their patterns, each with the name of what it points at.
    pub fn routes(&self) -> impl Iterator<Item = (&str, Vec<(&str, &str)>)> {
        self.servers.iter().map(|(name, mux)| {
            (&**name, mux.iter().map(|(_, route)| (&*route.info.pattern, &*route.name)).collect())
        })
    }

    /// The patterns of the server of this name.
    #[must_use]
    pub fn mux(&self, server: &str) -> Option<&Mux<Route>> {
        // A handful at most, and the first is the usual one.
        self.servers.iter().find(|(name, _)| name == server).map(|(_, mux)| mux)
    }
}

fn link(name: Arc<str>, handler: Loaded, registry: &Registry) -> Arc<dyn Next> {
    let stats = registry.handler(&name);
    let to: Arc<dyn Callee> = match handler {
        Loaded::Guest(guest) => guest,
        Loaded::Split(split) => split,
        Loaded::Proxy(proxy) => proxy,
    };
    Arc::new(Link { stats, to })
}

/// Those that others may call, by name.
fn callees(
    config: &Config,
    handlers: &[Option<Loaded>],
    registry: &Registry,
) -> Vec<(String, Arc<dyn Next>)> {
    let called: Vec<_> = config.handlers.iter().flat_map(|handler| &handler.outbound).collect();
    let is_called = |name: &String| {
        called.iter().any(|outbound| outbound.allow.handlers().contains(&name.to_ascii_lowercase()))
    };
    let named = config.handlers.iter().map(|handler| &handler.settings.name).zip(handlers);
    let callees = named.filter(|(name, _)| is_called(name));
    let callees = callees.filter_map(|(name, handler)| {
        Some((name.clone(), link(name.as_str().into(), handler.clone()?, registry)))
    });
    callees.collect()
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

fn route_handler(
    route: &RouteConfig,
    config: &Config,
    (guests, outbound, registry): (&[Option<Loaded>], &Outbound, &Registry),
    problems: &Problems,
) -> Option<(Arc<str>, Arc<Handler>)> {
    Some(match route.target.as_ref()? {
        RouteTarget::Handler(index) => {
            let handler = guests[*index].clone()?.handler();
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
        RouteTarget::Proxy(settings) => {
            let proxy = proxy("proxy", settings, outbound, registry);
            ("proxy".into(), Arc::new(Handler::Proxy(proxy)))
        }
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
