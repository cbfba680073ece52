//! What stands on the wire, byte for byte: cases that real Go's net/http was asked, played against wasmux.
//!
//! `tests/conformance/README.md` describes the cases and how outcomes are judged. Each case has a connection of its
//! own; the handler is the guest `tests/guests/puppet`, which does what the query tells it.

mod case;
mod judge;
mod judge_checks;
mod more;
mod parse;
mod parse_checks;
mod player;

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use case::{Case, Class, Outcome};

use crate::support::guests::puppet_site;

const CASES: &str = include_str!("conformance/wire-cases.jsonl");

/// Connections at a time.
const PLAYERS: usize = 8;

/// A case that measures time may fail once, on a machine that is busy; then it must pass so many times in a row.
const PASSES: usize = 2;

/// All cases.
fn cases() -> Vec<Case> {
    let parse = |(index, line): (usize, &str)| {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("wire-cases.jsonl:{}: {error}", index + 1))
    };
    CASES.lines().enumerate().map(parse).collect()
}

#[test]
fn agrees_with_net_http() {
    play("default", "");
}

#[test]
fn agrees_with_net_http_on_one_thread() {
    play("default", "threads = 1");
}

#[test]
fn agrees_on_a_small_limit_of_heads() {
    play("smallhead", "max_header_bytes = \"4KiB\"");
}

#[test]
fn agrees_on_header_and_idle_clocks() {
    play("timeouts", "read_header_timeout = \"400ms\"\nidle_timeout = \"700ms\"");
}

#[test]
fn agrees_on_the_read_clock() {
    play("read", "read_timeout = \"600ms\"");
}

#[test]
fn agrees_on_the_write_clock() {
    play("write", "write_timeout = \"500ms\"");
}

struct Verdict<'c> {
    case: &'c Case,
    problems: Vec<String>,
    came: Outcome,
}

/// Plays all cases of a profile; fails if one fails that must not.
fn play(profile: &str, settings: &str) {
    let server = puppet_site(settings).serve();
    assert_eq!(server.get("/probe").text(), "ok\n", "it is compiled before a clock counts");
    let mut cases = cases();
    cases.retain(|case| case.profile == profile);
    assert!(!cases.is_empty(), "no case of profile {profile}");
    let verdicts = play_all(&cases, server.address());
    let report = report(profile, &verdicts);
    // Not by `print!`, which shows nothing when the test passes.
    let _ = std::io::stderr().write_all(report.as_bytes());
    let fails =
        |verdict: &&Verdict<'_>| verdict.case.class != Class::Informative && !verdict.problems.is_empty();
    let failed = verdicts.iter().filter(fails).count();
    assert_eq!(failed, 0, "{failed} cases differ from net/http, see above");
}

fn play_all(cases: &[Case], address: SocketAddr) -> Vec<Verdict<'_>> {
    let next = AtomicUsize::new(0);
    let player = || {
        let mut verdicts = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = cases.get(index) else { return verdicts };
            verdicts.push((index, play_one(case, address)));
        }
    };
    let mut verdicts: Vec<_> = std::thread::scope(|scope| {
        let players: Vec<_> = (0..PLAYERS).map(|_| scope.spawn(player)).collect();
        players.into_iter().flat_map(|player| player.join().expect("players do not fail")).collect()
    });
    verdicts.sort_by_key(|(index, _)| *index);
    verdicts.into_iter().map(|(_, verdict)| verdict).collect()
}

fn play_one(case: &Case, address: SocketAddr) -> Verdict<'_> {
    let play = || {
        let (came, raw) = player::play(case, address);
        (judge::forbidden(case, &raw).is_empty(), judge::judge(case, &came, &raw), came)
    };
    let (may_be_late, mut problems, mut came) = play();
    if !problems.is_empty() && may_be_late && case.measures_time() {
        for _ in 0..PASSES {
            (_, problems, came) = play();
            if !problems.is_empty() {
                break;
            }
        }
    }
    Verdict { case, problems, came }
}

/// How many cases came out as wanted, and each that did not, with what differs and what came.
fn report(profile: &str, verdicts: &[Verdict<'_>]) -> String {
    let mut report = String::new();
    for class in [Class::Must, Class::StrictOk, Class::Informative] {
        let of_class = || verdicts.iter().filter(move |verdict| verdict.case.class == class);
        let differing = || of_class().filter(|verdict| !verdict.problems.is_empty());
        let (all, bad) = (of_class().count(), differing().count());
        if all == 0 {
            continue;
        }
        writeln!(report, "wire, {profile}, {class:?}: {} as wanted, {bad} not", all - bad).unwrap();
        let word = if class == Class::Informative { "DIFF" } else { "FAIL" };
        for Verdict { case, problems, came } in differing() {
            writeln!(report, "{word} {}: {}", case.id, case.note).unwrap();
            problems.iter().for_each(|problem| writeln!(report, "    {problem}").unwrap());
            writeln!(report, "    came: {came:?}").unwrap();
        }
    }
    report
}
