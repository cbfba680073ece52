//! What the process is at: samples of the host's and the guests' stacks, and what memory, threads and tasks there are
//! (Go: runtime/pprof).
//!
//! Nothing is done before somebody asks. Then every thread has a timer on its own CPU clock; the signal that comes of it has
//! registers and stack copied (`signal`), and a thread of the session finds the frames (`unwind`). Names are looked for at the
//! end (`symbols`). Written as profile.proto (`proto`), text, or a page with a flame graph (`flame`).

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::guest::GuestEngine;
use crate::stats::Registry;

mod cpu;
mod flame;
mod guest_symbols;
mod maps;
mod memory;
mod proto;
mod sample;
#[cfg_attr(
    not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))),
    path = "profile/unsupported.rs"
)]
mod signal;
mod symbols;
mod text;
mod threads;
mod unwind;

/// Samples for each second that a thread computes; what Go's are by default (runtime/pprof.StartCPUProfile).
pub const SAMPLES_PER_SECOND: u32 = 100;

/// The longest that is sampled in one go.
pub const DURATION_MAX: Duration = Duration::from_secs(600);

/// Makes profiles of this process.
#[derive(Clone, Debug)]
pub struct Profiler {
    guests: GuestEngine,
    registry: Arc<Registry>,
}

/// What is measured: its name and unit, as profile.proto has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueType {
    /// What it is.
    pub name: &'static str,
    /// `nanoseconds`, `bytes` or `count`.
    pub unit: &'static str,
}

/// What was found, with names.
#[derive(Clone, Debug)]
pub struct Profile {
    /// What its values are; the last is what tools show first.
    pub values: Vec<ValueType>,
    /// What is between two samples.
    pub period: Option<(ValueType, i64)>,
    /// When the first could have been taken.
    pub began: SystemTime,
    /// And for how long.
    pub duration: Duration,
    /// One for each stack.
    pub samples: Vec<Sample>,
    /// Where samples are.
    pub places: Vec<Place>,
    /// Where places are.
    pub mappings: Vec<Mapping>,
    /// Samples that there was no room for.
    pub lost: u64,
}

/// One stack, and how much of everything was found there.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Numbers of places, innermost first.
    pub stack: Vec<usize>,
    /// In the order of [`Profile::values`].
    pub values: Vec<i64>,
    /// For whom: `handler`, `route`, `thread` and the like.
    pub labels: Vec<(&'static str, Arc<str>)>,
}

/// An instruction, or something else that stands in a stack.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where it is in memory; 0 if it is no code.
    pub address: u64,
    /// The number of its mapping.
    pub mapping: Option<usize>,
    /// The functions that it is in; of inlined ones the innermost first. Never empty.
    pub lines: Vec<Line>,
}

/// A function, and a line in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The function's name.
    pub function: String,
    /// The file of its source; empty when that is not known.
    pub file: String,
    /// The line, from 1 on; 0 when it is not known.
    pub line: u32,
}

/// A piece of memory with code.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// Where it is.
    pub addresses: Range<u64>,
    /// What is mapped there.
    pub file: String,
    /// Whose it is.
    pub origin: Origin,
}

/// Whose code something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The program's and its libraries'.
    Host,
    /// A handler's.
    Guest,
}

impl Line {
    fn named(function: String) -> Self {
        Self { function, ..Self::default() }
    }
}

impl Profiler {
    /// Profiles of this engine's guests, and everything around them.
    #[must_use]
    pub fn new(guests: GuestEngine, registry: Arc<Registry>) -> Self {
        Self { guests, registry }
    }

    /// Samples what computes, for so long; of one handler only, if it is named. Ends when it is dropped.
    ///
    /// # Errors
    /// `AlreadyExists` when somebody else does; `Unsupported` where there are no timers for threads.
    pub async fn cpu(&self, duration: Duration, handler: Option<&str>) -> io::Result<Profile> {
        let (guests, registry) = (self.guests.clone(), Arc::clone(&self.registry));
        let mut session = in_background(move || cpu::Session::start(guests, registry)).await??;
        session.begun().await;
        tokio::time::sleep(duration).await;
        let handler = handler.map(str::to_owned);
        in_background(move || session.finish(handler.as_deref())).await?
    }

