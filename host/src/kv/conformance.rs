//! What every backend does. Runs on the embedded one, and on the Redis that `WASMUX_TEST_REDIS` names, if it does.

use std::time::{Duration, Instant};

use super::*;

/// Stores of each kind, empty, with these limits, and what keeps them.
fn stores(limits: Limits) -> Vec<(Store, Option<tempfile::TempDir>)> {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Embedded::new(folder.path().join("kv/test.redb"));
    let mut stores = vec![(Store::new(Backend::Embedded(Arc::new(embedded)), limits), Some(folder))];
    let url = std::env::var("WASMUX_TEST_REDIS");
    if let Ok(url) = url {
        let redis = Redis::new(&url).unwrap();
        stores.push((Store::new(Backend::Redis(Arc::new(redis)), limits), None));
    }
    stores
}

/// Runs a check on each backend, with all keys behind a prefix that no other check has.
fn on_each<F: Future<Output = ()>>(check: impl Fn(Grant) -> F) {
    on_each_with(Limits::default(), |store| check(Grant::new(store, unique(), false)));
}

fn on_each_with<F: Future<Output = ()>>(limits: Limits, check: impl Fn(Store) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for (store, _folder) in stores(limits) {
        runtime.block_on(check(store));
    }
}

fn unique() -> String {
    format!("test-{:016x}:", rand::random::<u64>())
}

async fn all_keys(grant: &Grant, prefix: &str, keys_max: usize) -> Vec<String> {
    let (mut keys, mut cursor) = (Vec::new(), None);
    loop {
        let page = grant.list(prefix, cursor.as_deref(), keys_max).await.unwrap();
        keys.extend(page.keys);
        cursor = page.cursor;
        if cursor.is_none() {
            keys.sort();
            keys.dedup();
            return keys;
        }
    }
}

fn some(text: &str) -> Option<Vec<u8>> {
    Some(text.as_bytes().to_vec())
}

#[test]
fn values_are_kept_replaced_and_deleted() {
    on_each(async |grant| {
        assert_eq!(grant.get("a").await, Ok(None));
        assert_eq!(grant.exists("a").await, Ok(false));
        assert_eq!(grant.delete("a").await, Ok(false));
        grant.set("a", b"one", None).await.unwrap();
        grant.set("b", b"", None).await.unwrap();
        grant.set("\u{e9}/\n \u{1f980}", &[0, 255, 10], None).await.unwrap();
        assert_eq!(grant.get("a").await, Ok(some("one")));
        assert_eq!(grant.get("b").await, Ok(some("")), "an empty value is a value");
        assert_eq!(grant.get("\u{e9}/\n \u{1f980}").await, Ok(Some(vec![0, 255, 10])));
        grant.set("a", b"two", None).await.unwrap();
        assert_eq!(grant.get("a").await, Ok(some("two")));
        assert_eq!((grant.delete("a").await, grant.exists("a").await), (Ok(true), Ok(false)));
        assert_eq!(grant.exists("b").await, Ok(true));
    });
}

#[test]
fn numbers_are_text_of_64_bits() {
    on_each(async |grant| {
        assert_eq!(grant.increment("n", 5).await, Ok(5));
        assert_eq!(grant.increment("n", -7).await, Ok(-2));
        assert_eq!(grant.get("n").await, Ok(some("-2")));
        assert_eq!(grant.increment("n", 0).await, Ok(-2));
        for bad in ["", "x", "1.5", "01", "+1", " 1", "9223372036854775808", "-"] {
            grant.set("n", bad.as_bytes(), None).await.unwrap();
            assert_eq!(grant.increment("n", 1).await, Err(Error::Number), "{bad:?}");
            assert_eq!(grant.get("n").await, Ok(some(bad)));
        }
        grant.set("n", i64::MAX.to_string().as_bytes(), None).await.unwrap();
        assert_eq!(grant.increment("n", 1).await, Err(Error::Number));
        assert_eq!(grant.increment("n", -1).await, Ok(i64::MAX - 1));
        assert_eq!(grant.increment("min", i64::MIN).await, Ok(i64::MIN));
        assert_eq!(grant.increment("min", -1).await, Err(Error::Number));
        assert_eq!(grant.increment_unsigned("min", 1).await, Err(Error::Number));
        assert_eq!(grant.get("min").await, Ok(some(&i64::MIN.to_string())), "it has not changed");
        assert_eq!(grant.increment_unsigned("u", i64::MAX as u64 - 1).await, Ok(i64::MAX as u64 - 1));
        assert_eq!(grant.increment_unsigned("u", 1).await, Ok(i64::MAX as u64));
        assert_eq!(grant.increment_unsigned("u", 1).await, Err(Error::Number));
        assert_eq!(grant.increment_unsigned("v", u64::MAX).await, Err(Error::Number));
    });
}

