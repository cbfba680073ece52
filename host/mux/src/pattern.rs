//! A pattern: the text form of a route, `[METHOD ][HOST]/PATH`, parsed.
//! Says nothing about how patterns relate (`relation`) or how requests find them (`tree`).
//! Invariant: a `Pattern` has 1 to `SEGMENTS_MAX` segments, only the last can be a rest, and wildcard names
//! differ.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::path::{clean_path, decode_or_keep};
use crate::quote::Quoted;

/// The most segments a pattern can have; more are refused with [`Reason::TooManySegments`]. It bounds how
/// deep a lookup recurses.
pub const SEGMENTS_MAX: usize = 255;

/// A parsed pattern, such as `GET example.com/users/{id}`.
///
/// Go: the syntax is that of `net/http.ServeMux`, "Patterns".
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    method: Box<str>,
    host: Box<str>,
    segments: Box<[Segment]>,
}

/// What stands between two slashes of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// These bytes, percent-decoded. A final `/` is `{$}`: the path ends with a slash here. It cannot be
    /// mistaken for text, since a slash would have ended the segment (`%2F` alone means `{$}`, as it does in
    /// net/http).
    Literal(Box<[u8]>),
    /// `{name}`: one segment.
    Wildcard(Box<str>),
    /// `{name...}`: whatever is left of the path, at least a slash. The name is empty for a trailing slash.
    Rest(Box<str>),
}

impl Segment {
    /// The name under which a request's value can be asked for.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Wildcard(name) | Self::Rest(name) if !name.is_empty() => Some(name),
            _ => None,
        }
    }

    /// Whether this is `{$}`.
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Literal(text) if **text == *b"/")
    }

    /// Whether a segment of a path, decoded, is matched. The slash at the end of a path is no wildcard's.
    pub(crate) fn covers(&self, segment: &[u8]) -> bool {
        match self {
            Self::Literal(text) => **text == *segment,
            Self::Wildcard(_) => segment != b"/",
            Self::Rest(_) => true,
        }
    }
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// Names the offset in `text` and what is wrong there.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        parse(text).map_err(|(offset, reason)| PatternError { pattern: text.into(), offset, reason })
    }

    /// The pattern exactly as it was registered. Go: `Request.Pattern`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The only method that it matches (`GET` matches `HEAD` as well); `None` for all.
    pub fn method(&self) -> Option<&str> {
        Some(&*self.method).filter(|method| !method.is_empty())
    }

    /// The only host that it matches; `None` for all.
    pub fn host(&self) -> Option<&str> {
        Some(&*self.host).filter(|host| !host.is_empty())
    }

    /// The path, one segment for each slash.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The names of the wildcards, from left to right.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(Segment::name)
    }

    /// Whether the path ends in a slash or `{name...}`, and so has no end.
    pub(crate) fn has_rest(&self) -> bool {
        matches!(self.segments.last(), Some(Segment::Rest(_)))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.text)
    }
}

impl core::str::FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        Self::parse(text)
    }
}

/// Why a text is not a pattern. Displayed as `parsing "/{": at offset 1: …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    pattern: Box<str>,
    offset: usize,
    reason: Reason,
}

impl PatternError {
    /// The text that is not a pattern.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// The byte of [`pattern`](Self::pattern) where the trouble starts; at most its length.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// What is wrong there.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.reason == Reason::Empty {
            return write!(f, "http: invalid pattern: {}", self.reason);
        }
        let pattern = Quoted(self.pattern.as_bytes());
        write!(f, "parsing {pattern}: at offset {}: {}", self.offset, self.reason)
    }
}

impl core::error::Error for PatternError {}

