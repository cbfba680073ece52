//! What all tests use: the program under test, clients for it, guests to run in it.

pub(crate) mod client;
pub(crate) mod dns;
pub(crate) mod frames;
pub(crate) mod guests;
pub(crate) mod http2;
pub(crate) mod lines;
pub(crate) mod server;
pub(crate) mod tls;
pub(crate) mod upstream;

pub(crate) use client::{Conn, Response};
pub(crate) use server::{Server, Site};

use std::time::Duration;

/// How long a test waits for what must happen before it fails: generous, since machines that test are busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
