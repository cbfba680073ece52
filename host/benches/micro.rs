//! What one request costs inside the host, without connection and kernel: an instance, its call and its end, on each ABI.
//!
//! Run with: cargo bench -p wasmux --bench micro
//!
//! `fresh` is an instance for this request, made and dropped or put back in place; `warm` is the call alone, on an
//! instance that has served others. Both with the request made by hand and the response read to its end. Lookups are
//! measured by `cargo bench -p wasmux-mux`; parsing requests and writing heads belongs to the connection, and is what
//! `cpu_per_request --only respond` shows, in time or in instructions.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::Request;
use http_body_util::BodyExt as _;
use tokio::runtime::{Builder, Runtime};
use wasmux::activity::Activity;
use wasmux::guest::cache::CodeCache;
use wasmux::guest::{
    EngineSettings, Guest, GuestEngine, GuestSettings, Incoming, Isolation, Limits, Peer, RequestBody, Reuse,
    RouteInfo, Snapshot,
};
use wasmux::request_id::{RequestId, RequestIds};

use self::guests::Guests;

#[path = "cpu_per_request/guests.rs"]
mod guests;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// So that a warm instance lasts.
const WARM: Isolation =
    Isolation::Reuse(Reuse { requests_max: u32::MAX, idle_max: Duration::from_secs(3600) });

/// What every request has in common.
struct Bench {
    runtime: Runtime,
    engine: GuestEngine,
    peer: Arc<Peer>,
    ids: RequestIds,
}

impl Bench {
    fn new() -> Self {
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
        Self {
            runtime: Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a thread"),
            engine: GuestEngine::new(EngineSettings::with_instances(100)).expect("there is address space"),
            peer: Arc::new(peer),
            ids: RequestIds::new(),
        }
    }

    fn guest(&self, wasm: &Path, isolation: Isolation, snapshot: Option<Snapshot>) -> Arc<Guest> {
        let limits = Limits { breaker: None, ..Limits::default() };
        let settings = GuestSettings {
            name: "bench".to_owned(),
            limits,
            isolation,
            snapshot,
            ..GuestSettings::default()
        };
        // Without a cache, its code stays in memory.
        let guest = Guest::deploy(&self.engine, wasm, &CodeCache::off(), settings);
        Arc::new(guest.unwrap_or_else(|error| panic!("{}: {error}", wasm.display())))
    }

    /// Has the guest answer this path again and again.
    fn measure(&self, criterion: &mut Criterion, name: &str, guest: &Arc<Guest>, target: &Target) {
        criterion.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                let (guest, target, peer) = (Arc::clone(guest), target.clone(), Arc::clone(&self.peer));
                let id = self.ids.assign(&http::HeaderMap::new());
                let exchanges = async move {
                    let begun = Instant::now();
                    for _ in 0..count {
                        exchange(&guest, target.incoming(&peer, id.clone())).await;
                    }
                    begun.elapsed()
                };
                self.runtime.block_on(self.runtime.spawn(exchanges)).expect("no panic")
            });
        });
    }
}

/// What is asked for.
#[derive(Clone)]
struct Target {
    path: &'static str,
    route: Arc<RouteInfo>,
    value: &'static str,
    body: Bytes,
}

impl Target {
    fn new(path: &'static str, pattern: &str, name: &str, value: &'static str, body: Bytes) -> Self {
        let names = if name.is_empty() { vec![] } else { vec![name.to_owned()] };
        Self {
            path,
            route: Arc::new(RouteInfo { pattern: pattern.to_owned(), names, number: 0 }),
            value,
            body,
        }
    }

    fn incoming(&self, peer: &Arc<Peer>, id: RequestId) -> Incoming {
        let method = if self.body.is_empty() { http::Method::GET } else { http::Method::POST };
        let request = Request::builder().method(method).uri(self.path).header("host", "localhost").body(());
        Incoming {
            parts: Box::new(request.expect("a request").into_parts().0),
            authority: "localhost".to_owned(),
            body: RequestBody::full(self.body.clone()),
            route: Arc::clone(&self.route),
            values: self.route.names.iter().map(|_| self.value.into()).collect(),
            id,
            peer: Arc::clone(peer),
            via: None,
            notes: None,
        }
    }
}

async fn exchange(guest: &Arc<Guest>, incoming: Incoming) {
    let response = Arc::clone(guest).serve(incoming).await.expect("a response");
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.expect("a body");
    // What a guest does behind its response is part of what it costs.
    tokio::task::yield_now().await;
}

fn abis(criterion: &mut Criterion) {
    let (bench, guests) = (Bench::new(), Guests::build());
    let hello = Target::new("/hello/World", "GET /hello/{name}", "name", "World", Bytes::new());
    let users = Target::new("/users/1", "/users/", "", "", Bytes::new());
    let echo = Target::new("/echo", "/echo", "", "", vec![b'x'; 64 << 10].into());
    for (name, wasm, target) in [
        ("serve_http", &guests.hello, &hello),
        ("0.2", &guests.p2, &hello),
        ("0.3", &guests.p3, &hello),
        ("users", &guests.users, &users),
        ("echo 64 KiB", &guests.echo, &echo),
    ] {
        for (kind, isolation) in [("fresh", Isolation::Request), ("warm", WARM)] {
            let guest = bench.guest(wasm, isolation, None);
            bench.measure(criterion, &format!("{name}/{kind}"), &guest, target);
        }
    }
    let tables = Target::new("/is_prime/1999993", "/is_prime/{what}", "what", "1999993", Bytes::new());
    let guest = bench.guest(&guests.tables, Isolation::Request, Some(Snapshot::default()));
    bench.measure(criterion, "table of 2 MB, snapshot/fresh", &guest, &tables);
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = abis
}
criterion_main!(benches);
