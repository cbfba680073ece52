//! What a deployment is to be made of, before it is known whether it can be.

use std::collections::BTreeMap;

use super::{Change, Maker, NO_HISTORY, Refused};
use crate::config::Config;
use crate::deployment::{Deployment, Modules};
pub(super) use crate::history::digest_of;
use crate::history::{Canary, History, Module, Origin, Record};

/// A deployment to be.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    /// The text of routes.toml.
    pub(super) text: String,
    /// The file's own digest.
    file_sha256: String,
    pinned: BTreeMap<String, Module>,
    canary: Option<Canary>,
    origin: Origin,
}

/// Nothing can be kept.
fn no_history() -> Refused {
    Refused::Because(NO_HISTORY.to_owned())
}

impl Draft {
    /// What the file says, and nothing else.
    pub(super) fn of_file(text: String) -> Self {
        let file_sha256 = digest_of(text.as_bytes());
        Self { text, file_sha256, pinned: BTreeMap::new(), canary: None, origin: Origin::Start }
    }

    /// What is on record.
    pub(super) fn of_record(record: &Record, history: Option<&History>) -> Result<Self, Refused> {
        let text = history.ok_or_else(no_history)?.text(record).map_err(|error| {
            Refused::Because(format!("deployment {} cannot be read: {error}", record.number))
        })?;
        Ok(Self {
            text,
            file_sha256: record.file_sha256.clone(),
            pinned: record.modules.clone(),
            canary: record.canary.clone(),
            origin: record.origin.clone(),
        })
    }

    /// What a change makes of the one in force.
    pub(super) fn of_change(change: Change, last: &Record, maker: &Maker) -> Result<Self, Refused> {
        if let Change::Reload | Change::Sources = change {
            let text = maker.source.text()?;
            return Ok(Self { origin: Origin::Reload, ..Self::of_file(text) });
        }
        let history = maker.history().map_err(|why| Refused::Because(why.to_owned()))?;
        let mut draft = Self::of_record(last, Some(history))?;
        draft.file_sha256 = digest_of(maker.source.text()?.as_bytes());
        match change {
            Change::Reload | Change::Sources => {}
            Change::Deploy { handler, module, canary } => {
                if !last.modules.contains_key(&handler) {
                    return Err(no_such_handler(&handler, last));
                }
                draft.origin = Origin::Deploy { handler: handler.clone() };
                draft.canary = None;
                match canary {
                    None => drop(draft.pinned.insert(handler, module)),
                    Some(wanted) => {
                        let (share, sticky) = (wanted.share, wanted.sticky);
                        let promote_after_s = wanted.promote_after_s;
                        draft.canary = Some(Canary { handler, module, share, sticky, promote_after_s });
                    }
                }
            }
            Change::Routes(text) => {
                draft.pinned = draft.still_named(&text, maker);
                draft.canary = None;
                (draft.text, draft.origin) = (text, Origin::Routes);
            }
            Change::Rollback(number) => {
                let record = earlier(number, last, history)?;
                let file_sha256 = draft.file_sha256;
                draft = Self::of_record(&record, Some(history))?;
                (draft.file_sha256, draft.canary) = (file_sha256, None);
                draft.origin = Origin::Rollback { to: record.number };
            }
            Change::Promote => {
                let canary = draft.canary.take().ok_or_else(no_canary)?;
                draft.origin = Origin::Promote { handler: canary.handler.clone() };
                draft.pinned.insert(canary.handler, canary.module);
            }
            Change::Verdict(why) => {
                let canary = draft.canary.take().ok_or_else(no_canary)?;
                draft.origin = Origin::Verdict { handler: canary.handler, why };
            }
        }
        Ok(draft)
    }

    /// The modules of those handlers that another text still names, with the same `wasm`.
    fn still_named(&self, text: &str, maker: &Maker) -> BTreeMap<String, Module> {
        let (old, new) = (maker.source.parse(&self.text).0, maker.source.parse(text).0);
        let wasm = |config: &Config, name: &str| {
            let mut handlers = config.handlers.iter();
            handlers.find(|handler| handler.settings.name == name).map(|handler| handler.wasm.clone())
        };
        let mut pinned = self.pinned.clone();
        pinned.retain(|name, _| wasm(&new, name).is_some_and(|named| wasm(&old, name) == Some(named)));
        pinned
    }

    pub(super) fn modules(&self, history: Option<&History>) -> Modules {
        Modules {
            history: history.cloned(),
            pinned: self.pinned.clone(),
            canary: self.canary.clone(),
            built: None,
        }
    }

    /// The record of what was made of it, without a number.
    pub(super) fn record(self, made: &Deployment, history: Option<&History>) -> Result<Record, Refused> {
        let routes = match history {
            None => Module { sha256: digest_of(self.text.as_bytes()), bytes: 0, form: "toml".to_owned() },
            Some(history) => history.keep(self.text.as_bytes(), "toml").map_err(|error| {
                Refused::Because(format!("routes.toml cannot be kept in the state folder: {error}"))
            })?,
        };
        let pushed = self.origin.is_pushed();
        Ok(Record {
            number: 0,
            time: Record::now(),
            origin: self.origin,
            routes,
            file_sha256: self.file_sha256,
            modules: made.modules().clone(),
            canary: self.canary,
            pushed,
        })
    }
}

fn no_canary() -> Refused {
    Refused::Because("there is no canary; `deploy NAME FILE --canary 5%` makes one".to_owned())
}

fn no_such_handler(name: &str, last: &Record) -> Refused {
    let names: Vec<&str> = last.modules.keys().map(String::as_str).collect();
    let hint = crate::config::did_you_mean(name, names.iter().copied());
    let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Refused::Because(format!("there is no handler `{name}` with a module{hint}; there are: {known}"))
}

/// The record to go back to.
fn earlier(number: Option<u64>, last: &Record, history: &History) -> Result<Record, Refused> {
    let failed = |error: std::io::Error| Refused::Because(error.to_string());
    let numbers = history.numbers().map_err(failed)?;
    // One that serves the same would be no way back.
    let leads_elsewhere = |&number: &u64| {
        let record = history.record(number).ok().flatten();
        record.is_some_and(|record| !Record { canary: None, ..record }.is_same(last))
    };
    let before = || numbers.range(..last.number).rev().copied().find(leads_elsewhere);
    let Some(wanted) = number.or_else(before) else {
        return Err(Refused::Because(format!("there is no deployment before {}", last.number)));
    };
    history.record(wanted).map_err(failed)?.ok_or_else(|| {
        let known: Vec<_> = numbers.iter().map(ToString::to_string).collect();
        Refused::Because(format!("deployment {wanted} is not kept; there are: {}", known.join(", ")))
    })
}
