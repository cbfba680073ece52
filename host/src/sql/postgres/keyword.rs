//! What handlers leave to calls, or must not do to a session that others use next. Found by a statement's first word: the extended
//! protocol takes one statement at a time, so there is only one.

use super::super::error::{Error, ErrorKind};
use super::super::words::first_word;

/// Statements that begin and end transactions.
const TRANSACTIONS: [&str; 9] =
    ["abort", "begin", "commit", "end", "prepare", "release", "rollback", "savepoint", "start"];

/// Statements about the session, and `COPY`, which speaks another protocol and reaches files.
const SESSION: [&str; 11] =
    ["close", "copy", "deallocate", "declare", "discard", "fetch", "listen", "load", "move", "reset", "set"];

/// Refuses both.
pub(super) fn check(sql: &str) -> Result<(), Error> {
    let word = first_word(sql).to_ascii_lowercase();
    let message = if TRANSACTIONS.contains(&word.as_str()) {
        format!("`{word}` is not allowed here: transactions are begun and ended by calls")
    } else if SESSION.contains(&word.as_str()) || word == "unlisten" {
        format!("`{word}` is not allowed here: it is about the connection, which others use next")
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Denied, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_transactions_and_sessions_is_denied() {
        for denied in ["BEGIN", "commit", "/**/Set x = 1", "copy t from '/etc/passwd'", "UNLISTEN *"] {
            assert_eq!(check(denied).unwrap_err().kind, ErrorKind::Denied, "{denied}");
        }
        for allowed in ["select 'begin'", "insert into t values (1)", "with x as (select 1) table x", ""] {
            assert_eq!(check(allowed), Ok(()), "{allowed}");
        }
    }
}
