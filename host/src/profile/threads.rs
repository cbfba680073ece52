//! The threads of this process and what each is at; and the tasks that run on them, in place of Go's goroutines.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::maps::mapped;
use super::sample::Cause;
use super::signal::{Sampling, ask, this_thread};
use super::symbols::Symbols;
use super::unwind::Unwinder;
use super::{Profile, Sample, ValueType};
use crate::guest::GuestEngine;

/// How long a thread may take to say what it is at. One that the kernel does not let go on is listed without a stack.
const PATIENCE: Duration = Duration::from_millis(500);

/// A question gets lost while another signal of the kind waits for the thread.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// Between two looks at who has answered.
const LOOK_PERIOD: Duration = Duration::from_millis(1);

const COUNT: ValueType = ValueType { name: "count", unit: "count" };

/// The kernel's numbers of all threads.
pub(super) fn threads() -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| name.parse().ok()).collect()
}

/// The name of a thread; its number, when it has ended.
pub(super) fn name(thread: i32) -> Arc<str> {
    let name = std::fs::read_to_string(format!("/proc/self/task/{thread}/comm"));
    name.map_or_else(|_| thread.to_string().into(), |name| name.trim_end().into())
}

/// The stack of each thread.
///
/// # Errors
/// `AlreadyExists` when somebody else asks at this moment.
pub(super) fn profile(guests: &GuestEngine) -> io::Result<Profile> {
    let began = SystemTime::now();
    let host = mapped();
    let mut unwinder = Unwinder::new(&host);
    let images = guests.images();
    let all: Vec<_> = threads().into_iter().filter(|&thread| thread != this_thread()).collect();
    let mut sampling = Sampling::start(Cause::Asked, 2 * all.len() + 1)?;
    let begun = Instant::now();
    let asked: Vec<_> = all.into_iter().filter(|&thread| ask(thread)).collect();
    let mut stacks = HashMap::new();
    let mut again = ASK_AGAIN;
    while stacks.len() < asked.len() && begun.elapsed() < PATIENCE {
        std::thread::sleep(LOOK_PERIOD);
        if begun.elapsed() > again {
            again += ASK_AGAIN;
            for &thread in asked.iter().filter(|thread| !stacks.contains_key(*thread)) {
                ask(thread);
            }
        }
        sampling.drain(|found| {
            stacks.insert(found.thread, unwinder.addresses(found));
        });
    }
    drop(sampling);
    let mut symbols = Symbols::new(images, &host);
    let samples = asked.iter().map(|thread| {
        let addresses = stacks.remove(thread).unwrap_or_default().into_iter();
        let stack = addresses.map(|address| symbols.place(address)).collect();
        let number: Arc<str> = thread.to_string().into();
        Sample { stack, values: vec![1], labels: vec![("thread", name(*thread)), ("id", number)] }
    });
    let samples = samples.collect();
    let (places, mappings) = symbols.into_places();
    Ok(Profile {
        values: vec![COUNT],
        period: None,
        began,
        duration: Duration::ZERO,
        samples,
        places,
        mappings,
        lost: 0,
    })
}

/// Requests of guests, by handler and what they are at.
pub(super) fn tasks(guests: &GuestEngine) -> Profile {
    let mut profile = Profile::of_words(vec![COUNT]);
    for (name, share) in guests.ledger().shares() {
        let used = share.used();
        for (what, count) in [("requests at work", used.running), ("requests that wait", used.waiting)] {
            if count > 0 {
                profile.add(&[&name, what], vec![count.into()], vec![("handler", Arc::clone(&name))]);
            }
        }
    }
    profile
}
