//! What a guest holds of the databases that it was granted: transactions and results. All of it ends with the request.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::Level;
use wasmux_abi::SqlError;

use super::log::GuestLog;
use super::share::Share;
use crate::limit::Limit;
use crate::sql::{Access, Database, Error, ErrorKind, Executed, Rows, Transaction, User, Value};
use crate::stats::{Operation, Outcome};

/// One database, and what may be done with it.
#[derive(Clone, Debug)]
pub struct DatabaseGrant {
    /// The database.
    pub database: Arc<Database>,
    /// What may be done.
    pub access: Access,
    /// The handler, whose sessions with a server are nobody else's.
    pub handler: Arc<str>,
}

impl DatabaseGrant {
    fn user(&self) -> User<'_> {
        User { name: &self.handler, access: self.access }
    }
}

/// What a statement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A database, by its number: the statement is a transaction of its own.
    Database(u32),
    /// A transaction, by its number.
    Transaction(u32),
}

/// All that one instance holds.
#[derive(Debug)]
pub(super) struct Session {
    granted: Arc<Vec<DatabaseGrant>>,
    log: GuestLog,
    share: Arc<Share>,
    /// Transactions and results that it may hold at a time.
    handles_max: usize,
    /// Those that are open, each with the number of its database.
    transactions: BTreeMap<u32, (u32, Transaction)>,
    results: BTreeMap<u32, Rows>,
    /// The number that the next of either has.
    next: u32,
    /// Sorts of failures that were logged already, a bit for each.
    logged: u32,
    /// Why the last call failed that did.
    pub(super) last_error: Option<Error>,
}

impl Session {
    pub(super) fn new(
        granted: &Arc<Vec<DatabaseGrant>>,
        log: &GuestLog,
        share: &Arc<Share>,
        handles_max: u32,
    ) -> Self {
        Self {
            granted: Arc::clone(granted),
            log: log.clone(),
            share: Arc::clone(share),
            handles_max: handles_max as usize,
            transactions: BTreeMap::new(),
            results: BTreeMap::new(),
            next: 0,
            logged: 0,
            last_error: None,
        }
    }

