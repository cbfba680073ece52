//! Crates that are built again and again, for watch mode: only when what they are made of has changed, and what the compiler says
//! is kept, for whoever asks for what they serve.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::heard::{Heard, run};
use super::seen::Seen;
use super::sources::Sources;
use super::{MODULE, Package, ensure_target};

/// Why there is no module of a crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In a sentence.
    pub why: String,
    /// What the compiler says, if it was asked.
    pub details: String,
}

/// Where a crate's module is, or why there is none.
pub type Outcome = Result<PathBuf, Failure>;

/// Crates and files that are watched. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Workshop(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// By the folders that they are named by.
    crates: BTreeMap<PathBuf, Crate>,
    /// Handlers, each with the crate or file that it names.
    handlers: Vec<(String, PathBuf)>,
    /// Files and folders that are watched as a whole: modules, routes.toml.
    files: BTreeSet<PathBuf>,
    seen: Seen,
    took: Duration,
    /// The first build may take minutes, and has cargo say what it is at.
    is_begun: bool,
}

#[derive(Debug)]
struct Crate {
    /// None when cargo has to be asked, again or for the first time.
    package: Option<Package>,
    sources: Sources,
    /// What it was made of when it was built.
    files: BTreeSet<PathBuf>,
    /// None when it has to be built.
    outcome: Option<Outcome>,
}

/// What was found to have changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The files.
    pub files: Vec<PathBuf>,
    /// Handlers whose crates have to be built.
    pub to_build: BTreeSet<String>,
    /// Handlers whose modules are others, or gone, or there at last.
    pub to_load: BTreeSet<String>,
}

impl Workshop {
    /// Builds those crates of these handlers that were not built since they have changed, those of one workspace in one run of
    /// cargo; and answers how it went with each crate. `files`: what is watched beside crates.
    ///
    /// What the compiler says goes to standard error, too.
    #[must_use]
    pub fn build(&self, handlers: Vec<(String, PathBuf)>, files: &[PathBuf]) -> BTreeMap<PathBuf, Outcome> {
        let state = &mut *self.state();
        let (folders, modules): (Vec<_>, Vec<_>) =
            handlers.iter().map(|(_, path)| path.clone()).partition(|path| path.is_dir());
        state.handlers = handlers;
        state.files = modules.into_iter().chain(files.iter().cloned()).collect();
        state.seen.learn(&state.files, None);
        state.crates.retain(|folder, _| folders.contains(folder));
        let begun = Instant::now();
        state.build(folders);
        state.took = begun.elapsed();
        let built = state.crates.iter();
        built.filter_map(|(folder, known)| Some((folder.clone(), known.outcome.clone()?))).collect()
    }

