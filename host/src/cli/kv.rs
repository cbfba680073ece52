//! `wasmux kv`: what is in the key-value stores of a deployment, whole and without a handler's prefix.

use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use serde_json::json;

use super::{KvArgs, KvCommand, OK, fail, print, read_config};
use crate::config::{Config, did_you_mean};
use crate::deployment;
use crate::kv::{Grant, LIST_KEYS_MAX};
use crate::resources::Resources;

pub(super) fn run(args: &KvArgs) -> ExitCode {
    let config = match read_config(&args.config) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(answer(&args.command, &config, args.json)),
        Err(error) => Err(error.to_string()),
    };
    done.unwrap_or_else(fail)
}

async fn answer(command: &KvCommand, config: &Config, as_json: bool) -> Result<ExitCode, String> {
    let (KvCommand::List { store: name, .. }
    | KvCommand::Get { store: name, .. }
    | KvCommand::Set { store: name, .. }
    | KvCommand::Delete { store: name, .. }) = command;
    let store = open(config, name)?;
    let failed = |error: crate::kv::Error| format!("{name}: {error}");
    match command {
        KvCommand::List { prefix, .. } => list(&store, prefix, as_json).await.map_err(failed)?,
        KvCommand::Get { key, .. } => {
            let value = store.get(key).await.map_err(failed)?.ok_or_else(|| no_such_key(name, key))?;
            show(key, &value, as_json).map_err(|error| error.to_string())?;
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

fn open(config: &Config, name: &str) -> Result<Grant, String> {
    let Some(index) = config.stores.iter().position(|store| store.name == name) else {
        let hint = did_you_mean(name, config.stores.iter().map(|store| store.name.as_str()));
        return Err(format!("{}: there is no [kv.{name}]{hint}", config.file.display()));
    };
    let store = deployment::stores(config, &Resources::default()).into_iter().nth(index).flatten();
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
            page.keys.iter().for_each(print);
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
fn show(key: &str, value: &[u8], as_json: bool) -> std::io::Result<()> {
    if !as_json {
        return std::io::stdout().lock().write_all(value);
    }
    match str::from_utf8(value) {
        Ok(text) => print(json!({ "key": key, "value": text })),
        Err(_) => print(json!({ "key": key, "value": value })),
    }
    Ok(())
}

fn no_such_key(store: &str, key: &str) -> String {
    format!("{store}: there is no key `{key}`")
}

/// A value from the command line, a file, or standard input.
fn contents(text: &str) -> Result<Vec<u8>, String> {
    let Some(file) = text.strip_prefix('@') else { return Ok(text.as_bytes().to_vec()) };
    if file != "-" {
        return std::fs::read(file).map_err(|error| format!("{file}: {error}"));
    }
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes).map_err(|error| format!("standard input: {error}"))?;
    Ok(bytes)
}
