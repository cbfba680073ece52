//! What is being served: an immutable set of routes and their handlers, checked as a whole.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use wasmux_mux::Mux;

use crate::builder;
use crate::config::{Config, HandlerConfig, ProblemKind, Problems, RouteTarget};
use crate::guest::cache::CodeCache;
use crate::guest::{Artifact, Guest, GuestEngine, RouteInfo};
use crate::handler::{Files, Fixed, Handler};

/// Routes and handlers in force. A request keeps the one it began with to its last byte.
#[derive(Debug)]
pub struct Deployment {
    /// The patterns, each with its route.
    pub mux: Mux<Route>,
}

/// One pattern and what it points at.
#[derive(Clone, Debug)]
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
        let mut mux = Mux::new();
        let mut complete = true;
        for route in &config.routes {
            let Some((name, handler)) =
                route_handler(route.target.as_ref(), route.line, config, &guests, problems)
            else {
                complete = false;
                continue;
            };
            let names = wasmux_mux::Pattern::parse(&route.pattern)
                .map(|pattern| pattern.names().map(str::to_owned).collect())
                .unwrap_or_default();
            let info = Arc::new(RouteInfo { pattern: route.pattern.clone(), names });
            // The configuration was checked with the same patterns, so this insert cannot fail.
            complete &= mux.insert(&route.pattern, Route { handler, name, info }).is_ok();
        }
        (complete && guests.iter().all(Option::is_some)).then_some(Self { mux })
    }
}

fn load_guests(config: &Config, engine: &GuestEngine, problems: &Problems) -> Vec<Option<Arc<Handler>>> {
    let cache = config.server.cache.clone().map_or_else(CodeCache::off, CodeCache::at);
    let binaries = built_binaries(config, problems);
    let load = |handler: &HandlerConfig| {
        if handler.wasm.is_dir() && !binaries.contains_key(&handler.wasm) {
            return None; // its build failed, which was reported
        }
        if !handler.wasm.exists() {
            return None; // reported when the configuration was read
        }
        let file = binaries.get(&handler.wasm).unwrap_or(&handler.wasm);
        let guest = Artifact::load(engine, file, &cache)
            .and_then(|artifact| Guest::new(engine, &artifact, handler.settings.clone()));
        match guest {
            Ok(guest) => Some(Arc::new(Handler::Guest(Arc::new(guest)))),
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
    config.handlers.iter().map(load).collect()
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
    target: Option<&RouteTarget>,
    line: usize,
    config: &Config,
    guests: &[Option<Arc<Handler>>],
    problems: &Problems,
) -> Option<(Arc<str>, Arc<Handler>)> {
    Some(match target? {
        RouteTarget::Handler(index) => {
            (config.handlers[*index].settings.name.as_str().into(), guests[*index].clone()?)
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
                problems.add_at_line(ProblemKind::FileMissing, line, message);
                return None;
            }
        },
    })
}
