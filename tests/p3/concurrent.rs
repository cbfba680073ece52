//! `isolation = "concurrent"`: what requests of one instance share, and what they do to each other.

use std::time::{Duration, Instant};

use crate::support::guests::component;
use crate::support::{Server, Site};

/// The guest on `/`, in at most `instances` instances, with these lines in its table.
fn crowd(instances: u32, settings: &str) -> Server {
    let wasm = component("trouble");
    let routes = format!(
        "[server]\nthreads = 2\ninstances = {instances}\n[handlers.t]\nwasm = {wasm:?}\nisolation = \"concurrent\"\n{settings}\n\
         [routes]\n\"/\" = \"t\"\n\"/fixed\" = {{ respond = \"fixed\" }}\n"
    );
    Site::new(&routes).serve()
}

/// Sends these at one time; answers statuses and bodies, in order.
fn together(server: &Server, targets: &[&str]) -> Vec<(u16, String)> {
    let mut conns: Vec<_> = targets.iter().map(|_| server.connect()).collect();
    for (conn, target) in conns.iter_mut().zip(targets) {
        conn.request("GET", target, &[], b"");
    }
    conns.iter_mut().map(|conn| conn.response()).map(|response| (response.status, response.text())).collect()
}

#[test]
fn one_instance_serves_several_at_a_time() {
    let server = crowd(1, "max_concurrent = 8");
    server.get("/");
    let started = Instant::now();
    let answers = together(&server, &["/?do=wait&n=500"; 8]);
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert_eq!(server.get("/?do=count").text(), "10\n", "all of them were in one instance");
}

#[test]
fn a_full_house_waits_and_is_then_shed() {
    let server = crowd(1, "max_concurrent = 2");
    // The third one gets the seat of the first.
    let answers = together(&server, &["/?do=wait&n=300", "/?do=wait&n=3000", "/?do=hello"]);
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    let mut waiting: Vec<_> = (0..2).map(|_| server.connect()).collect();
    waiting.iter_mut().for_each(|conn| conn.request("GET", "/?do=wait&n=2500", &[], b""));
    // Both have to be seated before a third one comes.
    std::thread::sleep(Duration::from_millis(200));
    let response = server.get("/?do=hello");
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")), "{response:?}");
    for conn in &mut waiting {
        assert_eq!(conn.response().status, 200);
    }
}

#[test]
fn instances_are_replaced() {
    let server = crowd(10, "max_requests = 3\nmax_concurrent = 4");
    let counts: Vec<_> = (0..7).map(|_| server.get("/?do=count").text()).collect();
    assert_eq!(counts.concat(), "1\n2\n3\n1\n2\n3\n1\n");
    let server = crowd(10, "max_idle = \"1s\"");
    assert_eq!(server.get("/?do=count").text(), "1\n");
    assert_eq!(server.get("/?do=count").text(), "2\n");
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(server.get("/?do=count").text(), "1\n");
}

/// Guests that compute for ever keep neither the host nor other instances, and are ended at their deadline.
#[test]
fn loops_disturb_nobody() {
    let server = crowd(20, "limits = { timeout = \"1500ms\" }");
    server.get("/");
    let mut looping: Vec<_> = (0..4).map(|_| server.connect()).collect();
    let started = Instant::now();
    looping.iter_mut().for_each(|conn| conn.request("GET", "/?do=spin", &[], b""));
    let mut answered = 0;
    while started.elapsed() < Duration::from_millis(1000) {
        assert_eq!(server.get("/fixed").text(), "fixed");
        assert_eq!(server.get("/?do=hello").status, 200);
        answered += 1;
    }
    assert!(answered >= 3, "only {answered} answers beside the loops");
    for conn in &mut looping {
        assert_eq!(conn.response().status, 504);
    }
    assert_eq!(server.get("/?do=hello").status, 200);
}

/// One that is late ends its instance, but not before the others in it are done.
#[test]
fn overdue_requests_end_their_instance() {
    let server = crowd(10, "limits = { timeout = \"3s\" }");
    server.get("/");
    let mut late = server.connect();
    late.request("GET", "/?do=wait&n=60000", &[], b"");
    // Begun halfway, it ends in the middle between the two deadlines: most of a second on either side.
    std::thread::sleep(Duration::from_millis(1500));
    let mut beside = server.connect();
    beside.request("GET", "/?do=wait&n=2250", &[], b"");
    assert_eq!(late.response().status, 504);
    // The old instance would say 4.
    assert_eq!(server.get("/?do=count").text(), "1\n");
    assert_eq!(beside.response().status, 200);
    server.log.wait_for(&["an instance was stopped", "handler=\"t\"", "request_ids="]);
    assert_eq!(server.get("/?do=count").text(), "2\n");
}

