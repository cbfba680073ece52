//! Versions on trial.

use super::{json, site_with, well};
use crate::support::Server;

/// Judged early, by few requests.
const KEYS: &str = "[canary]\nmin_requests = 5\n";

/// So many clients ask once each; what they got.
fn ask(server: &Server, clients: usize) -> Vec<(u16, String)> {
    let ask = |client| {
        let response = server.request("GET", "/", &[&format!("X-Client: {client}")], b"");
        (response.status, response.text())
    };
    (0..clients).map(ask).collect()
}

#[test]
fn clients_stay_with_one_version() {
    let server = site_with(KEYS).serve();
    let said =
        well(&server, &["deploy", "hello", "two.wat", "--canary", "50%", "--sticky", "header:X-Client"]);
    assert!(said.starts_with("deployment 2 is in force"), "{said}");
    let first = ask(&server, 40);
    assert_eq!(first, ask(&server, 40));
    for version in ["one", "two"] {
        assert!(first.iter().filter(|(_, text)| text == version).count() > 5, "{first:?}");
    }
    let canary = &json(&server, &["status"])["canary"];
    assert_eq!((&canary["handler"], &canary["share_percent"]), (&"hello".into(), &50.0.into()));
    let requests = |side: &str| canary[side]["requests"].as_u64().unwrap();
    assert_eq!(requests("stable") + requests("canary"), 80);
    assert_eq!((requests("canary") > 10, &canary["canary"]["failures"]), (true, &0.into()));
    well(&server, &["promote"]);
    assert!(ask(&server, 10).iter().all(|(_, text)| text == "two"));
    assert!(json(&server, &["status"])["canary"].is_null());
}

#[test]
fn one_that_traps_is_rolled_back() {
    let server = site_with(KEYS).serve();
    well(&server, &["deploy", "hello", "traps.wat", "--canary", "50%", "--sticky", "header:X-Client"]);
    let answers = ask(&server, 40);
    assert!(
        answers.iter().any(|(status, _)| *status == 500) && answers.iter().any(|(status, _)| *status == 200)
    );
    server.log.wait_for(&["WARN", "the canary is worse: 100.0 % of", "handler=\"hello\""]);
    server.log.wait_for(&["rolled back: ", "deployment 3 (rolled hello back: 100.0 %"]);
    assert!(ask(&server, 40).iter().all(|answer| *answer == (200, "one".to_owned())));
    let listed = json(&server, &["deployments"]);
    assert_eq!(
        (&listed["in_force"], &listed["deployments"][0]["origin"]["by"]),
        (&3.into(), &"verdict".into())
    );
}

#[test]
fn one_that_is_well_is_promoted_when_its_time_has_come() {
    let server = site_with(KEYS).serve();
    let args = ["--canary", "50%", "--sticky", "cookie:client", "--promote-after", "1s"];
    well(&server, &[&["deploy", "hello", "two.wat"][..], &args].concat());
    for client in 0..40 {
        assert_eq!(server.request("GET", "/", &[&format!("Cookie: client={client}")], b"").status, 200);
    }
    server.log.wait_for(&["promoted: ", "deployment 3 (promote hello)"]);
    assert!(ask(&server, 10).iter().all(|(_, text)| text == "two"));
    well(&server, &["rollback"]);
    assert!(ask(&server, 10).iter().all(|(_, text)| text == "one"), "the canary is no way back");
}

#[test]
fn one_that_hangs_is_noticed_though_nobody_waits_for_it() {
    let server = site_with(KEYS).serve();
    well(&server, &["deploy", "hello", "loops.wat", "--canary", "50%", "--sticky", "header:X-Client"]);
    for client in 0..60 {
        let mut conn = server.connect();
        conn.request("GET", "/", &[&format!("X-Client: {client}")], b"");
        if conn.answers_within(std::time::Duration::from_millis(100)) {
            assert_eq!(conn.response().text(), "one");
        }
    }
    server.log.wait_for(&["the canary is worse: ", "requests were given up by their clients"]);
    server.log.wait_for(&["rolled back: "]);
}

