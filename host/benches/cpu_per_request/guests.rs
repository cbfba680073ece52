//! Handlers to be measured, built for the guest profile.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Files of WebAssembly.
pub(crate) struct Guests {
    /// Modules on our SDK.
    pub(crate) hello: PathBuf,
    pub(crate) users: PathBuf,
    pub(crate) echo: PathBuf,
    /// One that builds a table of 2 MB before it answers.
    pub(crate) tables: PathBuf,
    /// `hello` as components on the raw bindings: wasi:http 0.2, 0.3.
    pub(crate) p2: PathBuf,
    pub(crate) p3: PathBuf,
}

impl Guests {
    pub(crate) fn build() -> Self {
        let crates = ["examples/hello", "examples/users", "examples/echo", "tests/guests/tables"];
        let built = wasmux::builder::build(&crates.map(|name| root().join(name)));
        let module = |name: &str| {
            let found = built.iter().find(|(folder, _)| folder.ends_with(name)).expect("a result for each");
            found.1.clone().unwrap_or_else(|error| panic!("{name}: {error:?}"))
        };
        let [hello, users, echo, tables] = crates.map(module);
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(root()).args(["build", "--quiet", "--profile=guest", "--target=wasm32-wasip2"]);
        cargo.args(["--package=hello_p2", "--package=hello_p3", "--message-format=json"]);
        let output = cargo.stderr(Stdio::inherit()).output().expect("cargo runs");
        assert!(output.status.success(), "the components build (rustup target add wasm32-wasip2)");
        let component = |name: &str| {
            let messages = output.stdout.split(|byte| *byte == b'\n');
            let mut messages =
                messages.filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok());
            let artifact = messages.find(|message| message["target"]["name"] == name).expect("it is built");
            PathBuf::from(artifact["filenames"][0].as_str().expect("its file is named"))
        };
        Self { hello, users, echo, tables, p2: component("hello_p2"), p3: component("hello_p3") }
    }
}
