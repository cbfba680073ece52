//! Deployments: put in force, rolled back, tried on some, and found again after the process was killed.

mod access;
mod canary;
mod crash;
mod damage;
mod load;
mod upgrade;

use std::process::Output;

use serde_json::Value;

use crate::support::{Server, Site};

/// A module that answers with this text, traps when it is empty, or never ends.
fn says(text: &str) -> String {
    let answer = match text {
        "" => "unreachable".to_owned(),
        LOOPS => "(loop $again (br $again))".to_owned(),
        text => format!(
            "(drop (call $respond (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 32) (i32.const {})))",
            text.len()
        ),
    };
    format!(
        "(module (import \"wasmux:http/1\" \"respond\" (func $respond (param i32 i32 i32 i32 i32) (result i32)))\n\
         (memory (export \"memory\") 1) (data (i32.const 32) \"{text}\")\n(func (export \"serve_http\") {answer}))"
    )
}

/// What one says that never ends.
const LOOPS: &str = "…";

const ROUTES: &str = "[handlers.hello]\nwasm = \"hello.wat\"\n[routes]\n\"/\" = \"hello\"\n\"/fixed\" = { respond = \"fixed\" }\n";

/// A handler `hello` that says `one`, and modules beside it that say `two` and `three`, and one that is none.
fn site() -> Site {
    site_with("")
}

