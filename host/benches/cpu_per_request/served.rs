//! wasmux inside this program, to be run under valgrind: the same server on the same runtime as `wasmux serve`, but for
//! the process that compiles. `wasmux` starts itself for that, which valgrind cannot follow, and the code must be for the
//! processor that valgrind shows, so guests are compiled in here.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use wasmux::config::Config;
use wasmux::deployment::{Deployment, Modules};
use wasmux::dispatch::Dispatcher;
use wasmux::drain::Drain;
use wasmux::guest::{CompileIn, GuestEngine};
use wasmux::handover::Handover;
use wasmux::resources::Resources;
use wasmux::server::Server;

/// Serves the folder's routes.toml until it is killed.
pub(crate) fn serve(folder: &Path) {
    let (mut config, problems) = Config::read(&folder.join("routes.toml"));
    config.process.cache = None;
    let engine = GuestEngine::new(config.process.engine(CompileIn::Process)).expect("there is address space");
    let deployment =
        Deployment::build(&config, (&engine, &Resources::default()), &Modules::default(), &problems);
    let deployment = deployment.unwrap_or_else(|| panic!("{:?}", problems.into_sorted()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let servers = config.servers.iter().map(|server| (server.clone(), None)).collect();
        let server = Server::bind(config.process, servers, &mut Handover::default()).await;
        let server = server.expect("there is a port");
        server.urls().for_each(|url| println!("listening on {url}"));
        let dispatcher = Dispatcher::new(Arc::new(ArcSwap::from_pointee(deployment)), None);
        server.run(dispatcher, &Drain::new()).await;
    });
}