#[test]
fn a_trap_takes_its_instance_with_it() {
    let server = crowd(1, "");
    server.get("/");
    let mut waiting: Vec<_> = ["first", "second"].map(|name| (name, server.connect())).into();
    for (name, conn) in &mut waiting {
        conn.request("GET", "/?do=wait&n=60000", &[&format!("X-Request-Id: {name}")], b"");
    }
    std::thread::sleep(Duration::from_millis(200));
    let third = server.request("GET", "/?do=panic", &["X-Request-Id: third"], b"");
    assert_eq!(third.status, 500);
    for (name, conn) in &mut waiting {
        assert_eq!(conn.response().status, 500, "{name}");
    }
    for name in ["first", "second", "third"] {
        server.log.wait_for(&[
            "requests failed with their instance: ",
            name,
            &format!("request_id=\"{name}\""),
        ]);
    }
    assert_eq!(server.get("/?do=count").text(), "1\n");
}

#[test]
fn clients_that_leave_give_their_seat_back() {
    let server = crowd(1, "max_concurrent = 1\nlimits = { timeout = \"20s\" }");
    server.get("/");
    let served = (1..=5).map(|round| {
        let mut conn = server.connect();
        conn.request("GET", "/?do=flood&n=1000", &[], b"");
        assert_eq!(conn.head().status, 200);
        conn.reset();
        server.log.wait_for_many("nobody reads beyond", round);
        server.get("/?do=count").text().trim().parse().unwrap()
    });
    // One that has become idle just when a request looks for a place may go for it; those that clients leave do not.
    let served: Vec<u32> = served.collect();
    assert!(served.iter().filter(|count| **count > 2).count() >= 3, "{served:?}");
}

#[test]
fn lines_name_the_handler_only() {
    let server = crowd(1, "");
    server.get("/?do=print&n=7");
    let line = server.log.wait_for(&["printed 7"]);
    assert!(line.contains("handler=\"t\"") && !line.contains("request_id"), "{line}");
}

#[test]
fn a_drain_waits_for_them() {
    let mut server = crowd(1, "");
    let mut conn = server.connect();
    conn.request("GET", "/?do=wait&n=700", &[], b"");
    let mut after = server.connect();
    after.request("GET", "/?do=after&n=900&then=worked", &[], b"");
    assert_eq!(after.response().text(), "before\n");
    server.signal("TERM");
    assert_eq!(conn.response().text(), "waited\n");
    assert!(server.wait().success());
    assert_eq!(server.log.count("after: worked"), 1);
}

/// An idle instance makes room for another handler.
#[test]
fn idle_instances_make_room() {
    let wasm = component("trouble");
    let handler = |name| format!("[handlers.{name}]\nwasm = {wasm:?}\nisolation = \"concurrent\"\n");
    let routes = "[routes]\n\"/a\" = \"a\"\n\"/b\" = \"b\"\n";
    let site = Site::new(&format!("[server]\ninstances = 1\n{}{}{routes}", handler("a"), handler("b")));
    let server = site.serve();
    for _ in 0..3 {
        assert_eq!(server.get("/a?do=count").text(), "1\n");
        assert_eq!(server.get("/b?do=count").text(), "1\n");
    }
}

#[test]
fn others_cannot_be_concurrent() {
    let proxy = component("proxy");
    let routes = format!(
        "[defaults]\nisolation = \"concurrent\"\n[handlers]\nmodule = {{ wasm = \"echo.wat\" }}\nproxy = {{ wasm = {proxy:?} }}\n\
         [routes]\n\"/a\" = \"module\"\n\"/b\" = \"proxy\"\n"
    );
    let output = Site::new(&routes).guest("echo").run(&["check"]);
    let text =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for what in ["a core module", "a wasi:http 0.2 component"] {
        assert!(text.contains(&format!("is for wasi:http 0.3 components; this is {what}")), "{text}");
    }
}
