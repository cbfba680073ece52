//! Any text is a pattern or an error that points into it.

use wasmux_mux::{Pattern, SEGMENTS_MAX, Segment};

/// Input: the text.
pub fn pattern(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Pattern::parse(text) {
        Ok(pattern) => check(text, &pattern),
        Err(error) => {
            assert!(text.is_char_boundary(error.offset()), "{error}");
            assert_eq!(error.pattern(), text);
            assert!(!error.to_string().contains('\n'), "one line");
        }
    }
}

fn check(text: &str, pattern: &Pattern) {
    assert_eq!(pattern.as_str(), text);
    assert_eq!(pattern.to_string().parse().as_ref(), Ok(pattern));
    assert!((1..=SEGMENTS_MAX).contains(&pattern.segments().len()));

    let mut names: Vec<&str> = pattern.names().collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "names differ");

    let rests = pattern.segments().iter().rposition(|segment| matches!(segment, Segment::Rest(_)));
    assert!(rests.is_none_or(|at| at + 1 == pattern.segments().len()), "a rest is last");

    let method = pattern.method().unwrap_or_default();
    let host = pattern.host().unwrap_or_default();
    assert!(text.starts_with(method) && text.contains(&format!("{host}/")));
}