#[test]
fn its_breaker_is_its_own() {
    let settings = "[defaults]\ncpu = \"20ms\"\nbreaker = { errors = 3, window = \"1m\", open = \"1m\" }\n";
    // It is never judged here.
    let server = site_with(&format!("{settings}[canary]\nmin_requests = 1000\n")).serve();
    well(&server, &["deploy", "hello", "loops.wat", "--canary", "50%", "--sticky", "header:X-Client"]);
    let answers = ask(&server, 40);
    let count = |wanted: u16| answers.iter().filter(|(status, _)| *status == wanted).count();
    assert!(count(503) > 0 && count(200) > 5, "{answers:?}");
    assert_eq!(count(200), answers.iter().filter(|(_, text)| text == "one").count());
    let stable: Vec<_> = (0..40).filter(|client| answers[*client].0 == 200).collect();
    for client in stable {
        assert_eq!(server.request("GET", "/", &[&format!("X-Client: {client}")], b"").text(), "one");
    }
    let uses = &json(&server, &["status"])["handlers"][0]["use"];
    assert!(uses["limits"]["cpu"].as_u64().unwrap() >= 3, "counted for the handler: {uses}");
}

#[test]
fn clients_without_an_address_of_their_own_are_divided_by_request() {
    let server = site_with("").serve();
    well(&server, &["deploy", "hello", "two.wat", "--canary", "50%"]);
    let answers = ask(&server, 60);
    for version in ["one", "two"] {
        assert!(answers.iter().filter(|(_, text)| text == version).count() > 5, "{answers:?}");
    }
}

#[test]
fn a_verdict_needs_no_file() {
    let server = site_with(KEYS).serve();
    well(&server, &["deploy", "hello", "traps.wat", "--canary", "50%", "--sticky", "header:X-Client"]);
    std::fs::rename(server.site.path("routes.toml"), server.site.path("away")).unwrap();
    ask(&server, 40);
    server.log.wait_for(&["rolled back: ", "deployment 3 (rolled hello back: 100.0 %"]);
    assert!(ask(&server, 40).iter().all(|answer| *answer == (200, "one".to_owned())));
}

#[test]
fn only_the_canary_that_was_seen_is_promoted() {
    let server = site_with(KEYS).serve();
    let canary = ["--canary", "50%", "--sticky", "header:X-Client"];
    well(&server, &[&["deploy", "hello", "two.wat"][..], &canary].concat());
    well(&server, &[&["deploy", "hello", "three.wat"][..], &canary].concat());
    let promote = |of: u64| {
        let mut admin = super::access::admin(&server);
        admin.request("POST", &format!("/v1/promote?deployment={of}"), &[], b"");
        admin.response()
    };
    let refused = promote(2);
    assert_eq!(refused.status, 409);
    assert!(refused.text().contains("deployment 2 is not in force any more, 3 is"), "{}", refused.text());
    assert_eq!(promote(3).status, 200);
    assert!(ask(&server, 10).iter().all(|(_, text)| text == "three"));
}

#[test]
fn it_ends_with_what_is_about_its_handler_only() {
    let other = "[handlers.other]\nwasm = \"other.wat\"\n";
    let server = site_with(other).file("other.wat", super::says("other")).serve();
    well(&server, &["deploy", "hello", "two.wat", "--canary", "50%", "--sticky", "header:X-Client"]);
    let canary = |server: &Server| json(server, &["status"])["canary"]["handler"].clone();
    let said = json(&server, &["deploy", "other", "three.wat"]);
    assert!(said["canary_ended"].is_null(), "{said}");
    assert_eq!(canary(&server), "hello");
    let text = std::fs::read_to_string(server.site.path("routes.toml")).unwrap() + "\"/more\" = \"other\"\n";
    let mut admin = super::access::admin(&server);
    admin.request("PUT", "/v1/routes", &[], text.as_bytes());
    assert_eq!(admin.response().status, 200);
    assert_eq!(canary(&server), "hello");
    let said = well(&server, &["deploy", "hello", "three.wat"]);
    assert!(said.contains("the canary of hello has ended with it"), "{said}");
    server.log.wait_for(&["WARN", "its canary has ended with this", "handler=\"hello\""]);
    assert!(canary(&server).is_null());
}
