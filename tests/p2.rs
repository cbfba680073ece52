//! wasi:http 0.2 components: every way in which a guest can fail, what its client gets and what the log says; work after
//! the response, clients that go away, and instances that are used again.
//!
//! What is the same on every ABI stands in `conformance`. The guest is `tests/guests/proxy`, whose query names its fault.

mod disconnect;
mod failures;
mod interim;
mod reuse;

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::guests::component;
use crate::support::{Response, Server, Site};

/// A server of handlers that are all `proxy`, each with settings of its own and on a path of its name.
fn serve(settings: &str, handlers: &[(&str, &str)]) -> Server {
    let wasm = component("proxy");
    let mut routes = format!("[server]\n{settings}\n");
    for (name, settings) in handlers {
        writeln!(routes, "[handlers.{name}]\nwasm = {wasm:?}\n{settings}").unwrap();
    }
    routes.push_str("[routes]\n");
    for (name, _) in handlers {
        writeln!(routes, "\"/{name}\" = \"{name}\"").unwrap();
    }
    Site::new(&routes).serve()
}

/// An id that no other request has.
fn new_id() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("p2-{}.", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Has the handler commit a fault; answers with the request's id as well.
fn commit(server: &Server, handler: &str, fault: &str) -> (Response, String) {
    let id = new_id();
    let response =
        server.request("GET", &format!("/{handler}?fault={fault}"), &[&format!("X-Request-Id: {id}")], b"");
    (response, id)
}
