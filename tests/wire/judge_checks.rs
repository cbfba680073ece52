//! The judge can fail: every golden outcome passes, and what is done to it fails or is allowed, as the rules have it.

use super::case::{Case, Class, End, Framing, Interim, Outcome, Response};
use super::cases;
use super::judge::judge;

/// Judges a changed golden outcome; `None` when there was nothing to change.
fn verdict(case: &Case, change: impl Fn(&mut Outcome) -> Option<()>) -> Option<Vec<String>> {
    let mut outcome = case.golden.clone();
    change(&mut outcome)?;
    Some(judge(case, &outcome, b""))
}

/// Makes a change wherever it can be made, and checks that it passes exactly where `passes` says so.
fn check(
    name: &str,
    change: impl Fn(&mut Outcome, usize) -> Option<()>,
    passes: impl Fn(&Case, usize) -> bool,
) {
    let mut made = 0;
    for case in cases() {
        for index in 0..case.golden.responses.len() {
            let Some(problems) = verdict(&case, |outcome| change(outcome, index)) else { continue };
            made += 1;
            let wanted = passes(&case, index);
            let what = format!("{name}, {}, response {}: {problems:?}", case.id, index + 1);
            assert_eq!(problems.is_empty(), wanted, "{what}");
        }
    }
    assert!(made > 0, "{name}: no case can be changed like this");
}

fn by_handler(case: &Case, index: usize) -> bool {
    case.golden.responses[index].is_by_handler()
}

fn is_last(case: &Case, index: usize) -> bool {
    index + 1 == case.golden.responses.len()
}

/// Whether a refusal in place of this response, and the end behind it, are fine.
fn may_refuse(case: &Case, index: usize) -> bool {
    let allowed = case.class == Class::StrictOk || case.allows("refuse");
    allowed && case.golden.ended() && is_last(case, index)
}

/// Whether this response is an error, and any by the server is as good.
fn is_error_that_may_be(case: &Case, index: usize) -> bool {
    let response = &case.golden.responses[index];
    response.status >= 400 && response.complete && may_refuse(case, index)
}

fn handler_response(outcome: &mut Outcome, index: usize) -> Option<&mut Response> {
    outcome.responses.get_mut(index).filter(|response| response.is_by_handler())
}

fn server_response(outcome: &mut Outcome, index: usize) -> Option<&mut Response> {
    outcome.responses.get_mut(index).filter(|response| !response.is_by_handler())
}

fn add(response: &mut Response, name: &str, value: &str) {
    response.headers.push((name.to_owned(), value.to_owned()));
    response.headers.sort();
}

#[test]
fn cases_use_known_words() {
    let aspects = ["body", "complete", "interim", "trailers", "framing", "status", "end"];
    let outcomes = ["refuse", "may-close", "may-500"];
    for case in cases() {
        let is_known =
            |word: &str| aspects.contains(&word) || outcomes.contains(&word) || word.starts_with("header:");
        assert!(case.allow.iter().all(|word| is_known(word)), "{}: {:?}", case.id, case.allow);
        let is_known = |word: &str| ["content-type", "see-all", "when"].contains(&word);
        assert!(case.check.iter().all(|word| is_known(word)), "{}: {:?}", case.id, case.check);
        let profiles = ["default", "smallhead", "timeouts", "read", "write"];
        assert!(profiles.contains(&case.profile.as_str()), "{}: {}", case.id, case.profile);
    }
}

#[test]
fn golden_outcomes_pass() {
    let cases = cases();
    assert!(cases.len() >= 140, "{} cases", cases.len());
    for case in cases {
        assert_eq!(judge(&case, &case.golden, b""), Vec::<String>::new(), "{}", case.id);
    }
}

#[test]
fn forbidden_bytes_fail() {
    let cases = cases();
    let strings = cases.iter().flat_map(|case| case.never.iter().map(move |text| (case, text)));
    let mut checked = 0;
    for (case, text) in strings {
        let raw = format!("before {} behind", text.to_ascii_uppercase());
        assert!(!judge(case, &case.golden, raw.as_bytes()).is_empty(), "{}: {text:?}", case.id);
        checked += 1;
    }
    assert!(checked > 20, "{checked}");
}

#[test]
fn another_status() {
    let change = |outcome: &mut Outcome, index: usize| {
        handler_response(outcome, index)?.status += 1;
        Some(())
    };
    check("a handler's status", change, |case, _| case.allows("status"));
    let change = |outcome: &mut Outcome, index: usize| {
        server_response(outcome, index)?.status = 499;
        Some(())
    };
    let exact = |case: &Case, index: usize| {
        [200, 307, 404, 405, 417, 431].contains(&case.golden.responses[index].status)
    };
    check("a server's status", change, |case, index| {
        !exact(case, index) || may_refuse(case, index) || case.allows("status")
    });
    let change = |outcome: &mut Outcome, index: usize| {
        server_response(outcome, index).filter(|response| response.status != 200)?.status = 200;
        Some(())
    };
    check("no error", change, |_, _| false);
}

