//! The SDK as a handler's author sees it, against the tables of net/http's own tests.
#![cfg(not(target_family = "wasm"))]

mod body; // reading, limits, trailers
mod calls; // the client, and what tests answer
mod content; // serve_content
mod cookies; // reading and writing them
mod cross_origin; // CrossOriginProtection
mod errors; // what becomes of an Err
mod forms; // queries and urlencoded bodies
mod helpers; // error, redirect, strip_prefix
mod multipart; // parts, boundaries, limits
mod mux; // ServeMux
mod request; // the head
mod response; // the 2048-byte rule, headers, trailers
mod sniff; // content types
mod sql; // reading rows
mod timeouts; // timeout_handler

use wasmux_sdk::{Recorder, Request, ResponseWriter, Result};

/// Serves `GET /` with a closure.
fn get(handler: impl Fn(&mut ResponseWriter, &mut Request) -> Result<()>) -> Recorder {
    Recorder::serve(handler, Request::get("/"))
}
