//! House rules that a machine can check: directions of imports, sizes, words, and what the README must name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use self::rules::{ABIS, ABOVE_GUESTS, FORBIDDEN, HTTP1, PURE};
use crate::support::guests::root;

mod rules;

const LINES_MAX: usize = 400;

/// Every file of the repository that git has or would have.
fn files() -> Vec<PathBuf> {
    let mut git = Command::new("git");
    git.current_dir(root()).args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let listed = git.output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout).unwrap();
    let files: Vec<_> =
        listed.lines().map(PathBuf::from).filter(|file| root().join(file).is_file()).collect();
    assert!(files.len() > 100, "only {} files", files.len());
    files
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(root().join(file)).unwrap()
}

fn rust_files() -> impl Iterator<Item = (PathBuf, String)> {
    let rust = files().into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs"));
    rust.map(|file| {
        let text = read(&file);
        (file, text)
    })
}

/// The code of a file: without comments, and without the tests at its end.
fn code(text: &str) -> String {
    let code = text.split("\n#[cfg(test)]").next().unwrap();
    let lines = code.lines().map(|line| line.split("//").next().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

/// Files of `host/src` with their top module: `guest` for `guest/abi/x.rs`.
fn host_files() -> impl Iterator<Item = (String, PathBuf, String)> {
    rust_files().filter_map(|(file, text)| {
        let inside = file.strip_prefix("host/src").ok()?;
        let top = inside.components().next()?.as_os_str().to_str()?.trim_end_matches(".rs").to_owned();
        Some((top, file.clone(), code(&text)))
    })
}

#[test]
fn imports_point_one_way() {
    let mut failures = Vec::new();
    let mut tops = BTreeSet::new();
    for (top, file, code) in host_files() {
        tops.insert(top.clone());
        let rules = FORBIDDEN.iter().filter(|(module, _)| *module == top);
        for name in rules.flat_map(|(_, names)| names.concat()) {
            let mentions = |line: &&str| {
                line.split("crate::").skip(1).any(|rest| {
                    rest.strip_prefix(name)
                        .is_some_and(|after| !after.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
                })
            };
            failures.extend(
                code.lines().filter(mentions).map(|line| format!("{}: {}", file.display(), line.trim())),
            );
        }
    }
    assert!(failures.is_empty(), "forbidden imports:\n{}", failures.join("\n"));
    for (module, _) in FORBIDDEN {
        assert!(tops.contains(module), "there is no module {module} any more; adapt the rules");
    }
}

/// What comes first in a path behind all its `super::`.
fn relative_names(code: &str) -> impl Iterator<Item = &str> {
    let paths = code.split("use super::").skip(1);
    paths.map(|path| path.trim_start_matches("super::").split([':', ';', ' ']).next().unwrap())
}

#[test]
fn abis_are_siblings_on_common_ground() {
    let mut failures = Vec::new();
    for (_, file, code) in host_files() {
        let Ok(inside) = file.strip_prefix("host/src/guest") else { continue };
        let inside = inside.with_extension("");
        let mut parts = inside.components().map(|part| part.as_os_str().to_str().unwrap());
        let forbidden: Vec<&str> = match parts.next() {
            Some("abi") => {
                let own = parts.next();
                own.map_or(vec![], |own| ABIS.into_iter().filter(|abi| *abi != own).collect())
            }
            Some(module) if ABOVE_GUESTS.contains(&module) => continue,
            _ => ABOVE_GUESTS.iter().filter(|module| **module != "engine").copied().collect(),
        };
        let found = relative_names(&code).filter(|name| forbidden.contains(name));
        failures.extend(found.map(|name| format!("{}: super::{name}", file.display())));
    }
    assert!(failures.is_empty(), "forbidden imports:\n{}", failures.join("\n"));
}

#[test]
fn the_halves_of_a_connection_meet_in_its_loop() {
    let mut failures = Vec::new();
    for (_, file, code) in host_files() {
        let Ok(inside) = file.strip_prefix("host/src") else { continue };
        let module = inside.with_extension("");
        if PURE.iter().any(|pure| module == Path::new(pure)) {
            let impure = ["tokio::", "std::io", "std::time", "hyper::"].into_iter();
            failures.extend(
                impure.filter(|word| code.contains(word)).map(|word| format!("{}: {word}", file.display())),
            );
        }
        let Ok(name) = module.strip_prefix("connection/http1") else { continue };
        if name == Path::new("") || name.components().count() > 1 {
            continue;
        }
        let Some((_, known)) = HTTP1.iter().find(|(known, _)| name == Path::new(known)) else {
            failures.push(format!("{}: no rule says what it may know", file.display()));
            continue;
        };
        let unknown = code.split("use super::").skip(1).filter_map(|used| {
            let sibling = used.split([':', ';']).next().unwrap();
            (!known.contains(&sibling)).then(|| format!("{}: super::{sibling}", file.display()))
        });
        failures.extend(unknown);
    }
    assert!(failures.is_empty(), "forbidden imports:\n{}", failures.join("\n"));
}

/// Only some files may say some things.
#[test]
fn words_have_their_place() {
    let only = [
        ("wasmtime::Config", &["host/src/guest/engine.rs"][..]),
        ("Config::new()", &["host/src/guest/engine.rs"]),
        (
            "StatusCode::INTERNAL_SERVER_ERROR",
            &["host/src/rescue.rs", "host/src/admin/api.rs", "host/src/admin/profiles.rs"],
        ),
        ("StatusCode::GATEWAY_TIMEOUT", &["host/src/rescue.rs"]),
        ("StatusCode::SERVICE_UNAVAILABLE", &["host/src/rescue.rs", "host/src/admin/api.rs"]),
        (
            "StatusCode::BAD_REQUEST",
            &["host/src/rescue.rs", "host/src/admin/api.rs", "host/src/admin/profiles.rs"],
        ),
        ("StatusCode::PAYLOAD_TOO_LARGE", &["host/src/rescue.rs", "host/src/admin/api.rs"]),
        (
            "unsafe {",
            &[
                "host/src/guest/cache.rs",
                "host/src/guest/images.rs",
                "host/src/guest/pages.rs",
                "host/src/main.rs",
                "host/src/profile/signal.rs",
            ],
        ),
        (
            "println!",
            &["host/src/main.rs", "host/src/builder.rs", "host/src/cli.rs", "host/src/cli/invoke.rs"],
        ),
    ];
    let mut failures = Vec::new();
    for (_, file, code) in host_files() {
        for (word, places) in only {
            if code.contains(word) && !places.iter().any(|place| file == Path::new(place)) {
                failures.push(format!("{}: {word}", file.display()));
            }
        }
        if !file.starts_with("host/src/guest") && !file.starts_with("host/src/handler") {
            let bad =
                code.lines().filter(|line| line.contains("wasmtime::") || line.contains("abi::serve_http"));
            failures.extend(bad.map(|line| format!("{}: {}", file.display(), line.trim())));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn host_and_sdk_meet_in_the_abi_only() {
    let dependencies = |manifest: &str| {
        let manifest: toml::Table = read(Path::new(manifest)).parse().unwrap();
        let names = ["dependencies", "dev-dependencies", "build-dependencies"].into_iter();
        let tables = names.filter_map(|name| manifest.get(name)?.as_table().cloned());
        tables.flat_map(|table| table.into_iter().map(|(name, _)| name)).collect::<Vec<_>>()
    };
    let host = dependencies("host/Cargo.toml");
    assert!(host.iter().all(|name| !name.starts_with("wasmux-sdk")), "{host:?}");
    let sdk = dependencies("guest-sdk/Cargo.toml");
    assert!(!sdk.contains(&"wasmux".to_owned()) && sdk.contains(&"wasmux-abi".to_owned()), "{sdk:?}");
    assert_eq!(dependencies("guest-sdk/abi/Cargo.toml"), Vec::<String>::new());
    let mux: toml::Table = read(Path::new("host/mux/Cargo.toml")).parse().unwrap();
    assert!(
        mux.get("dependencies").is_none_or(|table| table.as_table().unwrap().is_empty()),
        "the mux is pure"
    );
}

#[test]
fn files_are_short_and_begin_with_what_they_are() {
    let mut failures = Vec::new();
    for (file, text) in rust_files() {
        let lines = text.lines().count();
        if lines > LINES_MAX {
            failures.push(format!("{}: {lines} lines", file.display()));
        }
        if file.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs") {
            continue; // named after what they test
        }
        let first = text.lines().find(|line| !line.starts_with("#![no_main]") && !line.is_empty());
        if !first.is_some_and(|line| line.starts_with("//!")) {
            failures.push(format!("{}: no `//!` at its top", file.display()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn nothing_is_left_undone() {
    let banned = ["todo!(", "unimplemented!(", "#[ignore", "dbg!(", "FIXME"];
    let mut failures = Vec::new();
    for file in files() {
        if file == Path::new("tests/tidy.rs") || file.extension().is_some_and(|extension| extension == "lock")
        {
            continue;
        }
        // What is no text has no words.
        let Ok(text) = std::fs::read_to_string(root().join(&file)) else { continue };
        let found = banned.iter().filter(|word| text.contains(**word));
        failures.extend(found.map(|word| format!("{}: {word}", file.display())));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn nothing_that_is_built_is_kept() {
    let built = |file: &PathBuf| {
        let extension = file.extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("wasm" | "cwasm" | "rlib" | "so" | "pyc"))
    };
    let found: Vec<_> = files().into_iter().filter(built).collect();
    assert!(found.is_empty(), "{found:?}");
}

/// The README is the reference of routes.toml: every key that is read is named in it, in a table.
#[test]
fn the_readme_names_every_key() {
    let readme = read(Path::new("README.md"));
    let mut keys = BTreeSet::new();
    for (top, _, code) in host_files() {
        if top != "config" {
            continue;
        }
        // Readers ask for keys by name: table.size("memory", …).
        let joined = code.split_whitespace().collect::<Vec<_>>().join("");
        for reader in [
            "string",
            "strings",
            "table",
            "string_map",
            "integer",
            "duration",
            "size",
            "choice",
            "clock",
            "tables",
            "count",
        ] {
            for call in joined.split(&format!("{reader}(\"")).skip(1) {
                keys.insert(call.split('"').next().unwrap().to_owned());
            }
        }
    }
    assert!(keys.len() > 20, "{keys:?}");
    for key in &keys {
        let named = readme.contains(&format!("`{key}`")) || readme.contains(&format!("{{ {key} = "));
        let is_table = readme.contains(&format!("`[{key}]`")) || readme.contains(&format!("`[{key}.NAME]`"));
        assert!(named || is_table, "the README's reference lacks `{key}`");
    }
}

/// Its commands are tested as they stand.
#[test]
fn the_readme_says_how_to_test() {
    let readme = read(Path::new("README.md"));
    assert!(readme.contains("cargo test --workspace"));
    for name in ["hello", "time", "users", "notes", "events", "echo", "upload"] {
        assert!(readme.contains(&format!("localhost:8080/{name}")), "no command for {name}");
    }
}
