//! The oracle is sharp: where an instance is reused on purpose, each mark that is left is seen.

use wasmux::error::Kind;
use wasmux::limit::Limit;

use super::shape::{Global, Table, WAYS};
use super::*;

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
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for way in 0..WAYS - 1 {
        let subject = Subject::new("reused", &shape(&[way]), REUSE);
        subject.check("nothing");
        let _ = subject.mark(Ending::Returns);
        assert_ne!(subject.seen(), subject.expected, "way {way}\n{}", subject.wat);
        subject.check("an instance that ended badly");
    }
}

#[test]
fn nothing_is_left_by_any_way_or_ending() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let ways: Vec<u8> = (0..WAYS).collect();
    let [subject, other] =
        [shape(&ways), shape(&[1, 4, 3])].map(|shape| Subject::new("fresh", &shape, Isolation::Request));
    for ending in Ending::ALL {
        let _ = subject.mark(ending);
        subject.check(&format!("{ending:?}"));
        other.check(&format!("{ending:?} of another handler"));
        let _ = other.mark(ending);
        subject.check(&format!("{ending:?} of another handler"));
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
