//! Functions that SQLite has, too, but with a time that grows with the product of what they are given: a text of megabytes that is
//! sought in another one takes minutes, in which nothing interrupts it. These answer the same in one pass.

use std::collections::HashSet;

use memchr::memmem;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, ffi};

/// Puts them in the place of SQLite's own.
pub(super) fn add(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        // As SQLite's own: they may be used in indexes and views.
        | FunctionFlags::SQLITE_INNOCUOUS;
    let value_bytes_max = connection.limit(rusqlite::limits::Limit::SQLITE_LIMIT_LENGTH)?;
    let value_bytes_max = usize::try_from(value_bytes_max).unwrap_or(0);
    connection.create_scalar_function("instr", 2, flags, |context| Ok(instr(context)))?;
    connection
        .create_scalar_function("replace", 3, flags, move |context| replace(context, value_bytes_max))?;
    for (name, sides) in [("trim", (true, true)), ("ltrim", (true, false)), ("rtrim", (false, true))] {
        connection.create_scalar_function(name, 2, flags, move |context| Ok(trim(context, sides)))?;
    }
    connection.create_scalar_function("unhex", 2, flags, |context| Ok(unhex(context)))
}

/// An argument as text; `None` for NULL. Bytes are taken for text, as SQLite does.
fn text(context: &Context<'_>, argument: usize) -> Option<Vec<u8>> {
    match context.get_raw(argument) {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string().into_bytes()),
        ValueRef::Real(number) => Some(format!("{number:?}").into_bytes()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes.to_vec()),
    }
}

/// Where the second is in the first, from 1: in bytes if both are blobs, else in characters.
fn instr(context: &Context<'_>) -> Option<i64> {
    let are_blobs = [0, 1].map(|argument| matches!(context.get_raw(argument), ValueRef::Blob(_)));
    let (within, sought) = (text(context, 0)?, text(context, 1)?);
    let Some(found) = memmem::find(&within, &sought) else { return Some(0) };
    let before = &within[..found];
    let count = if are_blobs == [true; 2] { before.len() } else { characters(before) };
    Some(count as i64 + 1)
}

/// Bytes that continue a character do not count.
fn characters(text: &[u8]) -> usize {
    text.iter().filter(|&&byte| byte & 0xc0 != 0x80).count()
}

/// The first, with the third in every place of the second.
fn replace(context: &Context<'_>, value_bytes_max: usize) -> rusqlite::Result<Option<Text>> {
    let (Some(within), Some(sought)) = (text(context, 0), text(context, 1)) else { return Ok(None) };
    if sought.is_empty() {
        return Ok(Some(Text(within)));
    }
    let Some(by) = text(context, 2) else { return Ok(None) };
    let mut replaced = Vec::new();
    let mut rest = 0;
    for found in memmem::find_iter(&within, &sought) {
        replaced.extend_from_slice(&within[rest..found]);
        replaced.extend_from_slice(&by);
        rest = found + sought.len();
        if replaced.len() > value_bytes_max {
            return Err(Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_TOOBIG), None));
        }
    }
    replaced.extend_from_slice(&within[rest..]);
    Ok(Some(Text(replaced)))
}

/// The first without characters of the second at its ends. Unlike in SQLite, half a character of a second that is no UTF-8 does not
/// cut a whole one apart.
fn trim(context: &Context<'_>, (left, right): (bool, bool)) -> Option<Text> {
    let (within, set) = (text(context, 0)?, text(context, 1)?);
    let set: HashSet<&[u8]> = pieces(&set).collect();
    let mut rest = &within[..];
    if left {
        let cut: usize = pieces(rest).take_while(|piece| set.contains(piece)).map(<[u8]>::len).sum();
        rest = &rest[cut..];
    }
    while right && let Some(last) = rest.iter().rposition(|&byte| byte & 0xc0 != 0x80) {
        let (before, piece) = rest.split_at(last);
        if !set.contains(piece) {
            break;
        }
        rest = before;
    }
    Some(Text(rest.to_vec()))
}

/// Characters, of which some may be none of UTF-8.
fn pieces(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, behind) = rest.split_first()?;
        let length = 1 + behind.iter().take_while(|&&byte| byte & 0xc0 == 0x80).count();
        let (piece, left) = rest.split_at(length);
        rest = left;
        Some(piece)
    })
}

/// The bytes that the first spells in hexadecimal digits, with characters of the second between pairs; NULL if it does not.
fn unhex(context: &Context<'_>) -> Option<Vec<u8>> {
    let (within, ignored) = (text(context, 0)?, text(context, 1)?);
    let ignored: HashSet<&[u8]> = pieces(&ignored).collect();
    let mut bytes = Vec::with_capacity(within.len() / 2);
    let mut high = None;
    for piece in pieces(&within) {
        let digit = match piece {
            [byte] => char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()),
            _ => None,
        };
        match (high, digit) {
            (None, Some(digit)) => high = Some(digit),
            (Some(first), Some(digit)) => {
                bytes.push(first << 4 | digit);
                high = None;
            }
            (None, None) if ignored.contains(piece) => {}
            (_, None) => return None,
        }
    }
    high.is_none().then_some(bytes)
}

/// Text, of which SQLite does not demand that it is UTF-8.
struct Text(Vec<u8>);

impl rusqlite::ToSql for Text {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(rusqlite::types::ToSqlOutput::Borrowed(ValueRef::Text(&self.0)))
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::types::Value;

    use super::*;

    #[test]
    fn they_answer_what_sqlites_own_do() {
        let [own, ours] = [(); 2].map(|()| Connection::open_in_memory().unwrap());
        add(&ours).unwrap();
        let arguments = [
            "null",
            "''",
            "'a'",
            "'aa'",
            "'xaaxaax'",
            "'b\u{e9}\u{1f980}'",
            "'\u{e9}'",
            "x'62c3'",
            "x'c3'",
            "12",
            "1.5",
            "-2.0",
            "'6162 63'",
            "'616'",
            "' x'",
        ];
        for first in arguments {
            for second in arguments {
                let mut calls: Vec<_> = ["instr", "trim", "ltrim", "rtrim", "unhex"]
                    .iter()
                    .map(|name| format!("{name}({first}, {second})"))
                    .collect();
                calls.extend(
                    ["''", "'a'", "null", "'zz'"].map(|by| format!("replace({first}, {second}, {by})")),
                );
                // Halves of characters: see `trim`.
                calls.retain(|call| !(call.contains("trim(") && second.contains("c3'")));
                for call in calls {
                    let sql = format!("select {call}, typeof({call}), hex({call})");
                    let asked = |connection: &Connection| {
                        connection.query_row(&sql, (), |row| {
                            Ok((row.get::<_, Value>(2)?, row.get::<_, String>(1)?))
                        })
                    };
                    assert_eq!(asked(&ours).unwrap(), asked(&own).unwrap(), "{call}");
                }
            }
        }
    }
}