#[test]
fn another_maker() {
    let change = |outcome: &mut Outcome, index: usize| {
        handler_response(outcome, index)?.headers.retain(|(name, _)| name != "x-puppet");
        Some(())
    };
    check("by the server", change, is_error_that_may_be);
    let change = |outcome: &mut Outcome, index: usize| {
        add(server_response(outcome, index)?, "x-puppet", "/secret");
        Some(())
    };
    check("by the handler", change, |_, _| false);
}

#[test]
fn other_headers() {
    let extra = |outcome: &mut Outcome, index: usize| {
        add(&mut outcome.responses[index], "x-extra", "1");
        Some(())
    };
    check("one more header", extra, |case, index| !by_handler(case, index));
    let lost = |outcome: &mut Outcome, index: usize| {
        let response = handler_response(outcome, index)?;
        let known = ["x-puppet", "date", "content-type", "content-length", "transfer-encoding", "connection"];
        let mut name = response.headers.iter().map(|(name, _)| name.clone());
        let name = name.rfind(|name| !known.contains(&name.as_str()))?;
        response.headers.retain(|(other, _)| *other != name);
        Some(())
    };
    check("one header less", lost, |case, _| case.allow.iter().any(|word| word.starts_with("header:x-")));
    let ignored = |outcome: &mut Outcome, index: usize| {
        add(&mut outcome.responses[index], "server", "wasmux");
        add(&mut outcome.responses[index], "keep-alive", "timeout=5");
        Some(())
    };
    check("headers that do not count", ignored, |_, _| true);
    let kind = |outcome: &mut Outcome, index: usize| {
        outcome.responses[index].headers.retain(|(name, _)| name != "content-type");
        add(&mut outcome.responses[index], "content-type", "image/x-other");
        Some(())
    };
    check("another content type", kind, |case, index| {
        !by_handler(case, index) || !case.checks("content-type")
    });
    let reversed = |outcome: &mut Outcome, index: usize| {
        let (_, value) = outcome.responses[index].headers.iter_mut().find(|(name, _)| name == "location")?;
        value.push_str("elsewhere");
        Some(())
    };
    check("another location", reversed, |_, _| false);
}

#[test]
fn connection_headers() {
    let removed = |outcome: &mut Outcome, index: usize| {
        let headers = &mut outcome.responses[index].headers;
        let at = headers.iter().position(|field| *field == ("connection".into(), "close".into()))?;
        headers.remove(at);
        Some(())
    };
    check("the close is not announced", removed, |case, index| {
        let implied = case.golden.responses[index].version == "1.0";
        !by_handler(case, index) || case.allows("header:connection") || implied
    });
    let added = |outcome: &mut Outcome, index: usize| {
        let response = &mut outcome.responses[index];
        response.headers.retain(|(name, _)| name != "connection");
        add(response, "connection", "close");
        Some(())
    };
    check("a close is announced", added, |case, index| {
        let response = &case.golden.responses[index];
        let says_so = response.headers.contains(&("connection".into(), "close".into()));
        let says_nothing = !response.headers.iter().any(|(name, _)| name == "connection");
        let comes = is_last(case, index) && case.golden.ended();
        let implied = response.version == "1.0" && says_nothing;
        !by_handler(case, index) || says_so || comes || implied || case.allows("header:connection")
    });
}

#[test]
fn other_framing_and_bodies() {
    let framing = |outcome: &mut Outcome, index: usize| {
        let response = &mut outcome.responses[index];
        let other = if response.framing == Framing::Cl { Framing::Chunked } else { Framing::Cl };
        response.framing = other;
        Some(())
    };
    check("framing", framing, |case, index| !by_handler(case, index) || case.allows("framing"));
    let length = |outcome: &mut Outcome, index: usize| {
        let response = handler_response(outcome, index)?;
        let is_see = response.body.text.as_ref().is_some_and(|text| text.starts_with("{\"method"));
        let mut headers = response.headers.iter_mut().filter(|_| !is_see);
        headers.find(|(name, _)| name == "content-length")?.1 = "77777".to_owned();
        Some(())
    };
    let may_differ = |case: &Case| case.allows("framing") || case.allows("header:content-length");
    check("a length", length, |case, _| may_differ(case));
    let body = |outcome: &mut Outcome, index: usize| {
        let body = &mut outcome.responses[index].body;
        (body.len, body.text, body.sha256) = (body.len + 1, Some("another".to_owned()), None);
        Some(())
    };
    check("body", body, |case, index| {
        let counts = by_handler(case, index) || case.golden.responses[index].status == 200;
        !counts || case.allows("body")
    });
    let complete = |outcome: &mut Outcome, index: usize| {
        let response = &mut outcome.responses[index];
        response.complete = !response.complete;
        Some(())
    };
    check("complete", complete, |case, _| case.allows("complete"));
    let version = |outcome: &mut Outcome, index: usize| {
        let response = &mut outcome.responses[index];
        response.version = if response.version == "1.0" { "1.1" } else { "1.0" }.to_owned();
        Some(())
    };
    check("version", version, |case, index| !by_handler(case, index));
}

