//! The refusal of a pattern: which earlier one it conflicts with, and why, with paths to try.
//! Invariant: every example path is matched by the patterns that it is said to be matched by, and by no
//! other.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::pattern::{Pattern, PatternError, Segment};
use crate::quote::Quoted;
use crate::relation::{Relation, method_relation, path_relation, relation};

/// Why a pattern was not registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InsertError {
    /// It is not a pattern.
    Pattern(PatternError),
    /// It matches some requests as well as an earlier pattern does.
    Conflict(Conflict),
}

impl fmt::Display for InsertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern(error) => error.fmt(f),
            Self::Conflict(conflict) => conflict.fmt(f),
        }
    }
}

impl core::error::Error for InsertError {}

impl From<PatternError> for InsertError {
    fn from(error: PatternError) -> Self {
        Self::Pattern(error)
    }
}

/// Two patterns that match some request equally well. Displayed in the words of net/http, but without the
/// places where they were registered: `pattern "P" conflicts with pattern "Q":`, a newline and the
/// explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    pattern: Box<str>,
    with: usize,
    with_pattern: Box<str>,
    explanation: Box<str>,
}

impl Conflict {
    /// `with` is the index of `existing`.
    pub(crate) fn new(pattern: &Pattern, with: usize, existing: &Pattern) -> Self {
        Self::explained(pattern, with, existing, explain(pattern, existing))
    }

    /// As [`Self::new`], for patterns that differ only in that one has an empty segment where the other has a
    /// wildcard. Go panics here.
    pub(crate) fn same_place(pattern: &Pattern, with: usize, existing: &Pattern) -> Self {
        let why = format!(
            "{pattern} and {existing} match the same requests: an empty segment matches what a wildcard matches"
        );
        Self::explained(pattern, with, existing, why)
    }

    fn explained(pattern: &Pattern, with: usize, existing: &Pattern, why: String) -> Self {
        Self {
            pattern: pattern.as_str().into(),
            with,
            with_pattern: existing.as_str().into(),
            explanation: why.into(),
        }
    }

    /// The pattern that was refused.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// The earliest pattern that it conflicts with: its index in order of insertion, as in
    /// [`Mux::iter`](crate::Mux::iter).
    pub fn with(&self) -> usize {
        self.with
    }

    /// The text of the pattern that it conflicts with.
    pub fn with_pattern(&self) -> &str {
        &self.with_pattern
    }

    /// What both match and, where that helps, what only one of them matches; one to four lines.
    pub fn explanation(&self) -> &str {
        &self.explanation
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pattern, with) = (Quoted(self.pattern.as_bytes()), Quoted(self.with_pattern.as_bytes()));
        write!(f, "pattern {pattern} conflicts with pattern {with}:\n{}", self.explanation)
    }
}

impl core::error::Error for Conflict {}

/// Explains a conflict. Go: `net/http.describeConflict`.
fn explain(p: &Pattern, q: &Pattern) -> String {
    if relation(p, q) == Relation::Equivalent {
        return format!("{p} matches the same requests as {q}");
    }
    if path_relation(p, q) == Relation::Overlap {
        let (both, only_p, only_q) = (common_path(p, q), difference_path(p, q), difference_path(q, p));
        return format!(
            "{p} and {q} both match some paths, like {}.\n\
             But neither is more specific than the other.\n\
             {p} matches {}, but {q} doesn't.\n\
             {q} matches {}, but {p} doesn't.",
            Quoted(&both),
            Quoted(&only_p),
            Quoted(&only_q)
        );
    }
    // The paths are comparable and the patterns still overlap, so methods and paths pull in opposite
    // directions.
    let (count, path) = match method_relation(p, q) {
        Relation::MoreGeneral => ("more", "specific"),
        _ => ("fewer", "general"),
    };
    format!("{p} matches {count} methods than {q}, but has a more {path} path pattern")
}

/// A path that both match. They overlap, so there is one.
fn common_path(p: &Pattern, q: &Pattern) -> Vec<u8> {
    let mut path = Vec::new();
    for (p, q) in p.segments().iter().zip(q.segments()) {
        push_segment(
            &mut path,
            match (p, q) {
                (Segment::Literal(_), _) | (Segment::Wildcard(_), Segment::Rest(_)) => p,
                _ => q,
            },
        );
    }
    push_tail(&mut path, p, q);
    push_tail(&mut path, q, p);
    path
}

/// A path that `p` matches and `q` does not. They overlap, so there is one.
fn difference_path(p: &Pattern, q: &Pattern) -> Vec<u8> {
    let mut path = Vec::new();
    for (p, q) in p.segments().iter().zip(q.segments()) {
        match (p, q) {
            // From here on they match the same paths, so there was a difference earlier.
            (Segment::Rest(_), Segment::Rest(_)) => {
                path.push(b'/');
                return path;
            }
            // A trailing slash tells them apart, unless that is all that `q` matches.
            (Segment::Rest(name), _) => {
                path.push(b'/');
                if q.is_end() {
                    path.extend_from_slice(if name.is_empty() { b"x" } else { name.as_bytes() });
                }
                return path;
            }
            // Any other segment will do. Prefer the wildcard's name; if that is the literal, extend it.
            (Segment::Wildcard(name), Segment::Literal(text)) if *name.as_bytes() == **text => {
                push_segment(&mut path, q);
                path.push(b'x');
            }
            _ => push_segment(&mut path, p),
        }
    }
    push_tail(&mut path, p, q);
    push_tail(&mut path, q, p);
    path
}

/// Appends what `p` has more than `q`.
fn push_tail(path: &mut Vec<u8>, p: &Pattern, q: &Pattern) {
    for segment in p.segments().iter().skip(q.segments().len()) {
        push_segment(path, segment);
    }
}

/// Appends a segment of a path that this segment of a pattern matches. Readers want to see `é`, not `%C3%A9`,
/// so only bytes that would mean something else are encoded.
fn push_segment(path: &mut Vec<u8>, segment: &Segment) {
    path.push(b'/');
    match segment {
        Segment::Wildcard(name) => path.extend_from_slice(name.as_bytes()),
        Segment::Literal(_) if segment.is_end() => {}
        Segment::Literal(text) => {
            for &byte in text {
                match byte {
                    b'/' => path.extend_from_slice(b"%2F"),
                    b'%' => path.extend_from_slice(b"%25"),
                    b'?' => path.extend_from_slice(b"%3F"),
                    _ => path.push(byte),
                }
            }
        }
        Segment::Rest(_) => {}
    }
}

#[cfg(test)]
mod tests;