#[test]
fn a_swap_needs_what_it_expects() {
    on_each(async |grant| {
        assert_eq!(grant.swap("a", Some(b""), b"x", None).await, Ok(false), "no value is no empty value");
        assert_eq!(grant.swap("a", None, b"", None).await, Ok(true));
        assert_eq!(grant.swap("a", None, b"x", None).await, Ok(false));
        assert_eq!(grant.swap("a", Some(b"x"), b"y", None).await, Ok(false));
        assert_eq!(grant.swap("a", Some(b""), b"y", None).await, Ok(true));
        assert_eq!(grant.get("a").await, Ok(some("y")));
    });
}

#[test]
fn of_many_swaps_one_is_made_at_a_time() {
    on_each(async |grant| {
        let count = |grant: Grant| async move {
            for _ in 0..10 {
                loop {
                    let old = grant.get("n").await.unwrap();
                    let number =
                        old.as_deref().map_or(0, |old| str::from_utf8(old).unwrap().parse::<u32>().unwrap());
                    let new = (number + 1).to_string();
                    if grant.swap("n", old.as_deref(), new.as_bytes(), None).await.unwrap() {
                        break;
                    }
                }
            }
        };
        let tasks: Vec<_> = (0..8).map(|_| tokio::spawn(count(grant.clone()))).collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(grant.get("n").await, Ok(some("80")));
    });
}

#[test]
fn what_has_expired_is_not_there() {
    on_each(async |grant| {
        const SHORT: Option<Duration> = Some(Duration::from_millis(60));
        let hour = Some(Duration::from_secs(3600));
        grant.set("long", b"x", hour).await.unwrap();
        grant.set("number", b"1", hour).await.unwrap();
        grant.increment("number", 1).await.unwrap();
        let begun = Instant::now();
        grant.set("short", b"x", SHORT).await.unwrap();
        assert_eq!(grant.swap("swapped", None, b"x", SHORT).await, Ok(true));
        grant.set("replaced", b"x", SHORT).await.unwrap();
        grant.set("replaced", b"y", None).await.unwrap();
        while grant.exists("short").await.unwrap() || grant.exists("swapped").await.unwrap() {
            assert!(begun.elapsed() < Duration::from_secs(30), "it does not expire");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(begun.elapsed() >= Duration::from_millis(60), "too early: {:?}", begun.elapsed());
        assert_eq!(all_keys(&grant, "", 10).await, ["long", "number", "replaced"]);
        assert_eq!(grant.get("short").await, Ok(None));
        assert_eq!(grant.delete("short").await, Ok(false));
        assert_eq!(grant.increment("short", 1).await, Ok(1));
        assert_eq!(grant.swap("swapped", None, b"again", None).await, Ok(true));
        assert_eq!(grant.get("number").await, Ok(some("2")));
    });
}

#[test]
fn lists_come_in_pages_and_by_prefix() {
    on_each(async |grant| {
        let mut wanted: Vec<String> = (0..250).map(|n| format!("user:{n:03}")).collect();
        let entries: Vec<_> = wanted.iter().map(|key| (key.clone(), b"x".to_vec())).collect();
        grant.set_many(&entries).await.unwrap();
        grant.set("user", b"x", None).await.unwrap();
        grant.set("users*", b"x", None).await.unwrap();
        assert_eq!(all_keys(&grant, "user:", 100).await, wanted);
        assert_eq!(all_keys(&grant, "users*", 100).await, ["users*"]);
        assert_eq!(all_keys(&grant, "us*", 100).await, Vec::<String>::new());
        assert_eq!(all_keys(&grant, "user:24", 3).await, wanted[240..]);
        assert_eq!(grant.list("", Some("no cursor"), 1).await, Err(Error::Cursor));
        assert_eq!(all_keys(&grant, "user", 1).await.len(), 252, "a key can be all prefix");
        wanted.insert(0, "user".to_owned());
        wanted.push("users*".to_owned());
        assert_eq!(all_keys(&grant, "", 1_000_000).await, wanted);
    });
}

#[test]
fn batches_answer_in_order_and_have_limits() {
    on_each(async |grant| {
        let keys = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        grant.set_many(&[("a".into(), b"1".to_vec()), ("b".into(), b"2".to_vec())]).await.unwrap();
        let got = grant.get_many(&keys(&["b", "none", "a"])).await;
        assert_eq!(got, Ok(vec![some("2"), None, some("1")]));
        grant.delete_many(&keys(&["a", "none"])).await.unwrap();
        assert_eq!(grant.get_many(&keys(&["a", "b"])).await, Ok(vec![None, some("2")]));
        let many: Vec<_> = (0..=BATCH_KEYS_MAX).map(|n| n.to_string()).collect();
        assert_eq!(grant.get_many(&many).await, Err(Error::Batch));
        assert_eq!(grant.delete_many(&many).await, Err(Error::Batch));
        let large: Vec<_> = (0..17).map(|n| (n.to_string(), vec![0; 1 << 20])).collect();
        assert_eq!(grant.set_many(&large).await, Err(Error::Batch));
        assert_eq!(grant.exists("0").await, Ok(false), "a batch that is refused changes nothing");
        for half in large.chunks(9) {
            grant.set_many(half).await.unwrap();
        }
        let all: Vec<_> = large.iter().map(|(key, _)| key.clone()).collect();
        assert_eq!(grant.get_many(&all).await, Err(Error::Batch), "nor is more than that given");
        grant.delete_many(&all).await.unwrap();
    });
}

#[test]
fn keys_and_values_have_limits() {
    let limits = Limits { value_bytes_max: 100, ..Limits::default() };
    on_each_with(limits, async |store| {
        let prefix = unique();
        let grant = Grant::new(store.clone(), prefix.clone(), false);
        let room = KEY_BYTES_MAX - unique().len();
        let longest = "k".repeat(room);
        grant.set(&longest, b"x", None).await.unwrap();
        assert_eq!(grant.get(&longest).await, Ok(some("x")));
        let too_long = "k".repeat(room + 1);
        assert_eq!(grant.set(&too_long, b"x", None).await, Err(Error::Key(KEY_BYTES_MAX + 1)));
        assert_eq!(grant.get("").await, Err(Error::Key(0)));
        assert_eq!(grant.set("a", &[0; 101], None).await, Err(Error::Value { bytes: 101, max: 100 }));
        assert_eq!(grant.swap("a", None, &[0; 101], None).await, Err(Error::Value { bytes: 101, max: 100 }));
        grant.set("a", &[0; 100], None).await.unwrap();
        // One that others have put there is not read as a whole.
        let others = Store::new(store.backend.clone(), Limits::default());
        Grant::new(others, prefix, false).set("a", &[0; 5000], None).await.unwrap();
        assert!(matches!(grant.get("a").await, Err(Error::Value { max: 100, .. })));
    });
}

/// Of a Redis that is full, its `maxmemory` decides.
#[test]
fn what_has_expired_makes_room_in_a_full_file() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { store_bytes_max: 1 << 20, ..Limits::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let file = Embedded::new(folder.path().join("test.redb"));
        let grant = Grant::new(Store::new(Backend::Embedded(Arc::new(file)), limits), "", false);
        let large = vec![b'x'; 600 << 10];
        grant.set("a", &large, Some(Duration::from_millis(200))).await.unwrap();
        let begun = Instant::now();
        let refused = grant.set("b", &large, None).await;
        if begun.elapsed() < Duration::from_millis(100) {
            assert_eq!(refused, Err(Error::Full(1 << 20)));
        }
        while grant.exists("a").await.unwrap() {
            assert!(begun.elapsed() < Duration::from_secs(30), "it does not expire");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        grant.set("b", &large, None).await.unwrap();
        assert_eq!(grant.set("c", &large, None).await, Err(Error::Full(1 << 20)));
        grant.set("b", b"small", None).await.unwrap();
        grant.set("c", &large, None).await.unwrap();
        assert_eq!(grant.get("c").await, Ok(Some(large)), "what is replaced or deleted takes no room");
    });
}

