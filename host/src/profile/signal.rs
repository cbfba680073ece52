//! The part of sampling that happens inside a signal: registers, tag and the top of the stack are copied, and nothing else.
//!
//! A thread is interrupted by a timer on its own CPU clock, or because somebody wants to know what it is at. What comes
//! after that is done elsewhere, on copies. Invariant: the handler allocates nothing, takes no lock, and faults on nothing:
//! the kernel copies the stack, as far as there is one.

#![expect(unsafe_code, reason = "signals, timers of other threads and their registers are the kernel's")]

use std::cell::UnsafeCell;
use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use libc::{c_int, c_void, iovec, siginfo_t, ucontext_t};

use super::sample::{Cause, Found, Registers, STACK_BYTES};
use crate::tag::Tag;

/// What the kernel copies at a time; where a page is missing, the rest is.
const PAGE_BYTES: usize = 4 << 10;

/// Pieces of a stack: each page, and the one that it begins in the middle of.
const PIECES: usize = STACK_BYTES / PAGE_BYTES + 1;

/// Where samples are put, one place for each cause; null while nobody wants any.
static SINKS: [AtomicPtr<Sink>; 2] = [AtomicPtr::new(null_mut()), AtomicPtr::new(null_mut())];

/// Handlers that are at work with one of them.
static AT_WORK: AtomicUsize = AtomicUsize::new(0);

const FREE: u32 = 0;
const WRITING: u32 = 1;
const FULL: u32 = 2;

/// Room for samples.
struct Sink {
    process: i32,
    next: AtomicUsize,
    lost: AtomicU64,
    places: Box<[Place]>,
}

struct Place {
    state: AtomicU32,
    found: UnsafeCell<Found>,
}

// SAFETY: `state` says whose `found` is: the handler's that has made WRITING of FREE, or, from FULL on, the one reader's.
unsafe impl Sync for Place {}

/// Samples for one purpose, taken as long as this is there.
pub(super) struct Sampling {
    sink: *mut Sink,
    cause: Cause,
}

// SAFETY: it is the only owner of the sink, which any thread may read and drop.
unsafe impl Send for Sampling {}

impl Sampling {
    /// Makes room for so many samples and takes what comes.
    ///
    /// # Errors
    /// When somebody else samples for the same cause (`AlreadyExists`), or the kernel takes no handler.
    pub(super) fn start(cause: Cause, places: usize) -> io::Result<Self> {
        install()?;
        // SAFETY: there is nothing that could go wrong with it.
        let process = unsafe { libc::getpid() };
        let mut probe = Box::new([0; STACK_BYTES]);
        if copy(process, (&raw const process) as u64, &mut probe) == 0 {
            return Err(io::Error::other(
                "the kernel does not let this process read its own stack: allow process_vm_readv in its sandbox",
            ));
        }
        let place = || {
            // SAFETY: zeros are numbers in all of its parts.
            let found = unsafe { MaybeUninit::<Found>::zeroed().assume_init() };
            Place { state: AtomicU32::new(FREE), found: UnsafeCell::new(found) }
        };
        let sink = Box::new(Sink {
            process,
            next: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
            places: (0..places).map(|_| place()).collect(),
        });
        let sink = Box::into_raw(sink);
        let slot = &SINKS[cause as usize];
        if slot.compare_exchange(null_mut(), sink, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            // SAFETY: it was made here, and nobody has seen it.
            drop(unsafe { Box::from_raw(sink) });
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(Self { sink, cause })
    }

    fn sink(&self) -> &Sink {
        // SAFETY: it lives until this is dropped.
        unsafe { &*self.sink }
    }

    /// Hands over what has come, and makes room for more.
    pub(super) fn drain(&mut self, mut take: impl FnMut(&Found)) {
        for place in &self.sink().places {
            if place.state.load(Ordering::Acquire) == FULL {
                // SAFETY: no handler touches what is full, and `&mut self` says that there is no other reader.
                take(unsafe { &*place.found.get() });
                place.state.store(FREE, Ordering::Release);
            }
        }
    }

    /// Samples that there was no room for.
    pub(super) fn lost(&self) -> u64 {
        self.sink().lost.load(Ordering::Relaxed)
    }
}

impl Drop for Sampling {
    fn drop(&mut self) {
        SINKS[self.cause as usize].store(null_mut(), Ordering::SeqCst);
        // Whoever has seen the sink before is done in some microseconds; whoever comes later sees none.
        while AT_WORK.load(Ordering::SeqCst) > 0 {
            std::thread::yield_now();
        }
        // SAFETY: it came out of a box, and nobody has it any more.
        drop(unsafe { Box::from_raw(self.sink) });
    }
}

/// Sets the handler, once. It stays: a signal may come after the last timer was stopped, and would end the process.
fn install() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| {
        // SAFETY: `action` is complete, and `on_signal` does what a handler may. On the alternate stack, because there may be
        // no room left on a guest's.
        let done = unsafe {
            let mut action: libc::sigaction = zeroed();
            action.sa_sigaction = on_signal as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
            libc::sigaction(libc::SIGPROF, &raw const action, null_mut())
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error().raw_os_error().unwrap_or_default()) }
    });
    (*installed).map_err(io::Error::from_raw_os_error)
}

