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
use alloc::vec::Vec;

use crate::path::Path;
use crate::pattern::{Pattern, Segment};

/// The registered patterns, identified by the numbers that `insert` was given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    /// Its children are hosts, theirs are methods, theirs are first segments.
    root: Node,
    /// The same without methods: its children are hosts, theirs are first segments. One walk through it finds
    /// what a walk for each method would, and so makes 404 and 405 as cheap as a match.
    any_method: Node,
}

/// A choice of host, method or segment. One type serves all three: each has names to choose from and a way
/// for everything else.
#[derive(Clone, Debug, Default)]
struct Node {
    literals: BTreeMap<Box<[u8]>, Node>,
    /// Patterns without a host, without a method, or with a wildcard here. An empty segment of a pattern is
    /// kept here too, as in Go: `//foo` matches `/x/foo`.
    any: Option<Box<Node>>,
    /// The patterns whose rest starts here: with methods told apart, at most one.
    rest: Vec<usize>,
    /// The patterns that end here: with methods told apart, at most one.
    patterns: Vec<usize>,
}

impl Tree {
    /// Adds a pattern that conflicts with none of those in the tree.
    ///
    /// # Errors
    /// With the pattern that has its place already. Only one with an empty segment can meet another there.
    pub(crate) fn insert(&mut self, pattern: &Pattern, id: usize) -> Result<(), usize> {
        let place = self.root.child(pattern.host()).child(pattern.method()).place(pattern);
        if let Some(&taken) = place.first() {
            return Err(taken);
        }
        place.push(id);
        self.any_method.child(pattern.host()).place(pattern).push(id);
        Ok(())
    }

    /// The best match. The host is compared as it is; a pattern that names it wins over any that does not.
    pub(crate) fn find(&self, host: &str, method: &str, path: Path<'_>) -> Option<usize> {
        hosts(&self.root, host).find_map(|methods| methods.find_method(method, path))
    }

    /// Whether any pattern matches the path, whatever its method.
    pub(crate) fn is_known(&self, host: &str, path: Path<'_>) -> bool {
        hosts(&self.any_method, host).any(|segments| segments.find_path(path).is_some())
    }

    /// Every pattern that matches the path, whatever its method.
    pub(crate) fn visit_any_method(&self, host: &str, path: Path<'_>, visit: &mut impl FnMut(usize)) {
        hosts(&self.any_method, host).for_each(|segments| segments.visit(path, visit));
    }
}

/// The branch of the named host, then that of patterns without a host.
fn hosts<'n>(root: &'n Node, host: &str) -> impl Iterator<Item = &'n Node> {
    [root.literals.get(host.as_bytes()), root.any.as_deref()].into_iter().flatten()
}

impl Node {
    fn child(&mut self, name: Option<&str>) -> &mut Node {
        match name {
            Some(name) => self.literals.entry(name.as_bytes().into()).or_default(),
            None => self.any.get_or_insert_default(),
        }
    }

    /// Where a pattern is kept, down its segments from here.
    fn place(&mut self, pattern: &Pattern) -> &mut Vec<usize> {
        let mut node = self;
        for segment in pattern.segments() {
            node = match segment {
                Segment::Literal(text) if text.is_empty() => node.child(None),
                Segment::Literal(text) => node.literals.entry(text.clone()).or_default(),
                Segment::Wildcard(_) => node.child(None),
                Segment::Rest(_) => return &mut node.rest,
            };
        }
        &mut node.patterns
    }

    fn find_method(&self, method: &str, path: Path<'_>) -> Option<usize> {
        let named = |method: &str| self.literals.get(method.as_bytes())?.find_path(path);
        named(method)
            .or_else(|| if method == "HEAD" { named("GET") } else { None })
            .or_else(|| self.any.as_ref()?.find_path(path))
    }

    fn find_path(&self, path: Path<'_>) -> Option<usize> {
        if path.is_empty() {
            return self.patterns.first().copied();
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
        self.rest.first().copied()
    }

    /// As [`Self::find_path`], but goes every way and stops at no match.
    fn visit(&self, path: Path<'_>, visit: &mut impl FnMut(usize)) {
        if path.is_empty() {
            self.patterns.iter().copied().for_each(visit);
            return;
        }
        let Some((segment, rest)) = path.split_first() else { return };
        if let Some(node) = self.literals.get(&*segment) {
            node.visit(rest, visit);
        }
        if let Some(node) = &self.any
            && *segment != *b"/"
        {
            node.visit(rest, visit);
        }
        self.rest.iter().copied().for_each(visit);
    }
}
