//! The oracle is sharp: where an instance is reused on purpose, each mark that is left is seen.

use super::shape::{Global, Table, WAYS};
use super::*;
use crate::world::GUEST_MEMORY_BYTES;

fn shape(ways: &[u8]) -> Shape {
    Shape {
        pages: 2,
        data: vec![(100, 20, 7), (0x1_0010, 5, 8)],
        globals: vec![
            Global::I32(1),
            Global::I64(2),
            Global::F32(0x3f80_0000),
            Global::F64(0x3ff0_0000_0000_0000),
            Global::Function(None),
            Global::Function(Some(2)),
        ],
        tables: vec![Table { len: 5, set: 3 }],
        passive: vec![(9, 3)],
        has_passive_elements: true,
        ways: ways.to_vec(),
    }
}

const REUSE: Isolation = Isolation::Reuse(Reuse { requests_max: 100, idle_max: Duration::from_secs(60) });

/// All but the last, whose mark is an unfinished line in the log.
#[test]
fn each_way_leaves_a_mark_that_is_seen() {
    for way in 0..WAYS - 1 {
        let subject = Subject::new("reused", &shape(&[way]), REUSE);
        subject.check("nothing");
        subject.mark(Ending::Returns);
        assert_ne!(subject.seen(), subject.expected, "way {way}\n{}", subject.wat);
        subject.check("an instance that ended badly");
    }
}

#[test]
fn nothing_is_left_by_any_way_or_ending() {
    let ways: Vec<u8> = (0..WAYS).collect();
    let [subject, other] =
        [shape(&ways), shape(&[1, 4, 3])].map(|shape| Subject::new("fresh", &shape, Isolation::Request));
    for ending in Ending::ALL {
        subject.mark(ending);
        subject.check(&format!("{ending:?}"));
        other.check(&format!("{ending:?} of another handler"));
        other.mark(ending);
        subject.check(&format!("{ending:?} of another handler"));
    }
}

/// The endings end as they say, after all marks were left.
#[test]
fn memory_can_be_exhausted() {
    let pages = GUEST_MEMORY_BYTES >> 16;
    assert!(pages > 17 + 20 + SHOWN_PAGES as u64, "{pages} pages are too few to leave marks in");
}
