//! What is wrong with a deployment: where, what, and what to do. All of it in one run.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use serde::Serialize;

/// What sort of mistake a [`Problem`] is; stable, for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// The file cannot be read.
    FileUnreadable,
    /// The file is not TOML.
    Syntax,
    /// A key that means nothing here.
    UnknownKey,
    /// A key that must be there.
    MissingKey,
    /// A value of the wrong type, unit or range.
    BadValue,
    /// A pattern that net/http's grammar does not allow.
    PatternInvalid,
    /// Two patterns that match the same requests, neither being more specific.
    PatternConflict,
    /// A route names a handler that is not defined.
    UnknownHandler,
    /// A handler names a store that is not declared.
    UnknownStore,
    /// A handler names a database that is not defined.
    UnknownDatabase,
    /// A file or folder that is not there.
    FileMissing,
    /// A certificate or key that cannot be used.
    CertificateInvalid,
    /// A crate that does not build.
    BuildFailed,
    /// A module that cannot be run.
    ModuleInvalid,
    /// A database that cannot be opened, or migrations that do not apply.
    DatabaseInvalid,
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FileUnreadable => "file-unreadable",
            Self::Syntax => "syntax",
            Self::UnknownKey => "unknown-key",
            Self::MissingKey => "missing-key",
            Self::BadValue => "bad-value",
            Self::PatternInvalid => "pattern-invalid",
            Self::PatternConflict => "pattern-conflict",
            Self::UnknownHandler => "unknown-handler",
            Self::UnknownStore => "unknown-store",
            Self::UnknownDatabase => "unknown-database",
            Self::FileMissing => "file-missing",
            Self::CertificateInvalid => "certificate-invalid",
            Self::BuildFailed => "build-failed",
            Self::ModuleInvalid => "module-invalid",
            Self::DatabaseInvalid => "database-invalid",
        })
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file it is in.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What sort of mistake it is.
    pub kind: ProblemKind,
    /// A sentence that says what is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, kind, message } = self;
        write!(f, "{file}:{line}: {message} [{kind}]")
    }
}

/// Collects the problems of one file.
#[derive(Debug)]
pub struct Problems {
    file: String,
    /// Offsets at which lines begin.
    lines: Vec<usize>,
    list: RefCell<Vec<Problem>>,
}

impl Problems {
    /// A collector for problems in `file`, which holds `text`.
    #[must_use]
    pub fn new(file: &Path, text: &str) -> Self {
        let newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            file: file.display().to_string(),
            lines: std::iter::once(0).chain(newlines).collect(),
            list: RefCell::default(),
        }
    }

    /// The line that holds this offset, from 1.
    #[must_use]
    pub fn line_of(&self, offset: usize) -> usize {
        self.lines.partition_point(|&start| start <= offset)
    }

    /// Adds a problem at a place in the text.
    pub fn add(&self, kind: ProblemKind, span: &Range<usize>, message: impl Into<String>) {
        self.add_at_line(kind, self.line_of(span.start), message);
    }

    /// Adds a problem at a line.
    pub fn add_at_line(&self, kind: ProblemKind, line: usize, message: impl Into<String>) {
        let problem = Problem { file: self.file.clone(), line, kind, message: message.into() };
        self.list.borrow_mut().push(problem);
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }

    /// Everything collected, in the order of the file.
    #[must_use]
    pub fn into_sorted(self) -> Vec<Problem> {
        let mut list = self.list.into_inner();
        list.sort_by_key(|problem| problem.line);
        list
    }
}

/// Longer words are no typing mistakes, and comparing them takes quadratic time.
const WORD_BYTES_MAX: usize = 100;

/// " (did you mean …?)" when one of `known` is close to `word`, else nothing.
pub fn did_you_mean<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    if word.len() > WORD_BYTES_MAX {
        return String::new();
    }
    let known = known.into_iter().filter(|candidate| candidate.len() <= WORD_BYTES_MAX);
    let best = known.map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate)).min();
    match best {
        Some((distance, candidate)) if distance <= 1 + word.len() / 4 => {
            format!(" (did you mean `{candidate}`?)")
        }
        _ => String::new(),
    }
}
