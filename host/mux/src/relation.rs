//! How the requests that two patterns match relate to each other. Hosts are left out: patterns with different
//! hosts never compete, because the one that names the request's host wins.
//! Invariant: `relation(p, q)` is the inverse of `relation(q, p)`.

use crate::pattern::{Pattern, Segment};

/// How two sets of requests relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// They are the same.
    Equivalent,
    /// The first contains the second, and more.
    MoreGeneral,
    /// The second contains the first, and more.
    MoreSpecific,
    /// They have nothing in common.
    Disjoint,
    /// They have something in common, and each has something of its own.
    Overlap,
}

use Relation::{Disjoint, Equivalent, MoreGeneral, MoreSpecific, Overlap};

impl Relation {
    /// The relation of two products, given those of their factors: of `A×B` and `C×D`, given `A` to `C` and
    /// `B` to `D`.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Disjoint, _) | (_, Disjoint) => Disjoint,
            (Equivalent, relation) | (relation, Equivalent) => relation,
            (MoreGeneral, MoreGeneral) => MoreGeneral,
            (MoreSpecific, MoreSpecific) => MoreSpecific,
            _ => Overlap,
        }
    }
}

/// Compares the methods and paths of two patterns.
pub(crate) fn relation(p: &Pattern, q: &Pattern) -> Relation {
    method_relation(p, q).and(path_relation(p, q))
}

/// Whether there are requests for which neither pattern is the better match.
pub(crate) fn conflicts(p: &Pattern, q: &Pattern) -> bool {
    p.host() == q.host() && matches!(relation(p, q), Equivalent | Overlap)
}

/// Compares methods: none stands for all, and `GET` for `GET` and `HEAD`.
pub(crate) fn method_relation(p: &Pattern, q: &Pattern) -> Relation {
    match (p.method(), q.method()) {
        (p, q) if p == q => Equivalent,
        (None, _) | (Some("GET"), Some("HEAD")) => MoreGeneral,
        (_, None) | (Some("HEAD"), Some("GET")) => MoreSpecific,
        _ => Disjoint,
    }
}

/// Compares paths, segment by segment.
pub(crate) fn path_relation(p: &Pattern, q: &Pattern) -> Relation {
    let (p_len, q_len) = (p.segments().len(), q.segments().len());
    let common = p.segments().iter().zip(q.segments()).fold(Equivalent, |relation, (p, q)| {
        // No early return: `Disjoint` stays `Disjoint`, and paths are short.
        relation.and(segment_relation(p, q))
    });
    // Where one is longer, the other must end in a rest, which takes in whatever comes.
    match p_len.cmp(&q_len) {
        core::cmp::Ordering::Equal => common,
        core::cmp::Ordering::Less if p.has_rest() => common.and(MoreGeneral),
        core::cmp::Ordering::Greater if q.has_rest() => common.and(MoreSpecific),
        _ => Disjoint,
    }
}

fn segment_relation(p: &Segment, q: &Segment) -> Relation {
    use Segment::{Literal, Rest, Wildcard};
    match (p, q) {
        (Rest(_), Rest(_)) | (Wildcard(_), Wildcard(_)) => Equivalent,
        (Rest(_), _) => MoreGeneral,
        (_, Rest(_)) => MoreSpecific,
        (Wildcard(_), Literal(text)) => {
            if p.covers(text) {
                MoreGeneral
            } else {
                Disjoint
            }
        }
        (Literal(text), Wildcard(_)) => {
            if q.covers(text) {
                MoreSpecific
            } else {
                Disjoint
            }
        }
        (Literal(p), Literal(q)) => {
            if p == q {
                Equivalent
            } else {
                Disjoint
            }
        }
    }
}

#[cfg(test)]
mod tests;
