//! Finds the pattern for a request: a tree that branches on the host, then on the method, then on each
//! segment.
//!
//! Precedence needs no comparing of patterns here. Since no two registered patterns conflict, trying at each
//! node the literal first, then the wildcard, then the rest meets the most specific match first. It may have
//! to go back: with `/a/b/z` and `/a/{x}/c`, the path `/a/b/c` goes down `b` in vain before it takes `{x}`.
//!
//! Invariant: every node lies on the way to a pattern, and none is deeper than `SEGMENTS_MAX` segments, which
//! bounds the recursion. Each node is visited at most once in a lookup, so a lookup is never slower than a
//! walk of the tree.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use crate::path::Path;
use crate::pattern::{Pattern, Segment};

/// The registered patterns, identified by the numbers that `insert` was given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    /// Its children are hosts, theirs are methods, theirs are first segments.
    root: Node,
}

/// A choice of host, method or segment. One type serves all three: each has names to choose from and a way
/// for everything else.
#[derive(Clone, Debug, Default)]
struct Node {
    literals: BTreeMap<Box<[u8]>, Node>,
    /// Patterns without a host, without a method, or with a wildcard here. An empty segment of a pattern is
    /// kept here too, as in Go: `//foo` matches `/x/foo`.
    any: Option<Box<Node>>,
    /// The pattern whose rest starts here.
    rest: Option<usize>,
    /// The pattern that ends here.
    pattern: Option<usize>,
}

impl Tree {
    /// Adds a pattern that conflicts with none of those in the tree.
    ///
    /// # Errors
    /// With the pattern that has its place already. Only one with an empty segment can meet another there.
    pub(crate) fn insert(&mut self, pattern: &Pattern, id: usize) -> Result<(), usize> {
        let mut node = self.root.child(pattern.host()).child(pattern.method());
        for segment in pattern.segments() {
            node = match segment {
                Segment::Literal(text) if text.is_empty() => node.child(None),
                Segment::Literal(text) => node.literals.entry(text.clone()).or_default(),
                Segment::Wildcard(_) => node.child(None),
                Segment::Rest(_) => return place(&mut node.rest, id),
            };
        }
        place(&mut node.pattern, id)
    }

    /// The best match. The host is compared as it is; a pattern that names it wins over any that does not.
    pub(crate) fn find(&self, host: &str, method: &str, path: Path<'_>) -> Option<usize> {
        self.hosts(host).find_map(|methods| methods.find_method(method, path))
    }

    /// For each method, the best match among the patterns that name it.
    pub(crate) fn find_any_method(&self, host: &str, path: Path<'_>) -> impl Iterator<Item = usize> {
        self.hosts(host)
            .flat_map(|methods| methods.literals.values())
            .filter_map(move |segments| segments.find_path(path))
    }

    fn hosts(&self, host: &str) -> impl Iterator<Item = &Node> {
        [self.root.literals.get(host.as_bytes()), self.root.any.as_deref()].into_iter().flatten()
    }
}

/// Takes a place, unless it is taken.
fn place(place: &mut Option<usize>, id: usize) -> Result<(), usize> {
    match place {
        Some(taken) => Err(*taken),
        None => {
            *place = Some(id);
            Ok(())
        }
    }
}

impl Node {
    fn child(&mut self, name: Option<&str>) -> &mut Node {
        match name {
            Some(name) => self.literals.entry(name.as_bytes().into()).or_default(),
            None => self.any.get_or_insert_default(),
        }
    }

    fn find_method(&self, method: &str, path: Path<'_>) -> Option<usize> {
        let named = |method: &str| self.literals.get(method.as_bytes())?.find_path(path);
        named(method)
            .or_else(|| if method == "HEAD" { named("GET") } else { None })
            .or_else(|| self.any.as_ref()?.find_path(path))
    }

    fn find_path(&self, path: Path<'_>) -> Option<usize> {
        if path.is_empty() {
            return self.pattern;
        }
        let (segment, rest) = path.split_first()?;
        let literal = self.literals.get(&*segment).and_then(|node| node.find_path(rest));
        if literal.is_some() {
            return literal;
        }
        if let Some(node) = &self.any
            && *segment != *b"/"
            && let Some(found) = node.find_path(rest)
        {
            return Some(found);
        }
        self.rest
    }
}