#[test]
fn a_grant_is_a_wall() {
    on_each_with(Limits::default(), async |store| {
        let base = unique();
        let grant = |prefix: &str, reads: bool| Grant::new(store.clone(), format!("{base}{prefix}"), reads);
        let (api, web, all) = (grant("api:", false), grant("web:", false), grant("", true));
        api.set("a", b"of api", None).await.unwrap();
        web.set("a", b"of web", None).await.unwrap();
        web.set("b", b"x", None).await.unwrap();
        assert_eq!((api.get("a").await, web.get("a").await), (Ok(some("of api")), Ok(some("of web"))));
        assert_eq!(all_keys(&api, "", 10).await, ["a"]);
        assert_eq!(all_keys(&web, "", 10).await, ["a", "b"]);
        assert_eq!(all_keys(&all, "", 10).await, ["api:a", "web:a", "web:b"]);
        assert_eq!(all.get("web:a").await, Ok(some("of web")));
        assert_eq!(all.set("x", b"", None).await, Err(Error::ReadOnly));
        assert_eq!(all.delete("api:a").await, Err(Error::ReadOnly));
        assert_eq!(all.increment("x", 1).await, Err(Error::ReadOnly));
        assert_eq!(all.swap("x", None, b"", None).await, Err(Error::ReadOnly));
        assert_eq!(all.set_many(&[("x".into(), Vec::new())]).await, Err(Error::ReadOnly));
        assert_eq!(all.delete_many(&["api:a".into()]).await, Err(Error::ReadOnly));
        assert_eq!(api.exists("a").await, Ok(true));
    });
}
