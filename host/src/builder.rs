//! Builds handler crates with cargo, into modules or components, and sees to it that cargo can.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

mod heard;
mod seen;
mod sources;
mod workshop;

pub use workshop::{Changes, Failure, Outcome, Workshop};

/// What a crate is built into, by the name of the Rust target for it.
const MODULE: &str = "wasm32-wasip1";
const COMPONENT: &str = "wasm32-wasip2";

/// The profile guests are built with; a workspace may define its own under this name.
const PROFILE: &str = "guest";

/// The profile for workspaces that define none. The README recommends the same.
const PROFILE_SETTINGS: [&str; 6] = [
    "profile.guest.inherits=\"release\"",
    "profile.guest.opt-level=3",
    "profile.guest.lto=\"fat\"",
    "profile.guest.codegen-units=1",
    "profile.guest.panic=\"abort\"",
    "profile.guest.strip=\"debuginfo\"",
];

/// 256 KiB of stack instead of Rust's 1 MiB: memory that guests have is memory that is reset for every request.
/// Whoever needs more says so with one of cargo's own variables, which then replaces these flags.
const STACK: &str = "-Clink-arg=-zstack-size=262144";
/// As much for the heap, in modules: an instance whose memory grows cannot be put back, and another one has to be made.
const HEAP: &str = "-Clink-arg=--initial-heap=262144";
const RUSTFLAGS_VARIABLES: [&str; 2] = ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"];

/// Why a crate could not be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// rustc has no standard library for the target and rustup could not add it.
    TargetMissing {
        /// The target.
        target: &'static str,
        /// Why it could not be added.
        why: String,
    },
    /// cargo or rustc could not be started, or does not understand the folder.
    Cargo(String),
    /// The crate does not compile; cargo has said why on standard error.
    Compile,
    /// It compiles, but not to a module.
    NoModule,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TargetMissing { target, why } => write!(
                f,
                "the Rust target {target} is not installed and could not be added: {why}; run `rustup target add \
                 {target}`, or install your distribution's package with Rust's standard library for {target}"
            ),
            Self::Cargo(why) => f.write_str(why),
            Self::Compile => f.write_str("the crate does not compile; the compiler's messages are above"),
            Self::NoModule => f.write_str(
                "the crate does not build a module; it needs `crate-type = [\"cdylib\"]` in the [lib] section of its Cargo.toml",
            ),
        }
    }
}

impl std::error::Error for BuildError {}

/// Where a crate's binary is, or why there is none.
pub type Built = Result<PathBuf, BuildError>;

/// Builds crates into modules, those of one workspace in one run of cargo. Progress and compiler messages go to standard
/// error.
#[must_use]
pub fn build(folders: &[PathBuf]) -> Vec<(PathBuf, Built)> {
    build_for(MODULE, folders.iter().map(|folder| (folder.as_path(), "")))
}

/// Builds crates into components, each with the patterns of its routes, one a line. Otherwise as [`build`].
#[must_use]
pub fn build_components(crates: &BTreeMap<PathBuf, String>) -> Vec<(PathBuf, Built)> {
    build_for(COMPONENT, crates.iter().map(|(folder, routes)| (folder.as_path(), routes.as_str())))
}

fn build_for<'a>(
    target: &'static str,
    crates: impl Iterator<Item = (&'a Path, &'a str)>,
) -> Vec<(PathBuf, Built)> {
    let mut results = Vec::new();
    let mut workspaces = BTreeMap::<PathBuf, Vec<Package>>::new();
    // cargo takes a while to say what it knows, of all members of a workspace at once.
    let mut known = Vec::new();
    for (folder, routes) in crates {
        match Package::find(folder, routes, &mut known) {
            Ok(package) => workspaces.entry(package.workspace.clone()).or_default().push(package),
            Err(error) => results.push((folder.to_owned(), Err(error))),
        }
    }
    for (workspace, packages) in workspaces {
        let ran = ensure_target(target, &workspace).and_then(|()| run_cargo(target, &workspace, &packages));
        for package in packages {
            let result = ran.clone().and_then(|ran| ran.binary_of(&package));
            results.push((package.folder, result));
        }
    }
    results
}

/// A crate as cargo sees it.
#[derive(Clone, Debug)]
struct Package {
    folder: PathBuf,
    manifest: PathBuf,
    name: String,
    workspace: PathBuf,
    routes: String,
}

impl Package {
    /// Looks for it in the metadata of `known`, and asks cargo if it is not there.
    fn find(folder: &Path, routes: &str, known: &mut Vec<Value>) -> Result<Self, BuildError> {
        let manifest = folder.join("Cargo.toml");
        if !manifest.is_file() {
            let message = format!(
                "{} is a folder without a Cargo.toml; name a crate or a .wasm file",
                folder.display()
            );
            return Err(BuildError::Cargo(message));
        }
        let wanted = manifest.canonicalize().unwrap_or_else(|_| manifest.clone());
        let in_known = known.iter().find_map(|metadata| package_in(metadata, &wanted));
        let (name, workspace) = match in_known {
            Some(found) => found,
            None => {
                let metadata = cargo_metadata(&manifest)?;
                let found = package_in(&metadata, &wanted);
                known.push(metadata);
                found.ok_or_else(|| BuildError::Cargo(format!("{} holds no package", manifest.display())))?
            }
        };
        let routes = routes.to_owned();
        Ok(Self { folder: folder.to_owned(), manifest: wanted, name, workspace, routes })
    }