    /// How long the latest [`Self::build`] took.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.state().took
    }

    /// Looks at everything that is watched. What has changed is built with the next [`Self::build`].
    #[must_use]
    pub fn look(&self) -> Changes {
        self.state().look()
    }

    /// The folders in which something may change that matters.
    #[must_use]
    pub fn places(&self) -> BTreeSet<PathBuf> {
        let state = &*self.state();
        let listed = state.crates.values().map(Crate::list);
        let mut places = BTreeSet::new();
        let mut files = state.files.clone();
        for listed in listed {
            places.extend(listed.folders);
            files.extend(listed.files);
        }
        for file in files {
            // A link may be replaced, and what it leads to as well.
            for file in [Some(file.clone()), file.canonicalize().ok()].into_iter().flatten() {
                let file = std::path::absolute(&file).unwrap_or(file);
                let there = file.ancestors().skip(1).find(|folder| folder.is_dir());
                places.extend(there.and_then(|folder| folder.canonicalize().ok()));
            }
        }
        places
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Crate {
    fn list(&self) -> super::sources::Listed {
        // One that is broken may lack a file that nobody knows of.
        self.sources.list(matches!(self.outcome, Some(Err(_))))
    }
}

impl State {
    fn build(&mut self, folders: Vec<PathBuf>) {
        let since = SystemTime::now();
        let mut known = Vec::new();
        let mut workspaces = BTreeMap::<PathBuf, Vec<Package>>::new();
        for folder in folders.into_iter().collect::<BTreeSet<_>>() {
            let is_built = self.crates.get(&folder).is_some_and(|known| known.outcome.is_some());
            if is_built {
                continue;
            }
            if let Some(package) = self.prepare(folder, &mut known) {
                workspaces.entry(package.workspace.clone()).or_default().push(package);
            }
        }
        for (workspace, packages) in workspaces {
            let ran = ensure_target(MODULE, &workspace)
                .and_then(|()| run(MODULE, &workspace, &packages, self.is_begun));
            for package in &packages {
                let Some(built) = self.crates.get_mut(&package.folder) else { continue };
                let of_it = |manifest: &Path| built.sources.has_package(manifest);
                built.outcome = Some(match &ran {
                    Ok(heard) => outcome(heard, package, of_it),
                    Err(error) => Err(Failure { why: error.to_string(), details: String::new() }),
                });
                if let Some(Ok(module)) = &built.outcome {
                    built.sources.add_read_for(module);
                }
            }
            // cargo's own, which it may have written just now.
            self.seen.learn_anew(&workspace.join("Cargo.lock"));
        }
        self.is_begun = true;
        for built in self.crates.values_mut() {
            built.files = built.list().files;
            self.seen.learn(&built.files, Some(since));
        }
    }

    /// Sees what a crate is made of, before it is built: what changes from here on is a change.
    fn prepare(&mut self, folder: PathBuf, known: &mut Vec<Value>) -> Option<Package> {
        let before = self.crates.remove(&folder);
        let asked = match before.as_ref().and_then(|before| before.package.clone()) {
            Some(package) => Ok(package),
            None => Package::find(&folder, "", known),
        };
        let (package, sources, outcome) = match asked {
            Ok(package) => {
                let kept = before.filter(|before| before.package.is_some()).map(|before| before.sources);
                let sources = kept.unwrap_or_else(|| Sources::of(&package, known));
                (Some(package), sources, None)
            }
            Err(error) => {
                let failure = Failure { why: error.to_string(), details: String::new() };
                (None, Sources::of_folder(&folder), Some(Err(failure)))
            }
        };
        let mut new = Crate { package: package.clone(), sources, files: BTreeSet::new(), outcome };
        new.files = new.list().files;
        self.seen.learn(&new.files, None);
        self.crates.insert(folder, new);
        package
    }

    fn look(&mut self) -> Changes {
        let mut changes = Changes::default();
        let mut users = BTreeMap::<PathBuf, Vec<PathBuf>>::new();
        for (folder, known) in &self.crates {
            // Those that it was made of may be gone, and there may be others.
            for file in known.list().files.into_iter().chain(known.files.iter().cloned()) {
                users.entry(file).or_default().push(folder.clone());
            }
        }
        let watched: BTreeSet<&PathBuf> = users.keys().chain(&self.files).collect();
        self.seen.keep_only(&watched);
        for file in watched {
            if !self.seen.has_changed(file) {
                continue;
            }
            changes.files.push(file.clone());
            for folder in users.get(file).into_iter().flatten() {
                let Some(known) = self.crates.get_mut(folder) else { continue };
                known.outcome = None;
                if file.ends_with("Cargo.toml") {
                    known.package = None;
                }
                changes.to_build.extend(named(&self.handlers, folder));
            }
            if self.files.contains(file) {
                changes.to_load.extend(named(&self.handlers, file));
            }
        }
        changes
    }
}

/// The handlers that name this crate or file.
fn named(handlers: &[(String, PathBuf)], path: &Path) -> Vec<String> {
    handlers.iter().filter(|(_, named)| named == path).map(|(name, _)| name.clone()).collect()
}

/// How it went with one crate of a run. `is_of_it`: whether a manifest is of one of its packages.
fn outcome(heard: &Heard, package: &Package, is_of_it: impl Fn(&Path) -> bool) -> Outcome {
    heard.ran.binary_of(package).map_err(|error| {
        let why = match error {
            super::BuildError::Compile => "the crate does not compile".to_owned(),
            other => return Failure { why: other.to_string(), details: String::new() },
        };
        let of_it = heard.errors.iter().filter(|(manifest, _)| is_of_it(manifest));
        let mut details: String = of_it.map(|(_, text)| text.as_str()).collect();
        if details.is_empty() {
            // Of a crate from elsewhere, or of a build script.
            details = heard.errors.iter().map(|(_, text)| text.as_str()).collect();
            details += &heard.said;
        }
        Failure { why, details }
    })
}
