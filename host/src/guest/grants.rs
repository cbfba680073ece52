//! What a handler may reach beyond its own request: what routes.toml grants it, and nothing else.
//!
//! Made at deploy time and never changed; a handler that is granted other things is deployed anew, with the code it has.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wasmux_abi::{CLIENT_MODULE, CONFIG_MODULE, KEYVALUE_MODULE, SQL_MODULE};

use super::artifact::LoadError;
use super::databases::DatabaseGrant;
use super::masks::Masks;
use super::outgoing::Outgoing;
use crate::kv;

/// Everything that one handler was granted. What is not there is refused.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// Its configuration, if it has any; possibly an empty one.
    pub settings: Option<Arc<Settings>>,
    /// Whom it may call, if anybody.
    pub outgoing: Option<Outgoing>,
    /// Folders on the host.
    pub folders: Vec<Folder>,
    /// Key-value stores, by name.
    pub stores: Vec<(String, kv::Grant)>,
    /// Databases, by name.
    pub databases: Arc<Vec<DatabaseGrant>>,
}

/// A folder whose files a guest may use, with all that is below it and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// What the guest calls it.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its files may be read; if not so, also written, made and removed.
    pub read_only: bool,
}

/// `config` and `secrets` of a handler: values by name.
#[derive(Clone, Default)]
pub struct Settings {
    values: BTreeMap<String, String>,
    /// Values that must not be seen anywhere but in the guest.
    secrets: Vec<String>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish_non_exhaustive()
    }
}

impl Settings {
    /// Adds a value that anybody may see.
    pub fn insert(&mut self, name: String, value: String) {
        self.values.insert(name, value);
    }

    /// Adds a value that is kept out of logs.
    pub fn insert_secret(&mut self, name: String, value: String) {
        self.secrets.push(value.clone());
        self.values.insert(name, value);
    }

    /// The value of this name, if there is one.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// All of them, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl Grants {
    /// What takes its secrets out of log lines.
    pub(super) fn masks(&self) -> Masks {
        Masks::new(self.settings.iter().flat_map(|settings| &settings.secrets).map(String::as_str))
    }

    /// What it would have to be granted to run: the import modules of `wasmux` that it uses beyond its request.
    ///
    /// # Errors
    /// With a sentence for each that is not granted.
    pub(super) fn check(&self, imports: &[String], handler: &str) -> Result<(), LoadError> {
        let refused = imports.iter().filter_map(|import| {
            let advice = match import.as_str() {
                CONFIG_MODULE if self.settings.is_none() => {
                    "give it some, `config = { NAME = \"value\" }`, or none, `config = {}`,"
                }
                KEYVALUE_MODULE if self.stores.is_empty() => {
                    "declare a store, [kv.NAME], and grant it, `kv = [\"NAME\"]`,"
                }
                SQL_MODULE if self.databases.is_empty() => "grant it a database, `sql = [\"NAME\"]`,",
                CLIENT_MODULE if self.outgoing.is_none() => {
                    "name whom it may call, `outbound = [\"https://api.example.com\"]`,"
                }
                _ => return None,
            };
            Some(format!("it imports `{import}`, which it was not granted: {advice} in [handlers.{handler}]"))
        });
        let refused: Vec<_> = refused.collect();
        if refused.is_empty() { Ok(()) } else { Err(LoadError::all(refused)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_seen_nowhere() {
        let mut settings = Settings::default();
        settings.insert("MODE".into(), "fast".into());
        settings.insert_secret("KEY".into(), "s3cr3t".into());
        let grants = Grants { settings: Some(Arc::new(settings)), ..Grants::default() };
        let shown = format!("{grants:?}");
        assert!(shown.contains("KEY") && !shown.contains("s3cr3t") && !shown.contains("fast"), "{shown}");
        assert_eq!(grants.masks().apply("a s3cr3t, fast"), "a [secret], fast");
    }
}
