//! Run with: cargo run --release -- serve
//! Then: curl --json '{"title":"Shopping","body":"Milk","tags":["home"]}' http://localhost:8080/notes/
//! And: curl 'http://localhost:8080/notes/?tag=home'
//!
//! A REST API on a SQL database, which routes.toml declares and grants as `notes`: SQLite in the state folder there, and with another
//! `backend` PostgreSQL. The tables come from the files in `migrations`, which are applied when it is deployed.

mod api;
mod store;

use std::sync::LazyLock;

use wasmux_sdk::{Handler, PatternError, Request, ResponseWriter, Result, ServeMux};

static MUX: LazyLock<ServeMux> =
    LazyLock::new(|| mux().expect("the patterns are valid, and no two of them conflict"));

fn mux() -> Result<ServeMux, PatternError> {
    let mut mux = ServeMux::new();
    mux.handle_func("GET /notes/{$}", api::list)?;
    mux.handle_func("POST /notes/{$}", api::create)?;
    mux.handle_func("GET /notes/{id}", api::show)?;
    mux.handle_func("PUT /notes/{id}", api::replace)?;
    mux.handle_func("DELETE /notes/{id}", api::delete)?;
    Ok(mux)
}

/// `/notes/`: see [`api`] for what is under it.
#[wasmux_sdk::handler]
fn serve_http(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    MUX.serve_http(w, r)
}

#[cfg(test)]
mod tests;