    /// The variable in which `#[handler]` looks for its routes.
    fn routes_variable(&self) -> String {
        let name = self.name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        format!("WASMUX_ROUTES_{}", name.to_ascii_uppercase())
    }
}

/// The name of the package with this manifest and its workspace, if cargo's metadata has it.
fn package_in(metadata: &Value, manifest: &Path) -> Option<(String, PathBuf)> {
    let packages = metadata["packages"].as_array()?;
    let package = packages.iter().find(|package| {
        let path = package["manifest_path"].as_str().map(Path::new);
        path.and_then(|path| path.canonicalize().ok()).is_some_and(|path| path == manifest)
    })?;
    let workspace = metadata["workspace_root"].as_str().unwrap_or_default();
    Some((package["name"].as_str()?.to_owned(), workspace.into()))
}

fn cargo_metadata(manifest: &Path) -> Result<Value, BuildError> {
    let mut command = Command::new(cargo());
    command.args(["metadata", "--no-deps", "--format-version=1", "--manifest-path"]).arg(manifest);
    let output =
        command.output().map_err(|error| BuildError::Cargo(format!("cannot start cargo: {error}")))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(BuildError::Cargo(format!("cargo does not accept {}: {message}", manifest.display())));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| BuildError::Cargo(format!("cargo metadata is not readable: {error}")))
}

/// What one run of cargo left behind.
#[derive(Clone, Debug)]
struct Run {
    success: bool,
    /// Manifest and binary of each crate that has one.
    binaries: Vec<(PathBuf, PathBuf)>,
}

impl Run {
    fn binary_of(&self, package: &Package) -> Built {
        match self.binaries.iter().find(|(manifest, _)| *manifest == package.manifest) {
            Some((_, binary)) => Ok(binary.clone()),
            None if self.success => Err(BuildError::NoModule),
            None => Err(BuildError::Compile),
        }
    }
}

fn run_cargo(target: &str, workspace: &Path, packages: &[Package]) -> Result<Run, BuildError> {
    let output = cargo_build(target, workspace, packages)
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| BuildError::Cargo(format!("cannot start cargo: {error}")))?;
    let messages = output
        .stdout
        .split(|&byte| byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let binaries = messages.filter_map(|message| binary_in(&message)).collect();
    Ok(Run { success: output.status.success(), binaries })
}

/// The command that builds packages of one workspace.
fn cargo_build(target: &str, workspace: &Path, packages: &[Package]) -> Command {
    let mut command = Command::new(cargo());
    command.current_dir(workspace).arg("build").args(["--profile", PROFILE, "--target", target]);
    command.arg("--keep-going");
    let own_flags = format!("CARGO_TARGET_{}_RUSTFLAGS", target.to_uppercase().replace('-', "_"));
    if [RUSTFLAGS_VARIABLES.as_slice(), &[&own_flags]]
        .concat()
        .iter()
        .all(|name| std::env::var_os(name).is_none())
    {
        let flags = if target == MODULE { vec![STACK, HEAP] } else { vec![STACK] };
        command.arg("--config").arg(format!("target.{target}.rustflags={flags:?}"));
    }
    // Without routes, what whoever runs this has set stays.
    let routed = packages.iter().filter(|package| !package.routes.is_empty());
    command.envs(routed.map(|package| (package.routes_variable(), &package.routes)));
    if !defines_profile(workspace) {
        command.args(PROFILE_SETTINGS.iter().flat_map(|setting| ["--config", setting]));
    }
    command.args(packages.iter().flat_map(|package| ["-p", &package.name]));
    command
}

/// The manifest and the binary of a crate, if this message of cargo is about one that was built.
fn binary_in(message: &Value) -> Option<(PathBuf, PathBuf)> {
    if message["reason"] != "compiler-artifact" {
        return None;
    }
    let mut files = message["filenames"].as_array()?.iter().filter_map(Value::as_str).map(Path::new);
    let binary = files.find(|file| file.extension() == Some(OsStr::new("wasm")))?.to_owned();
    let manifest = Path::new(message["manifest_path"].as_str()?).canonicalize().ok()?;
    Some((manifest, binary))
}

fn defines_profile(workspace: &Path) -> bool {
    let manifest = std::fs::read_to_string(workspace.join("Cargo.toml")).unwrap_or_default();
    let manifest = manifest.parse::<toml::Table>().unwrap_or_default();
    manifest.get("profile").and_then(|profiles| profiles.get(PROFILE)).is_some()
}

/// Adds the target when the toolchain that this workspace uses has no standard library for it.
fn ensure_target(target: &'static str, workspace: &Path) -> Result<(), BuildError> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let printed = Command::new(rustc)
        .current_dir(workspace)
        .args(["--print", "target-libdir", "--target", target])
        .output();
    let printed = printed.map_err(|error| BuildError::Cargo(format!("cannot start rustc: {error}")))?;
    let libdir = PathBuf::from(String::from_utf8_lossy(&printed.stdout).trim());
    if printed.status.success() && libdir.is_dir() {
        return Ok(());
    }
    let notice = format!("wasmux: the Rust target {target} is missing; running `rustup target add {target}`");
    let _ = writeln!(std::io::stderr(), "{notice}");
    let rustup = Command::new("rustup")
        .current_dir(workspace)
        .args(["target", "add", target])
        .stdout(Stdio::null())
        .status();
    let why = match rustup {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => format!("rustup ended with {status}"),
        Err(error) => format!("rustup could not be started: {error}"),
    };
    Err(BuildError::TargetMissing { target, why })
}

/// The cargo that runs us, if one does: `cargo run` and `cargo test` name themselves.
fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
