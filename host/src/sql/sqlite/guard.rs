//! What statements may do: all that stays within the one database, and nothing that outlives its transaction otherwise.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use super::super::error::{Error, ErrorKind};
use super::super::migrations::TABLE;
use super::super::words::first_word;
use super::statement::explain;

/// A connection on which everything is looked at that is prepared, but what the host has to say itself.
pub(super) struct Guarded {
    connection: Connection,
    /// The host is speaking.
    is_own: Arc<AtomicBool>,
}

impl Deref for Guarded {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl Guarded {
    pub(super) fn new(connection: Connection) -> rusqlite::Result<Self> {
        let is_own = Arc::<AtomicBool>::default();
        let own = Arc::clone(&is_own);
        connection.authorizer(Some(move |context: AuthContext<'_>| {
            let is_allowed = own.load(Ordering::Relaxed) || is_allowed(&context.action);
            if is_allowed { Authorization::Allow } else { Authorization::Deny }
        }))?;
        Ok(Self { connection, is_own })
    }

    /// Runs a statement of the host's own, which must not be kept: who sends the same text would find it allowed.
    pub(super) fn own(&self, sql: &str) -> Result<(), Error> {
        self.as_own(|connection| connection.execute_batch(sql)).map_err(|error| explain(&error))
    }

    /// Runs `work`, with everything allowed.
    pub(super) fn as_own<T>(&self, work: impl FnOnce(&Connection) -> T) -> T {
        self.is_own.store(true, Ordering::Relaxed);
        let done = work(&self.connection);
        self.is_own.store(false, Ordering::Relaxed);
        done
    }
}

/// Pragmas that only tell how tables are made.
const HARMLESS_PRAGMAS: [&str; 9] = [
    "foreign_key_check",
    "foreign_key_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "table_info",
    "table_list",
    "table_xinfo",
    "user_version",
];

/// Pragmas of those that change something when they are given a value.
const SETTINGS: [&str; 1] = ["user_version"];

fn is_allowed(action: &AuthAction<'_>) -> bool {
    match action {
        // Other files.
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => false,
        // Transactions are begun and ended by calls, so that the host knows of them.
        AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => false,
        AuthAction::Pragma { pragma_name, pragma_value } => {
            HARMLESS_PRAGMAS.contains(pragma_name)
                && (pragma_value.is_none() || !SETTINGS.contains(pragma_name))
        }
        // What is temporary belongs to a connection, which others use next.
        AuthAction::CreateTempIndex { .. }
        | AuthAction::CreateTempTable { .. }
        | AuthAction::CreateTempTrigger { .. }
        | AuthAction::CreateTempView { .. }
        | AuthAction::DropTempIndex { .. }
        | AuthAction::DropTempTable { .. }
        | AuthAction::DropTempTrigger { .. }
        | AuthAction::DropTempView { .. } => false,
        AuthAction::Function { function_name } => {
            !["load_extension", "fts3_tokenizer"].contains(&function_name.to_ascii_lowercase().as_str())
        }
        // What has been applied is the host's to say.
        AuthAction::CreateView { view_name } | AuthAction::DropView { view_name } => !is_own(view_name),
        AuthAction::CreateTable { table_name }
        | AuthAction::Insert { table_name }
        | AuthAction::Delete { table_name }
        | AuthAction::DropTable { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::AlterTable { table_name, .. }
        | AuthAction::CreateIndex { table_name, .. }
        | AuthAction::DropIndex { table_name, .. }
        | AuthAction::CreateVtable { table_name, .. }
        | AuthAction::DropVtable { table_name, .. }
        | AuthAction::CreateTrigger { table_name, .. }
        | AuthAction::DropTrigger { table_name, .. } => !is_own(table_name),
        AuthAction::Unknown { .. } => false,
        _ => true,
    }
}

fn is_own(table: &str) -> bool {
    table.eq_ignore_ascii_case(TABLE)
}

/// Refuses a statement that would give a table the name of the host's own. SQLite does not say what a table is renamed to, but
/// the name is in the statement as it is.
pub(super) fn check_rename(sql: &str) -> Result<(), Error> {
    let is_rename = first_word(sql).eq_ignore_ascii_case("alter") && sql.to_ascii_lowercase().contains(TABLE);
    if is_rename { Err(not_allowed()) } else { Ok(()) }
}

/// What a handler is told whose statement was not allowed.
pub(super) fn not_allowed() -> Error {
    let message = "the statement is not allowed here: it would reach beyond the tables of the database (ATTACH, PRAGMA, temporary \
                   tables, extensions) or change what the host keeps there, or begin or end a transaction, which calls do";
    Error::new(ErrorKind::Denied, message)
}