fn site_with(settings: &str) -> Site {
    let site = Site::new(&format!("{settings}{ROUTES}")).file("hello.wat", says("one"));
    site.file("two.wat", says("two"))
        .file("three.wat", says("three"))
        .file("none.wat", "(module)")
        .file("traps.wat", says(""))
        .file("loops.wat", says(LOOPS))
        .file("code.cwasm", "\x7fELF")
}

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Runs a command that has to succeed, and gives what it says.
fn well(server: &Server, args: &[&str]) -> String {
    let output = server.site.run(args);
    assert!(output.status.success(), "{args:?}: {}", text_of(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn json(server: &Server, args: &[&str]) -> Value {
    serde_json::from_str(&well(server, &[args, &["--json"]].concat())).unwrap()
}

fn killed_and_started(server: Server) -> Server {
    server.signal("KILL");
    server.start_again()
}

#[test]
fn a_module_is_deployed_and_rolled_back() {
    let server = site().serve();
    assert_eq!(server.get("/").text(), "one");
    let said = well(&server, &["deploy", "hello", "two.wat"]);
    assert!(said.starts_with("deployment 2 is in force (deploy hello), "), "{said}");
    assert_eq!(server.get("/").text(), "two");
    well(&server, &["deploy", "hello", "three.wat"]);
    assert_eq!(server.get("/").text(), "three");
    let said = well(&server, &["rollback"]);
    assert!(said.contains("(rollback 2)") && said.contains("before: 3"), "{said}");
    assert_eq!(server.get("/").text(), "two");
    well(&server, &["rollback", "1"]);
    assert_eq!(server.get("/").text(), "one");
    let listed = json(&server, &["deployments"]);
    assert_eq!(listed["in_force"], 5);
    let numbers: Vec<_> =
        listed["deployments"].as_array().unwrap().iter().map(|one| one["number"].clone()).collect();
    assert_eq!(numbers, [5, 4, 3, 2, 1]);
    assert!(
        well(&server, &["deployments"])
            .lines()
            .any(|line| line.contains(" 5 * ") && line.contains("rollback 1"))
    );
    let diff = json(&server, &["diff", "1", "2"]);
    assert_eq!(diff["handlers"][0]["handler"], "hello");
    assert_ne!(diff["handlers"][0]["from"], diff["handlers"][0]["to"]);
    assert_eq!(well(&server, &["diff", "1", "5"]), "no difference\n");
    // The file is the truth when it is asked for.
    well(&server, &["deploy", "hello", "two.wat"]);
    well(&server, &["reload"]);
    assert_eq!(server.get("/").text(), "one");
}

#[test]
fn what_is_not_good_changes_nothing() {
    let server = site().serve();
    for (args, said) in [
        (&["deploy", "hello", "none.wat"][..], "handler `hello`"),
        (&["deploy", "helo", "two.wat"], "there is no handler `helo` with a module (did you mean `hello`?)"),
        (&["deploy", "hello", "gone.wat"], "gone.wat: No such file"),
        (&["deploy", "hello", "code.cwasm"], "compiled code would run outside of the sandbox"),
        (&["rollback", "7"], "deployment 7 is not kept; there are: 1"),
        (&["rollback"], "there is no deployment before 1"),
        (&["promote"], "there is no canary"),
        (&["diff", "1", "9"], "deployment 9 is not kept"),
        (&["deploy", "hello", "two.wat", "--canary", "0%"], "a percentage up to 100% is wanted"),
        (&["status", "--admin", "unix:nowhere.sock"], "no server answers at unix:nowhere.sock"),
    ] {
        let output = server.site.run(args);
        assert!(!output.status.success(), "{args:?}");
        let shown = text_of(&output);
        assert!(shown.contains(said), "{args:?}: {shown}");
    }
    assert_eq!(server.get("/").text(), "one");
    assert_eq!(json(&server, &["deployments"])["in_force"], 1);
}

#[test]
fn what_was_pushed_outlives_the_process_until_the_file_changes() {
    let server = site().serve();
    well(&server, &["deploy", "hello", "two.wat"]);
    let server = killed_and_started(server);
    assert_eq!(server.get("/").text(), "two", "by the new process");
    server.log.wait_for(&["deployment 2 (deploy hello) is in force"]);
    assert_eq!(json(&server, &["deployments"])["in_force"], 2);
    // A module that the file names, changed behind the program's back, is not what was deployed.
    std::fs::write(server.site.path("hello.wat"), says("other")).unwrap();
    let server = killed_and_started(server);
    assert_eq!(server.get("/").text(), "two");
    let routes = server.site.path("routes.toml");
    std::fs::write(&routes, format!("{ROUTES}# changed\n")).unwrap();
    let server = killed_and_started(server);
    assert_eq!(server.get("/").text(), "other");
    server.log.wait_for(&["WARN", "has changed since deployment 2"]);
    assert_eq!(json(&server, &["deployments"])["in_force"], 3);
    // Started again as it is, it is the same deployment.
    let server = killed_and_started(server);
    assert_eq!(json(&server, &["deployments"])["in_force"], 3);
}

#[test]
fn without_a_server_the_next_one_is_told() {
    let server = site().serve();
    well(&server, &["deploy", "hello", "two.wat"]);
    let mut server = server;
    server.signal("TERM");
    server.wait();
    let said = well(&server, &["rollback", "1"]);
    assert!(said.starts_with("deployment 3 is on record (rollback 1)"), "{said}");
    well(&server, &["deploy", "hello", "three.wat"]);
    assert!(!server.site.run(&["deploy", "hello", "none.wat"]).status.success());
    assert_eq!(json(&server, &["deployments"])["in_force"], 4);
    assert_eq!(json(&server, &["diff", "3", "4"])["handlers"][0]["handler"], "hello");
    let status = server.site.run(&["status"]);
    assert_eq!(status.status.code(), Some(1));
    assert!(text_of(&status).contains("no server answers"));
    let server = server.start_again();
    assert_eq!(server.get("/").text(), "three");
}

#[test]
fn status_and_logs_show_what_goes_on() {
    let server = site().serve();
    server.get("/");
    let status = json(&server, &["status"]);
    assert_eq!((&status["status"], &status["deployment"]["number"]), (&"ready".into(), &1.into()));
    assert_eq!(status["process"], server.pid());
    assert_eq!(status["handlers"][0]["handler"], "hello");
    assert_eq!(status["servers"]["server"].as_array().unwrap().len(), 2);
    let version = status["handlers"][0]["version"].as_str().unwrap().to_owned();
    assert!(well(&server, &["status"]).contains(&format!("hello    {version}")));
    well(&server, &["deploy", "hello", "traps.wat"]);
    assert_eq!(server.get("/").status, 500);
    server.log.wait_for(&["the guest trapped"]);
    let logs = well(&server, &["logs", "--handler", "hello"]);
    assert!(logs.contains("unreachable"), "{logs}");
    assert!(!logs.contains("ready: process"), "only of the handler: {logs}");
    assert!(well(&server, &["logs"]).contains("deployed: "));
}

#[test]
fn a_drain_can_be_asked_for() {
    let mut server = site().serve();
    let mut admin = access::admin(&server);
    admin.request("POST", "/v1/drain", &[], b"");
    assert_eq!(admin.response().status, 202);
    server.log.wait_for(&["admin: draining"]);
    assert!(server.wait().success());
}
