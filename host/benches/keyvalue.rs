//! What an embedded key-value store gives a guest: reads and changes per second, through the `serve_http` ABI.
//!
//! Run with: cargo bench --workspace --bench keyvalue
//!
//! A guest reads one of 100,000 keys after the other, 10,000 in each request; then requests that change one key each are
//! sent, one at a time and many at once, to the disk on which the temporary folder is (`TMPDIR` chooses it).

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Request;
use http_body_util::BodyExt as _;
use wasmux::activity::Activity;
use wasmux::guest::cache::CodeCache;
use wasmux::guest::{
    EngineSettings, Grants, Guest, GuestEngine, GuestSettings, Incoming, Limits, Peer, RequestBody, RouteInfo,
};
use wasmux::kv::{Backend, Embedded, Grant, Limits as StoreLimits, Store};
use wasmux::request_id::RequestIds;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: usize = 100_000;
const READS: u32 = 10_000;
const ROUNDS: usize = 5;

/// Reads keys that are 8 digits each, in an order that no cache can foresee: 10,000 of them.
const READS_GUEST: &str = r#"(module
  (import "wasmux:keyvalue/1" "open" (func $open (param i32 i32) (result i32)))
  (import "wasmux:keyvalue/1" "get" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "s")
  (func (export "serve_http") (local $store i32) (local $left i32) (local $number i32)
    (local.set $store (call $open (i32.const 0) (i32.const 1)))
    (local.set $left (i32.const 10000))
    (local.set $number (i32.const 12345))
    (loop $next
      (local.set $number (i32.rem_u (i32.add (i32.mul (local.get $number) (i32.const 21)) (i32.const 7919)) (i32.const 100000)))
      (call $digits (local.get $number))
      (if (i32.ne (call $get (local.get $store) (i32.const 8) (i32.const 8) (i32.const 64) (i32.const 1000)) (i32.const 100))
        (then unreachable))
      (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))
  (func $digits (param $number i32) (local $at i32)
    (local.set $at (i32.const 16))
    (loop $next
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
      (local.set $number (i32.div_u (local.get $number) (i32.const 10)))
      (br_if $next (i32.gt_u (local.get $at) (i32.const 8))))))"#;

/// Counts in one key.
const CHANGES_GUEST: &str = r#"(module
  (import "wasmux:keyvalue/1" "open" (func $open (param i32 i32) (result i32)))
  (import "wasmux:keyvalue/1" "increment" (func $increment (param i32 i32 i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "s")
  (func (export "serve_http")
    (if (call $increment (call $open (i32.const 0) (i32.const 1)) (i32.const 0) (i32.const 1) (i64.const 1) (i32.const 8))
      (then unreachable))))"#;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("threads").block_on(run());
}

async fn run() {
    let folder = tempfile::tempdir().expect("a folder");
    let embedded = Embedded::new(folder.path().join("s.redb"));
    let limits = StoreLimits { timeout: Duration::from_secs(60), ..StoreLimits::default() };
    let store = Grant::new(Store::new(Backend::Embedded(Arc::new(embedded)), limits), "", false);
    for first in (0..KEYS).step_by(1000) {
        let entries: Vec<_> =
            (first..first + 1000).map(|key| (format!("{key:08}"), vec![b'x'; 100])).collect();
        store.set_many(&entries).await.expect("room");
    }
    let engine = GuestEngine::new(EngineSettings::with_instances(1000)).expect("there is address space");
    let reads = guest(&engine, folder.path(), READS_GUEST, &store);
    exchange(&reads).await;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for _ in 0..10 {
            exchange(&reads).await;
        }
        let each = begun.elapsed() / (10 * READS);
        println!("reads from a guest: {:.0} per second ({each:?} each)", 1.0 / each.as_secs_f64());
    }
    let changes = guest(&engine, folder.path(), CHANGES_GUEST, &store);
    for at_once in [1, 8, 64, 256] {
        const EACH: usize = 30;
        let begun = Instant::now();
        let tasks: Vec<_> = (0..at_once)
            .map(|_| {
                let guest = Arc::clone(&changes);
                tokio::spawn(async move {
                    for _ in 0..EACH {
                        exchange(&guest).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic");
        }
        let rate = (at_once * EACH) as f64 / begun.elapsed().as_secs_f64();
        println!("changes, {at_once} at once: {rate:.0} per second");
    }
}

fn guest(engine: &GuestEngine, folder: &Path, wat: &str, store: &Grant) -> Arc<Guest> {
    let file = folder.join("guest.wat");
    std::fs::write(&file, wat).expect("room");
    let limits = Limits { breaker: None, ..Limits::default() };
    let grants = Grants { stores: vec![("s".to_owned(), store.clone())], ..Grants::default() };
    let settings = GuestSettings { name: "bench".to_owned(), limits, grants, ..GuestSettings::default() };
    let guest = Guest::deploy(engine, &file, &CodeCache::off(), settings);
    Arc::new(guest.unwrap_or_else(|error| panic!("{error}")))
}

async fn exchange(guest: &Arc<Guest>) {
    let request = Request::builder().uri("/").header("host", "localhost").body(()).expect("a request");
    let peer = Peer {
        remote: "192.0.2.1:1".to_owned(),
        local: "192.0.2.2:80".to_owned(),
        scheme: "http",
        tls: None,
        guard: None,
        stall: None,
        link: None,
        activity: Activity::new(),
    };
    let incoming = Incoming {
        parts: Box::new(request.into_parts().0),
        authority: "localhost".to_owned(),
        body: RequestBody::full(bytes::Bytes::new()),
        route: Arc::new(RouteInfo { pattern: "/".to_owned(), names: Vec::new(), number: 0 }),
        values: Vec::new(),
        id: RequestIds::new().assign(&http::HeaderMap::new()),
        peer: Arc::new(peer),
        via: None,
        notes: None,
    };
    let response = Arc::clone(guest).serve(incoming).await.expect("a response");
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.expect("a body");
}
