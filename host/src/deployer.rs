//! Changes what is in force: each deployment is made aside, completely, put on record, and swapped in; one at a time.
//!
//! Invariant: what is not good as a whole changes nothing. What was acknowledged is on record, and comes back when the program is
//! started again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use self::draft::Draft;
use crate::config::{Config, Problem, ProcessConfig, ServerConfig};
use crate::deployment::{Deployment, migrate};
use crate::guest::GuestEngine;
use crate::history::{History, Origin, Record};
use crate::resources::Resources;

/// Why nothing but reloads is possible without a history.
const NO_HISTORY: &str =
    "this program keeps no deployments: its state folder cannot be written to, or it serves a single module";

/// Why, in watch mode.
const WATCHING: &str = "watch mode keeps no deployments, it serves what the files say: save them, or start `wasmux serve` \
                        without `--watch`";

mod change;
mod draft;
mod judge;
mod source;
mod watching;

pub use change::{CanaryWanted, Change, Refused};
pub use source::{From, Source};
pub use watching::Watching;

/// Makes deployments. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Deployer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    maker: Maker,
    /// The settings that this process was started with; none when it serves nothing.
    running: Option<(ProcessConfig, Vec<ServerConfig>)>,
    in_force: Arc<ArcSwap<Deployment>>,
    record: ArcSwap<Record>,
    /// Held for the time of a change.
    changing: Mutex<()>,
}

/// What deployments are made with.
#[derive(Clone, Debug)]
pub struct Maker {
    /// Where they come from.
    pub source: Source,
    /// What guests run on.
    pub engine: GuestEngine,
    /// What outlives them.
    pub resources: Resources,
    /// Where they are put on record; without it nothing survives the process, and only reloads are possible.
    pub history: Option<History>,
    /// What is needed beside, in watch mode; there is no history then.
    pub watching: Option<Watching>,
}

/// A deployment that is good, and its record.
#[derive(Debug)]
pub struct Made {
    /// As its author wrote it.
    pub config: Config,
    /// To be served.
    pub deployment: Deployment,
    /// On record, in force.
    pub record: Record,
}

/// What a change has led to.
#[derive(Clone, Debug)]
pub struct Changed {
    /// What is in force now.
    pub record: Record,
    /// What was before.
    pub before: u64,
    /// How long it took to make, from the request to the swap.
    pub took: Duration,
    /// Settings that are other than those of the process, which only a restart changes.
    pub fixed: Vec<String>,
}

impl Maker {
    /// What is to be served first: what was in force last, if that came from elsewhere than the file and the file is what it was
    /// then; else what the file says. `from_file`: in any case that.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn first(&self, from_file: bool) -> Result<Made, Refused> {
        let last = self.last();
        let text = self.source.text()?;
        let draft = match &last {
            Some(last) if !from_file && last.pushed => {
                if last.file_sha256 == draft::digest_of(text.as_bytes()) {
                    tracing::info!(
                        "deployment {} ({}) is in force; a reload serves what {} says",
                        last.number,
                        last.origin,
                        self.source
                    );
                    Draft::of_record(last, self.history.as_ref())?
                } else {
                    tracing::warn!(
                        "{} has changed since deployment {} ({}), and is served instead of it",
                        self.source,
                        last.number,
                        last.origin
                    );
                    Draft::of_file(text)
                }
            }
            _ => Draft::of_file(text),
        };
        self.make(draft, last.as_ref())
    }

    /// What was in force last, if that is known.
    #[must_use]
    pub fn last(&self) -> Option<Record> {
        let history = self.history.as_ref()?;
        let found =
            history.current().and_then(|number| number.map_or(Ok(None), |number| history.record(number)));
        found.unwrap_or_else(|error| {
            tracing::error!("what was in force last is not known: {error}");
            None
        })
    }

    /// Where deployments are put on record.
    ///
    /// # Errors
    /// Why they are not, in a sentence.
    pub fn history(&self) -> Result<&History, &'static str> {
        let why = if self.watching.is_some() { WATCHING } else { NO_HISTORY };
        self.history.as_ref().ok_or(why)
    }

    /// Builds and checks everything, applies migrations, and puts it on record. `last`: a record that is good for it, too, if it
    /// serves the same.
    fn make(&self, draft: Draft, last: Option<&Record>) -> Result<Made, Refused> {
        let (config, problems) = self.source.parse(&draft.text);
        let parts = (&self.engine, &self.resources);
        let modules = match &self.watching {
            None => draft.modules(self.history.as_ref()),
            // Crates are not built for a file that is not good: it is being written at this moment.
            Some(_) if !problems.is_empty() => return Err(Refused::Problems(problems.into_sorted())),
            Some(watching) => watching.modules(&config, &self.source),
        };
        let deployment = Deployment::build(&config, parts, &modules, &problems);
        // Last of all: it is the only thing that cannot be taken back.
        if deployment.is_some() && problems.is_empty() {
            migrate(&config, &self.resources, &problems);
        }
        let problems: Vec<Problem> = problems.into_sorted();
        let Some(deployment) = deployment.filter(|_| problems.is_empty()) else {
            return Err(Refused::Problems(problems));
        };
        let record = draft.record(&deployment, self.history.as_ref())?;
        let record = match (last, &self.history) {
            (Some(last), Some(_)) if record.is_same(last) && record.pushed == last.pushed => last.clone(),
            (_, Some(history)) => history.append(record).map_err(|error| {
                Refused::Because(format!("it cannot be put on record in the state folder: {error}"))
            })?,
            (last, None) => Record { number: last.map_or(1, |last| last.number + 1), ..record },
        };
        Ok(Made { config, deployment, record })
    }
}

