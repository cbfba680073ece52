//! The mux: patterns in, a verdict on each request out. Owns the order of the decisions (match, slash
//! redirect, cleaning redirect, 405, 404); the parts are in `tree`, `path` and `index`. Never writes a
//! response.
//! Invariant: no two patterns of a `Mux` match the same request equally well.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::conflict::{Conflict, InsertError};
use crate::index::Index;
use crate::path::{Path, clean_path, strip_port};
use crate::pattern::{Pattern, Segment};
use crate::relation::conflicts;
use crate::target::push_escaped;
use crate::tree::Tree;

/// A set of patterns, each with a value (a handler, say).
///
/// Go: `net/http.ServeMux`.
#[derive(Clone, Debug)]
pub struct Mux<T> {
    /// In order of insertion. `tree` and `index` know them by their place here.
    routes: Vec<(Pattern, T)>,
    tree: Tree,
    index: Index,
}

/// What of a request decides where it goes. [`Target::request`](crate::Target::request) makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'r> {
    /// The method, compared as it is.
    pub method: &'r str,
    /// The `Host` header, or the authority of the target if it has one; the port may be there.
    pub host: &'r str,
    /// The escaped path, as sent: [`Target::path`](crate::Target::path). It may be `*` or empty.
    pub path: &'r str,
    /// The raw query, without its `?`. Only redirects look at it.
    pub query: Option<&'r str>,
}

/// Where a request goes.
#[derive(Debug)]
pub enum Found<'m, 'r, T> {
    /// To the value of a pattern.
    Match(Match<'m, 'r, T>),
    /// To another URL: 307.
    Redirect(Redirect<'m>),
    /// Nowhere with this method: 405.
    MethodNotAllowed(Allow<'m>),
    /// Nowhere: 404.
    NotFound,
    /// Nowhere, since its target is `*`: 400. (The server answers `OPTIONS *` before it asks a mux.)
    BadRequest,
}

/// The pattern that a request belongs to.
#[derive(Debug)]
pub struct Match<'m, 'r, T> {
    route: &'m (Pattern, T),
    path: &'r str,
}

// Not derived, because that would ask for `T: Clone`.
impl<T> Clone for Match<'_, '_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Match<'_, '_, T> {}

impl<'m, 'r, T> Match<'m, 'r, T> {
    /// What was registered with the pattern.
    pub fn value(&self) -> &'m T {
        &self.route.1
    }

    /// The pattern.
    pub fn pattern(&self) -> &'m Pattern {
        &self.route.0
    }

    /// The wildcards' names and what they match, percent-decoded, from left to right.
    pub fn values(&self) -> Values<'m, 'r> {
        Values { segments: self.route.0.segments().iter(), path: Path::new(self.path) }
    }

    /// What the wildcard of this name matches, percent-decoded; `None` if there is no such wildcard.
    ///
    /// Go: `Request.PathValue`.
    pub fn value_of(&self, name: &str) -> Option<Cow<'r, [u8]>> {
        self.values().find_map(|(other, value)| (other == name).then_some(value))
    }
}

/// The wildcards of a match: names and values. See [`Match::values`].
#[derive(Clone, Debug)]
pub struct Values<'m, 'r> {
    segments: core::slice::Iter<'m, Segment>,
    /// What the remaining segments match.
    path: Path<'r>,
}

impl<'m, 'r> Iterator for Values<'m, 'r> {
    type Item = (&'m str, Cow<'r, [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let segment = self.segments.next()?;
            let whole = self.path;
            let (text, rest) = self.path.split_first()?;
            self.path = rest;
            if let Some(name) = segment.name() {
                let is_rest = matches!(segment, Segment::Rest(_));
                return Some((name, if is_rest { whole.decode_rest() } else { text }));
            }
        }
    }
}

/// The request is to be repeated elsewhere, with the same method: status 307, as net/http does since Go 1.26.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect<'m> {
    location: String,
    pattern: Option<&'m Pattern>,
}

impl<'m> Redirect<'m> {
    /// The value of the `Location` header: a path and perhaps a query; printable ASCII.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// The pattern that will match the repeated request, if any.
    pub fn pattern(&self) -> Option<&'m Pattern> {
        self.pattern
    }
}

/// The methods with which a path can be requested, sorted, at least one. Displayed as the value of the
/// `Allow` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow<'m> {
    methods: Vec<&'m str>,
}

impl<'m> Allow<'m> {
    /// The methods, each once.
    pub fn methods(&self) -> impl Iterator<Item = &'m str> {
        self.methods.iter().copied()
    }
}

impl fmt::Display for Allow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, method) in self.methods.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            f.write_str(method)?;
        }
        Ok(())
    }
}

impl<T> Default for Mux<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Mux<T> {
    /// A mux without patterns: every request is not found.
    pub fn new() -> Self {
        Self { routes: Vec::new(), tree: Tree::default(), index: Index::default() }
    }

    /// Registers a pattern. The order in which patterns are registered does not matter to requests.
    ///
    /// Go: `ServeMux.Handle`, which panics where this returns an error.
    ///
    /// # Errors
    /// If `pattern` is not one or conflicts with an earlier one; the mux is then as it was.
    pub fn insert(&mut self, pattern: &str, value: T) -> Result<(), InsertError> {
        let pattern = Pattern::parse(pattern)?;
        let candidates = self.index.candidates(&pattern).into_iter();
        if let Some(with) = candidates.filter(|&id| conflicts(&pattern, self.pattern(id))).min() {
            return Err(InsertError::Conflict(Conflict::new(&pattern, with, self.pattern(with))));
        }
        let id = self.routes.len();
        if let Err(with) = self.tree.insert(&pattern, id) {
            return Err(InsertError::Conflict(Conflict::same_place(&pattern, with, self.pattern(with))));
        }
        self.index.insert(&pattern, id);
        self.routes.push((pattern, value));
        Ok(())
    }

