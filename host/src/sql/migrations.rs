//! Migrations: files of statements, applied once and in order, and a table in the database that says which were.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

/// The table that says what was applied.
pub(super) const TABLE: &str = "wasmux_migrations";

/// Time for one file.
pub(super) const TIMEOUT: Duration = Duration::from_secs(600);

/// Files of a folder, at most.
const FILES_MAX: usize = 10_000;

/// The largest file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What makes the table. The same words mean the same to both databases.
pub(super) const MAKE_TABLE: &str = "CREATE TABLE IF NOT EXISTS wasmux_migrations (number BIGINT PRIMARY KEY, name TEXT NOT NULL, \
                                     sha256 TEXT NOT NULL, applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)";

/// What was applied, in order.
pub(super) const APPLIED: &str = "SELECT number, name, sha256 FROM wasmux_migrations ORDER BY number";

/// What notes one as applied.
pub(super) const NOTE: &str = "INSERT INTO wasmux_migrations (number, name, sha256) VALUES ($1, $2, $3)";

/// `0001_name.sql`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Its number, from 1.
    pub number: u32,
    /// What it is called behind the number.
    pub name: String,
    /// Where it is.
    pub file: PathBuf,
    /// Its statements.
    pub sql: String,
    /// SHA-256 of the file, in hexadecimal digits.
    pub sha256: String,
}

/// A folder of migrations: numbered from 1, with none missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folder {
    /// In order.
    pub migrations: Vec<Migration>,
}

/// What is in the way of a migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationError {
    /// The file, and the line in it from 1 where that is known.
    pub place: Option<(PathBuf, Option<usize>)>,
    /// A sentence.
    pub message: String,
}

impl fmt::Display for MigrationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some((file, Some(line))) => write!(f, "{}:{line}: {}", file.display(), self.message),
            Some((file, None)) => write!(f, "{}: {}", file.display(), self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for MigrationError {}

impl From<super::Error> for MigrationError {
    fn from(error: super::Error) -> Self {
        Self::new(error.message)
    }
}

impl MigrationError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { place: None, message: message.into() }
    }
}

impl Folder {
    /// Reads a folder. Files that do not end in `.sql` are not looked at.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(folder: &Path) -> Result<Self, Vec<MigrationError>> {
        let unreadable = |error| {
            let message = format!("the folder {} cannot be read: {error}", folder.display());
            vec![MigrationError::new(message)]
        };
        let mut errors = Vec::new();
        let mut migrations = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let file = entry.map_err(unreadable)?.path();
            if file.extension().is_some_and(|extension| extension == "sql") {
                match Migration::read(&file) {
                    Ok(migration) => migrations.push(migration),
                    Err(error) => errors.push(error),
                }
            }
            if migrations.len() + errors.len() > FILES_MAX {
                let message = format!("the folder {} has more than {FILES_MAX} files", folder.display());
                return Err(vec![MigrationError::new(message)]);
            }
        }
        migrations.sort_by(|one, other| (one.number, &one.file).cmp(&(other.number, &other.file)));
        if errors.is_empty() {
            errors.extend(gap(&migrations));
        }
        if errors.is_empty() { Ok(Self { migrations }) } else { Err(errors) }
    }

    /// Those that are still to be applied, given what was.
    ///
    /// # Errors
    /// When the folder is not a continuation of what was applied.
    pub(super) fn pending(&self, applied: &[Applied]) -> Result<&[Migration], MigrationError> {
        for (index, applied) in applied.iter().enumerate() {
            let Some(migration) = self.migrations.get(index) else {
                return Err(MigrationError::new(format!(
                    "migration {} ({}) was applied to the database, but is not in the folder: it is older than the database, \
                     or the file was lost; bring it back",
                    applied.number, applied.name
                )));
            };
            if i64::from(migration.number) != applied.number {
                return Err(migration.error(format!(
                    "the database says that migration {} was applied in place of this one; the table `{TABLE}` was changed by \
                     somebody else",
                    applied.number
                )));
            }
            if migration.sha256 != applied.sha256 {
                return Err(migration.error(
                    "the file was changed after it was applied; take the change back, and put it into a new migration".to_owned(),
                ));
            }
        }
        Ok(&self.migrations[applied.len()..])
    }
}

/// A row of the table.
pub(super) struct Applied {
    pub(super) number: i64,
    pub(super) name: String,
    pub(super) sha256: String,
}

