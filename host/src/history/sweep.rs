//! What is not needed any more, and how it goes. Never what may be needed: the folder is held meanwhile.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::{Held, History, Module, Record, present, remove};

impl History {
    /// Removes records that were written by a process that ended before they were in force.
    pub(super) fn remove_unborn(&self, held: &Held) -> io::Result<()> {
        let Some(current) = self.known_current(held)? else { return Ok(()) };
        let mut unborn = self.numbers()?.into_iter().filter(|number| *number > current);
        unborn.try_for_each(|number| remove(&self.record_file(number)))
    }

    /// Removes records beyond those that are kept, and what only they name.
    pub(super) fn prune(&self, held: &Held) -> io::Result<()> {
        let numbers = self.numbers()?;
        let excess = numbers.len().saturating_sub(self.keep.saturating_add(1));
        let current = self.known_current(held)?;
        for number in numbers.into_iter().take(excess).filter(|number| Some(*number) != current) {
            remove(&self.record_file(number))?;
        }
        self.sweep(held)
    }

    /// What records name; `None` while one of them cannot be read: nobody knows what that is.
    fn named(&self, _held: &Held) -> io::Result<Option<BTreeSet<PathBuf>>> {
        let mut named = BTreeSet::new();
        for number in self.numbers()? {
            match self.record(number) {
                Ok(record) => {
                    let artifacts = record.iter().flat_map(Record::artifacts);
                    named.extend(artifacts.map(|module| self.path(module)));
                }
                Err(error) => {
                    tracing::warn!("no artifacts are removed: {error}");
                    return Ok(None);
                }
            }
        }
        Ok(Some(named))
    }

    /// Removes artifacts that no record names. Those that are younger than a deployment takes are left: they may be for the next.
    pub(super) fn sweep(&self, held: &Held) -> io::Result<()> {
        const YOUNG: Duration = Duration::from_secs(3600);
        let Some(named) = self.named(held)? else { return Ok(()) };
        for entry in fs::read_dir(self.artifacts())? {
            let path = entry?.path();
            // Another process's temporary file may have been renamed since.
            let Some(metadata) = present(fs::metadata(&path))? else { continue };
            let age = metadata.modified()?.elapsed().unwrap_or_default();
            if !named.contains(&path) && age > YOUNG {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Lets go of something that was kept for a deployment that has not come about, unless a record names it.
    pub fn let_go(&self, module: &Module) {
        let path = self.path(module);
        let gone = self.hold().and_then(|held| {
            let is_named = self.named(&held)?.is_none_or(|named| named.contains(&path));
            if is_named { Ok(()) } else { remove(&path) }
        });
        if let Err(error) = gone {
            tracing::warn!("{}: what was refused cannot be removed: {error}", path.display());
        }
    }
}
