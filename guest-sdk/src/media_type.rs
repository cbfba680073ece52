//! Media types and content dispositions: a word, then parameters (RFC 9110 section 5.6.6).

/// Splits `text/plain; charset=utf-8` into the word and the text of its parameters.
pub(crate) fn split_media_type(text: &str) -> (&str, &str) {
    let (word, parameters) = text.split_once(';').unwrap_or((text, ""));
    (word.trim_matches([' ', '\t']), parameters)
}

/// The value of a parameter, without the quotes it may have. Names are compared without regard to case.
pub(crate) fn parameter(parameters: &str, name: &str) -> Option<String> {
    let mut rest = parameters;
    while let Some((given, tail)) = rest.split_once('=') {
        let (value, tail) = take_value(tail);
        if given.trim_matches([' ', '\t', ';']).eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = tail;
    }
    None
}

/// A value and what follows its `;`.
fn take_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, tail) = text.split_once(';').unwrap_or((text, ""));
        return (value.trim_matches([' ', '\t']).to_owned(), tail);
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => break,
            // Only quotes are escaped: old browsers sent whole Windows paths, with bare backslashes.
            '\\' if chars.as_str().starts_with(['"', '\\']) => value.extend(chars.next()),
            other => value.push(other),
        }
    }
    (value, chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_in_and_out_of_quotes() {
        let table = [
            ("boundary=abc", "boundary", Some("abc")),
            (" charset=utf-8; Boundary=\"a;b=c\"", "boundary", Some("a;b=c")),
            (" name=\"a\"; filename=\"b \\\"c\\\".txt\"", "filename", Some("b \"c\".txt")),
            (" name=\"a\"; filename=\"C:\\dir\\x.txt\"", "filename", Some("C:\\dir\\x.txt")),
            (" filename=\"name=x\"; name=y", "name", Some("y")),
            (" name=", "name", Some("")),
            ("", "name", None),
            ("name", "name", None),
            (" name=\"open", "name", Some("open")),
        ];
        for (parameters, name, want) in table {
            assert_eq!(parameter(parameters, name).as_deref(), want, "{parameters}");
        }
        assert_eq!(split_media_type(" Text/Plain ; a=b").0, "Text/Plain");
    }
}
