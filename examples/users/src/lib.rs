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

use wasmux_sdk::{Handler, Request, ResponseWriter, Result, ServeMux};

/// `/users/`: see [`api`] for what is under it.
#[wasmux_sdk::handler]
fn serve_http(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    let mut mux = ServeMux::new();
    mux.handle_func("GET /users/{$}", api::list)?;
    mux.handle_func("POST /users/{$}", api::create)?;
    mux.handle_func("GET /users/{id}", api::show)?;
    mux.handle_func("PUT /users/{id}", api::replace)?;
    mux.handle_func("DELETE /users/{id}", api::delete)?;
    mux.serve_http(w, r)
}

#[cfg(test)]
mod tests;
