//! `wasmux doctor`.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::support::Site;

fn checks(site: &Site) -> (Option<i32>, Vec<Value>) {
    let output = site.run(&["doctor", "--json"]);
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn everything_is_looked_at() {
    let site = Site::new("[server]\ncache = \"cache\"\n[routes]\n\"/\" = { respond = \"ok\" }\n");
    let (code, found) = checks(&site);
    assert_eq!(code, Some(0), "{found:?}");
    let names: Vec<_> = found.iter().map(|check| check["name"].as_str().unwrap()).collect();
    for name in [
        "kernel",
        "pages",
        "swap",
        "open files",
        "mappings",
        "backlog",
        "memory",
        "engine",
        "state",
        "cache",
        "cargo",
        "wasm targets",
    ] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    for check in &found {
        assert_eq!(
            check["verdict"] == "ok",
            check["advice"].is_null(),
            "what is not well comes with advice: {check}"
        );
    }
    let lines = String::from_utf8(site.run(&["doctor"]).stdout).unwrap();
    assert!(lines.lines().any(|line| line.starts_with("ok    state: ")), "{lines}");
}

#[test]
fn what_is_in_the_way_is_said() {
    let many = "[server]\nmax_connections = 1000000\ninstances = 20000\nguest_memory = \"1000000GiB\"\nstate = \"file/x\"\n\
                [routes]\n\"/\" = { respond = \"ok\" }\n";
    let site = Site::new(many).file("file", "");
    std::fs::set_permissions(site.path("file"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let (code, found) = checks(&site);
    assert_eq!(code, Some(1));
    let of = |name: &str| found.iter().find(|check| check["name"] == name).unwrap().clone();
    assert_eq!(of("memory")["verdict"], "fail");
    assert!(of("memory")["advice"].as_str().unwrap().contains("`guest_memory`"));
    let state = of("state");
    assert_eq!(state["verdict"], "fail", "it is below a file: {state}");
    assert!(state["advice"].as_str().unwrap().contains("`state` in [server]"), "{state}");
}

#[test]
fn a_state_that_is_a_file_is_in_the_way() {
    let site =
        Site::new("[server]\nstate = \"file\"\n[routes]\n\"/\" = { respond = \"ok\" }\n").file("file", "");
    let (code, found) = checks(&site);
    assert_eq!(code, Some(1), "{found:?}");
    let state = found.iter().find(|check| check["name"] == "state").unwrap();
    assert_eq!(state["verdict"], "fail", "{state}");
}
