//! Percent-encoding, as `net/url` does it.

use std::borrow::Cow;

/// Decodes `%xx` in a path. What is no valid escape stays as it is.
pub(crate) fn unescape_path(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'%').then(|| hex_pair(tail)).flatten();
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    Cow::Owned(bytes)
}

/// Encodes a path as Go's `URL.EscapedPath` does when it knows the decoded path only.
pub(crate) fn escape_path(path: &[u8]) -> String {
    let mut escaped = String::with_capacity(path.len());
    for &byte in path {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            push_escape(&mut escaped, byte, b"0123456789ABCDEF");
        }
    }
    escaped
}

fn push_escape(text: &mut String, byte: u8, digits: &[u8; 16]) {
    let digit = |nibble: u8| char::from(digits[usize::from(nibble)]);
    text.extend(['%', digit(byte >> 4), digit(byte & 15)]);
}

/// Decodes `%xx` and `+` in a name or value of a query or form; `None` when an escape is not valid.
pub(crate) fn unescape_query(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        bytes.push(match first {
            b'%' => {
                rest = tail.get(2..)?;
                hex_pair(tail)?
            }
            b'+' => b' ',
            other => other,
        });
    }
    Some(into_text(bytes))
}

/// Encodes every byte outside ASCII, and control bytes, which no header may hold; existing escapes stay.
pub(crate) fn escape_non_ascii(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii() && !byte.is_ascii_control() {
            escaped.push(char::from(byte));
        } else {
            push_escape(&mut escaped, byte, b"0123456789abcdef");
        }
    }
    escaped
}

/// Text of these bytes; what is not UTF-8 is replaced.
pub(crate) fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn hex_pair(text: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    match text {
        [high, low, ..] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_keep_plus_and_bad_escapes() {
        for (escaped, want) in
            [("/a%20b", "/a b"), ("/a+b", "/a+b"), ("/%zz%4", "/%zz%4"), ("/%C3%a9", "/é"), ("/%2F", "//")]
        {
            assert_eq!(unescape_path(escaped.as_bytes()), want.as_bytes());
        }
    }

    #[test]
    fn queries_decode_plus_and_refuse_bad_escapes() {
        let table =
            [("a+b%2B", Some("a b+")), ("%", None), ("%4", None), ("%zz", None), ("%ff", Some("\u{fffd}"))];
        for (escaped, want) in table {
            assert_eq!(unescape_query(escaped).as_deref(), want);
        }
    }
}
