//! In place of `signal.rs` on systems whose threads have no timers of their own: nothing is sampled there.

use std::io;
use std::time::Duration;

use super::sample::{Cause, Found};

#[derive(Debug)]
pub(super) struct Sampling;

impl Sampling {
    /// # Errors
    /// Always.
    pub(super) fn start(_: Cause, _: usize) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn drain(&mut self, _: impl FnMut(&Found)) {}

    pub(super) fn lost(&self) -> u64 {
        0
    }
}

#[derive(Debug)]
pub(super) struct Timer;

impl Timer {
    /// # Errors
    /// Always.
    pub(super) fn start(_: i32, _: Duration) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

pub(super) fn ask(_: i32) -> bool {
    false
}

pub(super) fn this_thread() -> i32 {
    0
}
