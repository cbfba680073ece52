//! Stopping without losing a request: phases that only go forward, and who is still at work.
//!
//! Everything that serves holds a [`Guard`]; its drop is what `Drain::finished` waits for.

use tokio::sync::watch;

/// How far the shutdown has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Running,
    /// No new connections; idle ones are closed, requests in flight finish.
    Draining,
    /// The deadline has passed or a second signal came: everything is cut.
    Closing,
}

/// The side that decides.
#[derive(Debug)]
pub struct Drain {
    phase: watch::Sender<Phase>,
}

impl Drain {
    /// A drain in phase [`Phase::Running`].
    #[must_use]
    pub fn new() -> Self {
        Self { phase: watch::Sender::new(Phase::Running) }
    }

    /// A guard for something that serves.
    #[must_use]
    pub fn guard(&self) -> Guard {
        Guard { phase: self.phase.subscribe() }
    }

    /// Moves on to `phase`, never back.
    pub fn advance(&self, phase: Phase) {
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

/// Held by whatever has to finish before the program may end.
#[derive(Clone, Debug)]
pub struct Guard {
    phase: watch::Receiver<Phase>,
}

impl Guard {
    /// Waits until the drain has reached `phase`. Cancel safe.
    pub async fn reached(&mut self, phase: Phase) {
        // An error means the deciding side is gone, which is as final as Closing.
        let _ = self.phase.wait_for(|current| *current >= phase).await;
    }
}
