//! Compiled code on disk: made once, found again, replaced when it is damaged, and never needed.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

use crate::support::{Server, Site};

const ROUTES: &str =
    "[server]\ncache = \"cache/here\"\n[handlers.r]\nwasm = \"read.wat\"\n[routes]\n\"/\" = \"r\"\n";

fn entries(server: &Server) -> Vec<PathBuf> {
    let folder = std::fs::read_dir(server.site.path("cache/here")).unwrap();
    let files = folder.map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "cwasm")).collect()
}

/// Serves the same folder again.
fn again(server: &Server) -> Server {
    Site::at(&server.site.path("")).serve()
}

#[test]
fn code_is_compiled_once() {
    let first = Site::new(ROUTES).guest("read").serve();
    let compiled = entries(&first);
    assert_eq!(compiled.len(), 1, "{compiled:?}");
    let folder = std::fs::metadata(first.site.path("cache/here")).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700, "only the owner may write code");
    let inode = std::fs::metadata(&compiled[0]).unwrap().ino();
    let second = again(&first);
    assert_eq!(second.get("/").text(), "read\n");
    assert_eq!(entries(&second), compiled);
    assert_eq!(std::fs::metadata(&compiled[0]).unwrap().ino(), inode, "it was not written again");

    // Other bytes are another entry.
    let source = std::fs::read_to_string(first.site.path("read.wat")).unwrap();
    std::fs::write(first.site.path("read.wat"), source.replace("read\\n", "READ\\n")).unwrap();
    let third = again(&first);
    assert_eq!(third.get("/").text(), "READ\n");
    assert_eq!(entries(&third).len(), 2);
}

#[test]
fn damaged_code_is_replaced() {
    let first = Site::new(ROUTES).guest("read").serve();
    let file = entries(&first).remove(0);
    let whole = std::fs::read(&file).unwrap();
    for damaged in [&whole[..100], &[], b"something else"] {
        // As a crash or a full disk would leave it: never in place, a program may have it mapped.
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, damaged).unwrap();
        let second = again(&first);
        assert_eq!(second.get("/").text(), "read\n");
        second.log.wait_for(&["WARN", "cached code is unusable, compiling again"]);
        assert_eq!(std::fs::read(&file).unwrap().len(), whole.len());
    }
}

#[test]
fn a_cache_that_cannot_be_had_costs_only_time() {
    let blocked = Site::new(ROUTES).guest("read").file("cache", "a file where the folder should be").serve();
    assert_eq!(blocked.get("/").text(), "read\n");
    blocked.log.wait_for(&["WARN", "compiled code could not be cached"]);

    let off = Site::new(&ROUTES.replace("cache/here", "off")).guest("read").serve();
    assert_eq!(off.get("/").text(), "read\n");
    assert!(!off.site.path("off").exists());
}

#[test]
fn compiled_code_can_be_served_itself() {
    let first = Site::new(ROUTES).guest("read").serve();
    let compiled = std::fs::read(entries(&first).remove(0)).unwrap();
    let routes = ROUTES.replace("read.wat", "read.cwasm");
    let server = Site::new(&routes).file("read.cwasm", &compiled).serve();
    assert_eq!(server.get("/").text(), "read\n");

    let output = Site::new(&routes).file("read.cwasm", &compiled[..200]).run(&["check"]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("routes.toml:4: handler `r` (read.cwasm): "), "{message}");
}