#[test]
fn other_trailers_and_interim_responses() {
    let trailers = |outcome: &mut Outcome, index: usize| {
        outcome.responses[index].trailers.push(("x-trailer".to_owned(), "1".to_owned()));
        Some(())
    };
    check("trailers", trailers, |case, index| !by_handler(case, index) || case.allows("trailers"));
    let interim = |outcome: &mut Outcome, index: usize| {
        outcome.responses[index].interim.push(Interim { status: 103, headers: Vec::new() });
        Some(())
    };
    check("one more interim response", interim, |case, index| {
        case.allows("interim") || !by_handler(case, index) && is_error_that_may_be(case, index)
    });
    let lost = |outcome: &mut Outcome, index: usize| {
        outcome.responses[index].interim.pop()?;
        Some(())
    };
    check("one interim response less", lost, |case, _| case.allows("interim"));
    let alone = |outcome: &mut Outcome, _| {
        outcome.interim_only.push(100);
        Some(())
    };
    check("an interim response alone", alone, |case, _| {
        let refuse = case.class == Class::StrictOk || case.allows("refuse") || case.allows("may-close");
        case.allows("interim") || refuse && case.golden.ended()
    });
}

#[test]
fn more_and_fewer_responses() {
    let stray = cases().into_iter().find(|case| case.id == "basic-text").unwrap().golden.responses.remove(0);
    let extra = |outcome: &mut Outcome, _| {
        outcome.responses.push(stray.clone());
        Some(())
    };
    check("one more by the handler", extra, |_, _| false);
    let refusal = |outcome: &mut Outcome, _| {
        let mut refusal = stray.clone();
        refusal.headers.clear();
        refusal.status = 400;
        outcome.responses.push(refusal);
        Some(())
    };
    check("one more by the server", refusal, |case, _| {
        (case.class == Class::StrictOk || case.allows("refuse")) && case.golden.ended()
    });
    let fewer = |outcome: &mut Outcome, _| outcome.responses.pop().map(|_| ());
    check("one less", fewer, |case, _| {
        let refuse = case.class == Class::StrictOk || case.allows("refuse");
        let close = case.allows("may-close") && case.golden.responses.len() > 1;
        case.golden.ended() && (refuse || close)
    });
}

#[test]
fn other_ends() {
    let change =
        |end: End| move |outcome: &mut Outcome, _: usize| (outcome.end != end).then(|| outcome.end = end);
    for end in [End::Stuck, End::Desync, End::Waiting] {
        check("a connection that hangs", change(end), |_, _| false);
    }
    check("open", change(End::Open), |case, _| case.allows("end"));
    check("closed", change(End::Closed), |case, _| {
        let early = ["end", "refuse", "may-close"].iter().any(|word| case.allows(word));
        case.golden.ended() || early || case.class == Class::StrictOk
    });
    check("reset", change(End::Reset), |case, _| {
        let early = ["end", "refuse", "may-close"].iter().any(|word| case.allows(word));
        case.golden.ended() || early || case.class == Class::StrictOk
    });
}

#[test]
fn times_and_breaches() {
    for case in cases() {
        let breach = |outcome: &mut Outcome| {
            outcome.error = Some("a bad chunk size".to_owned());
            Some(())
        };
        assert!(!verdict(&case, breach).unwrap().is_empty(), "{}: a breach of the format", case.id);
        let late = |outcome: &mut Outcome| outcome.seen.first_mut().map(|seen| *seen = !*seen);
        assert!(verdict(&case, late).is_none_or(|problems| !problems.is_empty()), "{}: late", case.id);
        let early = |outcome: &mut Outcome| outcome.ended_at.as_mut().map(|step| *step -= 1);
        assert!(verdict(&case, early).is_none_or(|problems| !problems.is_empty()), "{}: early", case.id);
    }
}

/// What the handler saw is compared field by field.
#[test]
fn what_the_handler_saw() {
    let replace = |from: &'static str, to: &'static str| {
        move |outcome: &mut Outcome, index: usize| {
            let text = handler_response(outcome, index)?.body.text.as_mut()?;
            (text.starts_with("{\"method\":") && text.contains(from))
                .then(|| *text = text.replacen(from, to, 1))
        }
    };
    let fails = |_: &Case, _: usize| false;
    check("method", replace("\"method\":\"", "\"method\":\"X"), fails);
    check("path", replace("\"path\":\"", "\"path\":\"/x"), fails);
    check("host", replace("\"host\":\"", "\"host\":\"x"), fails);
    check("a header", replace("\"headers\":[", "\"headers\":[[\"A\",\"1\"]"), fails);
    check("not JSON", replace("{\"method\"", "{\"method\":1,"), fails);
    let optional = replace("\"headers\":[]", "\"headers\":[[\"Host\",\"h.test\"]]");
    check("the Host among the headers", optional, |case, _| !case.checks("see-all"));
    let coding = replace("\"te\":[]", "\"te\":[\"gzip\"]");
    check("the codings", coding, |case, _| !case.checks("see-all"));
}
