//! What handlers leave to calls, or must not do to a session that others use next. Found by a statement's first word: the extended
//! protocol takes one statement at a time, so there is only one.

use super::super::Access;
use super::super::error::{Error, ErrorKind};
use super::super::migrations::TABLE;
use super::super::words::first_word;

/// Statements that only read, at least if no function in them does more.
const READING: [&str; 3] = ["select", "table", "values"];

/// Statements that begin and end transactions.
const TRANSACTIONS: [&str; 9] =
    ["abort", "begin", "commit", "end", "prepare", "release", "rollback", "savepoint", "start"];

/// Statements about the session, and `COPY`, which speaks another protocol and reaches files.
const SESSION: [&str; 11] =
    ["close", "copy", "deallocate", "declare", "discard", "fetch", "listen", "load", "move", "reset", "set"];

/// Statements that a read-only transaction allows, and that others notice all the same.
const NOTICED: [&str; 2] = ["lock", "notify"];

/// Refuses these, and what would change the table of migrations. Functions can do most of it nevertheless: what keeps a handler
/// from it for certain is a role with few rights.
pub(super) fn check(sql: &str, access: Access) -> Result<(), Error> {
    let word = first_word(sql).to_ascii_lowercase();
    let message = if TRANSACTIONS.contains(&word.as_str()) {
        format!("`{word}` is not allowed here: transactions are begun and ended by calls")
    } else if SESSION.contains(&word.as_str()) || word == "unlisten" {
        format!("`{word}` is not allowed here: it is about the connection, which others use next")
    } else if access == Access::ReadOnly && NOTICED.contains(&word.as_str()) {
        format!("`{word}` is not allowed: the grant is `read_only`, and others would notice it")
    } else if !READING.contains(&word.as_str()) && sql.to_ascii_lowercase().contains(TABLE) {
        format!("`{TABLE}` is the host's, and can only be read")
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
            assert_eq!(check(denied, Access::Full).unwrap_err().kind, ErrorKind::Denied, "{denied}");
        }
        for allowed in ["select 'begin'", "insert into t values (1)", "with x as (select 1) table x", ""] {
            assert_eq!(check(allowed, Access::ReadOnly), Ok(()), "{allowed}");
        }
        for (sql, is_denied_to_all) in [
            ("lock table t", false),
            ("NOTIFY x", false),
            ("delete from WASMUX_migrations", true),
            ("with x as (delete from wasmux_migrations returning 1) select 1", true),
            ("create index i on wasmux_migrations (name)", true),
        ] {
            assert_eq!(check(sql, Access::ReadOnly).unwrap_err().kind, ErrorKind::Denied, "{sql}");
            assert_eq!(check(sql, Access::Full).is_err(), is_denied_to_all, "{sql}");
        }
        assert_eq!(check("select * from wasmux_migrations", Access::Full), Ok(()));
    }
}
