//! What to compare with, if it is on this machine: on the path, or in the cache of the second suite (`tests/peers`).

use std::path::PathBuf;

/// The folder with `go.wasm` and `go-native`, if `tests/peers/guests/build go` has made it.
pub(crate) fn go() -> Option<PathBuf> {
    in_cache("go-guests-", "go.wasm").and_then(|file| Some(file.parent()?.to_owned()))
}

/// A `wasmtime` on the path, or the one that the second suite has built.
pub(crate) fn wasmtime() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut programs = std::env::split_paths(&path).map(|folder| folder.join("wasmtime"));
    programs.find(|program| program.is_file()).or_else(|| in_cache("wasmtime-", "bin/wasmtime"))
}

/// The newest folder with this beginning that has the file.
fn in_cache(beginning: &str, file: &str) -> Option<PathBuf> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)?.join("wasmux-peers");
    let folders = std::fs::read_dir(cache).ok()?.filter_map(Result::ok);
    let folders = folders.filter(|folder| folder.file_name().to_string_lossy().starts_with(beginning));
    let files = folders.map(|folder| folder.path().join(file)).filter(|file| file.is_file());
    files.max_by_key(|file| file.metadata().and_then(|data| data.modified()).ok())
}
