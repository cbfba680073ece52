//! In place of `signal.rs` on systems whose threads have no timers of their own: nothing is sampled there.

use std::io;
use std::time::Duration;

use crate::tag::Tag;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Registers {
    pub(super) pc: u64,
    pub(super) sp: u64,
    pub(super) fp: u64,
    #[cfg(target_arch = "aarch64")]
    pub(super) lr: u64,
}

#[derive(Debug)]
pub(super) struct Found {
    pub(super) thread: i32,
    pub(super) tag: Tag,
    pub(super) registers: Registers,
    pub(super) len: usize,
    pub(super) stack: [u8; 0],
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Cause {
    Timer,
    Asked,
}

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
