//! Deployments under load, and many of them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::access::admin;
use super::{says, site, well};
use crate::support::Server;

/// Clients that ask for as long as `change` takes; how many answers they got, all of which were good.
fn under_load(server: &Server, change: impl FnOnce()) -> usize {
    let (done, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for client in 0..4 {
            let (done, answers) = (&done, &answers);
            scope.spawn(move || {
                let mut conn = server.connect();
                while !done.load(Ordering::Relaxed) {
                    conn.request("GET", "/", &[&format!("X-Client: {client}")], b"");
                    let response = conn.response();
                    assert_eq!(response.status, 200);
                    assert!(["one", "two", "three"].contains(&&*response.text()), "{}", response.text());
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        change();
        done.store(true, Ordering::Relaxed);
    });
    answers.into_inner()
}

#[test]
fn no_request_notices() {
    let server = site().serve();
    let answers = under_load(&server, || {
        for _ in 0..5 {
            well(&server, &["deploy", "hello", "two.wat"]);
            well(
                &server,
                &["deploy", "hello", "three.wat", "--canary", "50%", "--sticky", "header:X-Client"],
            );
            well(&server, &["promote"]);
            well(&server, &["rollback"]);
            well(&server, &["reload"]);
        }
    });
    assert!(answers > 20, "{answers}");
}

/// Deploys one of two versions through the API.
fn put(server: &Server, text: &str) {
    let mut conn = admin(server);
    conn.request("PUT", "/v1/handlers/hello/module?form=wat", &[], says(text).as_bytes());
    let response = conn.response();
    assert_eq!(response.status, 200, "{}", response.text());
}

#[test]
fn a_thousand_swaps_leave_nothing_behind() {
    let server = site().serve();
    let swap = |count: usize| {
        for index in 0..count {
            let text = ["two", "three"][index % 2];
            put(&server, text);
            assert_eq!(server.get("/").text(), text);
        }
    };
    swap(200);
    let before = server.resident_bytes();
    swap(800);
    let more = server.resident_bytes().saturating_sub(before);
    assert!(more < 16 << 20, "{more} bytes more after 800 swaps");
    let kept = std::fs::read_dir(server.site.path(".wasmux/deployments")).unwrap().count();
    assert!(kept < 20, "{kept} files");
}
