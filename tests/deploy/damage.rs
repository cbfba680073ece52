//! What is on disk and not as it should be: never a reason to serve something else without a word, and always with a way out.

use std::fs;

use super::{ROUTES, json, killed_and_started, says, site, text_of, well};
use crate::support::Server;

fn deployments(server: &Server, name: &str) -> std::path::PathBuf {
    server.site.path(".wasmux/deployments").join(name)
}

/// Ends the process.
fn killed(server: &mut Server) {
    server.signal("KILL");
    server.wait();
}

/// What is said by a start that fails.
fn refused(server: &Server, args: &[&str]) -> String {
    let output = server.site.run(&[&["serve", "--listen", "127.0.0.1:0"], args].concat());
    assert!(!output.status.success());
    text_of(&output)
}

#[test]
fn without_its_deployments_nothing_starts() {
    let mut server = site().serve();
    well(&server, &["deploy", "hello", "two.wat"]);
    killed(&mut server);
    fs::write(deployments(&server, "current"), "").unwrap();
    let said = refused(&server, &[]);
    assert!(said.contains("deployments/current in the state folder is damaged"), "{said}");
    assert!(said.contains("`wasmux serve --from-file` serves what the file says"), "{said}");
    let listed = json(&server, &["deployments"]);
    assert!(listed["in_force"].is_null() && listed["deployments"][0]["number"] == 2, "{listed}");
    fs::rename(deployments(&server, "artifacts"), deployments(&server, "elsewhere")).unwrap();
    fs::write(deployments(&server, "artifacts"), "in the way").unwrap();
    let said = refused(&server, &[]);
    assert!(said.contains(".wasmux has deployments that cannot be used: "), "{said}");
    fs::remove_file(deployments(&server, "artifacts")).unwrap();
    fs::rename(deployments(&server, "elsewhere"), deployments(&server, "artifacts")).unwrap();
    let site = std::mem::replace(&mut server.site, crate::support::Site::at(std::path::Path::new(".")));
    let server = site.serve_with(&["--from-file"]);
    assert_eq!(server.get("/").text(), "one");
    // And it is mended with the next one.
    well(&server, &["rollback", "2"]);
    let server = killed_and_started(server);
    assert_eq!(server.get("/").text(), "two");
}

#[test]
fn a_damaged_module_is_not_served_and_can_be_left() {
    let mut server = site().serve();
    let deployed = json(&server, &["deploy", "hello", "two.wat"]);
    killed(&mut server);
    let digest = deployed["deployment"]["modules"]["hello"]["sha256"].as_str().unwrap();
    let module = deployments(&server, &format!("artifacts/{digest}.wat"));
    fs::write(&module, says("owt")).unwrap();
    let said = refused(&server, &[]);
    assert!(said.contains("is not what was deployed: it is damaged") && said.contains(digest), "{said}");
    // Neither does the way out lead through a file that is not good.
    let routes = server.site.path("routes.toml");
    fs::write(&routes, format!("{ROUTES}broken = [\n")).unwrap();
    let said = well(&server, &["rollback", "1"]);
    assert!(said.starts_with("deployment 3 is on record (rollback 1)"), "{said}");
    fs::write(&routes, ROUTES).unwrap();
    let server = server.start_again_as_it_is();
    assert_eq!(server.get("/").text(), "one");
    well(&server, &["deploy", "hello", "two.wat"]);
    assert_eq!(
        (server.get("/").text(), fs::read_to_string(&module).unwrap()),
        ("two".to_owned(), says("two"))
    );
}

#[test]
fn a_damaged_record_is_listed_as_such() {
    let server = site().serve();
    well(&server, &["deploy", "hello", "two.wat"]);
    fs::write(deployments(&server, "1.json"), "{").unwrap();
    let listed = json(&server, &["deployments"]);
    let damaged = listed["deployments"][1]["damaged"].as_str().unwrap();
    assert!(damaged.contains("deployments/1.json in the state folder is damaged"), "{listed}");
    assert!(well(&server, &["deployments"]).contains("     1   deployments/1.json"));
}

#[test]
fn a_process_that_does_not_come_to_serve_changes_nothing() {
    let server = site().serve();
    well(&server, &["deploy", "hello", "two.wat"]);
    let taken = server.address().to_string();
    let output = server.site.run(&["serve", "--from-file", "--listen", &taken]);
    assert!(!output.status.success() && text_of(&output).contains("in use"), "{}", text_of(&output));
    let listed = json(&server, &["deployments"]);
    assert_eq!((&listed["in_force"], listed["deployments"].as_array().unwrap().len()), (&2.into(), 2));
    let server = killed_and_started(server);
    assert_eq!(server.get("/").text(), "two");
}

#[test]
fn what_was_pushed_after_an_edit_is_not_undone_by_it() {
    let server = site().serve();
    well(&server, &["deploy", "hello", "two.wat"]);
    fs::write(server.site.path("routes.toml"), format!("{ROUTES}# edited\n")).unwrap();
    let said = well(&server, &["deploy", "hello", "two.wat"]);
    assert!(said.starts_with("deployment 3 is in force"), "{said}");
    let server = killed_and_started(server);
    assert_eq!(server.get("/").text(), "two");
}

#[test]
fn what_a_running_server_uses_is_not_changed_behind_its_back() {
    let server = site().serve();
    fs::rename(server.site.path(".wasmux/admin.sock"), server.site.path(".wasmux/gone")).unwrap();
    let output = server.site.run(&["deploy", "hello", "two.wat"]);
    assert!(!output.status.success());
    assert!(text_of(&output).contains("a server that cannot be asked uses "), "{}", text_of(&output));
    assert!(!deployments(&server, "2.json").exists());
}

#[test]
fn what_is_refused_leaves_nothing_behind() {
    let server = site().serve();
    let artifacts = || fs::read_dir(deployments(&server, "artifacts")).unwrap().count();
    let before = artifacts();
    assert!(!server.site.run(&["deploy", "hello", "none.wat"]).status.success());
    assert!(!server.site.run(&["deploy", "helo", "two.wat"]).status.success());
    assert_eq!(artifacts(), before);
}
