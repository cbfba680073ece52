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
