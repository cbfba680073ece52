//! Why a request goes where it goes, in sentences, for people who debug a set of patterns. Looks at every
//! pattern in turn, so it is slow and independent of the tree. Decides nothing: the verdict is `find`'s.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::mux::{Found, Mux, Request};
use crate::path::{Path, strip_port};
use crate::pattern::{Pattern, Segment};
use crate::quote::Quoted;

/// What becomes of a request, and why. Displayed as one line for the verdict and one for each runner-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation<'m> {
    verdict: String,
    winner: Option<&'m Pattern>,
    runners_up: Vec<RunnerUp<'m>>,
}

impl<'m> Explanation<'m> {
    /// What becomes of the request, in one sentence.
    pub fn verdict(&self) -> &str {
        &self.verdict
    }

    /// The pattern that matches the request, or will match it after a redirect.
    pub fn winner(&self) -> Option<&'m Pattern> {
        self.winner
    }

    /// The other patterns that match the path, or would with another method, host or final slash; in order of
    /// insertion.
    pub fn runners_up(&self) -> &[RunnerUp<'m>] {
        &self.runners_up
    }
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.verdict)?;
        for RunnerUp { pattern, reason } in &self.runners_up {
            write!(f, "\n  not {}: {reason}", Quoted(pattern.as_str().as_bytes()))?;
        }
        Ok(())
    }
}

/// A pattern that might have been expected to match, and why it did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunnerUp<'m> {
    /// The pattern.
    pub pattern: &'m Pattern,
    /// One sentence.
    pub reason: String,
}

impl<T> Mux<T> {
    /// Explains what [`find`](Self::find) makes of a request: which pattern wins, and why each of the others
    /// that come close does not.
    pub fn explain(&self, request: &Request<'_>) -> Explanation<'_> {
        let found = self.find(request);
        let (winner, path) = match &found {
            Found::Match(found) => (Some(found.pattern()), request.path),
            // The patterns compete for the path that the client is sent to.
            Found::Redirect(redirect) => (redirect.pattern(), until_query(redirect.location())),
            Found::MethodNotAllowed(_) | Found::NotFound | Found::BadRequest => (None, request.path),
        };
        let host = if request.method == "CONNECT" { request.host } else { strip_port(request.host) };
        let contest = Contest { method: request.method, host, path, winner };
        let others = self.iter().map(|(pattern, _)| pattern).filter(|pattern| winner != Some(pattern));
        let runners_up =
            others.filter_map(|pattern| Some(RunnerUp { pattern, reason: contest.defeat(pattern)? }));
        let runners_up = runners_up.collect();
        Explanation { verdict: verdict(&found, request), winner, runners_up }
    }
}

fn verdict<T>(found: &Found<'_, '_, T>, request: &Request<'_>) -> String {
    match found {
        Found::Match(found) => format!("{} matches.", quoted(found.pattern())),
        Found::Redirect(redirect) => {
            let location = Quoted(redirect.location().as_bytes());
            match redirect.pattern() {
                Some(pattern) => format!("Redirected to {location}, where {} matches: 307.", quoted(pattern)),
                None => format!("Redirected to {location}, the clean path, where no pattern matches: 307."),
            }
        }
        Found::MethodNotAllowed(allow) => {
            format!("The path does not allow {}: 405, Allow: {allow}.", Quoted(request.method.as_bytes()))
        }
        Found::NotFound => "No pattern matches: 404.".to_string(),
        Found::BadRequest => "The target \"*\" is no path: 400.".to_string(),
    }
}

fn until_query(location: &str) -> &str {
    location.split_once('?').map_or(location, |(path, _)| path)
}

fn quoted(pattern: &Pattern) -> Quoted<'_> {
    Quoted(pattern.as_str().as_bytes())
}

/// A request as the tree sees it, and the pattern that won it.
struct Contest<'a> {
    method: &'a str,
    host: &'a str,
    path: &'a str,
    winner: Option<&'a Pattern>,
}

impl Contest<'_> {
    /// Why `loser` lost, in one sentence; `None` if its path is not even close.
    fn defeat(&self, loser: &Pattern) -> Option<String> {
        let slash = self.slash(loser)?;
        if let Some(host) = loser.host().filter(|&host| host != self.host) {
            let (host, asked) = (Quoted(host.as_bytes()), Quoted(self.host.as_bytes()));
            return Some(format!("it is for the host {host}, and the request is for {asked}."));
        }
        let is_asked = |method: &str| method == self.method || (method, self.method) == ("GET", "HEAD");
        if let Some(method) = loser.method().filter(|method| !is_asked(method)) {
            return Some(format!("it is for the method {method}."));
        }
        match slash {
            Slash::Fits => Some(precedence(self.winner?, loser)),
            Slash::Missing => Some("it needs a slash at the end of the path.".to_string()),
            Slash::TooMuch => Some("it has no slash at its end, and the path does.".to_string()),
        }
    }

    /// Whether the path is matched, or would be with or without a slash at its end.
    fn slash(&self, pattern: &Pattern) -> Option<Slash> {
        let covers = |path| covers(pattern, path);
        match self.path.strip_suffix('/') {
            _ if covers(Path::new(self.path)) => Some(Slash::Fits),
            Some(path) => covers(Path::new(path)).then_some(Slash::TooMuch),
            None => covers(Path::with_slash(self.path)).then_some(Slash::Missing),
        }
    }
}

/// How the end of a path suits a pattern that matches the rest of it.
enum Slash {
    Fits,
    Missing,
    TooMuch,
}

/// Whether a pattern matches a path. The tree answers this for all patterns at once, but only for the best of
/// them.
fn covers(pattern: &Pattern, mut path: Path<'_>) -> bool {
    for segment in pattern.segments() {
        match path.split_first() {
            Some(_) if matches!(segment, Segment::Rest(_)) => return true,
            Some((text, rest)) if segment.covers(&text) => path = rest,
            _ => return false,
        }
    }
    path.is_empty()
}

/// Why `winner` comes before `loser` for a request that both match. They do not conflict, so one of these
/// holds: it alone names the host, its path is more specific, or its method is.
fn precedence(winner: &Pattern, loser: &Pattern) -> String {
    use Segment::{Literal, Rest, Wildcard};
    let name = quoted(winner);
    if let (Some(host), None) = (winner.host(), loser.host()) {
        return format!("{name} names the host {}.", Quoted(host.as_bytes()));
    }
    let mut pairs = winner.segments().iter().zip(loser.segments());
    let advantage = pairs.find_map(|pair| match pair {
        (Literal(_), Literal(_)) | (Wildcard(_), Wildcard(_)) | (Rest(_), _) => None,
        (end, _) if end.is_end() => Some(format!("{name} ends where the path does, and it does not.")),
        (Literal(text), _) => Some(format!("{name} has {} where it has a wildcard.", Quoted(text))),
        (Wildcard(_), _) => Some(format!("{name} takes one segment where it takes all that follow.")),
    });
    advantage.unwrap_or_else(|| format!("{name} names the method {}.", winner.method().unwrap_or_default()))
}

#[cfg(test)]
mod tests;
