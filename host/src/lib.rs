//! wasmux is net/http for WebAssembly: one program owns the listener, the keep-alive loop and the mux, and routes
//! each matched pattern to a sandboxed wasm handler.
//!
//! The modules below stand in the order in which they are best read; `ARCHITECTURE.md` beside this crate is the map.

// Start-up.
pub mod builder;
pub mod cli;
pub mod config;
pub mod deployment;
pub mod history;
pub mod telemetry;

// The way in.
mod chain;
pub mod connection;
pub mod dispatch;
pub mod handler;
pub mod listener;
pub mod server;
pub mod tls;

// The guest.
pub mod guest;

// Beyond this machine.
pub mod outbound;
pub mod resources;
pub mod sql;
pub mod upstream;

// The way out.
pub mod access_log;
pub mod body;
pub mod recorded;
pub mod rescue;
pub mod stall;

// Its own life: what comes before, after and in place of this process.
pub mod admin;
pub mod deployer;
pub mod drain;
pub mod handover;
pub mod metrics;
pub mod notify;
pub mod profile;
pub mod upgrade;
pub mod watch;

// Beside the path.
pub mod activity;
mod authority;
pub mod error;
mod hop_by_hop;
pub mod kv;
pub mod limit;
pub mod machine;
pub mod notes;
mod printable;
pub mod request_id;
pub mod stats;
mod strip;
pub mod tag;
mod tempo;
pub mod trace;
