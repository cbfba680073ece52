//! Which files a crate is made of: its own, those of the crates beside it that it names by path, and whatever else the compiler
//! has read for it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Package, cargo_metadata};

/// The most files that a crate is taken to be made of. Beyond it they are not looked at.
const FILES_MAX: usize = 20_000;

/// Files of a workspace that change what is built of all of its crates, beside those of each.
const OF_WORKSPACES: [&str; 6] = [
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
    "rust-toolchain",
    ".cargo/config.toml",
    ".cargo/config",
];

/// Folders of a package that its library is not made of.
const NOT_OF_LIBRARIES: [&str; 3] = ["tests", "benches", "examples"];

/// What a crate is made of.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    packages: Vec<Local>,
    /// Files that were named, by us or by the compiler.
    named: BTreeSet<PathBuf>,
    /// Where cargo writes to.
    targets: BTreeSet<PathBuf>,
}

/// A package on this machine.
#[derive(Clone, Debug)]
struct Local {
    folder: PathBuf,
    /// It has a build script, which may read any of its files.
    has_script: bool,
}

/// Files, and the folders they were found in.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) files: BTreeSet<PathBuf>,
    pub(super) folders: BTreeSet<PathBuf>,
}

impl Sources {
    /// Those of a package. What cargo says of others that it names by path is added to `known`.
    pub(super) fn of(package: &Package, known: &mut Vec<Value>) -> Self {
        let mut sources = Self::default();
        sources.named.extend(OF_WORKSPACES.map(|name| package.workspace.join(name)));
        let mut manifests = vec![package.manifest.clone()];
        while let Some(manifest) = manifests.pop() {
            let Some(folder) = manifest.parent() else { continue };
            if sources.packages.iter().any(|known| known.folder == folder) {
                continue;
            }
            let about = about(&manifest, known).or_else(|| {
                // One that cargo does not accept is a build that fails, which is told then.
                known.push(cargo_metadata(&manifest).ok()?);
                about(&manifest, known)
            });
            let (about, target) = about.unwrap_or_default();
            sources.targets.extend(target.map(plain));
            sources.packages.push(Local { folder: folder.to_owned(), has_script: has_script(&about) });
            manifests.extend(named_by_path(&about));
        }
        sources
    }

    /// All files below a folder of which cargo can make nothing.
    pub(super) fn of_folder(folder: &Path) -> Self {
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        Self { packages: vec![Local { folder, has_script: true }], ..Self::default() }
    }

    /// Adds what the compiler has read, which cargo has written down beside the module.
    pub(super) fn add_read_for(&mut self, module: &Path) {
        let text = fs::read_to_string(module.with_extension("d")).unwrap_or_default();
        let read = dependencies(&text).into_iter().map(plain);
        // What build scripts have written is no source of anybody's.
        let read = read.filter(|file| !self.targets.iter().any(|target| file.starts_with(target)));
        self.named.extend(read.collect::<Vec<_>>());
    }

    /// Whether this manifest is of one of its packages.
    pub(super) fn has_package(&self, manifest: &Path) -> bool {
        manifest.parent().is_some_and(|folder| self.packages.iter().any(|package| package.folder == folder))
    }

    /// What there is of it now. `all`: any file of its packages, since one may be missing that nobody has named.
    pub(super) fn list(&self, all: bool) -> Listed {
        let mut listed = Listed { files: self.named.clone(), folders: BTreeSet::new() };
        for package in &self.packages {
            self.walk(&package.folder, all || package.has_script, &mut listed);
        }
        listed
    }

