//! From registers and a copy of the stack to addresses of code.
//!
//! Code of guests is compiled with frame pointers, which framehop goes by where it knows of no file; the host's own has tables.
//! A guest runs on a stack of its own, so its frames end where the host has entered that.

use framehop::{CacheNative, FrameAddress, UnwindRegsNative, Unwinder as _, UnwinderNative};

use super::maps::Mapped;
use super::sample::{Found, Registers};

/// Frames of one stack; deeper ones lose those that they began with.
const FRAMES_MAX: usize = 256;

/// Finds callers.
pub(super) struct Unwinder {
    unwinder: UnwinderNative<Vec<u8>, framehop::MayAllocateDuringUnwind>,
    cache: CacheNative<framehop::MayAllocateDuringUnwind>,
}

impl Unwinder {
    /// Knows the host's own code.
    pub(super) fn new(host: &[Mapped]) -> Self {
        let mut unwinder = UnwinderNative::new();
        host.iter().filter_map(Mapped::module).for_each(|module| unwinder.add_module(module));
        Self { unwinder, cache: CacheNative::new() }
    }

    /// Addresses inside the instructions that a thread was at: the innermost first, then each call.
    pub(super) fn addresses(&mut self, found: &Found) -> Vec<u64> {
        let Registers { pc, sp, .. } = found.registers;
        let stack = &found.stack[..found.len];
        let mut read = |address: u64| {
            let at = usize::try_from(address.checked_sub(sp).ok_or(())?).map_err(|_| ())?;
            let word = stack.get(at..).and_then(<[u8]>::first_chunk).ok_or(())?;
            Ok(u64::from_ne_bytes(*word))
        };
        let mut registers = unwind_registers(&found.registers);
        let mut frame = FrameAddress::from_instruction_pointer(pc);
        let mut addresses = vec![pc];
        while addresses.len() < FRAMES_MAX
            && let Ok(Some(next)) =
                self.unwinder.unwind_frame(frame, &mut registers, &mut self.cache, &mut read)
            && let Some(caller) = FrameAddress::from_return_address(next)
        {
            addresses.push(caller.address_for_lookup());
            frame = caller;
        }
        addresses
    }
}

#[cfg(target_arch = "x86_64")]
fn unwind_registers(found: &Registers) -> UnwindRegsNative {
    UnwindRegsNative::new(found.pc, found.sp, found.fp)
}

#[cfg(target_arch = "aarch64")]
fn unwind_registers(found: &Registers) -> UnwindRegsNative {
    UnwindRegsNative::new(found.lr, found.sp, found.fp)
}
