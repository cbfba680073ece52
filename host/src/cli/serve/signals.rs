//! The signals that `wasmux serve` understands.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals, each of which is taken from here on.
pub(super) struct Signals {
    pub(super) stop: Stop,
    /// SIGHUP: read the configuration again.
    pub(super) hangup: Signal,
    /// SIGUSR2: start the program again in place of this process.
    pub(super) upgrade: Signal,
}

/// SIGINT and SIGTERM.
pub(super) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn install() -> std::io::Result<Self> {
        let stop =
            Stop { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? };
        Ok(Self {
            stop,
            hangup: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }
}

impl Stop {
    /// The name of the next one. Cancel safe.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! { _ = self.interrupt.recv() => "SIGINT", _ = self.terminate.recv() => "SIGTERM" }
    }
}
