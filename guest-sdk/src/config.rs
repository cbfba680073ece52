//! The handler's configuration: `config` and `secrets` in routes.toml.
//!
//! ```toml
//! [handlers.greet]
//! wasm = "greet"
//! config  = { GREETING = "Hello" }
//! secrets = { API_KEY = { env = "API_KEY" }, SALT = { file = "/run/secrets/salt" } }
//! ```
//!
//! ```
//! use std::io::Write;
//! use wasmux_sdk::{Recorder, Request, ResponseWriter, Result, config};
//!
//! fn greet(w: &mut ResponseWriter, _: &mut Request) -> Result<()> {
//!     let greeting = config::get("GREETING").unwrap_or_else(|| "Hi".to_owned());
//!     Ok(write!(w, "{greeting}!")?)
//! }
//!
//! let response = Recorder::serve(greet, Request::get("/").config("GREETING", "Hello"));
//! assert_eq!(response.text(), "Hello!");
//! ```
//!
//! Values are text. They can be changed without building the handler again: what a request reads is what was in force when
//! its instance was made. A handler that calls this needs one of the two keys, `config = {}` if there is nothing to say. Components
//! read them through `wasi:config/store`; a host that has nothing for them there is one without values.

#[cfg(not(target_family = "wasm"))]
use crate::recorder::config as host;
#[cfg(target_family = "wasm")]
use crate::sys::config as host;

/// The value of this name, if there is one; Go's `os.LookupEnv`.
#[must_use]
pub fn get(name: &str) -> Option<String> {
    host::get(name)
}

/// All values with their names, sorted by name; Go's `os.Environ`.
#[must_use]
pub fn all() -> Vec<(String, String)> {
    host::all()
}
