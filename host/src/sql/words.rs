//! The beginning of a statement, as both databases read it.

/// The first word behind white space, comments, parentheses and empty statements.
pub(super) fn first_word(sql: &str) -> &str {
    let rest = first_token(sql);
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
    &rest[..end]
}

/// The statement, from its first word on.
pub(super) fn first_token(sql: &str) -> &str {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{b}' || c == ';' || c == '(');
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.find(['\n', '\r']).map_or("", |end| &comment[end..]);
        } else if rest.starts_with("/*") {
            rest = behind_comment(rest);
        } else {
            return rest;
        }
    }
}

/// What is behind a block comment, which may hold others.
fn behind_comment(sql: &str) -> &str {
    let (mut depth, mut at) = (0, 0);
    while at < sql.len() {
        let rest = &sql.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return sql.get(at..).unwrap_or_default();
            }
        } else {
            at += 1;
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_is_found_behind_anything_that_is_none() {
        for (sql, word) in [
            ("select 1", "select"),
            (" \n\t;; SELECT", "SELECT"),
            ("-- begin\nupdate x", "update"),
            ("--begin\r delete", "delete"),
            ("/* a /* commit */ b */ /**/commit", "commit"),
            ("/* é */begin", "begin"),
            ("((values(1)))", "values"),
            ("begin;", "begin"),
            ("/* open", ""),
            ("-- open", ""),
            ("", ""),
        ] {
            assert_eq!(first_word(sql), word, "{sql:?}");
        }
        assert_eq!(first_token("-- a\n b c"), "b c");
    }
}
