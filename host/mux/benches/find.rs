//! How long a lookup among 5,000 patterns takes, and registering them.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use wasmux_mux::{Found, Mux, Request, Target};

/// What an organisation with 250 services might have: 20 patterns for each, REST-like and literal ones.
fn patterns() -> Vec<String> {
    let mut patterns = Vec::new();
    for service in 0..250 {
        let base = format!("/v1/{{org}}/service{service}");
        for method in ["GET", "PUT", "PATCH", "DELETE"] {
            patterns.push(format!("{method} {base}/projects/{{id}}"));
            patterns.push(format!("{method} {base}/projects/{{id}}/members/{{member}}"));
        }
        for collection in ["projects", "projects/{id}/members", "projects/{id}/events"] {
            patterns.push(format!("GET {base}/{collection}"));
            patterns.push(format!("POST {base}/{collection}"));
        }
        patterns.push(format!("GET {base}/projects/{{id}}/files/{{path...}}"));
        patterns.push(format!("/service{service}/healthz"));
        patterns.push(format!("GET /service{service}/about/team/contact"));
        patterns.push(format!("/static/service{service}/"));
        patterns.push(format!("service{service}.example.com/"));
        patterns.push(format!("POST /hooks/service{service}/{{$}}"));
    }
    patterns
}

fn mux(patterns: &[String]) -> Mux<usize> {
    let mut mux = Mux::new();
    for (index, pattern) in patterns.iter().enumerate() {
        mux.insert(pattern, index).expect("no two of them conflict");
    }
    mux
}

fn find(criterion: &mut Criterion) {
    let patterns = patterns();
    assert_eq!(patterns.len(), 5000);
    let mux = mux(&patterns);
    let mut group = criterion.benchmark_group("find");
    let cases = [
        ("literal", "GET", "example.com", "/service137/about/team/contact", "match"),
        ("wildcards", "GET", "example.com", "/v1/acme/service137/projects/42/members/7", "match"),
        ("rest", "GET", "example.com", "/v1/acme/service137/projects/42/files/a/b/c.txt", "match"),
        ("escaped", "GET", "example.com", "/v1/acme%2Finc/service137/projects/42", "match"),
        ("host", "GET", "service137.example.com:443", "/anything/at/all", "match"),
        ("not_found", "GET", "example.com", "/v1/acme/service137/nothing/here", "404"),
        ("not_allowed", "PUT", "example.com", "/v1/acme/service137/projects", "405"),
        ("slash_redirect", "GET", "example.com", "/static/service137", "307"),
        ("clean_redirect", "GET", "example.com", "//service137/healthz", "307"),
    ];
    for (name, method, host, path, expected) in cases {
        let request = Request { method, host, path, query: None };
        let actual = match mux.find(&request) {
            Found::Match(_) => "match",
            Found::Redirect(_) => "307",
            Found::MethodNotAllowed(_) => "405",
            Found::NotFound => "404",
            Found::BadRequest => "400",
        };
        assert_eq!(actual, expected, "{name}");
        group.bench_function(name, |bencher| bencher.iter(|| black_box(mux.find(black_box(&request)))));
    }
    group.finish();
}

fn insert(criterion: &mut Criterion) {
    let patterns = patterns();
    criterion.bench_function("insert/5000", |bencher| bencher.iter(|| mux(black_box(&patterns))));
}

fn target(criterion: &mut Criterion) {
    let target = "/v1/acme/service137/projects/42/members/7?page=2";
    criterion.bench_function("target", |bencher| bencher.iter(|| Target::parse("GET", black_box(target))));
}

criterion_group! {
    name = benches;
    // The differences that matter are large; half a minute for everything is enough.
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = find, insert, target
}
criterion_main!(benches);