    fn walk(&self, package: &Path, all: bool, listed: &mut Listed) {
        let mut folders = vec![package.to_owned()];
        while let Some(folder) = folders.pop() {
            // One that is gone has no files.
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let (path, name) = (entry.path(), entry.file_name());
                let name = name.to_string_lossy();
                if name.starts_with('.') || listed.files.len() >= FILES_MAX {
                    continue;
                }
                // Links to folders are not followed: they may lead in circles.
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    let is_other = !all && folder == package && NOT_OF_LIBRARIES.contains(&name.as_ref());
                    if !is_other && !self.is_foreign(&path) {
                        folders.push(path);
                    }
                } else if name == "Cargo.toml" || name.ends_with(".rs") || all && !name.ends_with('~') {
                    listed.files.insert(path);
                }
            }
            listed.folders.insert(folder);
        }
    }

    /// Whether a folder has no files of the package that it is in: cargo's own, and other packages.
    fn is_foreign(&self, folder: &Path) -> bool {
        self.targets.contains(folder)
            || folder.join("CACHEDIR.TAG").exists()
            || folder.join("Cargo.toml").exists()
    }
}

/// What cargo's metadata says of a package, and where it builds it.
fn about(manifest: &Path, known: &[Value]) -> Option<(Value, Option<PathBuf>)> {
    known.iter().find_map(|metadata| {
        let packages = metadata["packages"].as_array()?;
        let is_it = |package: &&Value| {
            let path = package["manifest_path"].as_str().and_then(|path| Path::new(path).canonicalize().ok());
            path.is_some_and(|path| path == manifest)
        };
        let target = metadata["target_directory"].as_str().map(PathBuf::from);
        Some((packages.iter().find(is_it)?.clone(), target))
    })
}

fn has_script(package: &Value) -> bool {
    let targets = package["targets"].as_array().into_iter().flatten();
    let mut kinds = targets.filter_map(|target| target["kind"].as_array()).flatten();
    kinds.any(|kind| kind == "custom-build")
}

/// The manifests of the crates that it names by path, but for its tests.
fn named_by_path(package: &Value) -> Vec<PathBuf> {
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    let needed = dependencies.filter(|dependency| dependency["kind"] != "dev");
    let folders = needed.filter_map(|dependency| dependency["path"].as_str());
    folders.filter_map(|folder| Path::new(folder).join("Cargo.toml").canonicalize().ok()).collect()
}

/// The same path without `..` and links on its way, as far as it exists.
fn plain(file: PathBuf) -> PathBuf {
    let folder = file.parent().and_then(|folder| folder.canonicalize().ok());
    folder.zip(file.file_name()).map_or(file.clone(), |(folder, name)| folder.join(name))
}

/// What stands behind the first colon of a dep-info file: paths between spaces, which in paths have a `\` before them.
fn dependencies(text: &str) -> Vec<PathBuf> {
    let line = text.lines().next().unwrap_or_default();
    let Some((_, list)) = line.split_once(": ") else { return Vec::new() };
    let spaced = list.replace("\\ ", "\0");
    spaced.split_whitespace().map(|path| PathBuf::from(path.replace('\0', " "))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dep_info_is_read() {
        let read = dependencies("/t/hello.wasm: /a/src/lib.rs /b\\ c/x.txt\n\n/a/src/lib.rs:\n");
        assert_eq!(read, [PathBuf::from("/a/src/lib.rs"), PathBuf::from("/b c/x.txt")]);
        assert_eq!(dependencies(""), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_package_is_its_own_files() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for file in [
            "Cargo.toml",
            "src/lib.rs",
            "src/deep/a.rs",
            "src/page.html",
            "src/lib.rs~",
            "tests/t.rs",
            ".git/x.rs",
            "inner/Cargo.toml",
            "inner/src/lib.rs",
            "out/CACHEDIR.TAG",
            "out/gen.rs",
        ] {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), "").unwrap();
        }
        let list = |has_script| {
            let packages = vec![Local { folder: root.clone(), has_script }];
            let listed = Sources { packages, ..Sources::default() }.list(false);
            let files = listed.files.iter().map(|file| file.strip_prefix(&root).unwrap());
            files.map(|file| file.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(list(false), ["Cargo.toml", "src/deep/a.rs", "src/lib.rs"]);
        assert_eq!(list(true), ["Cargo.toml", "src/deep/a.rs", "src/lib.rs", "src/page.html", "tests/t.rs"]);
    }
}
