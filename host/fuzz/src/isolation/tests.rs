//! The oracle is sharp: where an instance is reused on purpose, each mark that is left is seen.

use wasmux::error::Kind;
use wasmux::limit::Limit;

use super::shape::{Global, Table, WAYS};
use super::*;

fn shape(ways: &[u8]) -> Shape {
    Shape {
        is_restorable: false,
        has_initialize: true,
        spot: 0x1_fffe,
        global: 3,
        pages: 2,
        data: vec![(100, 20, 7), (0x1_0010, 5, 8)],
        globals: vec![
            Global::I32(1),
            Global::I64(2),
            Global::F32(0x3f80_0000),
            Global::F64(0x3ff0_0000_0000_0000),
            Global::V128(5 << 90 | 6),
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
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for way in 0..WAYS - 1 {
        let subject = Subject::new("reused", &shape(&[way]), REUSE);
        subject.check("nothing");
        let _ = subject.mark(Ending::Returns);
        assert_ne!(subject.seen(), subject.expected, "way {way}\n{}", subject.wat);
        subject.check("an instance that ended badly");
    }
}

/// What one forgotten page or global would look like, each of them.
#[test]
fn the_smallest_mark_is_seen() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let sharp = |shape: Shape| {
        let subject = Subject::new("reused", &shape, REUSE);
        let _ = subject.mark(Ending::Returns);
        assert_ne!(subject.seen(), subject.expected, "{}", subject.wat);
    };
    for page in 0..shape(&[]).pages as usize * 16 {
        sharp(Shape { spot: page * 4096 + 4000, ..restorable(&[11]) });
    }
    for global in 0..restorable(&[]).globals.len() {
        sharp(Shape { global, ..restorable(&[12]) });
    }
}

/// Like [`shape`], but nothing of it can change that cannot be put back.
fn restorable(ways: &[u8]) -> Shape {
    let mut shape = shape(ways);
    shape.globals.retain(|global| !matches!(global, Global::Function(_)));
    Shape { is_restorable: true, has_passive_elements: false, ..shape }
}

/// Before 6.7 Linux does not say which pages were written to, and every request gets a new instance.
fn kernel_tells() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(7))
}

#[test]
fn what_can_be_put_back_is_put_back() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (always, never) = (restorable(&[0, 2, 3, 8, 9, 11, 12, 13]), shape(&[0, 3]));
    for (shape, puts_back) in [(&always, kernel_tells()), (&never, false)] {
        let subject = Subject::new("put back", shape, Isolation::Request);
        for request in 1..=5 {
            let _ = subject.mark(Ending::Returns);
            subject.check(&format!("{request} requests"));
        }
        // Those that look leave as little behind.
        assert_eq!(subject.guest.restored(), if puts_back { 10 } else { 0 }, "{}", subject.wat);
        for ending in Ending::ALL {
            let before = subject.guest.restored();
            let _ = subject.mark(ending);
            assert_eq!(subject.guest.restored() - before, u64::from(puts_back && ending == Ending::Returns));
            subject.check(&format!("{ending:?}"));
        }
    }
    // Memory that has grown stays that large.
    let subject = Subject::new("grows", &restorable(&[1]), Isolation::Request);
    let _ = subject.mark(Ending::Returns);
    assert_eq!(subject.guest.restored(), 0);
    subject.check("growing");
}

#[test]
fn nothing_is_left_by_any_way_or_ending() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let ways: Vec<u8> = (0..WAYS).collect();
    let [subject, other, put_back] = [shape(&ways), shape(&[1, 4, 3]), restorable(&[0, 3, 8, 10, 13])]
        .map(|shape| Subject::new("fresh", &shape, Isolation::Request));
    for ending in Ending::ALL {
        let _ = subject.mark(ending);
        subject.check(&format!("{ending:?}"));
        for other in [&other, &put_back] {
            other.check(&format!("{ending:?} of another handler"));
            let _ = other.mark(ending);
            other.check(&format!("{ending:?}"));
            let _ = other.mark(ending);
            subject.check(&format!("{ending:?} of another handler"));
        }
    }
}

/// How a request ended: its status and how its body did, or why there was none.
fn outcome(answer: Result<Answer, Error>) -> Result<(u16, Option<Kind>), Kind> {
    let end = |answer: &Answer| answer.end.as_ref().err().map(Error::kind);
    answer.map(|answer| (answer.head.status.as_u16(), end(&answer))).map_err(|error| error.kind())
}

#[test]
fn endings_are_what_they_say() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let ways: Vec<u8> = (0..WAYS).collect();
    let subject = Subject::new("fresh", &shape(&ways), Isolation::Request);
    for ending in Ending::ALL {
        let outcome = outcome(subject.mark(ending));
        let is_right = match ending {
            Ending::Returns | Ending::IsLeft => outcome == Ok((200, None)),
            Ending::Traps => outcome == Err(Kind::Trapped),
            Ending::Loops => matches!(outcome, Err(Kind::Limit(Limit::Timeout | Limit::Cpu))),
            Ending::Overflows => matches!(outcome, Err(Kind::Trapped | Kind::Limit(Limit::Stack))),
            Ending::BreaksOff => outcome == Ok((200, Some(Kind::Trapped))),
            Ending::Exhausts => matches!(outcome, Err(Kind::Trapped | Kind::Limit(Limit::Memory))),
        };
        assert!(is_right, "{ending:?}: {outcome:?}");
    }
}
