//! `isolation = "reuse"`: what an instance keeps, and what ends it.

use std::time::Duration;

use super::{commit, serve};
use crate::support::Server;

fn count(server: &Server, handler: &str) -> String {
    let (response, _) = commit(server, handler, "count");
    assert_eq!(response.status, 200, "{response:?}");
    response.text().trim_end().to_owned()
}

fn counts(server: &Server, handler: &str, requests: usize) -> Vec<String> {
    (0..requests).map(|_| count(server, handler)).collect()
}

/// With one instance in all, no second one can be made while the first has not ended.
#[test]
fn a_warm_instance_keeps_its_state() {
    let server = serve(
        "instances = 1",
        &[
            ("fresh", ""),
            ("warm", "isolation = \"reuse\""),
            ("three", "isolation = \"reuse\"\nmax_requests = 3"),
        ],
    );
    assert_eq!(counts(&server, "fresh", 3), ["1", "1", "1"]);
    assert_eq!(counts(&server, "warm", 5), ["1", "2", "3", "4", "5"]);
    assert_eq!(counts(&server, "three", 7), ["1", "2", "3", "1", "2", "3", "1"]);
}

#[test]
fn lines_have_the_id_of_the_request_they_belong_to() {
    let server = serve("instances = 1", &[("warm", "isolation = \"reuse\"")]);
    for _ in 0..3 {
        let (_, id) = commit(&server, "warm", "count");
        server.log.wait_for(&["guest: write: ok", &format!("request_id=\"{id}\"")]);
    }
}

#[test]
fn idle_instances_end() {
    let server = serve("instances = 1", &[("warm", "isolation = \"reuse\"\nmax_idle = \"1s\"")]);
    let began = (0..20).any(|_| counts(&server, "warm", 2)[1] != "1");
    assert!(began, "it is never used again");
    let ended = (0..5).any(|_| {
        std::thread::sleep(Duration::from_millis(1500)); // the idle time that ends it
        count(&server, "warm") == "1"
    });
    assert!(ended, "it is never ended");
}

#[test]
fn failures_and_exits_end_an_instance() {
    let server = serve("instances = 1", &[("warm", "isolation = \"reuse\"")]);
    assert_eq!(counts(&server, "warm", 2), ["1", "2"]);
    for fault in ["trap", "forget", "trap-complete", "exit-complete:1"] {
        let (_, id) = commit(&server, "warm", fault);
        server.log.wait_for(&["of a reused instance, which is replaced", &id]);
        assert_eq!(counts(&server, "warm", 2), ["1", "2"], "{fault}");
    }
    commit(&server, "warm", "exit-complete:0");
    assert_eq!(counts(&server, "warm", 2), ["1", "2"], "what has exited cannot go on");
    assert_eq!(server.log.count("never survived"), 0);
}

/// Some runtimes can serve one request and no second one.
#[test]
fn components_that_cannot_be_reused_are_named() {
    let server =
        serve("instances = 2", &[("fragile", "isolation = \"reuse\""), ("warm", "isolation = \"reuse\"")]);
    assert_eq!(commit(&server, "fragile", "second").0.status, 200);
    let (response, id) = commit(&server, "fragile", "second");
    assert_eq!(response.status, 500);
    server.log.wait_for(&[
        "has never survived reuse",
        "set `isolation = \"request\"` in [handlers.fragile]",
        &id,
    ]);
    for _ in 0..5 {
        assert_eq!(commit(&server, "fragile", "second").0.text(), "1\n", "and works from then on");
    }
    assert_eq!(server.log.count("never survived"), 1);
    assert_eq!(counts(&server, "warm", 2), ["1", "2"], "others are not concerned");
}

#[test]
fn idle_instances_make_room_for_other_handlers() {
    let names = ["a", "b", "c", "d"];
    let server = serve("instances = 2", &names.map(|name| (name, "isolation = \"reuse\"")));
    for round in 0..3 {
        for name in names {
            let (response, _) = commit(&server, name, "count");
            assert_eq!(response.status, 200, "{name} in round {round}: {response:?}");
        }
    }
}

/// An instance that becomes idle while another handler waits for a place gives up its own.
#[test]
fn waiting_requests_get_the_places_of_idle_instances() {
    let server = serve("instances = 1", &["a", "b"].map(|name| (name, "isolation = \"reuse\"")));
    std::thread::scope(|scope| {
        for name in ["a", "b", "a", "b"] {
            let server = &server;
            scope.spawn(move || {
                for _ in 0..20 {
                    let (response, _) = commit(server, name, "count");
                    assert_eq!(response.status, 200, "{name}: {response:?}");
                }
            });
        }
    });
}
