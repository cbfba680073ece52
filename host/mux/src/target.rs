//! The target of a request line: in origin form (`/path?query`), absolute form (`http://host/path`),
//! authority form (`CONNECT host:port`) or `*`.
//! Invariant: a `Target`'s path is ASCII, has no control bytes and no bad `%`, and is `*`, empty or starts
//! with a slash.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;

use crate::mux::Request;
use crate::path::percent_decode;

/// A request target, taken apart.
///
/// Go: what `net/url.ParseRequestURI` makes of it, and then `URL.EscapedPath`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'r> {
    /// The host and port, if the target has them. They replace the `Host` header.
    pub authority: Option<&'r str>,
    /// The escaped path. As sent, unless that has a byte that ought to be escaped (such as `{` or a letter
    /// outside ASCII). It is then decoded as a whole and escaped again, as in net/http, so that `%2F` becomes
    /// a separator.
    pub path: Cow<'r, str>,
    /// What follows the first `?`, as sent.
    pub query: Option<&'r str>,
}

/// A target that is answered with 400. Displayed as a sentence that says what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadTarget {
    /// There is nothing, or neither a slash nor an absolute URL.
    Form,
    /// A control byte or a space.
    Control,
    /// A `%` without two hex digits after it, in the path.
    Escape,
    /// A byte that no host has, a bracket without its partner, or a port that is not a number.
    Authority,
}

impl fmt::Display for BadTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "the request target is neither a path nor an absolute URL",
            Self::Control => "the request target has a control byte or a space",
            Self::Escape => "the path of the request target has a % that is not followed by two hex digits",
            Self::Authority => "the host or port of the request target is malformed",
        })
    }
}

impl core::error::Error for BadTarget {}

impl<'r> Target<'r> {
    /// Takes a target apart. The method tells `CONNECT host:port` from a URL with the scheme `host`.
    ///
    /// # Errors
    /// If it has none of the forms, or is malformed; the request is to be answered with 400.
    pub fn parse(method: &str, target: &'r str) -> Result<Self, BadTarget> {
        if target.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(BadTarget::Control);
        }
        if target == "*" && method != "CONNECT" {
            return Ok(Self { authority: None, path: "*".into(), query: None });
        }
        // As bytes: a search for a character takes longer to set up than most targets to walk.
        let (start, query) = match target.bytes().position(|byte| byte == b'?') {
            Some(at) => (&target[..at], Some(&target[at + 1..])),
            None => (target, None),
        };
        let (authority, path) = if start.starts_with('/') {
            (None, start)
        } else if method == "CONNECT" {
            split_authority(start)?
        } else {
            match strip_scheme(start)? {
                hierarchy if hierarchy.starts_with("//") => split_authority(&hierarchy[2..])?,
                path => (None, path),
            }
        };
        Ok(Self { authority, path: escape_path(path)?, query })
    }

    /// The request to look up, given its method and `Host` header.
    pub fn request<'a>(&'a self, method: &'a str, host: &'a str) -> Request<'a> {
        Request { method, host: self.authority.unwrap_or(host), path: &self.path, query: self.query }
    }
}

/// What follows `scheme:`, which starts with a slash.
fn strip_scheme(target: &str) -> Result<&str, BadTarget> {
    let (scheme, rest) = target.split_once(':').ok_or(BadTarget::Form)?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if is_scheme && rest.starts_with('/') { Ok(rest) } else { Err(BadTarget::Form) }
}

/// Splits `user@host:port/path`. An empty authority is none. The user is dropped, as in net/http.
fn split_authority(text: &str) -> Result<(Option<&str>, &str), BadTarget> {
    let (authority, path) = text.split_at(text.find('/').unwrap_or(text.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!$%&'()*+,-.:;=@[]_~".contains(&byte);
    let after_name = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.rsplit_once(']').ok_or(BadTarget::Authority)?.1,
        None => host.rfind(':').map_or("", |colon| &host[colon..]),
    };
    let is_port = |text: &str| {
        text.is_empty()
            || text.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if !authority.bytes().all(is_host_byte)
        || host.rfind('[').is_some_and(|at| at > 0)
        || !is_port(after_name)
    {
        return Err(BadTarget::Authority);
    }
    Ok((Some(host).filter(|host| !host.is_empty()), path))
}

fn escape_path(path: &str) -> Result<Cow<'_, str>, BadTarget> {
    let mut has_escapes = false;
    let is_escaped = path.bytes().all(|byte| {
        has_escapes |= byte == b'%';
        is_unescaped(byte) || matches!(byte, b'!' | b'\'' | b'(' | b')' | b'*' | b'[' | b']' | b'%')
    });
    if is_escaped && !has_escapes {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = percent_decode(path).ok_or(BadTarget::Escape)?;
    if is_escaped {
        return Ok(Cow::Borrowed(path));
    }
    let mut escaped = String::with_capacity(path.len() + 8);
    for &byte in &*decoded {
        push_escaped(&mut escaped, byte, is_unescaped(byte));
    }
    Ok(Cow::Owned(escaped))
}

/// Whether net/http leaves the byte alone when it escapes a path: RFC 3986's unreserved ones, and some
/// delimiters.
fn is_unescaped(byte: u8) -> bool {
    // `matches!` and not a search in a string: this looks at every byte of every request's path.
    matches!(byte, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' | b'.' | b'~' | b'$' | b'&' | b'+' | b','
        | b'/' | b':' | b';' | b'=' | b'@')
}

/// Appends a byte, as `%XX` unless it can stand as it is.
pub(crate) fn push_escaped(text: &mut String, byte: u8, as_is: bool) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if as_is && byte.is_ascii() {
        text.push(char::from(byte));
    } else {
        text.push('%');
        text.push(char::from(HEX[usize::from(byte >> 4)]));
        text.push(char::from(HEX[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests;
