use alloc::format;
use alloc::string::String;
use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::relation::conflicts;

/// Patterns from few words, so that many pairs are related; valid or not.
fn pattern_text() -> impl Strategy<Value = String> {
    let method = prop_oneof![Just(""), Just("GET "), Just("HEAD "), Just("POST ")];
    let host = prop_oneof![4 => Just(""), 1 => Just("h")];
    let segment = prop_oneof![Just("a"), Just("b"), Just("{}"), Just("%61"), Just("")];
    let end = prop_oneof![Just(""), Just("/"), Just("/{$}"), Just("/{rest...}")];
    (method, host, prop::collection::vec(segment, 0..4), end).prop_map(|(method, host, segments, end)| {
        let mut text = format!("{method}{host}");
        for (at, segment) in segments.iter().enumerate() {
            text += "/";
            text += &segment.replace("{}", &format!("{{w{at}}}"));
        }
        text + end
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Unlike in a mux, patterns that conflict are registered all the same.
    #[test]
    fn never_misses_a_conflict(texts in prop::collection::vec(pattern_text(), 1..25)) {
        let patterns: Vec<Pattern> = texts.iter().filter_map(|text| Pattern::parse(text).ok()).collect();
        let mut index = Index::default();
        for (id, pattern) in patterns.iter().enumerate() {
            let found = |candidate: &usize| conflicts(pattern, &patterns[*candidate]);
            let all: Vec<usize> = (0..id).filter(found).collect();
            let mut indexed: Vec<usize> = index.candidates(pattern).into_iter().filter(found).collect();
            indexed.sort_unstable();
            prop_assert_eq!(indexed, all, "{}", pattern);
            index.insert(pattern, id);
        }
    }
}

#[test]
fn narrows_down() {
    let mut index = Index::default();
    let texts = ["/a/{x}", "/b/{x}", "/{y}/c", "/a/", "h/a", "/"];
    for (id, text) in texts.iter().enumerate() {
        index.insert(&Pattern::parse(text).unwrap(), id);
    }
    let candidates = |text| {
        let mut candidates = index.candidates(&Pattern::parse(text).unwrap());
        candidates.sort_unstable();
        candidates
    };
    assert_eq!(candidates("/a/d"), vec![0, 2, 3, 5], "by the first segment: `a`, a wildcard or a rest");
    assert_eq!(candidates("/{x}/d"), vec![0, 1, 3, 5], "by the second segment, or a rest before it");
    assert_eq!(candidates("/b"), vec![1, 2, 5]);
    assert_eq!(candidates("/{x}"), vec![0, 1, 2, 3, 5]);
    assert_eq!(candidates("h/b"), vec![]);
    assert_eq!(candidates("other/b"), vec![]);
}