impl Migration {
    fn read(file: &Path) -> Result<Self, MigrationError> {
        let error = |message: String| MigrationError { place: Some((file.to_owned(), None)), message };
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let (digits, name) = stem.split_once('_').unwrap_or((stem, ""));
        let number = digits.parse().ok().filter(|&number: &u32| number > 0 && digits.len() >= 4);
        let Some(number) = number.filter(|_| !name.is_empty() && !digits.starts_with('+')) else {
            return Err(error(
                "a migration is called `0001_name.sql`: a number of four digits from 0001, `_`, and a name"
                    .to_owned(),
            ));
        };
        let unreadable = |cause: std::io::Error| error(format!("the file cannot be read: {cause}"));
        if std::fs::metadata(file).map_err(unreadable)?.len() > FILE_BYTES_MAX {
            return Err(error(format!("the file is larger than {FILE_BYTES_MAX} bytes; make it several")));
        }
        let bytes = std::fs::read(file).map_err(unreadable)?;
        let digest = Sha256::digest(&bytes);
        let sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let sql = String::from_utf8(bytes).map_err(|_| error("the file is not UTF-8".to_owned()))?;
        if sql.contains('\0') {
            return Err(error("the file contains a NUL".to_owned()));
        }
        Ok(Self { number, name: name.to_owned(), file: file.to_owned(), sql, sha256 })
    }

    pub(super) fn error(&self, message: String) -> MigrationError {
        MigrationError { place: Some((self.file.clone(), None)), message }
    }

    /// An error in its text, at this offset in bytes.
    pub(super) fn error_at(&self, offset: Option<usize>, message: String) -> MigrationError {
        let newlines = |end: usize| {
            self.sql.as_bytes()[..end.min(self.sql.len())].iter().filter(|&&byte| byte == b'\n').count()
        };
        let line = offset.map(|offset| 1 + newlines(offset));
        MigrationError {
            place: Some((self.file.clone(), line)),
            message: format!("does not apply: {message}"),
        }
    }
}

/// The first number that is missing, or there twice.
fn gap(sorted: &[Migration]) -> Option<MigrationError> {
    let (migration, expected) =
        sorted.iter().zip(1..).find(|(migration, expected)| migration.number != *expected)?;
    Some(migration.error(if migration.number < expected {
        format!("there are two migrations with the number {:04}; give one of them another", migration.number)
    } else {
        format!("migration {expected:04} is missing in front of this one; they are numbered from 0001, with no gaps")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn folders_are_read_in_order_or_refused_with_a_sentence() {
        let good =
            folder(&[("0002_b.sql", "two"), ("0001_a.sql", "one"), ("README.md", ""), ("0003_c_d.sql", "")]);
        let read = Folder::read(good.path()).unwrap();
        let names: Vec<_> = read.migrations.iter().map(|it| (it.number, &*it.name, &*it.sql)).collect();
        assert_eq!(names, [(1, "a", "one"), (2, "b", "two"), (3, "c_d", "")]);
        assert_eq!(read.migrations[0].sha256.len(), 64);
        for (files, wanted) in [
            (&[("1_a.sql", "")][..], "is called `0001_name.sql`"),
            (&[("0001.sql", "")], "is called `0001_name.sql`"),
            (&[("0000_a.sql", "")], "is called `0001_name.sql`"),
            (&[("+001_a.sql", "")], "is called `0001_name.sql`"),
            (&[("0002_a.sql", "")], "migration 0001 is missing"),
            (&[("0001_a.sql", ""), ("0003_c.sql", "")], "migration 0002 is missing"),
            (&[("0001_a.sql", ""), ("0001_b.sql", "")], "two migrations with the number 0001"),
            (&[("0001_a.sql", "\0")], "NUL"),
        ] {
            let errors = Folder::read(folder(files).path()).unwrap_err();
            assert!(errors[0].message.contains(wanted), "{files:?}: {errors:?}");
        }
        assert!(Folder::read(Path::new("/no/such/folder")).is_err());
    }

    #[test]
    fn what_was_applied_must_be_the_beginning() {
        let folder = folder(&[("0001_a.sql", "one"), ("0002_b.sql", "two")]);
        let folder = Folder::read(folder.path()).unwrap();
        let applied = |number: i64, sha256: &str| Applied { number, name: "x".into(), sha256: sha256.into() };
        let [one, two] = [&*folder.migrations[0].sha256, &*folder.migrations[1].sha256];
        assert_eq!(folder.pending(&[]).unwrap().len(), 2);
        assert_eq!(folder.pending(&[applied(1, one)]).unwrap(), &folder.migrations[1..]);
        assert_eq!(folder.pending(&[applied(1, one), applied(2, two)]).unwrap(), &[]);
        let refused = |applied: &[Applied]| folder.pending(applied).unwrap_err().to_string();
        assert!(refused(&[applied(1, "other")]).contains("0001_a.sql: the file was changed after"));
        assert!(refused(&[applied(2, two)]).contains("migration 2 was applied in place of this one"));
        let more = [applied(1, one), applied(2, two), applied(3, "")];
        assert!(refused(&more).contains("migration 3 (x) was applied"));
    }

    #[test]
    fn an_error_has_its_line() {
        let folder = folder(&[("0001_a.sql", "one\ntwo\n")]);
        let migration = &Folder::read(folder.path()).unwrap().migrations[0];
        for (offset, wanted) in [(Some(0), ":1: "), (Some(4), ":2: "), (Some(99), ":3: "), (None, ".sql: ")] {
            let text = migration.error_at(offset, "no".into()).to_string();
            assert!(text.contains(wanted) && text.ends_with("does not apply: no"), "{text}");
        }
    }
}
