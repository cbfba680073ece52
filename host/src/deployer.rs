//! Changes what is in force: each deployment is made aside, completely, put on record, and swapped in; one at a time.
//!
//! Invariant: what is not good as a whole changes nothing. What was acknowledged is on record, and comes back when the program is
//! started again.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::Mutex;

use self::draft::{Base, Draft};
use crate::config::{Config, Problem, Problems, ProcessConfig, ServerConfig};
use crate::deployment::{Deployment, migrate};
use crate::guest::GuestEngine;
use crate::history::{History, Origin, Record};
use crate::resources::Resources;

mod change;
mod draft;
mod judge;
mod source;

pub use change::{CanaryWanted, Change, Refused};
pub use source::{From, Source};

/// Makes deployments. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Deployer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    maker: Maker,
    /// The settings that this process was started with.
    running: (ProcessConfig, Vec<ServerConfig>),
    in_force: Arc<ArcSwap<Deployment>>,
    record: ArcSwap<Record>,
    /// Held for the time of a change.
    changing: Mutex<()>,
    /// Why nothing is changed at this moment, or any more.
    closed: ArcSwapOption<&'static str>,
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
}

/// A deployment that is good, and not in force.
#[derive(Debug)]
pub struct Made {
    /// As its author wrote it.
    pub config: Config,
    /// To be served.
    pub deployment: Deployment,
    /// To be put on record; its number comes with that.
    record: Record,
    /// What was in force when it was begun.
    last: Option<Record>,
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
    /// The handler whose canary has ended with it, without having been asked about.
    pub canary_ended: Option<String>,
}

impl Maker {
    /// What is to be served first: what was in force last, if that came from elsewhere than the file and the file is what it was
    /// then; else what the file says. `from_file`: in any case that.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn first(&self, from_file: bool) -> Result<Made, Refused> {
        let last = match self.last() {
            Err(Refused::Because(why)) if from_file => {
                tracing::error!("{why}");
                None
            }
            last => last?,
        };
        let draft = match from_file {
            true => Draft::of_file(self.source.text()?),
            false => self.next_draft(last.as_ref())?,
        };
        self.make(draft, last)
    }

    /// What the next process is to serve.
    fn next_draft(&self, last: Option<&Record>) -> Result<Draft, Refused> {
        let text = self.source.text()?;
        let Some(last) = last.filter(|last| last.pushed) else { return Ok(Draft::of_file(text)) };
        let (number, origin) = (last.number, &last.origin);
        if last.file_sha256 == draft::digest_of(text.as_bytes()) {
            tracing::info!(
                "deployment {number} ({origin}) is in force; a reload serves what {} says",
                self.source
            );
            return Draft::of_record(last, self.history.as_ref());
        }
        tracing::warn!(
            "{} has changed since deployment {number} ({origin}), and is served instead of it",
            self.source
        );
        Ok(Draft::of_file(text))
    }

    /// What was in force last, if anything was.
    ///
    /// # Errors
    /// When that is not known.
    fn last(&self) -> Result<Option<Record>, Refused> {
        let Some(history) = &self.history else { return Ok(None) };
        let found = history.current().and_then(|number| match number {
            None => Ok(None),
            Some(number) => match history.record(number)? {
                Some(record) => Ok(Some(record)),
                None => Err(io::Error::new(io::ErrorKind::NotFound, format!("deployment {number} is gone"))),
            },
        });
        found.map_err(|error| Refused::Because(format!("what was in force last is not known: {error}")))
    }

    /// Builds and checks everything, in place of `last`.
    fn make(&self, draft: Draft, last: Option<Record>) -> Result<Made, Refused> {
        let (config, problems) = self.source.parse(&draft.text);
        let parts = (&self.engine, &self.resources);
        let deployment = Deployment::build(&config, parts, &draft.modules(self.history.as_ref()), &problems);
        let problems: Vec<Problem> = problems.into_sorted();
        let Some(deployment) = deployment.filter(|_| problems.is_empty()) else {
            return Err(Refused::Problems(problems));
        };
        let record = draft.record(&deployment, self.history.as_ref())?;
        Ok(Made { config, deployment, record, last })
    }

    /// Applies migrations, the only thing that cannot be taken back, and puts what was made on record: from then on it is in force
    /// for every process that begins. A process that `begins` itself has to have got everything else that it needs.
    ///
    /// # Errors
    /// What is wrong. In a process that begins also when another one has put something else in force meanwhile.
    pub fn put_on_record(&self, made: &Made, begins: bool) -> Result<Record, Refused> {
        let Made { config, record, last, .. } = made;
        let problems = Problems::new(&config.file, "");
        migrate(config, &self.resources, &problems);
        let problems: Vec<Problem> = problems.into_sorted();
        if !problems.is_empty() {
            return Err(Refused::Problems(problems));
        }
        let record = record.clone();
        let Some(history) = &self.history else {
            return Ok(Record { number: last.as_ref().map_or(1, |last| last.number + 1), ..record });
        };
        let done = match last.as_ref().filter(|last| record.is_same(last) && record.goes_back_to(last)) {
            Some(last) if begins => history.confirm(last.number).map(|()| last.clone()),
            Some(last) => history.reinstate(last.number).map(|()| last.clone()),
            None if begins => history.append_after(last.as_ref().map(|last| last.number), record),
            None => history.append(record),
        };
        done.map_err(|error| {
            Refused::Because(format!("it cannot be put on record in the state folder: {error}"))
        })
    }

    /// Makes a deployment for the next process, while none serves.
    ///
    /// # Errors
    /// When it cannot be made; then nothing has changed.
    pub fn change_for_next(&self, change: Change) -> Result<Changed, Refused> {
        let begun = Instant::now();
        // The way out of something that is damaged must not lead through it.
        let last = self.last().unwrap_or_else(|refused| {
            refused.sentences().for_each(|sentence| tracing::error!("{sentence}"));
            None
        });
        let draft = Draft::of_change(change, Base::Next(last.as_ref()), self)?;
        let made = self.make(draft, last)?;
        let record = self.put_on_record(&made, false)?;
        let before = made.last.as_ref().map_or(0, |last| last.number);
        Ok(Changed { record, before, took: begun.elapsed(), fixed: Vec::new(), canary_ended: None })
    }
}

