//! Takes a handler's secrets out of what it has the host write to the log.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use memchr::memmem;

/// Shorter secrets are no secrets: masking them would garble every line.
const MASKED_BYTES_MIN: usize = 4;

/// Stands in log lines where a secret was, or several that overlap.
const MASK: &str = "[secret]";

/// What is not to be seen: each secret as it is, each of its lines, and both as they are written in quotes. One that is broken up
/// or written in yet another way is not found.
#[derive(Default)]
pub(super) struct Masks {
    hidden: Vec<String>,
    /// The longest of them, in bytes.
    bytes_max: usize,
}

impl fmt::Debug for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} masks", self.hidden.len())
    }
}

impl Masks {
    pub(super) fn new<'s>(secrets: impl Iterator<Item = &'s str>) -> Self {
        let mut hidden = Vec::new();
        for secret in secrets {
            // What prints a secret line by line makes several log lines of it, without the white space at their ends.
            for part in [secret].into_iter().chain(secret.lines().map(str::trim)) {
                if part.len() >= MASKED_BYTES_MIN {
                    let debug = format!("{part:?}");
                    hidden.push(debug[1..debug.len() - 1].to_owned());
                    hidden.extend([part.escape_debug().to_string(), part.escape_default().to_string()]);
                    hidden.push(part.to_owned());
                }
            }
        }
        hidden.sort();
        hidden.dedup();
        let bytes_max = hidden.iter().map(String::len).max().unwrap_or(0);
        Self { hidden, bytes_max }
    }

    /// How much behind a place has to be known for what is hidden there to be found, in bytes.
    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// A text without secrets.
    pub(super) fn apply(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.cut(text.as_bytes(), text.len())).into_owned()
    }

    /// The first bytes of a text, so many of them, without secrets: of one that lies across the end nothing is seen.
    pub(super) fn cut<'t>(&self, text: &'t [u8], bytes_max: usize) -> Cow<'t, [u8]> {
        let end = bytes_max.min(text.len());
        let ranges = self.ranges(text, end);
        if ranges.is_empty() {
            return Cow::Borrowed(&text[..end]);
        }
        let mut masked = Vec::with_capacity(end);
        let mut seen = 0;
        for range in ranges {
            masked.extend_from_slice(&text[seen..range.start]);
            masked.extend_from_slice(MASK.as_bytes());
            seen = range.end;
        }
        masked.extend_from_slice(text.get(seen..end).unwrap_or_default());
        Cow::Owned(masked)
    }

    /// Where secrets are that begin before `end`, in order; those that overlap or touch are one.
    fn ranges(&self, text: &[u8], end: usize) -> Vec<Range<usize>> {
        let known = &text[..text.len().min(end.saturating_add(self.bytes_max))];
        let mut found = Vec::new();
        for secret in &self.hidden {
            let finder = memmem::Finder::new(secret);
            let mut from = 0;
            // Also those that overlap with themselves.
            while let Some(at) = finder.find(&known[from..]).map(|at| from + at).filter(|&at| at < end) {
                found.push(at..at + secret.len());
                from = at + 1;
            }
        }
        found.sort_by_key(|range| range.start);
        let mut merged: Vec<Range<usize>> = Vec::new();
        for range in found {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        merged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(secrets: &[&str], text: &str) -> String {
        Masks::new(secrets.iter().copied()).apply(text)
    }

    #[test]
    fn secrets_are_masked_however_they_lie() {
        let secrets = ["s3cr3t", "s3cr3t-and-more", "abc", "abcdef", "defghi", "aaaa"];
        for (text, wanted) in [
            ("a s3cr3t, s3cr3t-and-more, fast abc", "a [secret], [secret], fast abc"),
            ("xabcdefghix", "x[secret]x"),
            ("baaaaaab", "b[secret]b"),
            ("s3cr3ts3cr3t!", "[secret]!"),
            ("s3cr3", "s3cr3"),
        ] {
            assert_eq!(masked(&secrets, text), wanted);
        }
    }

    #[test]
    fn so_are_their_lines_and_their_quoted_forms() {
        let key = "-----BEGIN-----\r\nMIIEvQ\"\\x\nab\n  tail-of-it\n";
        assert_eq!(masked(&[key], key), "[secret]");
        assert_eq!(masked(&[key], "MIIEvQ\"\\x"), "[secret]");
        assert_eq!(masked(&[key], "x tail-of-it"), "x [secret]");
        assert_eq!(masked(&["it's\n1"], "\"it's\\n1\""), "\"[secret]\"");
        assert_eq!(masked(&[key], &format!("{:?}", Some(key))), "Some(\"[secret]\")");
        assert_eq!(masked(&["hunter2\n"], "hunter2"), "[secret]");
        assert_eq!(masked(&["p\u{e4}ss\tword"], &"p\u{e4}ss\tword".escape_default().to_string()), "[secret]");
    }

    #[test]
    fn a_cut_shows_nothing_of_a_secret() {
        let masks = Masks::new(["0123456789"].into_iter());
        let text = b"xx0123456789yy";
        for (end, wanted) in [
            (2, "xx"),
            (3, "xx[secret]"),
            (11, "xx[secret]"),
            (12, "xx[secret]"),
            (13, "xx[secret]y"),
            (99, "xx[secret]yy"),
        ] {
            assert_eq!(masks.cut(text, end).as_ref(), wanted.as_bytes(), "{end}");
        }
    }
}
