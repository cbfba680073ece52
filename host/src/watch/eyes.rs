//! What the file system says: that something has happened in a folder. Folders are watched and not files, since most editors
//! put another file in a file's place.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

/// Which folder it is that has a name: one that was removed and made again is another, and not watched any more.
type Identity = (u64, Option<SystemTime>);

/// The folders that are watched, each without those below it.
pub(super) struct Eyes {
    watcher: RecommendedWatcher,
    folders: BTreeMap<PathBuf, Identity>,
    /// Those that cannot be watched, which was said.
    hidden: BTreeSet<PathBuf>,
}

impl Eyes {
    /// Wakes whoever waits for `woken`.
    ///
    /// # Errors
    /// A sentence that says why nothing can be watched.
    pub(super) fn new(woken: &Arc<Notify>) -> Result<Self, String> {
        let woken = Arc::clone(woken);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // Builds read everything. An error may be a loss of events.
            if event.map_or(true, |event| !event.kind.is_access()) {
                woken.notify_one();
            }
        });
        let watcher = watcher.map_err(|error| {
            format!("the system watches no files ({error}); fs.inotify.max_user_instances may be too low")
        })?;
        Ok(Self { watcher, folders: BTreeMap::new(), hidden: BTreeSet::new() })
    }

    /// Watches these folders and no others. Answers whether there are some that were not watched before.
    pub(super) fn turn_to(&mut self, folders: BTreeSet<PathBuf>) -> bool {
        let now: BTreeMap<_, _> =
            folders.into_iter().filter_map(|folder| Some((folder.clone(), identity(&folder)?))).collect();
        for (gone, _) in self.folders.iter().filter(|(folder, is)| now.get(*folder) != Some(*is)) {
            // One that was removed is not watched any more, which is all that is wanted.
            let _ = self.watcher.unwatch(gone);
        }
        let mut has_new = false;
        let mut watched = BTreeMap::new();
        for (folder, identity) in now {
            if self.folders.get(&folder) == Some(&identity) {
                watched.insert(folder, identity);
                continue;
            }
            match self.watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    has_new = true;
                    watched.insert(folder, identity);
                }
                // It is gone again, which the folder above says.
                Err(_) if !folder.is_dir() => {}
                Err(error) => {
                    if self.hidden.insert(folder.clone()) {
                        let folder = folder.display();
                        tracing::warn!(
                            "{folder} cannot be watched: {error}; fs.inotify.max_user_watches may be too low"
                        );
                    }
                }
            }
        }
        self.folders = watched;
        has_new
    }
}

fn identity(folder: &Path) -> Option<Identity> {
    let metadata = folder.metadata().ok().filter(|metadata| metadata.is_dir())?;
    Some((metadata.ino(), metadata.created().ok()))
}

impl fmt::Debug for Eyes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Eyes").field("folders", &self.folders).finish_non_exhaustive()
    }
}
