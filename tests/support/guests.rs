//! The repository's example crates, built once for all tests by the real `wasmux build`.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::server::{Server, Site, finish, wasmux};

/// Where projects made by tests are compiled; kept, so that the next run finds them compiled.
pub(crate) const TARGET: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/projects");

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Serves the repository's own routes.toml: every example.
pub(crate) fn serve_examples() -> Server {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let built = finish(wasmux(&root()).arg("build"));
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    });
    let file = root().join("routes.toml");
    Site::new("").serve_with(&["--config", file.to_str().unwrap()])
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