extern "C" fn on_signal(_: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel hands over both; `errno` is this thread's own, and the code that was interrupted may be about to
    // read it.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        AT_WORK.fetch_add(1, Ordering::SeqCst);
        let cause = if (*info).si_code == libc::SI_TIMER { Cause::Timer } else { Cause::Asked };
        let sink = SINKS[cause as usize].load(Ordering::SeqCst);
        if let Some(sink) = sink.as_ref() {
            sink.put(&*context.cast::<ucontext_t>());
        }
        AT_WORK.fetch_sub(1, Ordering::SeqCst);
        *errno = before;
    }
}

impl Sink {
    /// Copies what the thread was at. Runs in the handler.
    fn put(&self, context: &ucontext_t) {
        let index = self.next.fetch_add(1, Ordering::Relaxed) % self.places.len();
        let place = &self.places[index];
        if place.state.compare_exchange(FREE, WRITING, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // SAFETY: WRITING makes it ours.
        let found = unsafe { &mut *place.found.get() };
        found.registers = registers(context);
        found.tag = Tag::current();
        // SAFETY: it cannot go wrong.
        found.thread = unsafe { libc::gettid() };
        found.len = copy(self.process, found.registers.sp, &mut found.stack);
        place.state.store(FULL, Ordering::Release);
    }
}

#[cfg(target_arch = "x86_64")]
fn registers(context: &ucontext_t) -> Registers {
    let register = |index: c_int| context.uc_mcontext.gregs[index as usize].cast_unsigned();
    Registers { pc: register(libc::REG_RIP), sp: register(libc::REG_RSP), fp: register(libc::REG_RBP) }
}

#[cfg(target_arch = "aarch64")]
fn registers(context: &ucontext_t) -> Registers {
    let machine = &context.uc_mcontext;
    Registers { pc: machine.pc, sp: machine.sp, fp: machine.regs[29], lr: machine.regs[30] }
}

/// Copies memory of this process from `address` on, as far as there is any; answers how many bytes. The kernel looks before it
/// copies, so a wrong address is no fault.
fn copy(process: i32, address: u64, to: &mut [u8; STACK_BYTES]) -> usize {
    let mut pieces = [iovec { iov_base: null_mut(), iov_len: 0 }; PIECES];
    let (mut at, mut left) = (address as usize, STACK_BYTES);
    for piece in &mut pieces {
        let len = left.min(PAGE_BYTES - at % PAGE_BYTES);
        *piece = iovec { iov_base: at as *mut c_void, iov_len: len };
        at = at.wrapping_add(len);
        left -= len;
    }
    let local = iovec { iov_base: to.as_mut_ptr().cast(), iov_len: STACK_BYTES };
    // SAFETY: `local` is ours for as many bytes as it says; what is read, the kernel checks.
    let copied =
        unsafe { libc::process_vm_readv(process, &raw const local, 1, pieces.as_ptr(), PIECES as u64, 0) };
    usize::try_from(copied).unwrap_or(0)
}

/// A timer on the CPU clock of one thread. It ends with this.
#[derive(Debug)]
pub(super) struct Timer(libc::timer_t);

// SAFETY: a timer belongs to the process; any of its threads may stop it.
unsafe impl Send for Timer {}

impl Timer {
    /// Interrupts the thread whenever it has computed for `period`.
    ///
    /// # Errors
    /// When the thread has ended, or there are too many timers.
    pub(super) fn start(thread: i32, period: Duration) -> io::Result<Self> {
        /// `CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED` of Linux (include/linux/posix-timers_types.h).
        const CLOCK_OF_THREAD: i32 = 4 | 2;
        let clock = (!thread << 3) | CLOCK_OF_THREAD;
        let interval = libc::timespec { tv_sec: 0, tv_nsec: period.subsec_nanos().into() };
        let settings = libc::itimerspec { it_interval: interval, it_value: interval };
        // SAFETY: everything that is pointed to is complete, and outlives the calls.
        unsafe {
            let mut event: libc::sigevent = zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = libc::SIGPROF;
            event.sigev_notify_thread_id = thread;
            let mut timer: libc::timer_t = null_mut();
            if libc::timer_create(clock, &raw mut event, &raw mut timer) != 0 {
                return Err(io::Error::last_os_error());
            }
            let timer = Self(timer);
            if libc::timer_settime(timer.0, 0, &raw const settings, null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(timer)
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: it was made above, and is deleted once.
        unsafe { libc::timer_delete(self.0) };
    }
}

/// Asks a thread of this process what it is at; says whether there is such a thread.
pub(super) fn ask(thread: i32) -> bool {
    // SAFETY: the signal has a handler since `Sampling::start`, without which nobody would ask.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, libc::SIGPROF) == 0 }
}

/// The kernel's number of this thread.
pub(super) fn this_thread() -> i32 {
    // SAFETY: it cannot go wrong.
    unsafe { libc::gettid() }
}
