//! Modules and routes.toml.

use super::{save, says, until, until_says, watch};
use crate::support::Site;

const ROUTES: &str = "[handlers.hello]\nwasm = \"hello.wat\"\n[routes]\n\"/\" = \"hello\"\n\"/fixed\" = { respond = \"fixed\" }\n";

#[test]
fn a_module_is_replaced() {
    let server = watch(Site::new(ROUTES).file("hello.wat", says("one")));
    assert_eq!(server.get("/").text(), "one");
    save(&server, "hello.wat", says("two"));
    until_says(&server, "/", "two");
    server.log.wait_for(&["change in hello.wat; loading hello"]);
    server.log.wait_for(&["hello is served anew (load "]);
    // Saved as it was: nothing happens. What happens after the next change shows that.
    save(&server, "hello.wat", says("two"));
    std::fs::write(server.site.path("hello.wat"), "(module)").unwrap();
    let response = until(&server, "/", |response| response.status == 500);
    let (text, id) = (response.text(), response.header("x-request-id").unwrap());
    assert!(text.starts_with("hello is broken: ") && text.contains("serve_http"), "{text}");
    assert!(text.contains(&format!("(request {id})")), "{text}");
    assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    server.log.wait_for(&["ERROR", "hello is broken: "]);
    assert_eq!(server.log.count("change in "), 2);
    std::fs::remove_file(server.site.path("hello.wat")).unwrap();
    until(&server, "/", |response| response.text().contains("there is no file or folder"));
    assert_eq!(server.get("/fixed").text(), "fixed");
    save(&server, "hello.wat", says("three"));
    until_says(&server, "/", "three");
}

#[test]
fn a_module_alone_is_watched_too() {
    let site = Site::new("").file("hello.wat", says("one"));
    let server = site.serve_with(&["--watch", "hello.wat"]);
    assert_eq!(server.get("/").text(), "one");
    save(&server, "hello.wat", says("two"));
    until_says(&server, "/", "two");
}

#[test]
fn routes_are_read_again() {
    let server = watch(Site::new(ROUTES).file("hello.wat", says("one")));
    save(&server, "routes.toml", format!("{ROUTES}\"/more\" = \"hello\"\n"));
    until_says(&server, "/more", "one");
    server.log.wait_for(&["change in routes.toml; reading it"]);
    server.log.wait_for(&["reloaded: 3 routes, 1 handlers"]);
    // With a mistake it changes nothing.
    save(&server, "routes.toml", format!("{ROUTES}\"/more\" = \"nobody\"\n"));
    server.log.wait_for(&["routes.toml:6", "`nobody`"]);
    server.log.wait_for(&["not reloaded: 1 problem; deployment 2 goes on"]);
    assert_eq!(server.get("/more").text(), "one");
    // Mended, with a handler that is new: its module is watched from now on, though its folder is to come.
    let added = format!("{ROUTES}\"/more\" = \"more\"\n[handlers.more]\nwasm = \"made/later/more.wat\"\n");
    save(&server, "routes.toml", added);
    until(&server, "/more", |response| response.status == 500);
    std::fs::create_dir_all(server.site.path("made/later")).unwrap();
    save(&server, "made/later/more.wat", says("more"));
    until_says(&server, "/more", "more");
    assert_eq!(server.get("/").text(), "one");
}

#[test]
fn nothing_is_deployed_beside_it() {
    // What was deployed before does not matter.
    let site = Site::new(ROUTES).file("hello.wat", says("one")).file("other.wat", says("other"));
    assert!(site.run(&["deploy", "hello", "other.wat"]).status.success());
    let server = watch(site);
    assert_eq!(server.get("/").text(), "one");
    for args in [&["deploy", "hello", "other.wat"][..], &["rollback"], &["promote"], &["diff", "1", "2"]] {
        let output = server.site.run(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains("watch mode keeps no deployments"),
            "{args:?}: {said}"
        );
    }
    assert!(server.site.run(&["reload"]).status.success());
    assert!(server.site.run(&["status"]).status.success());
    assert_eq!(server.get("/").text(), "one");
}

/// Whoever stands in front of a broken handler passes on what it says.
#[test]
fn a_chain_answers_for_its_end() {
    let routes = "[handlers]\nfront = { wasm = \"forward.wat\", next = \"end\" }\nend = { wasm = \"end.wat\" }\n\
                  [routes]\n\"/\" = \"front\"\n";
    let server = watch(Site::new(routes).guest("forward").file("end.wat", "(module"));
    let response = server.get("/f");
    assert_eq!(response.status, 500, "{response:?}");
    assert!(response.text().starts_with("end is broken: not valid WebAssembly"), "{response:?}");
    save(&server, "end.wat", says("mended"));
    until_says(&server, "/f", "mended");
}