    /// What each thread is at.
    ///
    /// # Errors
    /// As [`Self::cpu`].
    pub async fn threads(&self) -> io::Result<Profile> {
        let this = self.clone();
        in_background(move || threads::profile(&this.guests)).await?
    }

    /// Who has memory.
    #[must_use]
    pub fn heap(&self) -> Profile {
        memory::profile(&self.guests)
    }

    /// Requests at work and those that wait.
    #[must_use]
    pub fn tasks(&self) -> Profile {
        threads::tasks(&self.guests)
    }

    /// Whether there is, or was, a handler of this name with a guest.
    #[must_use]
    pub fn knows(&self, handler: &str) -> bool {
        self.guests.ledger().shares().iter().any(|(name, _)| **name == *handler)
    }

    /// The functions at these addresses of the host's own code or guests'.
    ///
    /// # Errors
    /// When the process ends.
    pub async fn functions(&self, addresses: Vec<u64>) -> io::Result<Vec<String>> {
        let guests = self.guests.clone();
        in_background(move || {
            let mut symbols = symbols::Symbols::new(guests.images(), &maps::mapped());
            let numbers: Vec<_> = addresses.into_iter().map(|address| symbols.place(address)).collect();
            let (places, _) = symbols.into_places();
            let outermost = |number: usize| places[number].lines.last().map(|line| line.function.clone());
            numbers.into_iter().map(|number| outermost(number).unwrap_or_default()).collect()
        })
        .await
    }
}

/// Does it on a thread that serves nobody.
async fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

impl Profile {
    /// Gzip'd profile.proto, as `go tool pprof` takes it. As the others, on a thread that serves nobody: stacks are many.
    ///
    /// # Errors
    /// When the process ends.
    pub async fn into_proto(self) -> io::Result<Vec<u8>> {
        in_background(move || proto::encode(&self)).await
    }

    /// The same for people: a count, labels and frames for each stack.
    ///
    /// # Errors
    /// When the process ends.
    pub async fn into_text(self) -> io::Result<String> {
        in_background(move || text::write(&self)).await
    }

    /// A page that shows it, and needs nothing else.
    ///
    /// # Errors
    /// When the process ends.
    pub async fn into_flame(self, title: String) -> io::Result<String> {
        in_background(move || flame::page(&self, &title)).await
    }

    /// Its last value, all in all.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.samples.iter().filter_map(|sample| sample.values.last()).sum()
    }

    /// What has changed since `before`: its values are taken off.
    #[must_use]
    pub fn since(mut self, before: &Self) -> Self {
        let first = self.places.len();
        for place in &before.places {
            let find = |old: usize| {
                let old = &before.mappings[old];
                self.mappings.iter().position(|mapping| mapping.addresses == old.addresses)
            };
            self.places.push(Place { mapping: place.mapping.and_then(find), ..place.clone() });
        }
        let taken = before.samples.iter().map(|sample| Sample {
            stack: sample.stack.iter().map(|place| first + place).collect(),
            values: sample.values.iter().map(|value| -value).collect(),
            labels: sample.labels.clone(),
        });
        self.samples.extend(taken);
        self.duration = self.began.duration_since(before.began).unwrap_or_default();
        self
    }

    /// One whose stacks are words.
    fn of_words(values: Vec<ValueType>) -> Self {
        Self {
            values,
            period: None,
            began: SystemTime::now(),
            duration: Duration::ZERO,
            samples: Vec::new(),
            places: Vec::new(),
            mappings: Vec::new(),
            lost: 0,
        }
    }

    /// A stack of words, outermost first.
    fn add(&mut self, words: &[&str], values: Vec<i64>, labels: Vec<(&'static str, Arc<str>)>) {
        let mut stack: Vec<_> = words.iter().map(|word| self.word(word)).collect();
        stack.reverse();
        self.samples.push(Sample { stack, values, labels });
    }

    fn word(&mut self, word: &str) -> usize {
        let known = self.places.iter().position(|place| place.lines[0].function == word);
        known.unwrap_or_else(|| {
            let line = Line::named(word.to_owned());
            self.places.push(Place { address: 0, mapping: None, lines: vec![line] });
            self.places.len() - 1
        })
    }
}

/// A function's name as people know it.
fn readable(name: &str) -> String {
    harmless(&format!("{:#}", rustc_demangle::demangle(name)))
}

/// What a guest calls something; a terminal that shows it is not to do what it says.
fn harmless(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}
