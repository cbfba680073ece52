//! What is found in a thread that is interrupted.

use crate::tag::Tag;

/// How much of a stack is copied, in bytes. Deeper ones lose the frames that they began with.
pub(super) const STACK_BYTES: usize = 64 << 10;

/// Registers that frames are found by.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Registers {
    /// The instruction.
    pub(super) pc: u64,
    /// The stack pointer.
    pub(super) sp: u64,
    /// The frame pointer.
    pub(super) fp: u64,
    /// Where the function returns to, on machines that have a register for it.
    #[cfg(target_arch = "aarch64")]
    pub(super) lr: u64,
}

/// What was found in a thread.
#[derive(Debug)]
pub(super) struct Found {
    /// The kernel's number of the thread.
    pub(super) thread: i32,
    pub(super) tag: Tag,
    pub(super) registers: Registers,
    /// Bytes of `stack` that were copied.
    pub(super) len: usize,
    /// What was at `sp` and above it.
    pub(super) stack: [u8; STACK_BYTES],
}

/// Why a thread is interrupted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cause {
    /// It has computed for another period.
    Timer,
    /// Somebody has asked.
    Asked,
}
