//! What files were when they were last looked at, so that it is seen whether they are other than that.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hasher as _};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A file that was written to so shortly before it was looked at may be written to again with the same time on it: clocks of
/// file systems tick coarsely.
const TICK: Duration = Duration::from_millis(100);

/// A file, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    /// When it was written to, its length, which file it is: all the same, and it need not be read.
    stamp: (Option<SystemTime>, u64, u64),
    content: u64,
    /// The stamp says nothing yet.
    is_fresh: bool,
}

/// Files by their paths; none in place of one that was not there.
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeMap<PathBuf, Option<Mark>>);

impl Seen {
    /// Takes note of files that are not known yet as they are now. One that was written to after `since` counts as changed when
    /// it is looked at next.
    pub(super) fn learn<'f>(
        &mut self,
        files: impl IntoIterator<Item = &'f PathBuf>,
        since: Option<SystemTime>,
    ) {
        for file in files {
            if self.0.contains_key(file) {
                continue;
            }
            let mark = mark(file, None);
            let written = mark.and_then(|mark| mark.stamp.0);
            let is_later = since.zip(written).is_some_and(|(since, written)| written >= since);
            self.0.insert(file.clone(), mark.filter(|_| !is_later));
        }
    }

    /// Takes note of a file as it is now, whatever it was before.
    pub(super) fn learn_anew(&mut self, file: &Path) {
        self.0.insert(file.to_owned(), mark(file, None));
    }

    /// Whether its content is other than when it was last looked at, here or in [`Self::learn`]. One that is new is.
    pub(super) fn has_changed(&mut self, file: &Path) -> bool {
        let before = self.0.get(file).copied().flatten();
        let now = mark(file, before);
        self.0.insert(file.to_owned(), now);
        before.map(|mark| mark.content) != now.map(|mark| mark.content)
    }

    /// Forgets all other files.
    pub(super) fn keep_only(&mut self, files: &BTreeSet<&PathBuf>) {
        self.0.retain(|file, _| files.contains(file));
    }
}

fn mark(file: &Path, before: Option<Mark>) -> Option<Mark> {
    let metadata = fs::metadata(file).ok()?;
    let stamp = (metadata.modified().ok(), metadata.len(), metadata.ino());
    let is_fresh = stamp.0.is_none_or(|written| written + TICK > SystemTime::now());
    let known = before.filter(|before| before.stamp == stamp && !before.is_fresh);
    let content = match known {
        Some(before) => before.content,
        None => content(file, &metadata)?,
    };
    Some(Mark { stamp, content, is_fresh })
}

/// A number that another content most likely does not have. A folder has one for itself.
fn content(file: &Path, metadata: &Metadata) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    if metadata.is_dir() {
        hasher.write(b"folder");
        return Some(hasher.finish());
    }
    let (mut file, mut buffer) = (fs::File::open(file).ok()?, vec![0; 64 << 10]);
    loop {
        match file.read(&mut buffer).ok()? {
            0 => return Some(hasher.finish()),
            count => hasher.write(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_content_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.rs");
        let mut seen = Seen::default();
        seen.learn([&file], None);
        assert!(!seen.has_changed(&file), "it is not there, as before");
        fs::write(&file, "one").unwrap();
        assert!(seen.has_changed(&file) && !seen.has_changed(&file));
        fs::write(&file, "one").unwrap();
        assert!(!seen.has_changed(&file), "saved as it was");
        // The same length, and as good as the same time.
        fs::write(&file, "two").unwrap();
        assert!(seen.has_changed(&file));
        fs::write(folder.path().join("b"), "six").unwrap();
        fs::rename(folder.path().join("b"), &file).unwrap();
        assert!(seen.has_changed(&file), "another file has its name");
        fs::remove_file(&file).unwrap();
        assert!(seen.has_changed(&file) && !seen.has_changed(&file));
    }

    #[test]
    fn what_was_written_during_a_build_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.rs");
        fs::write(&file, "one").unwrap();
        let mut seen = Seen::default();
        seen.learn([&file], Some(SystemTime::now() - Duration::from_secs(3600)));
        assert!(seen.has_changed(&file));
        let mut seen = Seen::default();
        seen.learn([&file], Some(SystemTime::now() + Duration::from_secs(3600)));
        assert!(!seen.has_changed(&file));
    }
}
