//! Nothing of one request is visible to the next: guests that write a marker wherever they can, each time followed by one
//! that shows all it can see. What is seen must be, byte for byte, what the module says it starts with.
//!
//! Two handlers of different shape take turns in a pool of one place, so that each request gets the place of the one
//! before it.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use arbitrary::Unstructured;
use bytes::Bytes;
use http::Request;
use wasmux::error::Error;
use wasmux::guest::{Folder, Grants, Guest, GuestEngine, GuestSettings, Isolation, Reuse};

use self::module::{SHOWN_PAGES, module};
use self::shape::{CALLS_AT, Shape, TABLE_GROWTH};
use crate::world::{Answer, Client, PATIENT_TIMEOUT, engine, exchange, settings, sound_guest};

mod module;
mod shape;
#[cfg(test)]
mod tests;

/// Requests of one input.
const REQUESTS_MAX: usize = 10;

/// What a file that guests read begins with.
const FILE: &[u8] = b"the text of a file";

/// The variable that guests see.
const ENV: (&str, &str) = ("NAME", "value");

/// The engine and the folder that guests may read.
static WORLD: LazyLock<(GuestEngine, tempfile::TempDir)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    std::fs::write(folder.path().join("f"), FILE).expect("there is room in it");
    (engine(1), folder)
});

/// Held by who plays: all share one place.
static TURN: Mutex<()> = Mutex::new(());

/// How a request ends that has left its marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// As it should, with a response.
    Returns,
    Traps,
    /// Until its time is up.
    Loops,
    Overflows,
    /// In the middle of its response.
    BreaksOff,
    /// Its client goes away while it writes.
    IsLeft,
    /// It asks for more memory than it may have, and traps.
    Exhausts,
}

impl Ending {
    const ALL: [Self; 7] = [
        Self::Returns,
        Self::Traps,
        Self::Loops,
        Self::Overflows,
        Self::BreaksOff,
        Self::IsLeft,
        Self::Exhausts,
    ];
}

/// One handler under test.
struct Subject {
    guest: Arc<Guest>,
    /// The same, with little time: for those that take all of it.
    hasty: Arc<Guest>,
    /// What is seen of a new instance.
    expected: Vec<u8>,
    /// Who looks traps in the end.
    traps: bool,
    wat: String,
}

impl Subject {
    fn new(name: &str, shape: &Shape, isolation: Isolation) -> Self {
        let (engine, folder) = &*WORLD;
        let wat = module(shape);
        let folder = Folder { name: "files".to_owned(), path: folder.path().to_owned(), read_only: true };
        let mut settings = GuestSettings {
            isolation,
            env: vec![(ENV.0.to_owned(), ENV.1.to_owned())],
            grants: Grants { folders: vec![folder], ..Grants::default() },
            ..settings(name)
        };
        let hasty = sound_guest(engine, wat.as_bytes(), settings.clone());
        settings.limits.timeout = PATIENT_TIMEOUT;
        let guest = sound_guest(engine, wat.as_bytes(), settings);
        let traps = isolation != Isolation::Request;
        Self { guest, hasty, expected: expected(shape, traps), traps, wat }
    }

    /// One request that leaves marks.
    fn mark(&self, ending: Ending) -> Result<Answer, Error> {
        let client = if ending == Ending::IsLeft { Client::LeavesAfter(1) } else { Client::Reads };
        let guest = if ending == Ending::Loops { &self.hasty } else { &self.guest };
        request(guest, [b'w', ending as u8], client)
    }

    /// What a request sees. Instances that are reused trap afterwards, so that they end here.
    fn seen(&self) -> Vec<u8> {
        let order = [b'x', self.traps.into()];
        request(&self.guest, order, Client::Reads).map(|answer| answer.body).unwrap_or_default()
    }

