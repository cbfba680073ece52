//! What happens to a process that serves: reloads, and at the end a drain, alone or in favour of another process.

use std::pin::pin;
use std::process::ExitCode;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::signals::{Signals, Stop};
use crate::cli::PROBLEMS;
use crate::deployer::{Change, Deployer};
use crate::drain::{Drain, Phase};
use crate::handover::Handover;
use crate::listener::{Listener, NewOwner};
use crate::notify;
use crate::tls::Certificates;
use crate::upgrade::Program;

/// What is needed to react to signals.
pub(super) struct Life<'d> {
    pub(super) drain: &'d Drain,
    /// All of them, the admin's as well. Weak: when they are closed, nobody holds them open.
    pub(super) listeners: Vec<Weak<Listener>>,
    /// The task that accepts on the admin listener.
    pub(super) admin: Option<AbortHandle>,
    /// Somebody asks it to drain.
    pub(super) asked_to_drain: mpsc::Receiver<()>,
    pub(super) handover: Handover,
    /// Without it there are no upgrades.
    pub(super) program: std::io::Result<Program>,
    pub(super) upgrade_timeout: Duration,
    pub(super) deployer: Deployer,
    pub(super) certificates: Certificates,
    /// What is served, in a few words.
    pub(super) status: String,
}

/// Why a drain begins.
enum End {
    Stopped(&'static str),
    ReplacedBy(u32),
}

impl Life<'_> {
    /// Tells whom it concerns that this process serves, reacts to signals until the drain, and comes back when a signal
    /// ends the wait for it.
    pub(super) async fn live(mut self, signals: Signals) -> ExitCode {
        let Signals { mut stop, mut hangup, mut upgrade } = signals;
        let watchdog = notify::start_watchdog();
        self.say_ready();
        let end = tokio::select! {
            name = stop.next() => End::Stopped(name),
            Some(()) = self.asked_to_drain.recv() => End::Stopped("admin"),
            end = reload_on(&mut hangup, &self.deployer, &self.certificates, &self.status) => end,
            pid = upgrade_on(&mut upgrade, &self.program, &self.listeners, self.upgrade_timeout, &self.deployer) =>
                End::ReplacedBy(pid),
        };
        self.deployer.close("this process drains; nothing is deployed any more");
        match end {
            End::Stopped(name) => {
                self.drain.advance(Phase::Draining);
                tracing::info!("{name}: draining; a second signal ends at once");
                notify::stopping();
            }
            End::ReplacedBy(pid) => {
                drop(watchdog); // the new process is watched now
                self.leave_to(pid);
                let name = stop.next().await;
                self.drain.advance(Phase::Draining);
                tracing::info!("{name}: closing idle connections; a second signal ends at once");
            }
        }
        self.cut_on(&mut stop).await
    }

    fn say_ready(&mut self) {
        tracing::info!("ready: process {}, {}", std::process::id(), self.status);
        // Of a new process the old one tells the service manager, which does not listen to strangers.
        if !self.handover.is_upgrade() {
            notify::ready(&self.status);
        }
        for listener in self.open_listeners() {
            listener.handed_over(NewOwner::Us);
        }
        self.handover.say_ready();
    }

    fn leave_to(&mut self, pid: u32) {
        notify::replaced_by(pid);
        for listener in self.open_listeners() {
            listener.handed_over(NewOwner::Other);
        }
        // Probes are for the new process. Where there is no new one, they are answered to the end.
        if let Some(admin) = self.admin.take() {
            admin.abort();
        }
        self.drain.advance(Phase::Leaving);
        let own = std::process::id();
        tracing::info!("upgrade: ready, and serves from now on: process {pid}; process {own} drains");
    }

    fn open_listeners(&self) -> Vec<Arc<Listener>> {
        open(&self.listeners)
    }

    async fn cut_on(&self, stop: &mut Stop) -> ExitCode {
        let name = stop.next().await;
        tracing::warn!("{name}: ending now, requests in flight are cut off");
        ExitCode::from(PROBLEMS)
    }
}

fn open(listeners: &[Weak<Listener>]) -> Vec<Arc<Listener>> {
    listeners.iter().filter_map(Weak::upgrade).collect()
}

/// Reloads at each signal, one after the other; of those that come meanwhile one is remembered, so the last one counts.
async fn reload_on(
    hangup: &mut Signal,
    deployer: &Deployer,
    certificates: &Certificates,
    status: &str,
) -> End {
    loop {
        if hangup.recv().await.is_none() {
            return std::future::pending().await; // the runtime ends
        }
        tracing::info!("SIGHUP: reloading");
        notify::reloading();
        certificates.reload().await;
        // What is in the way is in the log.
        let _ = deployer.change(Change::Reload).await;
        notify::ready(status);
    }
}

/// Starts the program again at each signal, until one that was started serves.
async fn upgrade_on(
    signal: &mut Signal,
    program: &std::io::Result<Program>,
    listeners: &[Weak<Listener>],
    limit: Duration,
    deployer: &Deployer,
) -> u32 {
    loop {
        if signal.recv().await.is_none() {
            return std::future::pending().await; // the runtime ends
        }
        let listeners = open(listeners);
        let mut starting = pin!(async {
            // Of what is acknowledged from here on the new process would know nothing.
            deployer.close("an upgrade is under way; ask again when it is over");
            deployer.settled().await;
            start_anew(program, &listeners, limit).await
        });
        let started = loop {
            tokio::select! {
                started = starting.as_mut() => break started,
                Some(()) = signal.recv() => tracing::warn!("SIGUSR2: an upgrade is under way already; ignored"),
            }
        };
        match started {
            Ok(pid) => return pid,
            Err(why) => {
                deployer.reopen();
                tracing::error!("upgrade failed: {why}; process {} goes on", std::process::id());
            }
        }
    }
}

async fn start_anew(
    program: &std::io::Result<Program>,
    listeners: &[Arc<Listener>],
    limit: Duration,
) -> Result<u32, String> {
    match program {
        Ok(program) => program.start_anew(listeners, limit).await,
        Err(error) => Err(format!("the system did not say which file this program is: {error}")),
    }
}
