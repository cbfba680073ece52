//! Conditional requests (RFC 9110 section 13): what the client's `If-*` fields say about the content it may have.

use std::time::SystemTime;

use http::{Method, header};

use crate::{
    Request, ResponseWriter,
    dates::{parse_http_date, unix_seconds},
};

/// What is to be done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Send the content; `use_range`: the part of it that a `Range` field asks for.
    Send { use_range: bool },
    /// 304: the client has it.
    NotModified,
    /// 412: it is not what the client takes it for.
    Failed,
}

/// Evaluates the conditions in the order of RFC 9110 section 13.2.2. The entity tag is the `ETag` header set in `w`.
pub(super) fn evaluate(w: &ResponseWriter, r: &Request, modified: Option<SystemTime>) -> Verdict {
    let tag =
        w.headers().get(header::ETAG).and_then(|tag| str::from_utf8(tag.as_bytes()).ok()).unwrap_or_default();
    let is_get = matches!(*r.method(), Method::GET | Method::HEAD);
    let holds = if_match(r, tag).or_else(|| if_unmodified_since(r, modified));
    if holds == Some(false) {
        return Verdict::Failed;
    }
    let is_new = if_none_match(r, tag).or_else(|| if_modified_since(r, modified).filter(|_| is_get));
    if is_new == Some(false) {
        return if is_get { Verdict::NotModified } else { Verdict::Failed };
    }
    Verdict::Send { use_range: !is_get || if_range(r, tag, modified) != Some(false) }
}

// Each of these answers whether its condition holds; `None` when the client did not ask, or not so that it can be read.

fn if_match(r: &Request, tag: &str) -> Option<bool> {
    let list = r.header("if-match");
    (!list.is_empty()).then(|| names(list, |given| given == tag && given.starts_with('"')))
}

fn if_none_match(r: &Request, tag: &str) -> Option<bool> {
    let list = r.header("if-none-match");
    (!list.is_empty()).then(|| !names(list, |given| without_weakness(given) == without_weakness(tag)))
}

fn if_unmodified_since(r: &Request, modified: Option<SystemTime>) -> Option<bool> {
    let date = parse_http_date(r.header("if-unmodified-since"))?;
    Some(unix_seconds(modified?) <= unix_seconds(date))
}

fn if_modified_since(r: &Request, modified: Option<SystemTime>) -> Option<bool> {
    let date = parse_http_date(r.header("if-modified-since"))?;
    Some(unix_seconds(modified?) > unix_seconds(date))
}

fn if_range(r: &Request, tag: &str, modified: Option<SystemTime>) -> Option<bool> {
    let text = r.header("if-range");
    if text.is_empty() {
        return None;
    }
    if let Some((given, _)) = split_tag(text) {
        return Some(given == tag && given.starts_with('"'));
    }
    let date = modified.zip(parse_http_date(text));
    Some(date.is_some_and(|(modified, date)| unix_seconds(modified) == unix_seconds(date)))
}

/// Whether a list of entity tags has one that `matches`, or is `*`. What is malformed ends the list.
fn names(list: &str, matches: impl Fn(&str) -> bool) -> bool {
    let mut rest = list;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.starts_with('*') {
            return true;
        }
        match split_tag(rest) {
            Some((tag, _)) if matches(tag) => return true,
            Some((_, tail)) => rest = tail,
            None => return false,
        }
    }
}

/// An entity tag at the front of `text`, with its quotes, and what follows it.
fn split_tag(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches([' ', '\t']);
    let opaque = without_weakness(text).strip_prefix('"')?;
    let length = opaque.bytes().take_while(|byte| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..)).count();
    let end = text.len() - opaque.len() + length;
    (text.as_bytes().get(end) == Some(&b'"')).then(|| text.split_at(end + 1))
}

fn without_weakness(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_tags_are_quoted_and_hold_no_spaces() {
        let table = [
            (r#""a""#, Some((r#""a""#, ""))),
            (r#"  W/"a", "b""#, Some((r#"W/"a""#, r#", "b""#))),
            (r#""""#, Some((r#""""#, ""))),
            ("\"é!#~\"x", Some(("\"é!#~\"", "x"))),
            ("", None),
            ("a", None),
            (r#"""#, None),
            (r#""a"#, None),
            (r#""a b""#, None),
            (r#"w/"a""#, None),
            ("W/", None),
            (r#"W/a""#, None),
        ];
        for (text, want) in table {
            assert_eq!(split_tag(text), want, "{text}");
        }
    }
}