    fn check(&self, after: &str) {
        let seen = self.seen();
        if seen == self.expected {
            return;
        }
        let at = seen.iter().zip(&self.expected).take_while(|(seen, expected)| seen == expected).count();
        let (sizes, found) = ((seen.len(), self.expected.len()), seen.get(at..seen.len().min(at + 16)));
        panic!("after {after}: {sizes:?} bytes, different from {at:#x} on: {found:02x?}\n{}", self.wat);
    }
}

fn request(guest: &Arc<Guest>, order: [u8; 2], client: Client) -> Result<Answer, Error> {
    exchange(guest, Request::new(Bytes::copy_from_slice(&order)), client)
}

/// What a new instance of a module of this shape shows of itself.
fn expected(shape: &Shape, traps: bool) -> Vec<u8> {
    let mut memory = vec![0; usize::from(shape.pages) << 16];
    for &(at, len, byte) in &shape.data {
        memory[at..at + len].fill(byte);
    }
    memory[..2].copy_from_slice(&[b'x', traps.into()]);
    memory[CALLS_AT] = shape.has_initialize.into();
    let mut seen = memory;
    let growth = if shape.is_restorable { 0 } else { TABLE_GROWTH };
    if !shape.is_restorable {
        seen.resize(seen.len() + (SHOWN_PAGES << 16), 0);
    }
    let mut number = |number: i64| seen.extend_from_slice(&number.to_le_bytes());
    number(i64::from(shape.pages));
    shape.globals.iter().flat_map(|global| global.bits()).for_each(&mut number);
    shape.tables.iter().for_each(|table| {
        number(i64::from(table.len));
        (0..table.len).for_each(|index| number(table.element(index)));
        (0..growth).for_each(|_| number(shape::NULL));
    });
    for &(len, byte) in &shape.passive {
        number(i64::from_le_bytes([if len >= 8 { byte } else { 0 }; 8]));
    }
    if shape.has_passive_elements {
        number(shape::MARK_FUNCTION);
    }
    // The folder is the first descriptor, a file the next one, and read from its beginning.
    let file = i64::from_le_bytes(FILE[..8].try_into().expect("it is long enough"));
    for value in [0, 0, 4, 0, file, 0, 8] {
        number(value);
    }
    let env = format!("{}={}\0\0\0\0\0\0\0", ENV.0, ENV.1);
    number(i64::from_le_bytes(env.as_bytes()[..8].try_into().expect("it is long enough")));
    seen
}

/// Input: two shapes, and who does what in which order, as `arbitrary` reads it.
pub fn isolation(input: &[u8]) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // An error is data that has run out.
    let _ = play(&mut Unstructured::new(input));
}

fn play(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    // Instances that are reused do not outlive a request that ended badly, so nothing of one may be seen either.
    let is_reused = u.ratio(1, 4)?;
    let reuse = Reuse { requests_max: 100, idle_max: Duration::from_secs(60) };
    let isolation = if is_reused { Isolation::Reuse(reuse) } else { Isolation::Request };
    let shapes = [Shape::arbitrary(u)?, Shape::arbitrary(u)?];
    let subjects = [Subject::new("one", &shapes[0], isolation), Subject::new("two", &shapes[1], isolation)];
    let mut history = String::new();
    for _ in 0..REQUESTS_MAX {
        let subject = u.choose_index(subjects.len())?;
        if u.ratio(1, 2)? || u.is_empty() {
            subjects[subject].check(&history);
        } else {
            let bad = &Ending::ALL[usize::from(is_reused)..];
            // Most of the time as it should: only such an instance is put back.
            let ending = if !is_reused && u.ratio(1, 2)? { Ending::Returns } else { *u.choose(bad)? };
            for _ in 0..if is_reused { 1 } else { u.int_in_range(1..=3)? } {
                let _ = subjects[subject].mark(ending);
                history += &format!("{subject} {ending:?}, ");
            }
            // The same handler gets the same place first, if it can.
            subjects[subject].check(&history);
        }
        if u.is_empty() {
            break;
        }
    }
    subjects.iter().for_each(|subject| subject.check(&history));
    Ok(())
}
