//! What a deployment is to be made of, before it is known whether it can be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::{CanaryWanted, Change, Maker, Refused};
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

/// What a change begins with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Base<'a> {
    /// What this process serves.
    InForce(&'a Record),
    /// What the next process would serve: nothing is served now. Of what is on record maybe nothing can be built any more.
    Next(Option<&'a Record>),
}

impl Base<'_> {
    fn record(&self) -> Option<&Record> {
        match self {
            Self::InForce(record) => Some(record),
            Self::Next(record) => *record,
        }
    }

    fn draft(&self, maker: &Maker) -> Result<Draft, Refused> {
        match self {
            Self::InForce(record) => Draft::of_record(record, maker.history.as_ref()),
            Self::Next(record) => maker.next_draft(*record),
        }
    }
}

/// Nothing can be kept.
fn no_history() -> Refused {
    Refused::Because(
        "this program keeps no deployments: its state folder cannot be written to, or it serves a single module".to_owned(),
    )
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

    /// What a change makes of what there is.
    pub(super) fn of_change(change: Change, base: Base<'_>, maker: &Maker) -> Result<Self, Refused> {
        if let Change::Reload = change {
            let text = maker.source.text()?;
            return Ok(Self { origin: Origin::Reload, ..Self::of_file(text) });
        }
        let history = maker.history.as_ref().ok_or_else(no_history)?;
        let mut draft = match change {
            // What is to be left need not be good, nor readable.
            Change::Rollback(number) => {
                let record = earlier(number, base.record(), history)?;
                let draft = Self::of_record(&record, Some(history))?;
                Self { canary: None, origin: Origin::Rollback { to: record.number }, ..draft }
            }
            _ => base.draft(maker)?,
        };
        // Nobody has seen the file who only watches a canary. And where it cannot be read, its author has said nothing new.
        let is_automatic = matches!(change, Change::Verdict { .. });
        let file = if is_automatic { None } else { maker.source.text().ok() };
        let seen = file.map(|text| digest_of(text.as_bytes()));
        let before = base.record().map(|record| record.file_sha256.clone());
        draft.file_sha256 = seen.or(before).unwrap_or(draft.file_sha256);
        match change {
            Change::Reload | Change::Rollback(_) => {}
            Change::Deploy { handler, module, canary } => draft.deploy(handler, module, canary, maker)?,
            Change::Routes(text) => {
                let named = draft.still_named(&text, maker);
                draft.pinned.retain(|name, _| named.contains(name));
                draft.canary = draft.canary.filter(|canary| named.contains(&canary.handler));
                (draft.text, draft.origin) = (text, Origin::Routes);
            }
            Change::Promote { of } => {
                let canary = draft.take_canary(of, base)?;
                draft.promote(canary);
            }
            Change::Verdict { of, worse } => {
                let canary = draft.take_canary(Some(of), base)?;
                match worse {
                    Some(why) => draft.origin = Origin::Verdict { handler: canary.handler, why },
                    None => draft.promote(canary),
                }
            }
        }
        Ok(draft)
    }

    fn deploy(
        &mut self,
        handler: String,
        module: Module,
        canary: Option<CanaryWanted>,
        maker: &Maker,
    ) -> Result<(), Refused> {
        let (config, problems) = maker.source.parse(&self.text);
        let guests = config.handlers.iter().filter(|handler| handler.proxy.is_none());
        let names: Vec<&str> = guests.map(|handler| &*handler.settings.name).collect();
        // What is wrong with the text says more than what it lacks.
        if problems.is_empty() {
            find_handler(&handler, &names)?;
        }
        self.origin = Origin::Deploy { handler: handler.clone() };
        match canary {
            None => {
                // That of another handler goes on.
                self.canary = self.canary.take().filter(|canary| canary.handler != handler);
                self.pinned.insert(handler, module);
            }
            Some(CanaryWanted { share, sticky, promote_after_s }) => {
                let (since, salt) = (Record::now(), rand::random());
                self.canary = Some(Canary { handler, module, share, sticky, promote_after_s, since, salt });
            }
        }
        Ok(())
    }

    fn take_canary(&mut self, of: Option<u64>, base: Base<'_>) -> Result<Canary, Refused> {
        let now = base.record().map_or(0, |record| record.number);
        if let Some(of) = of.filter(|of| *of != now) {
            let message = format!(
                "deployment {of} is not in force any more, {now} is: its canary, if it has one, may be another"
            );
            return Err(Refused::Because(message));
        }
        self.canary.take().ok_or_else(no_canary)
    }

    fn promote(&mut self, canary: Canary) {
        self.origin = Origin::Promote { handler: canary.handler.clone() };
        self.pinned.insert(canary.handler, canary.module);
    }

    /// The handlers that another text names, too, with the same `wasm`.
    fn still_named(&self, text: &str, maker: &Maker) -> BTreeSet<String> {
        let (old, new) = (maker.source.parse(&self.text).0, maker.source.parse(text).0);
        let wasm = |config: &Config| -> BTreeMap<String, PathBuf> {
            let handlers = config.handlers.iter();
            handlers.map(|handler| (handler.settings.name.clone(), handler.wasm.clone())).collect()
        };
        let (old, mut new) = (wasm(&old), wasm(&new));
        new.retain(|name, wasm| old.get(name) == Some(wasm));
        new.into_keys().collect()
    }

    pub(super) fn modules(&self, history: Option<&History>) -> Modules {
        Modules { history: history.cloned(), pinned: self.pinned.clone(), canary: self.canary.clone() }
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

/// Whether a handler is among these.
pub(super) fn find_handler(name: &str, names: &[&str]) -> Result<(), Refused> {
    if names.contains(&name) {
        return Ok(());
    }
    let hint = crate::config::did_you_mean(name, names.iter().copied());
    let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Err(Refused::Because(format!("there is no handler `{name}` with a module{hint}; there are: {known}")))
}

/// The record to go back to.
fn earlier(number: Option<u64>, last: Option<&Record>, history: &History) -> Result<Record, Refused> {
    let failed = |error: std::io::Error| Refused::Because(error.to_string());
    let numbers = history.numbers().map_err(failed)?;
    // One that serves the same would be no way back.
    let before = |last: &Record| {
        let leads_elsewhere = |&number: &u64| {
            let record = history.record(number).ok().flatten();
            record.is_some_and(|record| !Record { canary: None, ..record }.is_same(last))
        };
        numbers.range(..last.number).rev().copied().find(leads_elsewhere)
    };
    let wanted = match (number, last) {
        (Some(number), _) => number,
        (None, Some(last)) => before(last)
            .ok_or_else(|| Refused::Because(format!("there is no deployment before {}", last.number)))?,
        (None, None) => {
            let message = "what was in force last is not known: name a number, of those that `wasmux deployments` shows";
            return Err(Refused::Because(message.to_owned()));
        }
    };
    history.record(wanted).map_err(failed)?.ok_or_else(|| {
        let known: Vec<_> = numbers.iter().map(ToString::to_string).collect();
        Refused::Because(format!("deployment {wanted} is not kept; there are: {}", known.join(", ")))
    })
}
