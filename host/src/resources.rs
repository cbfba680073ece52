//! What outlives a deployment: the HTTP client, whose idle connections all deployments share the limit of, and open stores and
//! databases, which the next deployment finds open if it names them, too.
//!
//! One value for a process, held beside the engine. It keeps no store open by itself: what no deployment names any more is
//! closed when the last request that uses it is done.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustls::pki_types::CertificateDer;

use crate::kv;
use crate::outbound::{Outbound, TransportSettings};
use crate::sql::Databases;
use crate::stats::Registry;

/// Everything that is open, by what it is opened by. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Resources(Arc<Open>);

#[derive(Debug, Default)]
struct Open {
    outbound: Mutex<Option<(Common, Outbound)>>,
    embedded: Mutex<BTreeMap<PathBuf, Weak<kv::Embedded>>>,
    redis: Mutex<BTreeMap<String, Weak<kv::Redis>>>,
    databases: Databases,
    registry: Arc<Registry>,
}

/// The settings that clients have in common.
type Common = (Option<SocketAddr>, Vec<CertificateDer<'static>>, usize);

impl Resources {
    /// The HTTP client with these settings: the one that there is, unless another resolver, other roots or another `max_idle`
    /// are named. Who has the one before keeps it.
    ///
    /// # Errors
    /// As [`Outbound::new`].
    pub fn outbound(&self, settings: &TransportSettings) -> Result<Outbound, String> {
        let common = (settings.resolver, settings.roots.clone(), settings.max_idle);
        let mut open = self.0.outbound.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, outbound)) = &*open
            && *known == common
        {
            return Ok(outbound.clone());
        }
        let outbound = Outbound::new(settings)?;
        *open = Some((common, outbound.clone()));
        Ok(outbound)
    }

    /// What is counted, whoever is deployed.
    #[must_use]
    pub fn registry(&self) -> &Arc<Registry> {
        &self.0.registry
    }

    /// The databases.
    #[must_use]
    pub fn databases(&self) -> &Databases {
        &self.0.databases
    }

    /// The key-value store in this file.
    #[must_use]
    pub fn embedded(&self, file: &Path) -> Arc<kv::Embedded> {
        let make = || Ok::<_, std::convert::Infallible>(kv::Embedded::new(file.to_owned()));
        let Ok(store) = found(&self.0.embedded, file.to_owned(), make);
        store
    }

    /// The key-value store behind this URL.
    ///
    /// # Errors
    /// As [`kv::Redis::new`].
    pub fn redis(&self, url: &str) -> Result<Arc<kv::Redis>, String> {
        found(&self.0.redis, url.to_owned(), || kv::Redis::new(url))
    }
}

/// What is there under this key, or else is made now.
fn found<K: Ord, T, E>(
    open: &Mutex<BTreeMap<K, Weak<T>>>,
    key: K,
    make: impl FnOnce() -> Result<T, E>,
) -> Result<Arc<T>, E> {
    let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
    open.retain(|_, resource| resource.strong_count() > 0);
    if let Some(resource) = open.get(&key).and_then(Weak::upgrade) {
        return Ok(resource);
    }
    let made = Arc::new(make()?);
    open.insert(key, Arc::downgrade(&made));
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_again_is_the_same_until_nobody_has_it() {
        let resources = Resources::default();
        let (a, b) = (Path::new("a.redb"), Path::new("b.redb"));
        let first = resources.embedded(a);
        assert!(Arc::ptr_eq(&first, &resources.clone().embedded(a)));
        assert!(!Arc::ptr_eq(&first, &resources.embedded(b)));
        let old = Arc::downgrade(&first);
        drop(first);
        assert!(old.upgrade().is_none(), "nothing keeps it");
        let url = "redis://127.0.0.1:1/";
        let redis = resources.redis(url).unwrap();
        assert!(Arc::ptr_eq(&redis, &resources.redis(url).unwrap()));
        assert!(resources.redis("http://x/").is_err());
    }
}
