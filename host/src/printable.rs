//! Text of clients and guests, so written that it can neither forge a line nor drive a terminal.

use std::fmt::Write as _;

/// Whether a terminal shows `c` and does nothing else: no control character (C0, DEL, C1), no end of a line (U+2028, U+2029),
/// and none that turns the direction of what stands around it (Unicode's bidirectional controls).
pub(crate) fn is_harmless(c: char) -> bool {
    let turns =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !(c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') || turns)
}

/// Adds `c`, escaped as Rust does it if it is not harmless.
pub(crate) fn push(out: &mut String, c: char) {
    if is_harmless(c) {
        out.push(c);
    } else {
        let _ = write!(out, "{}", c.escape_default());
    }
}

/// The same JSON without any of them: between quotes, where alone they may stand, JSON has an escape for each.
pub(crate) fn json(text: String) -> String {
    if text.chars().all(is_harmless) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_harmless(c) {
            out.push(c);
        } else {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_drives_terminals_is_escaped() {
        let text = "a\u{9b}31m\u{7f}\n\u{202e}\u{2028}\u{200f}é日\u{2067}";
        let mut out = String::new();
        text.chars().for_each(|c| push(&mut out, c));
        assert_eq!(out, "a\\u{9b}31m\\u{7f}\\n\\u{202e}\\u{2028}\\u{200f}é日\\u{2067}");
    }

    #[test]
    fn json_stays_the_same_json() {
        let text = serde_json::to_string("a\u{9b}\n\u{202e}\"\\é").unwrap();
        let safe = json(text.clone());
        assert_eq!(safe, r#""a\u009b\n\u202e\"\\é""#);
        let read = |text: &str| serde_json::from_str::<String>(text).unwrap();
        assert_eq!(read(&safe), read(&text));
    }
}
