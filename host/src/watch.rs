//! Watch mode: looks at what handlers are made of, and has what has changed built and put in force, while the rest goes on.
//!
//! The file system only says that it is time to look. What has changed, and whether it has, the workshop finds by looking: so
//! events that are lost, doubled or of no interest do no harm, and what changes during a build is seen after it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use self::eyes::Eyes;
use crate::builder::{Changes, Workshop};
use crate::deployer::{Change, Changed, Deployer};
use crate::deployment::Deployment;

mod eyes;

/// Nothing is looked at before it was quiet for so long: editors write in several steps, and several files.
const QUIET: Duration = Duration::from_millis(50);

/// But no longer than this, where something is always written to.
const UNREST_MAX: Duration = Duration::from_millis(500);

/// How often one looks where the file system does not say when.
const BLIND_INTERVAL: Duration = Duration::from_secs(1);

/// Files that are named when several have changed.
const NAMED_MAX: usize = 3;

/// Watches for one deployer.
#[derive(Debug)]
pub struct Watch {
    deployer: Deployer,
    workshop: Workshop,
    woken: Arc<Notify>,
    /// None where the file system does not say when something changes.
    eyes: Option<Eyes>,
}

impl Watch {
    /// Watches what this workshop builds for this deployer.
    #[must_use]
    pub fn new(deployer: Deployer, workshop: Workshop) -> Self {
        let woken = Arc::<Notify>::default();
        let eyes = Eyes::new(&woken);
        let eyes = eyes.inspect_err(|why| tracing::warn!("{why}; files are looked at every second instead"));
        Self { deployer, workshop, woken, eyes: eyes.ok() }
    }

    /// Goes on for as long as the process serves.
    pub async fn run(mut self) {
        for broken in self.deployer.deployment().broken().values() {
            tracing::error!("{broken}");
        }
        tracing::info!("watching {}; what is saved is served", self.deployer.maker().source);
        loop {
            let (changes, has_more) = self.look().await;
            if !changes.files.is_empty() {
                self.apply(changes).await;
            } else if !has_more {
                self.wait().await;
            }
        }
    }

    /// What has changed; and whether there are folders that were not watched before, in which something may have changed meanwhile.
    async fn look(&mut self) -> (Changes, bool) {
        let (workshop, eyes) = (self.workshop.clone(), self.eyes.take());
        let looked = tokio::task::spawn_blocking(move || {
            let changes = workshop.look();
            let mut eyes = eyes;
            let has_more = eyes.as_mut().is_some_and(|eyes| eyes.turn_to(workshop.places()));
            (changes, has_more, eyes)
        });
        let Ok((changes, has_more, eyes)) = looked.await else { return (Changes::default(), false) };
        self.eyes = eyes;
        (changes, has_more)
    }

    /// Waits until something may have changed, and it is quiet again.
    async fn wait(&self) {
        if self.eyes.is_none() {
            return tokio::time::sleep(BLIND_INTERVAL).await;
        }
        self.woken.notified().await;
        let until = Instant::now() + UNREST_MAX;
        let quiet = async { while timeout(QUIET, self.woken.notified()).await.is_ok() {} };
        let _ = timeout_at(until, quiet).await;
    }

    async fn apply(&self, changes: Changes) {
        let before = self.deployer.deployment();
        tracing::info!("change in {}; {}", shown(&changes.files), doing(&changes));
        // What is in the way is in the log.
        if let Ok(changed) = self.deployer.change(Change::Sources).await {
            self.tell(&before, &changes, &changed);
        }
    }

    /// Says what has come of it, a line for each handler.
    fn tell(&self, before: &Deployment, changes: &Changes, changed: &Changed) {
        let (now, build) = (self.deployer.deployment(), self.workshop.took());
        let load = seconds(changed.took.saturating_sub(build));
        let touched: BTreeSet<&String> = changes.to_build.union(&changes.to_load).collect();
        if touched.is_empty() && changed.record.number == changed.before {
            tracing::info!("{} says what is served already", self.deployer.maker().source);
        }
        let names: BTreeSet<&String> =
            touched.iter().copied().chain(now.modules().keys()).chain(now.broken().keys()).collect();
        for name in names {
            let is_touched = touched.contains(name);
            let took = match changes.to_build.contains(name) {
                true => format!("build {}, load {load}", seconds(build)),
                false => format!("load {load}"),
            };
            let (was, is) = (before.broken().get(name), now.broken().get(name));
            let is_same = was == is && before.modules().get(name) == now.modules().get(name);
            match is {
                Some(broken) if is_touched || !is_same => {
                    tracing::error!(handler = name.as_str(), "{broken}");
                }
                None if !is_same && now.modules().contains_key(name) => {
                    tracing::info!(handler = name.as_str(), "{name} is served anew ({took})");
                }
                None if is_touched => {
                    tracing::info!(handler = name.as_str(), "{name} is what it was ({took})");
                }
                _ => {}
            }
        }
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// What is about to be done.
fn doing(changes: &Changes) -> String {
    let list = |names: &BTreeSet<String>| names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let mut doing = Vec::new();
    if !changes.to_build.is_empty() {
        doing.push(format!("building {}", list(&changes.to_build)));
    }
    if !changes.to_load.is_empty() {
        doing.push(format!("loading {}", list(&changes.to_load)));
    }
    if doing.is_empty() { "reading it".to_owned() } else { doing.join(", ") }
}

/// Files as people know them: from here, if they are below.
fn shown(files: &[PathBuf]) -> String {
    let here = std::env::current_dir().and_then(|here| here.canonicalize()).unwrap_or_default();
    let name = |file: &PathBuf| {
        let below = file.strip_prefix(&here).ok().filter(|below| *below != Path::new(""));
        below.unwrap_or(file).display().to_string()
    };
    let named: Vec<_> = files.iter().take(NAMED_MAX).map(name).collect();
    match files.len().saturating_sub(NAMED_MAX) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}
