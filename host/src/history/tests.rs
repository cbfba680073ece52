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
    assert_eq!(history.numbers().unwrap(), BTreeSet::from([4, 5]));
    let age = |module: &Module| {
        let file = File::open(history.path(module)).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    };
    kept.iter().flat_map(Record::artifacts).for_each(age);
    let history = History::open(folder.path(), 2).unwrap();
    let is_there = |record: &Record| record.artifacts().all(|module| history.path(module).exists());
    assert_eq!(kept.iter().map(is_there).collect::<Vec<_>>(), [false, false, false, true, true]);
    // Numbers are never used twice.
    fs::remove_file(history.record_file(5)).unwrap();
    assert_eq!(history.append(record(&history, "x", b"x")).unwrap().number, 6);
}

#[test]
fn what_never_ends_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path(), 2).unwrap();
    let error = history.keep_file(Path::new("/dev/zero"), "wasm").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FileTooLarge);
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
    History::open(folder.path(), 2).unwrap();
}
