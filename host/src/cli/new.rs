//! `wasmux new`: a project that builds, tests and serves at once.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{NewArgs, OK, fail, print};

pub(super) fn run(args: &NewArgs) -> ExitCode {
    let folder = &args.name;
    let Some(name) = folder.file_name().and_then(|name| name.to_str()).filter(|name| is_crate_name(name))
    else {
        let shown = folder.display();
        return fail(format_args!(
            "`{shown}`: a project's name has letters, digits, `-` and `_`, and begins with a letter"
        ));
    };
    if folder.exists() {
        return fail(format_args!("{} exists already; choose another name", folder.display()));
    }
    if let Err(error) = write(folder, name) {
        return fail(format_args!("cannot write {}: {error}", folder.display()));
    }
    print(format_args!(
        "made {0}\n  cd {0}\n  cargo test        run the handler's test, without wasm\n  wasmux serve      \
         build it and serve it on http://127.0.0.1:8080",
        folder.display()
    ));
    OK
}

fn is_crate_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

fn write(folder: &Path, name: &str) -> io::Result<()> {
    std::fs::create_dir_all(folder.join("src"))?;
    let file = |path: &str, text: &str| std::fs::write(folder.join(path), text.replace("{{name}}", name));
    file("Cargo.toml", &include_str!("new/Cargo.toml.template").replace("{{sdk}}", &sdk_dependency()))?;
    file("src/lib.rs", include_str!("new/lib.rs.template"))?;
    file("routes.toml", include_str!("new/routes.toml.template"))?;
    file(".gitignore", "/target\n")
}

/// A wasmux that was built from its source tree uses the SDK beside it; an installed one the published SDK.
fn sdk_dependency() -> String {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../guest-sdk"));
    match beside.canonicalize() {
        Ok(path) => format!("wasmux-sdk = {{ path = {:?} }}", path.display().to_string()),
        Err(_) => format!("wasmux-sdk = \"{}\"", env!("CARGO_PKG_VERSION")),
    }
}
