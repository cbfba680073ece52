//! Takes a prefix off a path, for `strip_prefix`.

use std::borrow::Cow;

use wasmux_mux::percent_decode;

/// What is left of `path` behind `prefix`, which does not end with a slash: nothing, or what begins with one. Segments are
/// compared as patterns match them, each decoded. `None` when the path does not begin so; `/apix` does not begin with `/api`.
pub(crate) fn strip<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    let mut rest = path;
    for wanted in prefix.split('/').skip(1) {
        let behind = rest.strip_prefix('/')?;
        let end = behind.find('/').unwrap_or(behind.len());
        if decoded(&behind[..end]) != decoded(wanted) {
            return None;
        }
        rest = &behind[end..];
    }
    Some(rest)
}

/// Text that cannot be decoded stands for itself, as in net/http.
fn decoded(segment: &str) -> Cow<'_, [u8]> {
    percent_decode(segment).unwrap_or(Cow::Borrowed(segment.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_taken_off() {
        for (path, prefix, rest) in [
            ("/api/x", "/api", Some("/x")),
            ("/api", "/api", Some("")),
            ("/api/", "/api", Some("/")),
            ("/apix", "/api", None),
            ("/ap", "/api", None),
            ("/", "/api", None),
            ("/x", "", Some("/x")),
            ("/%61pi/%2F", "/api", Some("/%2F")),
            ("/a b/x", "/a%20b", Some("/x")),
            ("/a%2Fb/x", "/a/b", None),
            ("/a/b/x", "/a/b", Some("/x")),
            ("/100%/x", "/100%", Some("/x")),
            ("*", "/api", None),
        ] {
            assert_eq!(strip(path, prefix), rest, "{path} without {prefix}");
        }
    }
}
