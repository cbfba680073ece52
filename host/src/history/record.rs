//! One deployment, as it is written down.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The SHA-256 of these bytes, in hexadecimal.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(super) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A content, by its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// How many there are.
    pub bytes: u64,
    /// `wasm`, `wat`, `cwasm`, or `toml`.
    pub form: String,
}

impl Module {
    /// The name of this version in logs, metrics and tables: 12 digits of its digest.
    #[must_use]
    pub fn version(&self) -> &str {
        self.sha256.get(..12).unwrap_or(&self.sha256)
    }
}

/// Why a deployment was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum Origin {
    /// The program was started.
    Start,
    /// The file was read again.
    Reload,
    /// A module for this handler came through the admin API.
    Deploy {
        /// The handler.
        handler: String,
    },
    /// A text of routes.toml came through the admin API.
    Routes,
    /// The canary of this handler has become its version.
    Promote {
        /// The handler.
        handler: String,
    },
    /// An earlier deployment was put in force again.
    Rollback {
        /// Its number.
        to: u64,
    },
    /// The canary of this handler was worse than its version.
    Verdict {
        /// The handler.
        handler: String,
        /// How.
        why: String,
    },
    /// Something that another version of this program can do.
    #[serde(other)]
    Other,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::Reload => f.write_str("reload"),
            Self::Deploy { handler } => write!(f, "deploy {handler}"),
            Self::Routes => f.write_str("routes"),
            Self::Promote { handler } => write!(f, "promote {handler}"),
            Self::Rollback { to } => write!(f, "rollback {to}"),
            Self::Verdict { handler, why } => write!(f, "rolled {handler} back: {why}"),
            Self::Other => f.write_str("another version"),
        }
    }
}

impl Origin {
    /// Whether it came from elsewhere than the file, so that the file alone would not lead there again.
    #[must_use]
    pub fn is_pushed(&self) -> bool {
        !matches!(self, Self::Start | Self::Reload)
    }
}

/// How requests are told apart, so that a client stays with one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sticky {
    /// By the client's address.
    Client,
    /// By a header field's value; by the address without it.
    Header(String),
    /// By a cookie's value; by the address without it.
    Cookie(String),
}

/// A version of a handler that gets some of its requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Canary {
    /// The handler.
    pub handler: String,
    /// The version.
    pub module: Module,
    /// Its part of the requests, in hundredths of a percent: 500 are 5 %.
    pub share: u32,
    /// Whom it gets.
    pub sticky: Sticky,
    /// After so many seconds without a reason to roll it back it becomes the handler's version; never when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promote_after_s: Option<u64>,
    /// When its trial began, in seconds since 1970.
    #[serde(default)]
    pub since: u64,
    /// Goes into the hash that says whom it gets, so that it is not the same clients who get every canary.
    #[serde(default)]
    pub salt: u64,
}

/// One deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its number, from 1.
    pub number: u64,
    /// When it was put in force, in seconds since 1970.
    pub time: u64,
    /// Why.
    pub origin: Origin,
    /// The text of routes.toml.
    pub routes: Module,
    /// The digest of the file as it was on disk then. Another one means that its author has changed his mind.
    pub file_sha256: String,
    /// Each handler's module. Handlers without one (proxies) are not here.
    pub modules: BTreeMap<String, Module>,
    /// A version on trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// Some of it came from elsewhere than the file, and stays until the file changes or is read again.
    pub pushed: bool,
}

impl Record {
    /// Everything it needs.
    pub fn artifacts(&self) -> impl Iterator<Item = &Module> {
        let canary = self.canary.iter().map(|canary| &canary.module);
        self.modules.values().chain([&self.routes]).chain(canary)
    }

    /// Whether both serve the same.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.routes == other.routes && self.modules == other.modules && self.canary == other.canary
    }

    /// Whether a restart would treat both alike.
    #[must_use]
    pub fn goes_back_to(&self, other: &Self) -> bool {
        self.pushed == other.pushed && self.file_sha256 == other.file_sha256
    }

    /// Now, as a record has it.
    #[must_use]
    pub fn now() -> u64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
}