    /// What the results take that are still to be read, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.results.values().map(Rows::bytes).sum()
    }

    /// The number of the database with this name.
    pub(super) fn open(&mut self, name: &str) -> Result<u32, Error> {
        let found = self.granted.iter().position(|grant| grant.database.name() == name);
        let number = found.and_then(|found| u32::try_from(found).ok());
        number.ok_or_else(|| {
            let message = format!("the database `{name}` was refused: it is not granted to this handler");
            self.failed(Error { kind: ErrorKind::Denied, message, at: None })
        })
    }

    /// The open transaction on a database, if there is one.
    pub(super) fn transaction_on(&self, database: u32) -> Option<u32> {
        self.transactions.iter().find(|(_, (on, _))| *on == database).map(|(&number, _)| number)
    }

    pub(super) async fn begin(&mut self, database: u32) -> Result<u32, Error> {
        let begun = match self.granted(database) {
            Ok(_) if self.transaction_on(database).is_some() => {
                // It could wait for itself.
                Err(state("this request has a transaction on the database already; end that one first"))
            }
            Ok(_) if self.is_full() => Err(self.too_many()),
            Ok(grant) => {
                let counted = grant.database.operations().begin();
                let begun = grant.database.begin(grant.user()).await;
                count(Some(counted), &begun);
                begun
            }
            Err(error) => Err(error),
        };
        let begun = begun.map_err(|error| self.failed(error))?;
        let number = self.number();
        self.transactions.insert(number, (database, begun));
        Ok(number)
    }

    pub(super) async fn commit(&mut self, transaction: u32) -> Result<(), Error> {
        let done = match self.transactions.remove(&transaction) {
            Some((database, transaction)) => {
                let database = self.granted(database)?.database;
                let counted = database.operations().begin();
                let committed = transaction.commit().await;
                count(Some(counted), &committed);
                committed
            }
            None => Err(no_transaction()),
        };
        done.map_err(|error| self.failed(error))
    }

    /// Rolls it back, if it has not ended.
    pub(super) fn roll_back(&mut self, transaction: u32) {
        self.transactions.remove(&transaction);
    }

    pub(super) async fn execute(
        &mut self,
        target: Target,
        sql: &str,
        values: Vec<Value>,
    ) -> Result<Executed, Error> {
        let database = self.database_of(target);
        let counted = database.as_ref().map(|database| database.operations().begin());
        let done = match self.target(target, &values) {
            Ok(Aim::Database(grant)) => grant.database.execute(grant.user(), sql, values).await,
            Ok(Aim::Transaction(transaction)) => transaction.execute(sql, values).await,
            Err(error) => Err(error),
        };
        count(counted, &done);
        done.map_err(|error| self.failed(error))
    }

    /// Runs a statement, and answers the number of its result.
    pub(super) async fn query(
        &mut self,
        target: Target,
        sql: &str,
        values: Vec<Value>,
    ) -> Result<u32, Error> {
        let database = self.database_of(target);
        let counted = database.as_ref().map(|database| database.operations().begin());
        let done = match self.target(target, &values) {
            _ if self.is_full() => Err(self.too_many()),
            Ok(Aim::Database(grant)) => grant.database.query(grant.user(), sql, values).await,
            Ok(Aim::Transaction(transaction)) => transaction.query(sql, values).await,
            Err(error) => Err(error),
        };
        count(counted, &done);
        let rows = done.map_err(|error| self.failed(error))?;
        let number = self.number();
        self.results.insert(number, rows);
        Ok(number)
    }

    /// A result, until it is closed.
    pub(super) fn rows(&mut self, number: u32) -> Option<&mut Rows> {
        self.results.get_mut(&number)
    }

    pub(super) fn close(&mut self, number: u32) {
        self.results.remove(&number);
    }

    /// Says in the log why something failed, if operators would want to know, and counts it, if it was a limit. Once for each
    /// sort and request: a guest that tries again and again is no reason to fill the log.
    fn failed(&mut self, error: Error) -> Error {
        let is_limit = matches!(
            error.kind,
            ErrorKind::Busy | ErrorKind::Timeout | ErrorKind::Rows | ErrorKind::Bytes | ErrorKind::Full
        );
        if is_limit {
            self.share.hit(Limit::Sql);
        }
        let bit = 1 << code(error.kind) as u32;
        if (is_limit || matches!(error.kind, ErrorKind::Denied | ErrorKind::Unavailable))
            && self.logged & bit == 0
        {
            self.logged |= bit;
            self.log.line(Level::WARN, format!("sql: {error}").as_bytes());
        }
        error
    }

    fn target(&self, target: Target, values: &[Value]) -> Result<Aim<'_>, Error> {
        let aim = match target {
            Target::Database(number) if self.transaction_on(number).is_some() => {
                return Err(state(
                    "this request has a transaction on the database; the statement would wait for it",
                ));
            }
            Target::Database(number) => Aim::Database(self.granted(number)?),
            Target::Transaction(number) => {
                Aim::Transaction(&self.transactions.get(&number).ok_or_else(no_transaction)?.1)
            }
        };
        let bytes: usize = values.iter().map(Value::bytes).sum();
        if bytes > PARAMETER_BYTES_MAX {
            let message = format!("the parameters take more than {PARAMETER_BYTES_MAX} bytes");
            return Err(Error { kind: ErrorKind::Bytes, message, at: None });
        }
        Ok(aim)
    }

    /// The database that a statement is for, if there is one.
    fn database_of(&self, target: Target) -> Option<Arc<Database>> {
        let number = match target {
            Target::Database(number) => number,
            Target::Transaction(number) => self.transactions.get(&number)?.0,
        };
        self.granted(number).ok().map(|grant| grant.database)
    }

    fn granted(&self, number: u32) -> Result<DatabaseGrant, Error> {
        let grant = self.granted.get(number as usize).cloned();
        grant.ok_or_else(|| state("there is no database of this number"))
    }

    fn is_full(&self) -> bool {
        self.transactions.len() + self.results.len() >= self.handles_max
    }

    fn too_many(&self) -> Error {
        let message =
            format!("the request holds as many results as its `handles`, {}; close some", self.handles_max);
        Error { kind: ErrorKind::Rows, message, at: None }
    }

    fn number(&mut self) -> u32 {
        self.next = (self.next + 1) & (i32::MAX as u32);
        self.next
    }
}

/// What one statement may send, in bytes.
pub(super) const PARAMETER_BYTES_MAX: usize = 16 << 20;

enum Aim<'s> {
    Database(DatabaseGrant),
    Transaction(&'s Transaction),
}

fn state(message: &str) -> Error {
    Error { kind: ErrorKind::Transaction, message: message.to_owned(), at: None }
}

fn no_transaction() -> Error {
    state("the transaction has ended")
}

/// Counts an operation that has ended.
fn count<T>(counted: Option<Operation<'_>>, done: &Result<T, Error>) {
    let Some(counted) = counted else { return };
    counted.ended(match done {
        Ok(_) => Outcome::Ok,
        Err(error) => match error.kind {
            ErrorKind::Timeout => Outcome::Timeout,
            ErrorKind::Denied | ErrorKind::Rows | ErrorKind::Bytes | ErrorKind::Full => Outcome::Refused,
            _ => Outcome::Error,
        },
    });
}

/// The number that guests know a failure by.
pub(super) fn code(kind: ErrorKind) -> SqlError {
    match kind {
        ErrorKind::Denied => SqlError::Denied,
        ErrorKind::Statement => SqlError::Statement,
        ErrorKind::Parameters => SqlError::Parameters,
        ErrorKind::Unique => SqlError::Unique,
        ErrorKind::ForeignKey => SqlError::ForeignKey,
        ErrorKind::NotNull => SqlError::NotNull,
        ErrorKind::Check => SqlError::Check,
        ErrorKind::Constraint => SqlError::Constraint,
        ErrorKind::Busy => SqlError::Busy,
        ErrorKind::Timeout => SqlError::Timeout,
        ErrorKind::Rows => SqlError::Rows,
        ErrorKind::Bytes => SqlError::Bytes,
        ErrorKind::Full => SqlError::Full,
        ErrorKind::Unavailable => SqlError::Unavailable,
        ErrorKind::Transaction => SqlError::Transaction,
        ErrorKind::Other => SqlError::Other,
    }
}
