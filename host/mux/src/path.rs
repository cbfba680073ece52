//! Request paths: cleaning, walking segment by segment, percent decoding, and the host that goes with them.
//! Everything works on the *escaped* path, so `%2F` is never a separator and `%2e%2e` never climbs.
//! Invariant: nothing here allocates unless the result differs from the input.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// The shortest path that names the same thing: no empty, `.` or `..` segments, starting with a slash. A
/// trailing slash stays. Borrowed exactly if `path` is clean already.
///
/// Go: `net/http.cleanPath`.
///
/// ```
/// assert_eq!(wasmux_mux::clean_path("/a//b/../c/"), "/a/c/");
/// ```
pub fn clean_path(path: &str) -> Cow<'_, str> {
    if is_clean(path) {
        return Cow::Borrowed(path);
    }
    let mut clean = String::with_capacity(path.len() + 1);
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => clean.truncate(clean.rfind('/').unwrap_or(0)),
            _ => {
                clean.push('/');
                clean.push_str(segment);
            }
        }
    }
    if clean.is_empty() || path.ends_with('/') {
        clean.push('/');
    }
    Cow::Owned(clean)
}

fn is_clean(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else {
        return false;
    };
    let mut segments = rest.as_bytes().split(|&byte| byte == b'/');
    let last = segments.next_back().unwrap_or_default();
    !matches!(last, b"." | b"..") && !segments.any(|segment| matches!(segment, b"" | b"." | b".."))
}

/// Replaces each `%xx` by the byte it stands for; `None` if a `%` is not followed by two hex digits.
///
/// Go: `net/url.PathUnescape` (a `+` stays a `+`).
///
/// ```
/// assert_eq!(wasmux_mux::percent_decode("a%2Fb").as_deref(), Some(&b"a/b"[..]));
/// assert_eq!(wasmux_mux::percent_decode("100%"), None);
/// ```
pub fn percent_decode(text: &str) -> Option<Cow<'_, [u8]>> {
    let Some(first) = text.bytes().position(|byte| byte == b'%') else {
        return Some(Cow::Borrowed(text.as_bytes()));
    };
    let (head, mut rest) = text.as_bytes().split_at(first);
    let mut decoded = Vec::with_capacity(text.len());
    decoded.extend_from_slice(head);
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let [high, low, after @ ..] = rest else {
            return None;
        };
        decoded.push(hex_digit(*high)? << 4 | hex_digit(*low)?);
        rest = after;
    }
    Some(Cow::Owned(decoded))
}

/// As [`percent_decode`]; text that cannot be decoded stands for itself, as in net/http.
pub(crate) fn decode_or_keep(text: &str) -> Cow<'_, [u8]> {
    percent_decode(text).unwrap_or(Cow::Borrowed(text.as_bytes()))
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The host without its port, or all of it if it is not of the form `host:port`: `[::1]:80` gives `::1`, but
/// `[::1]` and `::1` stay. The port need not be a number.
///
/// Go: `net/http.stripHostPort`.
pub fn strip_port(host: &str) -> &str {
    // As bytes, as for most hosts this is all there is to do.
    let Some(colon) = host.bytes().rposition(|byte| byte == b':') else {
        return host;
    };
    let name = &host[..colon];
    let name = match name.strip_prefix('[') {
        Some(bracketed) => bracketed.strip_suffix(']').filter(|name| !name.contains(']')),
        None if name.contains([':', ']']) => None,
        None => Some(name),
    };
    let port = host.rsplit(':').next().unwrap_or_default();
    match name {
        Some(name) if !name.contains('[') && !port.contains(['[', ']']) => name,
        _ => host,
    }
}

/// A path on its way through the tree: what is left of it, from a slash on. Paths that do not start with a
/// slash (the empty one of `CONNECT host:port`) have no segments, so no pattern matches them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path<'r> {
    rest: &'r str,
    /// Pretend that one more slash follows: "would `/tree/` match?" is asked without building that text.
    slash: bool,
}

impl<'r> Path<'r> {
    pub(crate) fn new(text: &'r str) -> Self {
        Self { rest: text, slash: false }
    }

    /// The path with a slash appended.
    pub(crate) fn with_slash(text: &'r str) -> Self {
        Self { rest: text, slash: true }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty() && !self.slash
    }

    pub(crate) fn ends_with_slash(&self) -> bool {
        self.slash || self.rest.ends_with('/')
    }

    /// How many segments the path has, counting the one that a trailing slash is.
    pub(crate) fn segment_count(&self) -> usize {
        self.rest.bytes().filter(|&byte| byte == b'/').count() + usize::from(self.slash)
    }

    /// Splits off the first segment, decoded. A trailing slash is a segment of its own, `/`. (So is `%2F`, as
    /// in net/http, where `/a/%2F` belongs to `/a/{$}` and not to `/a/{x}`.)
    pub(crate) fn split_first(self) -> Option<(Cow<'r, [u8]>, Self)> {
        const SLASH: Cow<'static, [u8]> = Cow::Borrowed(b"/");
        if self.rest.is_empty() {
            return self.slash.then_some((SLASH, Self { rest: "", slash: false }));
        }
        let text = self.rest.strip_prefix('/')?;
        if text.is_empty() && !self.slash {
            return Some((SLASH, Self { rest: "", slash: false }));
        }
        // Segments are short: a plain loop is over before a search has set itself up.
        let end = text.bytes().position(|byte| byte == b'/').unwrap_or(text.len());
        let (segment, rest) = text.split_at(end);
        Some((decode_or_keep(segment), Self { rest, ..self }))
    }

    /// Everything that is left, without its leading slash, decoded as one.
    pub(crate) fn decode_rest(self) -> Cow<'r, [u8]> {
        decode_or_keep(self.rest.strip_prefix('/').unwrap_or(self.rest))
    }
}

#[cfg(test)]
mod tests;
