//! What can be asked of a deployer, and why it refuses.

use crate::config::Problem;
use crate::history::{Module, Sticky};

/// A change of what is in force.
#[derive(Clone, Debug)]
pub enum Change {
    /// Everything is read from the file again; what came from elsewhere is let go of.
    Reload,
    /// Another module for a handler; all else stays.
    Deploy {
        /// The handler.
        handler: String,
        /// The module, which the history keeps.
        module: Module,
        /// It is to get only a share of the requests.
        canary: Option<CanaryWanted>,
    },
    /// Another text of routes.toml. Handlers keep their modules, unless it names others.
    Routes(String),
    /// An earlier deployment, by its number; the one before this when left out.
    Rollback(Option<u64>),
    /// The canary becomes its handler's version.
    Promote {
        /// The deployment that it was seen in; without it, whichever there is.
        of: Option<u64>,
    },
    /// What has come of a trial.
    Verdict {
        /// The deployment that it was seen in.
        of: u64,
        /// Why the canary is taken away; without a reason it becomes its handler's version.
        worse: Option<String>,
    },
}

/// How a version is tried.
#[derive(Clone, Debug)]
pub struct CanaryWanted {
    /// Its part of the requests, in hundredths of a percent.
    pub share: u32,
    /// Whom it gets.
    pub sticky: Sticky,
    /// Seconds after which it is promoted.
    pub promote_after_s: Option<u64>,
}

impl Change {
    /// What was done, in a word.
    #[must_use]
    pub(super) fn done(&self) -> &'static str {
        match self {
            Self::Reload => "reloaded",
            Self::Deploy { .. } | Self::Routes(_) => "deployed",
            Self::Promote { .. } | Self::Verdict { worse: None, .. } => "promoted",
            Self::Rollback(_) | Self::Verdict { .. } => "rolled back",
        }
    }

    /// What came with it and was kept for it.
    pub(super) fn module(&self) -> Option<&Module> {
        match self {
            Self::Deploy { module, .. } => Some(module),
            _ => None,
        }
    }

    /// Whether it is about a canary, and its end no surprise.
    pub(super) fn ends_canary(&self) -> bool {
        matches!(self, Self::Promote { .. } | Self::Verdict { .. })
    }
}

/// Why a change was not made.
#[derive(Clone, Debug)]
pub enum Refused {
    /// The deployment is not good.
    Problems(Vec<Problem>),
    /// There is none to be made.
    Because(String),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.sentences().collect::<Vec<_>>().join("; "))
    }
}

impl Refused {
    /// What is wrong, one sentence for each thing.
    pub fn sentences(&self) -> impl Iterator<Item = String> {
        let (problems, because) = match self {
            Self::Problems(problems) => (problems.as_slice(), None),
            Self::Because(why) => (&[][..], Some(why.clone())),
        };
        problems.iter().map(ToString::to_string).chain(because)
    }

    /// How many things are wrong, in words.
    #[must_use]
    pub fn count(&self) -> String {
        match self {
            Self::Problems(problems) if problems.len() != 1 => format!("{} problems", problems.len()),
            _ => "1 problem".to_owned(),
        }
    }
}
