//! What a service manager wants to know (sd_notify(3)): ready, reloading, stopping, still alive.
//!
//! Where there is no `NOTIFY_SOCKET`, all of this does nothing.

use sd_notify::NotifyState;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

/// Says that this process serves.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Says that the configuration is being read again; [`ready`] ends that, however it ends.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now, NotifyState::Status("reloading")]),
        Err(error) => tracing::warn!("the service manager cannot be told of the reload: {error}"),
    }
}

/// Says that this process ends, and the service with it.
pub fn stopping() {
    send(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Says that another process is the service from now on. Sent by the old one, which the service manager trusts.
pub fn replaced_by(pid: u32) {
    send(&[NotifyState::MainPid(pid), NotifyState::Ready]);
}

/// Reports that this process lives, twice as often as the service manager asks for, until the guard is dropped. It is a
/// task like those that serve: where they do not get to run, neither does this.
#[must_use]
pub fn start_watchdog() -> Option<Watchdog> {
    // Zero is how service managers say "never".
    let limit = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero())?;
    let task = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(limit / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            send(&[NotifyState::Watchdog]);
        }
    });
    Some(Watchdog(task.abort_handle()))
}

/// The task that reports; ends with this.
#[derive(Debug)]
pub struct Watchdog(AbortHandle);

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("the service manager cannot be told: NOTIFY_SOCKET: {error}");
    }
}