impl Deployer {
    /// For a process that was started with `running` and serves `made`, which is swapped into the second value.
    #[must_use]
    pub fn new(
        maker: Maker,
        running: Option<(ProcessConfig, Vec<ServerConfig>)>,
        deployment: Deployment,
        record: Record,
    ) -> (Self, Arc<ArcSwap<Deployment>>) {
        let in_force = Arc::new(ArcSwap::from_pointee(deployment));
        let inner = Inner {
            maker,
            running,
            in_force: Arc::clone(&in_force),
            record: ArcSwap::from_pointee(record),
            changing: Mutex::new(()),
        };
        (Self(Arc::new(inner)), in_force)
    }

    /// What is in force.
    #[must_use]
    pub fn record(&self) -> Arc<Record> {
        self.0.record.load_full()
    }

    /// What is in force.
    #[must_use]
    pub fn deployment(&self) -> Arc<Deployment> {
        self.0.in_force.load_full()
    }

    /// What deployments are made with.
    #[must_use]
    pub fn maker(&self) -> &Maker {
        &self.0.maker
    }

    /// Makes a deployment and puts it in force. What is in the way is in the log, too. A caller that goes away does not stop it.
    ///
    /// # Errors
    /// When it cannot be made; then nothing has changed.
    pub async fn change(&self, change: Change) -> Result<Changed, Refused> {
        let this = self.clone();
        let task = tokio::spawn(async move { this.change_now(change).await });
        task.await.unwrap_or_else(|error| Err(Refused::Because(error.to_string())))
    }

    async fn change_now(&self, change: Change) -> Result<Changed, Refused> {
        let _changing = self.0.changing.lock().await;
        let (begun, before) = (Instant::now(), self.record());
        let (maker, last, done) = (self.0.maker.clone(), Arc::clone(&before), change.done());
        let may_stay = matches!(change, Change::Sources);
        let make = move || {
            let draft = Draft::of_change(change, &last, &maker)?;
            maker.make(draft, Some(&last))
        };
        // Reading, compiling and cargo take their time, which must not be that of requests.
        let made = tokio::task::spawn_blocking(make).await;
        match made.unwrap_or_else(|error| Err(Refused::Because(error.to_string()))) {
            Ok(made) if may_stay && self.is_in_force(&made, &before) => {
                tokio::task::spawn_blocking(move || drop(made));
                let record = Record::clone(&before);
                Ok(Changed { record, before: before.number, took: begun.elapsed(), fixed: Vec::new() })
            }
            Ok(made) => Ok(self.put_in_force(made, &before, begun, done)),
            Err(refused) => {
                refused.sentences().for_each(|sentence| tracing::error!("{sentence}"));
                let (count, number) = (refused.count(), before.number);
                tracing::error!("not {done}: {count}; deployment {number} goes on");
                Err(refused)
            }
        }
    }

    /// Whether this is what is served already.
    fn is_in_force(&self, made: &Made, record: &Record) -> bool {
        made.record.is_same(record) && made.deployment.broken() == self.deployment().broken()
    }

    fn put_in_force(&self, made: Made, before: &Record, begun: Instant, done: &str) -> Changed {
        let Made { config, deployment, record } = made;
        let old = self.0.in_force.swap(Arc::new(deployment));
        self.0.record.store(Arc::new(record.clone()));
        let took = begun.elapsed();
        // Its code and its idle instances take a while to go, which with one thread would be everybody's.
        let (watching, served) = (self.0.maker.watching.clone(), record.clone());
        tokio::task::spawn_blocking(move || {
            drop(old);
            if let Some(watching) = watching {
                watching.tidy(&served);
            }
        });
        // One that is the same as before keeps its number, and why that was made is no news.
        let why = match record.origin {
            Origin::Start | Origin::Reload => String::new(),
            ref other => format!(" ({other})"),
        };
        // Of modules alone, whoever watches them says more.
        if self.0.maker.watching.is_none() || record.routes != before.routes {
            tracing::info!("{done}: {}, deployment {}{why}", config.summary(), record.number);
        }
        let running = self.0.running.as_ref();
        let fixed = running.map(|(process, servers)| config.fixed_differences(process, servers));
        let fixed = fixed.unwrap_or_default();
        if !fixed.is_empty() {
            tracing::warn!(
                "changed, but a reload does not change it: {}; restart, or upgrade with SIGUSR2",
                fixed.join(", ")
            );
        }
        Changed { record, before: before.number, took, fixed }
    }
}
