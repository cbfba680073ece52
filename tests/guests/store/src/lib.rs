//! Uses a key-value store, as the query tells it, and says what came of it.

use std::{fmt::Debug, io::Write as _, time::Duration};

use wasmux_sdk::{Request, ResponseWriter, Result, StatusCode, kv};

#[wasmux_sdk::handler]
fn serve_http(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    let query = r.query();
    let get = |name: &str| query.get(name).unwrap_or_default();
    let (key, value) = (get("key"), get("value"));
    let store = match kv::open(get("store")) {
        Ok(store) => store,
        Err(error) => return told::<()>(w, Err(error)),
    };
    let text = |value: Option<Vec<u8>>| value.map(|value| String::from_utf8_lossy(&value).into_owned());
    match get("do") {
        "get" => told(w, store.get(key).map(text)),
        "size" => told(w, store.get(key).map(|value| value.map(|value| value.len()))),
        "exists" => told(w, store.exists(key)),
        "set" => told(w, store.set(key, value)),
        "fill" => told(w, store.set(key, vec![b'x'; value.parse()?])),
        "set_for" => told(w, store.set_for(key, value, Duration::from_millis(get("ms").parse()?))),
        "delete" => told(w, store.delete(key)),
        "increment" => told(w, store.increment(key, value.parse()?)),
        "add" => told(w, store.compare_and_swap(key, None, value)),
        "swap" => told(w, store.compare_and_swap(key, Some(get("old").as_bytes()), value)),
        "list" => told(w, store.list(key).collect::<kv::Result<Vec<_>>>()),
        "reads" => {
            let count: u32 = value.parse()?;
            (0..count).try_for_each(|_| store.get(key).map(drop))?;
            told(w, Ok(count))
        }
        _ => {
            w.write_header(StatusCode::NOT_FOUND);
            Ok(())
        }
    }
}

fn told<T: Debug>(w: &mut ResponseWriter, result: kv::Result<T>) -> Result<()> {
    match result {
        Ok(value) => Ok(write!(w, "{value:?}")?),
        Err(error) => Ok(write!(w, "{error}")?),
    }
}