impl Deployer {
    /// For a process that was started with `running` and serves `made`, which is swapped into the second value.
    #[must_use]
    pub fn new(
        maker: Maker,
        running: (ProcessConfig, Vec<ServerConfig>),
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
            closed: ArcSwapOption::empty(),
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

    /// Whether there is a handler of this name, which a module could be for.
    ///
    /// # Errors
    /// A sentence with those that there are.
    pub fn knows(&self, handler: &str) -> Result<(), Refused> {
        let record = self.record();
        let names: Vec<&str> = record.modules.keys().map(String::as_str).collect();
        draft::find_handler(handler, &names)
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

    /// From now on nothing is changed, for this reason; but what is under way goes on.
    pub fn close(&self, why: &'static str) {
        self.0.closed.store(Some(Arc::new(why)));
    }

    /// Waits for the change that is under way.
    pub async fn settled(&self) {
        drop(self.0.changing.lock().await);
    }

    /// Changes are made again.
    pub fn reopen(&self) {
        self.0.closed.store(None);
    }

    /// Whether anything can be changed at this moment.
    ///
    /// # Errors
    /// Why not.
    pub fn is_open(&self) -> Result<(), Refused> {
        self.0.closed.load().as_deref().map_or(Ok(()), |why| Err(Refused::Because((*why).to_owned())))
    }

    async fn change_now(&self, change: Change) -> Result<Changed, Refused> {
        let done = change.done();
        let is_open = || self.is_open().inspect_err(|refused| tracing::warn!("not {done}: {refused}"));
        // Nobody waits for what is certain; and while it waited, it may have become so.
        is_open()?;
        let _changing = self.0.changing.lock().await;
        is_open()?;
        let (begun, before) = (Instant::now(), self.record());
        let (maker, last) = (self.0.maker.clone(), Arc::clone(&before));
        let ends_canary = change.ends_canary();
        let make = move || {
            let came_with = change.module().cloned();
            let made = Draft::of_change(change, Base::InForce(&last), &maker)
                .and_then(|draft| maker.make(draft, Some((*last).clone())))
                .and_then(|made| maker.put_on_record(&made, false).map(|record| (made, record)));
            if let (Err(_), Some(module), Some(history)) = (&made, came_with, &maker.history) {
                history.let_go(&module);
            }
            made
        };
        // Reading, compiling and cargo take their time, which must not be that of requests.
        let made = tokio::task::spawn_blocking(make).await;
        match made.unwrap_or_else(|error| Err(Refused::Because(error.to_string()))) {
            Ok((made, record)) => {
                let changed = self.put_in_force(made, record, &before, begun, done);
                let ended = if ends_canary { None } else { canary_ended(&before, &changed.record) };
                ended.iter().for_each(|handler| tracing::warn!(handler, "its canary has ended with this"));
                Ok(Changed { canary_ended: ended, ..changed })
            }
            Err(refused) => {
                refused.sentences().for_each(|sentence| tracing::error!("{sentence}"));
                let (count, number) = (refused.count(), before.number);
                tracing::error!("not {done}: {count}; deployment {number} goes on");
                Err(refused)
            }
        }
    }

    fn put_in_force(
        &self,
        made: Made,
        record: Record,
        before: &Record,
        begun: Instant,
        done: &str,
    ) -> Changed {
        let Made { config, deployment, .. } = made;
        let old = self.0.in_force.swap(Arc::new(deployment));
        self.0.record.store(Arc::new(record.clone()));
        let took = begun.elapsed();
        // Its code and its idle instances take a while to go, which with one thread would be everybody's.
        tokio::task::spawn_blocking(move || drop(old));
        // One that is the same as before keeps its number, and why that was made is no news.
        let why = match record.origin {
            Origin::Start | Origin::Reload => String::new(),
            ref other => format!(" ({other})"),
        };
        tracing::info!("{done}: {}, deployment {}{why}", config.summary(), record.number);
        let (process, servers) = &self.0.running;
        let fixed = config.fixed_differences(process, servers);
        if !fixed.is_empty() {
            tracing::warn!(
                "changed, but a reload does not change it: {}; restart, or upgrade with SIGUSR2",
                fixed.join(", ")
            );
        }
        Changed { record, before: before.number, took, fixed, canary_ended: None }
    }
}

/// The handler whose canary is not there any more.
fn canary_ended(before: &Record, now: &Record) -> Option<String> {
    let ended = before.canary.as_ref().filter(|canary| now.canary.as_ref() != Some(*canary))?;
    Some(ended.handler.clone())
}
