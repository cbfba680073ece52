//! `wasmux kv`: what is in the key-value stores of a deployment, whole and without a handler's prefix.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{OK, fail, fail_with, print, write};
use crate::config::{StoreAlone, did_you_mean};
use crate::deployment;
use crate::kv::{Grant, LIST_KEYS_MAX};
use crate::resources::Resources;

#[derive(Debug, Args)]
pub(super) struct KvArgs {
    #[command(subcommand)]
    command: KvCommand,
    /// The deployment to read
    #[arg(long, short, value_name = "FILE", default_value = "routes.toml", global = true)]
    config: PathBuf,
    /// Answer in JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum KvCommand {
    /// Print keys, one on a line, control characters as in \n and \u{1b}
    List {
        /// NAME of [kv.NAME]
        store: String,
        /// Only keys that begin with this
        #[arg(default_value = "")]
        prefix: String,
    },
    /// Print the value of a key, as it is
    Get {
        /// NAME of [kv.NAME]
        store: String,
        /// The key
        key: String,
    },
    /// Give a key a value
    Set {
        /// NAME of [kv.NAME]
        store: String,
        /// The key
        key: String,
        /// The value; `@FILE` reads a file, `@-` standard input, and `@@TEXT` is the text `@TEXT`
        value: String,
        /// How long it is kept, such as 90s or 1h; for ever when left out
        #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
        time: Option<std::time::Duration>,
    },
    /// Take the value of a key away
    Delete {
        /// NAME of [kv.NAME]
        store: String,
        /// The key
        key: String,
    },
}

pub(super) fn run(args: &KvArgs) -> ExitCode {
    let (KvCommand::List { store: name, .. }
    | KvCommand::Get { store: name, .. }
    | KvCommand::Set { store: name, .. }
    | KvCommand::Delete { store: name, .. }) = &args.command;
    let found = match StoreAlone::read(&args.config, name) {
        Ok(found) => found,
        Err(problems) => return fail_with(&problems),
    };
    let store = match open(&found, name, &args.config) {
        Ok(store) => store,
        Err(message) => return fail(message),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(answer(&args.command, (name, &store), args.json)),
        Err(error) => Err(error.to_string()),
    };
    done.unwrap_or_else(fail)
}

async fn answer(
    command: &KvCommand,
    (name, store): (&str, &Grant),
    as_json: bool,
) -> Result<ExitCode, String> {
    let failed = |error: crate::kv::Error| format!("{name}: {error}");
    match command {
        KvCommand::List { prefix, .. } => list(store, prefix, as_json).await.map_err(failed)?,
        KvCommand::Get { key, .. } => {
            let value = store.get(key).await.map_err(failed)?.ok_or_else(|| no_such_key(name, key))?;
            show(key, &value, as_json);
        }
        KvCommand::Set { key, value, time, .. } => {
            let value = contents(value)?;
            store.set(key, &value, *time).await.map_err(failed)?;
        }
        KvCommand::Delete { key, .. } => {
            if !store.delete(key).await.map_err(failed)? {
                return Err(no_such_key(name, key));
            }
        }
    }
    Ok(OK)
}

fn open(found: &StoreAlone, name: &str, file: &Path) -> Result<Grant, String> {
    let Some(config) = &found.store else {
        let hint = did_you_mean(name, found.names.iter().map(String::as_str));
        return Err(format!("{}: there is no [kv.{name}]{hint}", file.display()));
    };
    let store = deployment::store(config, &Resources::default());
    let store = store.ok_or_else(|| format!("the store `{name}` cannot be opened"))?;
    Ok(Grant::new(store, "", false))
}

async fn list(store: &Grant, prefix: &str, as_json: bool) -> Result<(), crate::kv::Error> {
    let (mut keys, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.list(prefix, cursor.as_deref(), LIST_KEYS_MAX).await?;
        if as_json {
            keys.extend(page.keys);
        } else {
            page.keys.iter().for_each(|key| print(printable(key)));
        }
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    if as_json {
        print(json!(keys));
    }
    Ok(())
}

/// A value as it is; or in JSON, where it is text, or else a list of bytes.
fn show(key: &str, value: &[u8], as_json: bool) {
    if !as_json {
        return write(value);
    }
    match str::from_utf8(value) {
        Ok(text) => print(json!({ "key": key, "value": text })),
        Err(_) => print(json!({ "key": key, "value": value })),
    }
}

/// A key on one line, whatever is in it: keys are the handlers', and the terminal is the operator's.
fn printable(key: &str) -> String {
    let mut text = String::with_capacity(key.len());
    for c in key.chars() {
        if c.is_control() { text.extend(c.escape_default()) } else { text.push(c) }
    }
    text
}

fn no_such_key(store: &str, key: &str) -> String {
    format!("{store}: there is no key `{key}`")
}

/// A value from the command line, a file, or standard input. Two `@` in front are one, and no file.
fn contents(text: &str) -> Result<Vec<u8>, String> {
    let file = match text.strip_prefix('@') {
        None => return Ok(text.as_bytes().to_vec()),
        Some(literal) if literal.starts_with('@') => return Ok(literal.as_bytes().to_vec()),
        Some(file) => file,
    };
    if file != "-" {
        return std::fs::read(file).map_err(|error| format!("{file}: {error}"));
    }
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes).map_err(|error| format!("standard input: {error}"))?;
    Ok(bytes)
}
