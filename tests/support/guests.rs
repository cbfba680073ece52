//! The repository's example crates, built once for all tests by the real `wasmux build`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::server::{Server, Site, finish, wasmux};

/// Where projects made by tests are compiled; kept, so that the next run finds them compiled.
pub(crate) const TARGET: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/projects");

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What examples are built into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Core modules with `serve_http`, as routes.toml has them.
    Module,
    /// Components with `wasi:http/incoming-handler`.
    Component,
}

/// Serves the repository's own routes.toml: every example.
pub(crate) fn serve_examples(form: Form) -> Server {
    static MODULES: OnceLock<()> = OnceLock::new();
    match form {
        Form::Module => {
            MODULES.get_or_init(|| drop(build_examples(&["build"])));
            // A copy, so that what the examples keep is in a folder of the test's own.
            let routes = std::fs::read_to_string(root().join("routes.toml")).unwrap();
            Site::new(&at_root(&routes)).serve_with(&["--listen", "127.0.0.1:0"])
        }
        Form::Component => {
            let mut routes = std::fs::read_to_string(root().join("routes.toml")).unwrap();
            // A middleware of wasi:http 0.2 is none: that one stays a module.
            for (name, component) in example_components().iter().filter(|(name, _)| name != "gateway") {
                routes = routes.replace(&format!("\"examples/{name}\""), &format!("{component:?}"));
            }
            Site::new(&at_root(&routes)).serve_with(&["--listen", "127.0.0.1:0"])
        }
    }
}

/// The text of routes.toml for another folder: what is in `examples` is still meant.
fn at_root(routes: &str) -> String {
    let folder = root().join("examples");
    let folder = folder.to_str().unwrap();
    routes.replace("\"examples\"", &format!("{folder:?}")).replace("\"examples/", &format!("\"{folder}/"))
}

/// The examples as components, by name.
pub(crate) fn example_components() -> &'static [(String, PathBuf)] {
    static BUILT: OnceLock<Vec<(String, PathBuf)>> = OnceLock::new();
    BUILT.get_or_init(|| {
        let lines = build_examples(&["build", "--component"]);
        let line = |line: &str| {
            let (folder, rest) = line.split_once(": ").unwrap();
            let (file, _size) = rest.rsplit_once(" (").unwrap();
            (folder.strip_prefix("examples/").unwrap().to_owned(), file.into())
        };
        lines.lines().map(line).collect()
    })
}

fn build_examples(args: &[&str]) -> String {
    let built = finish(wasmux(&root()).args(args));
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    String::from_utf8(built.stdout).unwrap()
}

/// The crate folder of a test guest; who serves it builds it.
pub(crate) fn guest_folder(name: &str) -> PathBuf {
    root().join("tests/guests").join(name)
}

/// The crate folder of the guest `puppet`, built.
pub(crate) fn puppet_folder() -> PathBuf {
    drop(puppet_site(""));
    root().join("tests/guests/puppet")
}

/// A site of the guest `puppet`, which does what the query tells it, with these lines in `[server]`.
pub(crate) fn puppet_site(settings: &str) -> Site {
    static BUILT: OnceLock<()> = OnceLock::new();
    let folder = root().join("tests/guests/puppet");
    let routes = format!(
        r#"
        [server]
        {settings}
        [handlers]
        puppet = {{ wasm = {folder:?} }}
        [routes]
        "/puppet" = "puppet"
        "/puppet/{{rest...}}" = "puppet"
        "/secret" = "puppet"
        "/probe" = "puppet"
        "/tree/" = "puppet"
        "GET /only-get" = "puppet"
        "POST /only-post" = "puppet"
        "example.test/hosted" = "puppet"
        "#
    );
    let site = Site::new(&routes);
    BUILT.get_or_init(|| {
        let built = site.run(&["build"]);
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    });
    site
}

/// The target of components.
const COMPONENT_TARGET: &str = "wasm32-wasip2";

/// The file of a component: `granted`, `store`, `database` or `caller` (made with the SDK), `proxy` or `reach` (wasi:http 0.2), or `service`, `middleware`, `trouble` or `reach3` (0.3).
pub(crate) fn component(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build_components).join(format!("{name}.wasm"))
}

/// Builds all of them in one run of cargo, and says where they are.
fn build_components() -> PathBuf {
    let target = root().join("target");
    let libraries = Command::new("rustc")
        .current_dir(root())
        .args(["--print", "target-libdir", "--target", COMPONENT_TARGET])
        .output()
        .unwrap();
    if !Path::new(String::from_utf8_lossy(&libraries.stdout).trim()).is_dir() {
        let added =
            finish(Command::new("rustup").current_dir(root()).args(["target", "add", COMPONENT_TARGET]));
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.current_dir(root()).args(["build", "--profile", "guest", "--target", COMPONENT_TARGET]);
    for package in [
        "proxy",
        "reach",
        "service",
        "middleware",
        "trouble",
        "reach3",
        "granted",
        "store",
        "database",
        "caller",
    ] {
        build.args(["-p", package]);
    }
    build.arg("--target-dir").arg(&target);
    let built = finish(&mut build);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    target.join(COMPONENT_TARGET).join("guest")
}