    /// The same patterns with other values, made in order of insertion.
    pub fn map<U>(&self, mut value: impl FnMut(&Pattern, &T) -> U) -> Mux<U> {
        let routes = self.routes.iter().map(|(pattern, old)| (pattern.clone(), value(pattern, old)));
        Mux { routes: routes.collect(), index: self.index.clone(), tree: self.tree.clone() }
    }

    /// The patterns and their values, in order of insertion.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Pattern, &T)> + ExactSizeIterator {
        self.routes.iter().map(|(pattern, value)| (pattern, value))
    }

    /// Decides where a request goes.
    ///
    /// Go: `ServeMux.findHandler`.
    pub fn find<'m, 'r>(&'m self, request: &Request<'r>) -> Found<'m, 'r, T> {
        let Request { method, path, query, .. } = *request;
        if path == "*" {
            return Found::BadRequest;
        }
        if method == "CONNECT" {
            return self.find_connect(request);
        }
        let host = strip_port(request.host);
        let clean = clean_path(path);
        let found = self.tree.find(host, method, Path::new(&clean));
        if let Some(id) = self.slash_redirect(host, method, &clean, found) {
            return Found::Redirect(Redirect {
                location: location(&clean, "/", query),
                pattern: Some(self.pattern(id)),
            });
        }
        if let Cow::Owned(clean) = clean {
            let pattern = found.map(|id| self.pattern(id));
            return Found::Redirect(Redirect { location: location(&clean, "", query), pattern });
        }
        found.map_or_else(|| self.unmatched(host, path), |id| self.matched(id, path))
    }

    /// CONNECT names no resource of this server, so its path is not cleaned and its host keeps the port. The
    /// slash redirect is for patterns without a host, because net/http asks for that of the target, and there
    /// a path excludes a host.
    fn find_connect<'m, 'r>(&'m self, request: &Request<'r>) -> Found<'m, 'r, T> {
        let Request { method, host, path, query } = *request;
        let target_host = if path.is_empty() { host } else { "" };
        let found = self.tree.find(target_host, method, Path::new(path));
        if let Some(id) = self.slash_redirect(target_host, method, path, found) {
            let location = location(clean_path(path).trim_end_matches('/'), "/", query);
            return Found::Redirect(Redirect { location, pattern: Some(self.pattern(id)) });
        }
        let found = self.tree.find(host, method, Path::new(path));
        found.map_or_else(|| self.unmatched(target_host, path), |id| self.matched(id, path))
    }

    /// The pattern that matches `path` with a slash at its end, if the client is to be sent there: if
    /// `found`, what matches the path as it is, matches it only as part of a subtree, and the other one is
    /// the subtree's root.
    fn slash_redirect(&self, host: &str, method: &str, path: &str, found: Option<usize>) -> Option<usize> {
        let is_exact = |id: usize, path: Path<'_>| {
            let pattern = self.pattern(id);
            !pattern.has_rest() || path.ends_with_slash() && path.segment_count() == pattern.segments().len()
        };
        if path.is_empty() || path.ends_with('/') || found.is_some_and(|id| is_exact(id, Path::new(path))) {
            return None;
        }
        let slashed = Path::with_slash(path);
        // Most paths that match nothing do not match with a slash either, for any method: one walk settles it.
        if !self.tree.is_known(host, slashed) {
            return None;
        }
        self.tree.find(host, method, slashed).filter(|&id| is_exact(id, slashed))
    }

    fn matched<'m, 'r>(&'m self, id: usize, path: &'r str) -> Found<'m, 'r, T> {
        Found::Match(Match { route: &self.routes[id], path })
    }

    /// 405 if another method would have matched, or been redirected; else 404.
    fn unmatched<'r>(&self, host: &str, path: &'r str) -> Found<'_, 'r, T> {
        let mut methods: Vec<&str> = Vec::new();
        let mut allow = |id: usize| {
            if let Some(method) = self.pattern(id).method() {
                insert_sorted(&mut methods, method);
                if method == "GET" {
                    insert_sorted(&mut methods, "HEAD");
                }
            }
        };
        self.tree.visit_any_method(host, Path::new(path), &mut allow);
        if !path.ends_with('/') {
            self.tree.visit_any_method(host, Path::with_slash(path), &mut allow);
        }
        if methods.is_empty() { Found::NotFound } else { Found::MethodNotAllowed(Allow { methods }) }
    }

    fn pattern(&self, id: usize) -> &Pattern {
        &self.routes[id].0
    }
}

/// Inserts an item into a sorted list, unless it is there. (Sorting at the end costs a guest 9 KB of code.)
fn insert_sorted<'m>(sorted: &mut Vec<&'m str>, item: &'m str) {
    if let Err(index) = sorted.binary_search(&item) {
        sorted.insert(index, item);
    }
}

/// A path, a slash or nothing, and a query if it is not empty. The query is the client's own and is returned
/// byte for byte, except for bytes that a header should not hold.
fn location(path: &str, slash: &str, query: Option<&str>) -> String {
    let (mark, query) = match query {
        Some(query) if !query.is_empty() => ("?", query),
        _ => ("", ""),
    };
    let mut location = String::with_capacity(path.len() + slash.len() + mark.len() + query.len());
    for byte in [path, slash, mark, query].into_iter().flat_map(str::bytes) {
        push_escaped(&mut location, byte, byte.is_ascii_graphic());
    }
    location
}

#[cfg(test)]
mod tests;
