//! Makes looking for conflicts quick. Without it, registering n patterns would compare n² pairs.
//! Invariant: `candidates(p)` contains every registered pattern that conflicts with `p` (and some that do
//! not).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::pattern::{Pattern, Segment};

/// The registered patterns by host. Patterns with different hosts never conflict.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    hosts: BTreeMap<Box<str>, Host>,
}

/// The patterns of one host. They are identified by the numbers that `insert` was given.
#[derive(Clone, Debug, Default)]
struct Host {
    all: Vec<usize>,
    /// By position in the path: the second element knows about all patterns with a second segment.
    positions: Vec<Position>,
}

/// The patterns by what they have at one position.
#[derive(Clone, Debug, Default)]
struct Position {
    literals: BTreeMap<Box<[u8]>, Vec<usize>>,
    wildcards: Vec<usize>,
    rests: Vec<usize>,
}

impl Index {
    pub(crate) fn insert(&mut self, pattern: &Pattern, id: usize) {
        let host = self.hosts.entry(pattern.host().unwrap_or_default().into()).or_default();
        host.all.push(id);
        for (at, segment) in pattern.segments().iter().enumerate() {
            if host.positions.len() == at {
                host.positions.push(Position::default());
            }
            let position = &mut host.positions[at];
            match segment {
                Segment::Literal(text) => position.literals.entry(text.clone()).or_default().push(id),
                Segment::Wildcard(_) => position.wildcards.push(id),
                Segment::Rest(_) => position.rests.push(id),
            }
        }
    }

    /// The patterns that may conflict with this one, in no order.
    ///
    /// Every literal of the pattern narrows them down. The one that leaves the fewest is used; all of them
    /// together would leave fewer still, but finding those would cost more than comparing a few in vain.
    pub(crate) fn candidates(&self, pattern: &Pattern) -> Vec<usize> {
        let Some(host) = self.hosts.get(pattern.host().unwrap_or_default()) else {
            return Vec::new();
        };
        let by_literal = pattern.segments().iter().enumerate().filter_map(|(at, segment)| match segment {
            Segment::Literal(text) => Some(host.compatible(at, text)),
            Segment::Wildcard(_) | Segment::Rest(_) => None,
        });
        let fewest = by_literal.min_by_key(|lists| lists.iter().map(|list| list.len()).sum::<usize>());
        fewest.map_or_else(|| host.all.clone(), |lists| lists.concat())
    }
}

impl Host {
    /// The patterns that can match a path with this literal at this position: they have the same there, or a
    /// wildcard, or a rest there or before.
    fn compatible(&self, at: usize, literal: &[u8]) -> Vec<&[usize]> {
        let up_to = &self.positions[..self.positions.len().min(at + 1)];
        let mut lists: Vec<&[usize]> = up_to.iter().map(|position| &*position.rests).collect();
        if let Some(position) = self.positions.get(at) {
            lists.push(&position.wildcards);
            lists.extend(position.literals.get(literal).map(|list| &**list));
        }
        lists
    }
}

#[cfg(test)]
mod tests;
