//! What routes.toml grants a handler: its configuration, secrets and folders.

use crate::support::guests::{component, guest_folder};
use crate::support::{Server, Site};

/// The guest `granted` as a module on `/` and as a component for the host `component.test`, with these lines for each.
fn routes(grants: &str) -> String {
    let (module, component) = (guest_folder("granted"), component("granted"));
    format!(
        "[handlers.module]\nwasm = {module:?}\n{grants}\n[handlers.component]\nwasm = {component:?}\n{grants}\n\
         [routes]\n\"/\" = \"module\"\n\"component.test/\" = \"component\"\n"
    )
}

const FORMS: [&str; 2] = ["Host: module.test", "Host: component.test"];

/// What both forms of the guest say.
fn ask(server: &Server, query: &str) -> String {
    let answers = FORMS.map(|host| server.request("GET", &format!("/?{query}"), &[host], b"").text());
    assert_eq!(answers[0], answers[1], "{query}");
    answers[0].trim_end().to_owned()
}

fn errors(site: &Site) -> String {
    let output = site.run(&["check"]);
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const SECRET: &str = "not-for-everybody";

#[test]
fn configuration_and_secrets_reach_the_guest() {
    let grants = "config = { NAME = \"Ann\", TRIES = 3, RATE = 0.5, ON = true, NONE = \"\" }\n\
                  secrets = { KEY = { file = \"key\" }, PATHS = { env = \"PATH\" } }";
    let long = "x".repeat(1000);
    let server = Site::new(&routes(&format!("{grants}\nenv = {{ LONG = {long:?} }}")))
        .file("key", format!("{SECRET}\n"))
        .serve();
    for (name, value) in [("NAME", "Ann"), ("TRIES", "3"), ("RATE", "0.5"), ("ON", "true"), ("NONE", "")] {
        assert_eq!(ask(&server, &format!("do=get&name={name}")), format!("Some({value:?})"));
    }
    assert_eq!(ask(&server, "do=get&name=KEY"), format!("Some({SECRET:?})"), "without the line's end");
    assert_eq!(ask(&server, "do=get&name=LONG"), "None", "the environment is another thing");
    let path = std::env::var("PATH").unwrap();
    assert_eq!(ask(&server, "do=get&name=PATHS"), format!("Some({path:?})"), "longer than most");
    let all = ask(&server, "do=all");
    assert!(all.starts_with(&format!("[(\"KEY\", {SECRET:?}), (\"NAME\", \"Ann\")")), "{all}");
}

#[test]
fn secrets_are_kept_out_of_the_log() {
    let grants = "secrets = { KEY = { file = \"key\" } }\nconfig = { PUBLIC = \"for-everybody\" }";
    let server = Site::new(&routes(grants)).file("key", SECRET).log_level("trace").serve();
    ask(&server, "do=log&name=KEY");
    server.log.wait_for(&["handler=\"module\"", "it is [secret]"]);
    server.log.wait_for(&["handler=\"component\"", "it is [secret]"]);
    ask(&server, "do=log&name=PUBLIC");
    server.log.wait_for(&["it is for-everybody"]);
    assert_eq!(server.log.count(SECRET), 0);
}

#[test]
fn a_secret_of_several_lines_is_kept_out_of_it_too() {
    let grants = "secrets = { KEY = { file = \"key\" } }";
    let server = Site::new(&routes(grants)).file("key", "BEGIN-KEY\nits-second-line\n").serve();
    ask(&server, "do=log&name=KEY");
    server.log.wait_for(&["handler=\"module\"", "it is [secret]"]);
    server.log.wait_for(&["handler=\"component\"", "it is [secret]"]);
    assert_eq!((server.log.count("BEGIN-KEY"), server.log.count("its-second-line")), (0, 0));
}

#[test]
fn a_reload_changes_them_and_builds_nothing() {
    let grants = |mode: &str| {
        routes(&format!("config = {{ MODE = \"{mode}\" }}\nsecrets = {{ KEY = {{ file = \"key\" }} }}"))
    };
    let server = Site::new(&grants("one")).file("key", "first").serve();
    assert_eq!(ask(&server, "do=get&name=MODE"), "Some(\"one\")");
    std::fs::write(server.site.path("routes.toml"), grants("two")).unwrap();
    std::fs::write(server.site.path("key"), "second").unwrap();
    server.signal("HUP");
    server.log.wait_for(&["reloaded: ", "deployment 2"]);
    assert_eq!(ask(&server, "do=get&name=MODE"), "Some(\"two\")");
    assert_eq!(ask(&server, "do=get&name=KEY"), "Some(\"second\")");
    std::fs::remove_file(server.site.path("key")).unwrap();
    server.signal("HUP");
    server.log.wait_for(&["not reloaded: 2 problems; deployment 2 goes on"]);
    assert_eq!(ask(&server, "do=get&name=KEY"), "Some(\"second\")");
}

#[test]
fn what_was_not_granted_is_refused() {
    let site = Site::new(&routes(""));
    let errors = errors(&site);
    let sentence = "it imports `wasmux:config/1`, which it was not granted: give it some, `config = { NAME = \"value\" }`, or \
                    none, `config = {}`, in [handlers.module]";
    assert!(errors.contains("routes.toml:2: handler `module`") && errors.contains(sentence), "{errors}");
    // Standard interfaces are there for every component, and answer as if there were nothing.
    let component = component("granted");
    let alone = format!("[handlers.c]\nwasm = {component:?}\n[routes]\n\"/\" = \"c\"\n");
    let server = Site::new(&alone).serve();
    assert_eq!(server.get("/?do=get&name=KEY").text(), "None\n");
    server.log.wait_for(&["WARN", "the configuration `KEY` was refused: nothing is granted"]);
    let server = Site::new(&routes("config = {}")).serve();
    assert_eq!(ask(&server, "do=all"), "[]");
}

#[test]
fn folders_are_all_there_is() {
    let grants =
        "config = {}\nfiles = { \"/in\" = \"in\", \"/out\" = { path = \"out\", read_only = false } }";
    let site = Site::new(&routes(grants)).file("in/a", "text").file("out/a", "old").file("beside", "secret");
    std::os::unix::fs::symlink("../beside", site.path("out/link")).unwrap();
    let server = site.serve();
    assert_eq!(ask(&server, "do=read&name=/in/a"), "Ok(\"text\")");
    assert_eq!(ask(&server, "do=write&name=/out/a&text=new"), "Ok(())");
    assert_eq!(ask(&server, "do=read&name=/out/a"), "Ok(\"new\")");
    for host in FORMS {
        let remove = || server.request("GET", "/?do=remove&name=/out/b", &[host], b"").text();
        server.request("GET", "/?do=write&name=/out/b&text=b", &[host], b"");
        assert_eq!(std::fs::read(server.site.path("out/b")).unwrap(), b"b");
        assert_eq!(remove(), "Ok(())\n");
        assert_eq!(remove(), "Err(NotFound)\n");
    }
    for query in ["do=write&name=/in/a&text=x", "do=write&name=/in/new&text=x", "do=remove&name=/in/a"] {
        assert_eq!(ask(&server, query), "Err(PermissionDenied)", "{query}");
    }
    for path in ["/out/../beside", "/out/link", "/beside", "/etc/passwd", "beside", "/in/../out/a"] {
        let told = ask(&server, &format!("do=read&name={path}"));
        assert!(told.starts_with("Err("), "{path}: {told}");
    }
    assert_eq!(std::fs::read(server.site.path("in/a")).unwrap(), b"text");
}

#[test]
fn mistakes_are_told_with_their_lines() {
    let grants = r#"config = { A = 1, B = [1], C = { d = 1 } }
secrets = { A = { env = "PATH" }, D = "here", E = { env = "WASMUX_NOT_SET" }, F = { file = "none" }, G = {}, I = "written-here", H = { fil = "x" } }
files = { "/a" = "none", "/b" = { read_only = true }, "/c" = { path = "in", read_only = "yes" }, "" = "in", "/d" = 1 }"#;
    let site = Site::new(&routes(grants)).file("in/a", "");
    let errors = errors(&site);
    for said in [
        "routes.toml:3: `B` in [handlers.module] must be a string, a number, true or false, but is a TOML array",
        "routes.toml:3: `C` in [handlers.module] must be",
        "routes.toml:4: `A` is in `config` and in `secrets`; leave one of them out",
        "routes.toml:4: the secret `D` must be named, not written here: { env = \"NAME\" } or { file = \"path\" }",
        "routes.toml:4: the secret `I` must be named, not written here",
        "routes.toml:4: the secret `E`: the environment variable WASMUX_NOT_SET is not set",
        "routes.toml:4: the secret `F`: cannot read ",
        "routes.toml:4: the secret `G`: it needs one of `env`, `file`",
        "routes.toml:4: unknown key `fil` in `H` of [handlers.module] (did you mean `file`?)",
        "routes.toml:5: `files`: there is no folder ",
        "routes.toml:5: `files`: \"/b\" needs `path`, a folder",
        "routes.toml:5: `read_only` in `/c` of [handlers.module] must be true or false, but is a TOML string",
        "routes.toml:5: `files`: the guest's name for a folder must not be empty",
        "routes.toml:5: `/d` in [handlers.module] must be a folder, or a table",
    ] {
        assert!(errors.contains(said), "{said}\n{errors}");
    }
    assert!(!errors.contains("written-here"), "{errors}");
}
