//! Media types and content dispositions: a word, then parameters (RFC 9110 section 5.6.6).

/// The media type that the extension of a file's name stands for: net/http's own table, and a few more.
pub(crate) fn by_extension(name: &str) -> Option<&'static str> {
    let (_, extension) = name.rsplit('/').next()?.rsplit_once('.')?;
    Some(match extension.to_ascii_lowercase().as_str() {
        "avif" => "image/avif",
        "css" => "text/css; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "gif" => "image/gif",
        "htm" | "html" => "text/html; charset=utf-8",
        "ico" => "image/vnd.microsoft.icon",
        "jpeg" | "jpg" => "image/jpeg",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "txt" => "text/plain; charset=utf-8",
        "wasm" => "application/wasm",
        "webp" => "image/webp",
        "woff2" => "font/woff2",
        "xml" => "text/xml; charset=utf-8",
        _ => return None,
    })
}

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
    fn extensions_are_looked_up_without_regard_to_case() {
        let table = [
            ("a.css", Some("text/css; charset=utf-8")),
            ("dir.html/a.JPG", Some("image/jpeg")),
            ("a.tar.json", Some("application/json")),
            (".png", Some("image/png")),
            ("dir.html/a", None),
            ("html", None),
            ("a.", None),
            ("", None),
        ];
        for (name, want) in table {
            assert_eq!(by_extension(name), want, "{name}");
        }
    }

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
