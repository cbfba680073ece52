use super::*;

fn record(history: &History, text: &str, module: &[u8]) -> Record {
    Record {
        number: 0,
        time: Record::now(),
        origin: Origin::Start,
        routes: history.keep(text.as_bytes(), "toml").unwrap(),
        file_sha256: digest_of(text.as_bytes()),
        modules: [("hello".to_owned(), history.keep(module, "wasm").unwrap())].into(),
        canary: None,
        pushed: false,
    }
}

#[test]
fn what_is_appended_is_in_force_and_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path(), 3).unwrap();
    assert_eq!((history.current().unwrap(), history.numbers().unwrap().len()), (None, 0));
    let first = history.append(record(&history, "a", b"one")).unwrap();
    let second = history.append(record(&history, "b", b"two")).unwrap();
    assert_eq!((first.number, second.number), (1, 2));
    assert!(!first.is_same(&second) && first.is_same(&first.clone()));
    let again = History::open(folder.path(), 3).unwrap();
    assert_eq!(again.current().unwrap(), Some(2));
    let found = again.record(2).unwrap().unwrap();
    assert_eq!(found, second);
    assert_eq!(again.text(&found).unwrap(), "b");
    assert_eq!(fs::read(again.path(&found.modules["hello"])).unwrap(), b"two");
    assert_eq!(again.record(7).unwrap(), None);
}

#[test]
fn the_latest_are_kept_with_what_they_name() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path(), 2).unwrap();
    let kept: Vec<_> = (0..5_u8)
        .map(|count| history.append(record(&history, &count.to_string(), &[count])).unwrap())
        .collect();
    assert_eq!(history.numbers().unwrap(), BTreeSet::from([3, 4, 5]));
    let age = |module: &Module| {
        let file = File::open(history.path(module)).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    };
    kept.iter().flat_map(Record::artifacts).for_each(age);
    let history = History::open(folder.path(), 2).unwrap();
    let is_there = |record: &Record| record.artifacts().all(|module| history.path(module).exists());
    assert_eq!(kept.iter().map(is_there).collect::<Vec<_>>(), [false, false, true, true, true]);
    // Numbers are never used twice.
    fs::remove_file(history.record_file(5)).unwrap();
    assert_eq!(history.append(record(&history, "x", b"x")).unwrap().number, 6);
}

#[test]
fn what_never_ends_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path(), 2).unwrap();
    let error = history.keep_file(Path::new("/dev/zero"), "wasm").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert_eq!(history.keep_file(&pipe, "wasm").unwrap_err().kind(), ErrorKind::InvalidInput);
    let large = folder.path().join("large");
    File::create(&large).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
    assert_eq!(history.keep_file(&large, "wasm").unwrap_err().kind(), ErrorKind::FileTooLarge);
}

#[test]
fn what_is_kept_is_what_its_digest_says() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path(), 2).unwrap();
    let module = history.keep(b"one", "wasm").unwrap();
    let path = history.checked(&module).unwrap();
    fs::write(&path, "eno").unwrap();
    assert_eq!(history.checked(&module).unwrap_err().kind(), ErrorKind::InvalidData);
    assert_eq!(history.keep(b"one", "wasm").unwrap(), module, "and is mended");
    history.checked(&module).unwrap();
    // Compiled code is never taken for a module.
    let code = history.keep(b"\x7fELF", "wasm").unwrap();
    assert_eq!(code.form, "cwasm");
    history.checked(&code).unwrap();
    let named = Module { form: "wasm".to_owned(), ..code.clone() };
    fs::copy(history.path(&code), history.path(&named)).unwrap();
    assert_eq!(history.checked(&named).unwrap_err().kind(), ErrorKind::PermissionDenied);
    fs::set_permissions(&history.folder, fs::Permissions::from_mode(0o770)).unwrap();
    assert_eq!(history.checked(&code).unwrap_err().kind(), ErrorKind::PermissionDenied);
    History::open(folder.path(), 2).unwrap();
    history.checked(&code).unwrap();
}

#[test]
fn what_was_refused_is_let_go_unless_it_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path(), 2).unwrap();
    let first = history.append(record(&history, "a", b"one")).unwrap();
    let other = history.keep(b"two", "wasm").unwrap();
    [&other, &first.modules["hello"]].into_iter().for_each(|module| history.let_go(module));
    assert!(!history.path(&other).exists() && history.path(&first.modules["hello"]).exists());
}

#[test]
fn a_process_that_begins_notices_another() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path(), 2).unwrap();
    let first = history.append_after(None, record(&history, "a", b"one")).unwrap();
    history.confirm(first.number).unwrap();
    history.append(record(&history, "b", b"two")).unwrap();
    let kinds = [
        history.append_after(Some(1), record(&history, "c", b"three")).unwrap_err().kind(),
        history.confirm(1).unwrap_err().kind(),
    ];
    assert_eq!(kinds, [ErrorKind::ResourceBusy; 2]);
    assert_eq!((history.current().unwrap(), history.numbers().unwrap().len()), (Some(2), 2));
    history.reinstate(1).unwrap();
    assert_eq!(history.current().unwrap(), Some(1));
}

#[test]
fn while_somebody_serves_nobody_else_changes_anything() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path(), 2).unwrap();
    let both = [history.serve().unwrap(), history.serve().unwrap()];
    assert!(history.serve_nothing().unwrap().is_none());
    drop(both);
    assert!(history.serve_nothing().unwrap().is_some());
}

#[test]
fn what_was_never_in_force_goes() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path(), 5).unwrap();
    let first = history.append(record(&history, "a", b"one")).unwrap();
    // A process ends between the two files.
    fs::copy(history.record_file(1), history.record_file(2)).unwrap();
    assert_eq!(History::open(folder.path(), 5).unwrap().numbers().unwrap(), BTreeSet::from([1]));
    // Or the second cannot be written.
    fs::remove_file(history.folder.join("current")).unwrap();
    fs::create_dir(history.folder.join("current")).unwrap();
    assert!(history.append(first.clone()).is_err());
    assert_eq!(history.numbers().unwrap(), BTreeSet::from([1]));
}

#[test]
fn damage_is_told_apart_from_absence() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(History::look(folder.path()).unwrap_err().kind(), ErrorKind::NotFound);
    let history = History::open(folder.path(), 2).unwrap();
    history.append(record(&history, "a", b"one")).unwrap();
    fs::write(history.record_file(1), "{").unwrap();
    assert_eq!(history.record(1).unwrap_err().kind(), ErrorKind::InvalidData);
    fs::write(folder.path().join("deployments/current"), "x").unwrap();
    assert_eq!(history.current().unwrap_err().kind(), ErrorKind::InvalidData);
    // What only the damaged record names stays, and the next deployment mends the rest.
    let artifacts = || fs::read_dir(history.artifacts()).unwrap().map(|entry| entry.unwrap().path());
    for path in artifacts() {
        File::open(path).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    }
    let history = History::open(folder.path(), 2).unwrap();
    assert_eq!(artifacts().count(), 2);
    assert_eq!(history.append(record(&history, "b", b"two")).unwrap().number, 2);
    assert_eq!(history.current().unwrap(), Some(2));
}

#[test]
fn what_a_later_version_does_can_be_read() {
    let record = serde_json::from_str::<Origin>(r#"{ "by": "magic", "spell": 3 }"#);
    assert_eq!(record.unwrap(), Origin::Other);
}
