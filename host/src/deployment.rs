//! What is being served: an immutable set of routes and their handlers, checked as a whole.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use wasmux_mux::Mux;

use crate::builder;
use crate::chain::Link;
use crate::config::{Config, HandlerConfig, ProblemKind, Problems, RouteConfig, RouteTarget, ServerConfig};
use crate::guest::cache::CodeCache;
use crate::guest::{Guest, GuestEngine, GuestSettings, Next, RouteInfo};
use crate::handler::{Files, Fixed, Handler};

/// Routes and handlers in force. A request keeps the one it began with to its last byte.
#[derive(Debug)]
pub struct Deployment {
    /// The name of each server and its patterns, each with its route. Servers with the same routes share them.
    servers: Vec<(String, Arc<Mux<Route>>)>,
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
    pub fn build(config: &Config, engine: &GuestEngine, problems: &Problems) -> Option<Self> {
        let guests = load_guests(config, engine, problems);
        let handler = |route: &RouteConfig| route_handler(route, config, &guests, problems);
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
        guests.iter().all(Option::is_some).then_some(Self { servers })
    }

    /// The patterns of the server of this name.
    #[must_use]
    pub fn mux(&self, server: &str) -> Option<&Mux<Route>> {
        // A handful at most, and the first is the usual one.
        self.servers.iter().find(|(name, _)| name == server).map(|(_, mux)| &**mux)
    }
}

/// Loads all guests, those that others call first.
fn load_guests(config: &Config, engine: &GuestEngine, problems: &Problems) -> Vec<Option<Arc<Guest>>> {
    let cache = config.process.cache.clone().map_or_else(CodeCache::off, CodeCache::at);
    let binaries = built_binaries(config, problems);
    let load = |handler: &HandlerConfig, next: Option<Arc<dyn Next>>| {
        if handler.wasm.is_dir() && !binaries.contains_key(&handler.wasm) {
            return None; // its build failed, which was reported
        }
        if !handler.wasm.exists() {
            let message = format!("`wasm`: there is no file or folder {}", handler.wasm.display());
            problems.add_at_line(ProblemKind::FileMissing, handler.line, message);
            return None;
        }
        let file = binaries.get(&handler.wasm).unwrap_or(&handler.wasm);
        let settings = GuestSettings { next, ..handler.settings.clone() };
        match Guest::deploy(engine, file, &cache, settings) {
            Ok(guest) => Some(Arc::new(guest)),
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
    let mut guests: Vec<Option<Arc<Guest>>> = vec![None; order.len()];
    for index in order {
        let handler = &config.handlers[index];
        let next = match handler.next {
            None if handler.next_is_wrong => continue, // there would be a second complaint about the same
            None => None,
            Some(next) => {
                let Some(guest) = guests[next].clone() else { continue }; // it has failed, which was reported
                let name = config.handlers[next].settings.name.as_str().into();
                Some(Arc::new(Link { name, guest }) as Arc<dyn Next>)
            }
        };
        guests[index] = load(handler, next);
    }
    guests
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
    guests: &[Option<Arc<Guest>>],
    problems: &Problems,
) -> Option<(Arc<str>, Arc<Handler>)> {
    Some(match route.target.as_ref()? {
        RouteTarget::Handler(index) => {
            let guest = guests[*index].clone()?;
            (config.handlers[*index].settings.name.as_str().into(), Arc::new(Handler::Guest(guest)))
        }
        RouteTarget::Respond(respond) => {
            let fixed = Fixed::new(respond.status, respond.headers.clone(), respond.body.clone());
            ("respond".into(), Arc::new(Handler::Fixed(fixed)))
        }
        RouteTarget::Redirect(redirect) => {
            let fixed = Fixed::redirect(redirect.status, redirect.location.clone());
            ("redirect".into(), Arc::new(Handler::Fixed(fixed)))
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