/// What can be wrong with a pattern. Displayed in the words of net/http.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// There is no text.
    Empty,
    /// What stands before the first space or tab is not a token of RFC 9110.
    InvalidMethod(Box<str>),
    /// There is no slash.
    MissingSlash,
    /// The host has a wildcard; more likely the pattern lacks its first slash.
    BraceInHost,
    /// Requests with this method have their paths cleaned before they are matched, and this one is not clean.
    UncleanPath,
    /// Text before a wildcard, as in `/x{y}`.
    TextBeforeWildcard,
    /// Text after a wildcard, as in `/{x}y`, or no closing brace.
    TextAfterWildcard,
    /// `{$}` with something after it.
    EndNotLast,
    /// `{name...}` with something after it.
    RestNotLast,
    /// `{}` or `{...}`.
    EmptyName,
    /// A wildcard name that is not an identifier.
    BadName(Box<str>),
    /// The name of an earlier wildcard of the same pattern.
    DuplicateName(Box<str>),
    /// More than [`SEGMENTS_MAX`].
    TooManySegments,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, name) = match self {
            Self::Empty => ("empty pattern", None),
            Self::InvalidMethod(method) => ("invalid method ", Some(method)),
            Self::MissingSlash => ("host/path missing /", None),
            Self::BraceInHost => ("host contains '{' (missing initial '/'?)", None),
            Self::UncleanPath => ("non-CONNECT pattern with unclean path can never match", None),
            Self::TextBeforeWildcard => ("bad wildcard segment (must start with '{')", None),
            Self::TextAfterWildcard => ("bad wildcard segment (must end with '}')", None),
            Self::EndNotLast => ("{$} not at end", None),
            Self::RestNotLast => ("{...} wildcard not at end", None),
            Self::EmptyName => ("empty wildcard", None),
            Self::BadName(name) => ("bad wildcard name ", Some(name)),
            Self::DuplicateName(name) => ("duplicate wildcard name ", Some(name)),
            Self::TooManySegments => return write!(f, "more than {SEGMENTS_MAX} segments"),
        };
        f.write_str(text)?;
        name.map_or(Ok(()), |name| write!(f, "{}", Quoted(name.as_bytes())))
    }
}

/// An offset and what is wrong there.
type Flaw = (usize, Reason);

fn parse(text: &str) -> Result<Pattern, Flaw> {
    if text.is_empty() {
        return Err((0, Reason::Empty));
    }
    let (method, rest) = match text.split_once([' ', '\t']) {
        Some((method, rest)) => (method, rest.trim_start_matches([' ', '\t'])),
        None => ("", text),
    };
    if !method.bytes().all(is_token_byte) {
        return Err((0, Reason::InvalidMethod(method.into())));
    }
    let host_offset = text.len() - rest.len();
    let Some(host_len) = rest.find('/') else {
        return Err((host_offset, Reason::MissingSlash));
    };
    let (host, path) = rest.split_at(host_len);
    if let Some(brace) = host.find('{') {
        return Err((host_offset + brace, Reason::BraceInHost));
    }
    let path_offset = host_offset + host_len;
    if !matches!(method, "" | "CONNECT") && matches!(clean_path(path), Cow::Owned(_)) {
        return Err((path_offset, Reason::UncleanPath));
    }
    let segments = parse_path(path).map_err(|(offset, reason)| (path_offset + offset, reason))?;
    Ok(Pattern { text: text.into(), method: method.into(), host: host.into(), segments })
}

/// Parses a path, which starts with a slash.
fn parse_path(path: &str) -> Result<Box<[Segment]>, Flaw> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut rest = path;
    while let Some(tail) = rest.strip_prefix('/') {
        let offset = path.len() - tail.len();
        let (text, after) = tail.split_at(tail.find('/').unwrap_or(tail.len()));
        rest = after;
        if segments.len() == SEGMENTS_MAX {
            return Err((offset, Reason::TooManySegments));
        }
        let segment = parse_segment(text, rest.is_empty()).map_err(|reason| (offset, reason))?;
        if let Some(name) = segment.name()
            && segments.iter().any(|earlier| earlier.name() == Some(name))
        {
            return Err((offset, Reason::DuplicateName(name.into())));
        }
        segments.push(segment);
    }
    Ok(segments.into())
}

/// Parses what stands between two slashes, or after the last one.
fn parse_segment(text: &str, is_last: bool) -> Result<Segment, Reason> {
    if text.is_empty() && is_last {
        return Ok(Segment::Rest("".into()));
    }
    let Some(brace) = text.find('{') else {
        return Ok(Segment::Literal(decode_or_keep(text).into()));
    };
    if brace != 0 {
        return Err(Reason::TextBeforeWildcard);
    }
    let Some(name) = text[1..].strip_suffix('}') else {
        return Err(Reason::TextAfterWildcard);
    };
    if name == "$" {
        return if is_last { Ok(Segment::Literal((*b"/").into())) } else { Err(Reason::EndNotLast) };
    }
    let (name, is_rest) = name.strip_suffix("...").map_or((name, false), |name| (name, true));
    if is_rest && !is_last {
        return Err(Reason::RestNotLast);
    }
    if name.is_empty() {
        return Err(Reason::EmptyName);
    }
    if !is_identifier(name) {
        return Err(Reason::BadName(name.into()));
    }
    Ok(if is_rest { Segment::Rest(name.into()) } else { Segment::Wildcard(name.into()) })
}

/// Go's identifiers, except that `char` counts a few more scripts' characters as letters.
fn is_identifier(name: &str) -> bool {
    !name.starts_with(char::is_numeric) && name.chars().all(|char| char == '_' || char.is_alphanumeric())
}

/// RFC 9110, section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
