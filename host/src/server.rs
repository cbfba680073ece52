//! The composition root: bound listeners, their connections, and the way down.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinSet;

use self::door::Door;
use crate::config::{ProcessConfig, ServerConfig};
use crate::connection::Connections;
use crate::dispatch::Dispatcher;
use crate::drain::{Drain, Guard, Phase};
use crate::handover::Handover;
use crate::listener::Listener;
use crate::tls::{Certificates, Tls};

mod door;

/// What connections have, once they are cut, to let go of what they hold.
const CLOSING_WAIT: Duration = Duration::from_secs(1);

/// Listeners that are bound and accept nothing yet.
#[derive(Debug)]
pub struct Server {
    process: ProcessConfig,
    servers: Vec<Bound>,
}

/// One server of the process and its listeners.
#[derive(Debug)]
struct Bound {
    listeners: Vec<Arc<Listener>>,
    config: ServerConfig,
    tls: Option<Arc<Tls>>,
}

impl Bound {
    fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

impl Server {
    /// Binds every address of every server, or none; an address that was handed over is taken as it is. A server comes
    /// with what [`Tls::load`] made of its files.
    ///
    /// # Errors
    /// A sentence for each address that cannot be bound.
    pub async fn bind(
        process: ProcessConfig,
        servers: Vec<(ServerConfig, Option<Arc<Tls>>)>,
        handover: &mut Handover,
    ) -> Result<Self, Vec<String>> {
        let (mut bound, mut errors) = (Vec::new(), Vec::new());
        for (config, tls) in servers {
            let mut listeners = Vec::new();
            for address in &config.listen {
                match Listener::bind(address, handover).await {
                    Ok(listener) => listeners.push(Arc::new(listener)),
                    Err(error) => errors.push(error),
                }
            }
            bound.push(Bound { listeners, config, tls });
        }
        if errors.is_empty() { Ok(Self { process, servers: bound }) } else { Err(errors) }
    }

    /// The URL of each listener, with real ports.
    pub fn urls(&self) -> impl Iterator<Item = String> {
        self.servers
            .iter()
            .flat_map(|server| server.listeners.iter().map(|listener| listener.url(server.scheme())))
    }

    /// The certificates of all servers, to reload them while it runs.
    #[must_use]
    pub fn certificates(&self) -> Certificates {
        Certificates::new(self.servers.iter().filter_map(|server| server.tls.clone()))
    }

    /// The listeners, for whom they may be handed on to; they stay open no longer for it.
    pub fn listeners(&self) -> impl Iterator<Item = Weak<Listener>> {
        self.servers.iter().flat_map(|server| server.listeners.iter().map(Arc::downgrade))
    }

    /// Serves until `drain` is under way and every connection has ended; after `shutdown_timeout` those that are left are
    /// cut.
    pub async fn run(self, dispatcher: Dispatcher, drain: &Drain) {
        let shutdown_timeout = self.process.shutdown_timeout;
        let dispatcher = Arc::new(dispatcher);
        let door = Door::new(self.process.max_connections, self.process.max_connections_per_peer);
        let mut watching = JoinSet::new(); // ends with us
        watching.spawn(self.certificates().watch());
        let mut accepting = JoinSet::new();
        for Bound { listeners, config, tls } in self.servers {
            let connections = Arc::new(Connections::new(Arc::clone(&dispatcher), config, tls));
            for listener in listeners {
                accepting.spawn(accept(listener, Arc::clone(&connections), door.clone(), drain.guard()));
            }
        }
        accepting.join_all().await;
        if tokio::time::timeout(shutdown_timeout, drain.finished()).await.is_err() {
            tracing::warn!(
                connections = drain.at_work(),
                "`shutdown_timeout` has passed, closing what is left"
            );
            drain.advance(Phase::Closing);
            // Connections end at this; guests that outlive theirs do not hear of it, and end with the program.
            let _ = tokio::time::timeout(CLOSING_WAIT, drain.finished()).await;
        }
    }
}

/// Accepts until the drain begins. Where there is no room, idle connections make it; when all are busy, a peer that has
/// its share is turned away at once, and of the others one waits here and the rest in the kernel's queue.
async fn accept(listener: Arc<Listener>, connections: Arc<Connections>, door: Door, mut guard: Guard) {
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => accepted,
            () = guard.reached(Phase::Leaving) => return,
        };
        // Once accepted a connection is ours alone: it is served also if the drain begins while it waits.
        let counted = tokio::select! {
            counted = door.wait(&peer.remote, &peer.activity) => match counted {
                Ok(counted) => Some(counted),
                Err(_) => {
                    tracing::debug!(remote = peer.remote, "connection closed: `max_connections_per_peer`");
                    continue;
                }
            },
            () = guard.reached(Phase::Leaving) => None,
        };
        let (connections, guard) = (Arc::clone(&connections), guard.clone());
        tokio::spawn(async move {
            // Made here and not brought along: a task has room for both, what it begins with and what it awaits.
            connections.serve(stream, peer, guard).await;
            drop(counted); // there is room for one more
        });
    }
}
