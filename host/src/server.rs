//! The composition root: bound listeners, their connections, and the way down.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::config::ServerConfig;
use crate::connection::Connections;
use crate::dispatch::Dispatcher;
use crate::drain::{Drain, Guard, Phase};
use crate::handover::Handover;
use crate::listener::Listener;

/// What connections have, once they are cut, to let go of what they hold.
const CLOSING_WAIT: Duration = Duration::from_secs(1);

/// Listeners that are bound and accept nothing yet.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<Arc<Listener>>,
    config: ServerConfig,
}

impl Server {
    /// Binds every address, or none; an address that was handed over is taken as it is.
    ///
    /// # Errors
    /// A sentence for each address that cannot be bound.
    pub async fn bind(config: ServerConfig, handover: &mut Handover) -> Result<Self, Vec<String>> {
        let (mut listeners, mut errors) = (Vec::new(), Vec::new());
        for address in &config.listen {
            match Listener::bind(address, handover).await {
                Ok(listener) => listeners.push(Arc::new(listener)),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(Self { listeners, config }) } else { Err(errors) }
    }

    /// The URL of each listener, with real ports.
    pub fn urls(&self) -> impl Iterator<Item = String> {
        self.listeners.iter().map(|listener| listener.url())
    }

    /// The listeners, for whom they may be handed on to; they stay open no longer for it.
    pub fn listeners(&self) -> impl Iterator<Item = Weak<Listener>> {
        self.listeners.iter().map(Arc::downgrade)
    }

    /// Serves until `drain` is under way and every connection has ended; after `shutdown_timeout` those that are left are cut.
    pub async fn run(self, dispatcher: Dispatcher, drain: &Drain) {
        let shutdown_timeout = self.config.shutdown_timeout;
        let permits = Arc::new(Semaphore::new(self.config.max_connections));
        let connections = Arc::new(Connections::new(dispatcher, self.config));
        let mut accepting = JoinSet::new();
        for listener in self.listeners {
            accepting.spawn(accept(listener, Arc::clone(&connections), Arc::clone(&permits), drain.guard()));
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

/// Accepts until the drain begins. Beyond `max_connections` one accepted connection waits here for another to end, and
/// the rest in the kernel's queue.
async fn accept(
    listener: Arc<Listener>,
    connections: Arc<Connections>,
    permits: Arc<Semaphore>,
    mut guard: Guard,
) {
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => accepted,
            () = guard.reached(Phase::Leaving) => return,
        };
        // Once accepted a connection is ours alone: it is served also if the drain begins while it waits.
        let permit = tokio::select! {
            permit = Arc::clone(&permits).acquire_owned() => permit.ok(),
            () = guard.reached(Phase::Leaving) => None,
        };
        let connection = Arc::clone(&connections).serve(stream, peer, guard.clone());
        tokio::spawn(async move {
            connection.await;
            drop(permit); // the listener may accept one more
        });
    }
}
