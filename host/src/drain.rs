//! Stopping without losing a request: phases that only go forward, and who is still at work.
//!
//! Everything that serves holds a [`Guard`]; its drop is what `Drain::finished` waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// After another process has taken over, a connection without a request is closed when this has passed: long enough for
/// a client that uses its connection to send another request, which is answered with `Connection: close`.
pub const LEAVING_GRACE: Duration = Duration::from_secs(5);

/// How far the shutdown has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Running,
    /// Another process has taken over the listeners: no new connections; HTTP/1.1 connections end with the response to
    /// their next request, so that no client loses one that it is just sending, or when they stay idle.
    Leaving,
    /// No new connections; idle ones are closed, requests in flight finish.
    Draining,
    /// The deadline has passed or a second signal came: everything is cut.
    Closing,
}

/// The side that decides.
#[derive(Debug)]
pub struct Drain {
    phase: watch::Sender<Phase>,
    begun: Begun,
}

impl Drain {
    /// A drain in phase [`Phase::Running`].
    #[must_use]
    pub fn new() -> Self {
        Self { phase: watch::Sender::new(Phase::Running), begun: Begun::default() }
    }

    /// A guard for something that serves.
    #[must_use]
    pub fn guard(&self) -> Guard {
        Guard { phase: self.phase.subscribe(), begun: self.begun() }
    }

    /// Whether the drain has begun, for those who hold nothing up.
    #[must_use]
    pub fn begun(&self) -> Begun {
        self.begun.clone()
    }

    /// Moves on to `phase`, never back.
    pub fn advance(&self, phase: Phase) {
        if phase > Phase::Running {
            self.begun.0.store(true, Ordering::Relaxed);
        }
        self.phase.send_if_modified(|current| {
            let later = phase > *current;
            if later {
                *current = phase;
            }
            later
        });
    }

    /// Waits until every guard is dropped.
    pub async fn finished(&self) {
        self.phase.closed().await;
    }

    /// Guards that are still held.
    #[must_use]
    pub fn at_work(&self) -> usize {
        self.phase.receiver_count()
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

/// Says whether a drain has begun. Asking costs one load, so it can be done for every request.
#[derive(Clone, Debug, Default)]
pub struct Begun(Arc<AtomicBool>);

impl Begun {
    /// Whether the phase is past [`Phase::Running`].
    #[must_use]
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Held by whatever has to finish before the program may end.
#[derive(Clone, Debug)]
pub struct Guard {
    phase: watch::Receiver<Phase>,
    begun: Begun,
}

impl Guard {
    /// Waits until the drain has reached `phase`. Cancel safe.
    pub async fn reached(&mut self, phase: Phase) {
        // An error means the deciding side is gone, which is as final as Closing.
        let _ = self.phase.wait_for(|current| *current >= phase).await;
    }

    /// Waits until a connection that has sent nothing may be closed: at [`Phase::Draining`], or [`LEAVING_GRACE`] after
    /// [`Phase::Leaving`]. Cancel safe.
    pub async fn silence_is_over(&mut self) {
        self.reached(Phase::Leaving).await;
        let _ = tokio::time::timeout(LEAVING_GRACE, self.reached(Phase::Draining)).await;
    }

    /// How far the shutdown has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Whether the drain has begun, for those who hold nothing up.
    #[must_use]
    pub fn begun(&self) -> Begun {
        self.begun.clone()
    }

    /// Whether the drain has begun.
    #[must_use]
    pub fn drain_has_begun(&self) -> bool {
        self.begun.get()
    }
}
