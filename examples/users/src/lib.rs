//! Run with: cargo run --release -- serve
//! Then: curl http://localhost:8080/users/1
//! Or: curl --json '{"name":"Barbara Liskov","email":"barbara@example.com"}' http://localhost:8080/users/
//!
//! A REST API in one module: routes.toml mounts it at `/users/`, and a mux of its own does the rest.
//!
//! Every request gets fresh memory, so what POST, PUT and DELETE change is gone with the response. A real service
//! would keep its users in a store behind the host.

mod api;
mod store;

use std::sync::LazyLock;

use wasmux_sdk::{Handler, PatternError, Request, ResponseWriter, Result, ServeMux};

/// Built once for each instance. With `snapshot = true` in routes.toml it is there before there is any.
static MUX: LazyLock<ServeMux> =
    LazyLock::new(|| mux().expect("the patterns are valid, and no two of them conflict"));

fn mux() -> Result<ServeMux, PatternError> {
    let mut mux = ServeMux::new();
    mux.handle_func("GET /users/{$}", api::list)?;
    mux.handle_func("POST /users/{$}", api::create)?;
    mux.handle_func("GET /users/{id}", api::show)?;
    mux.handle_func("PUT /users/{id}", api::replace)?;
    mux.handle_func("DELETE /users/{id}", api::delete)?;
    Ok(mux)
}

#[wasmux_sdk::warm_up]
fn warm_up() {
    LazyLock::force(&MUX);
}

/// `/users/`: see [`api`] for what is under it.
#[wasmux_sdk::handler]
fn serve_http(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    MUX.serve_http(w, r)
}

#[cfg(test)]
mod tests;
