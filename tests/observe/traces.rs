use serde_json::Value;

use super::collector::{Collector, Span};
use super::{MIRROR, site, value, version, wait_for};
use crate::support::Server;
use crate::support::guests::{component, guest_folder};
use crate::support::upstream::{Upstream, ok};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn serve(endpoint: &str, settings: &str, rest: &str) -> Server {
    let routes = format!(
        "[tracing]\nendpoint = \"{endpoint}\"\n{settings}\n[server]\nadmin = \"127.0.0.1:0\"\naccess_log = \"json\"\n\
         [handlers.mirror]\nwasm = \"mirror.wat\"\n[handlers.trap]\nwasm = \"trap.wat\"\n{rest}\n\
         \"/mirror/{{x}}\" = \"mirror\"\n\"/trap\" = \"trap\"\n"
    );
    site(&routes).serve()
}

fn traceparent(flags: &str) -> String {
    format!("traceparent: 00-{TRACE}-{PARENT}-{flags}")
}

/// The span of this name, of which there has to be one.
fn named<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name} in {spans:#?}");
    found[0]
}

/// The `traceparent` that a guest or an upstream has seen.
fn seen(text: &str) -> [String; 4] {
    let at = text.find("00-").unwrap_or_else(|| panic!("no traceparent in {text:?}"));
    let parts: Vec<_> = text[at..at + 55].split('-').map(str::to_owned).collect();
    parts.try_into().unwrap()
}

#[test]
fn a_request_is_a_span_with_its_parts_below() {
    let collector = Collector::start(&[]);
    let settings = "service_name = \"shop\"\nheaders = { x-key = \"open-sesame\" }";
    let server = serve(&collector.url(), settings, "[routes]");
    let head = format!(
        "GET /mirror/1?q=2 HTTP/1.1\r\nHost: shop.test:81\r\n{}\r\ntracestate: a=1,b=2\r\nX-Request-Id: t-1\r\n\
         User-Agent: test/1\r\n\r\n",
        traceparent("01")
    );
    let mut conn = server.connect();
    conn.send(head);
    let response = conn.response();
    let spans = collector.wait(4);
    assert!(
        spans.iter().all(|span| span.trace == TRACE && span.state == "a=1,b=2" && span.service == "shop")
    );
    assert!(spans.iter().all(|span| span.begin <= span.end && span.status == 0), "{spans:#?}");
    let top = named(&spans, "GET /mirror/{x}");
    assert_eq!((top.kind, &*top.parent), (2, PARENT));
    for (key, expected) in [
        ("http.request.method", "GET"),
        ("http.route", "/mirror/{x}"),
        ("http.response.status_code", "200"),
        ("url.scheme", "http"),
        ("url.path", "/mirror/1"),
        ("client.address", "127.0.0.1"),
        ("server.address", "shop.test"),
        ("server.port", "81"),
        ("user_agent.original", "test/1"),
        ("network.protocol.version", "1.1"),
        ("wasmux.handler", "mirror"),
        ("wasmux.version", &version(MIRROR)),
    ] {
        assert_eq!(top.attributes.get(key).map(String::as_str), Some(expected), "{key}");
    }
    for name in ["queue", "instantiate", "guest"] {
        let span = named(&spans, name);
        assert_eq!((span.kind, &span.parent), (1, &top.id), "{name}");
        assert!(top.begin <= span.begin && span.end <= top.end, "{name}: {spans:#?}");
    }
    let text = String::from_utf8_lossy(&response.body).into_owned();
    assert_eq!(seen(&text), ["00", TRACE, &named(&spans, "guest").id, "01"]);
    assert!(text.contains("a=1,b=2"), "{text}");
    let json: Value = serde_json::from_str(&server.out.wait_for(&["\"t-1\""])).unwrap();
    assert_eq!(json["trace_id"], TRACE);
    let line = server.log.wait_for(&["guest:", "a line"]);
    assert!(line.contains(&format!("trace_id=\"{TRACE}\"")), "{line}");
    let head = collector.heads().remove(0);
    assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
    assert!(
        head.contains("content-type: application/x-protobuf\r\n") && head.contains("x-key: open-sesame\r\n")
    );
    assert!(!server.log.all().iter().any(|line| line.contains("open-sesame")));
}

#[test]
fn failures_show() {
    let collector = Collector::start(&[]);
    let server = serve(&collector.url(), "", "[routes]");
    server.request("GET", "/trap", &[&traceparent("01")], b"");
    server.request("GET", "/nothing", &[], b"");
    let spans = collector.wait(5);
    let guest = named(&spans, "guest");
    assert_eq!((guest.status, guest.attributes["error.type"].as_str()), (2, "trapped"));
    let top = named(&spans, "GET /trap");
    assert_eq!((top.status, top.attributes["error.type"].as_str()), (2, "500"));
    // Its trace begins here, and has no route.
    let other = named(&spans, "GET");
    assert_eq!(
        (other.status, &*other.parent, &*other.attributes["http.response.status_code"]),
        (0, "", "404")
    );
    assert!(other.trace != TRACE && other.trace.len() == 32);
}

/// A guest that never ran has no span; what it waited for has failed.
#[test]
fn who_is_turned_away_has_no_guest() {
    let collector = Collector::start(&[]);
    let rest = "[handlers.sleep]\nwasm = \"sleep.wat\"\nlimits = { concurrency = 1, queue_timeout = \"50ms\" }\n\
                [routes]\n\"/{ms}\" = \"sleep\"";
    let server = serve(&collector.url(), "", rest);
    let mut first = server.connect();
    first.request("GET", "/20000", &[&traceparent("00")], b"");
    wait_for(&server, "at work", |page| value(page, "wasmux_guests_running{handler=\"sleep\"}") == Some(1.0));
    let response = server.request("GET", "/1", &[&traceparent("01"), "X-Request-Id: n-1"], b"");
    assert_eq!(response.status, 503);
    let json: Value = serde_json::from_str(&server.out.wait_for(&["\"n-1\""])).unwrap();
    assert!(json["queue_us"].as_u64().unwrap() >= 50_000, "{json}");
    // The request's own comes last.
    let spans = collector.wait(2);
    assert_eq!(spans.len(), 2, "{spans:#?}");
    let queue = named(&spans, "queue");
    assert_eq!((queue.status, queue.attributes["error.type"].as_str()), (2, "queue_timeout"));
    assert_eq!(named(&spans, "GET /{ms}").attributes["error.type"], "503");
}

/// Time without an instance is time in the queue.
#[test]
fn waits_for_instances_are_in_the_log() {
    let routes = "[server]\nadmin = \"127.0.0.1:0\"\naccess_log = \"json\"\ninstances = 1\n[handlers.sleep]\nwasm = \"sleep.wat\"\n\
                  [routes]\n\"/{ms}\" = \"sleep\"\n";
    let server = site(routes).serve();
    let mut first = server.connect();
    first.request("GET", "/20000", &[], b"");
    wait_for(&server, "at work", |page| value(page, "wasmux_guests_running{handler=\"sleep\"}") == Some(1.0));
    let mut second = server.connect();
    second.request("GET", "/1", &["X-Request-Id: m-1"], b"");
    wait_for(&server, "waiting", |page| {
        value(page, "wasmux_requests_waiting{handler=\"sleep\"}") == Some(1.0)
    });
    first.reset();
    assert_eq!(second.response().status, 200);
    let json: Value = serde_json::from_str(&server.out.wait_for(&["\"m-1\""])).unwrap();
    let waited = "wasmux_instance_wait_seconds_total{handler=\"sleep\"}";
    let page = super::page(&server);
    let (seconds, noted) = (value(&page, waited).unwrap(), json["queue_us"].as_f64().unwrap() / 1e6);
    assert!(noted > 0.0 && noted <= seconds, "{json} {seconds}");
}

#[test]
fn calls_to_others_hang_on_their_guest() {
    let (collector, upstream) = (Collector::start(&[]), Upstream::answering(ok));
    let url = upstream.url();
    for (form, wasm) in [("module", guest_folder("caller")), ("component", component("caller"))] {
        let (before, handlers) = (
            collector.wait(0).len(),
            format!(
                "[handlers.caller]\nwasm = {wasm:?}\noutbound = [\"{url}\"]\n[routes]\n\"/call\" = \"caller\"\n\
             \"/proxy/\" = {{ proxy = \"{url}\" }}"
            ),
        );
        let server = serve(&collector.url(), "", &handlers);
        let target = format!("/call?do=get&url={url}/x");
        let text = server.request("GET", &target, &[&traceparent("01")], b"").text();
        let spans = collector.wait(before + 5)[before..].to_vec();
        let call = spans.iter().find(|span| span.kind == 3).unwrap();
        assert_eq!(call.parent, named(&spans, "guest").id, "{form}: {spans:#?}");
        assert_eq!(call.attributes["url.full"], format!("{url}/x"));
        assert_eq!(call.attributes["http.response.status_code"], "200");
        assert!(url.ends_with(&format!(":{}", call.attributes["server.port"])), "{call:?}");
        assert_eq!(seen(&text), ["00", TRACE, &call.id, "01"], "{form}");

        let before = before + 5;
        let text = server.request("GET", "/proxy/y", &[&traceparent("01")], b"").text();
        let spans = collector.wait(before + 2)[before..].to_vec();
        let call = spans.iter().find(|span| span.kind == 3).unwrap();
        assert_eq!(call.parent, named(&spans, "GET /proxy/").id);
        assert_eq!(seen(&text), ["00", TRACE, &call.id, "01"]);
        assert_eq!(text.to_ascii_lowercase().matches("traceparent").count(), 1, "{text}");
    }
}

#[test]
fn what_is_not_sampled_is_handed_on_and_not_sent() {
    let (collector, upstream) = (Collector::start(&[]), Upstream::answering(ok));
    let rest = format!("[routes]\n\"/proxy\" = {{ proxy = \"{}\" }}", upstream.url());
    let server = serve(&collector.url(), "sample = 0.0", &rest);
    let text = server.request("GET", "/proxy", &[&traceparent("00")], b"").text();
    let [_, trace, span, flags] = seen(&text);
    assert_eq!((&*trace, &*flags), (TRACE, "00"));
    assert_ne!(span, PARENT);
    let [_, trace, _, flags] = seen(&server.request("GET", "/proxy", &[], b"").text());
    assert!(trace != TRACE && flags == "00", "one of its own, sampled at 0");
    // A caller that samples decides for all.
    server.request("GET", "/proxy", &[&traceparent("01")], b"");
    assert_eq!(collector.wait(2).len(), 2);
}

#[test]
fn without_a_collector_it_passes_unchanged() {
    let upstream = Upstream::answering(ok);
    let server = site(&format!(
        "[handlers.mirror]\nwasm = \"mirror.wat\"\n[routes]\n\"/\" = \"mirror\"\n\"/proxy\" = {{ proxy = \"{}\" }}\n",
        upstream.url()
    ))
    .serve();
    for target in ["/", "/proxy"] {
        let response = server.request("GET", target, &[&traceparent("01"), "tracestate: a=1"], b"");
        let text = String::from_utf8_lossy(&response.body).into_owned();
        assert_eq!(seen(&text), ["00", TRACE, PARENT, "01"]);
        let bare = server.get(target);
        assert!(!String::from_utf8_lossy(&bare.body).contains("traceparent"));
    }
}

#[test]
fn a_collector_that_is_busy_is_asked_again() {
    let collector = Collector::start(&[503, 429]);
    let server = serve(&collector.url(), "", "[routes]");
    server.get("/mirror/1");
    assert_eq!(collector.wait(4).len(), 4);
    assert_eq!(collector.heads().len(), 3);
    wait_for(&server, "4 exported", |page| {
        value(page, "wasmux_trace_spans_total{outcome=\"exported\"}") == Some(4.0)
    });
}

/// What it rejects is not exported.
#[test]
fn a_collector_may_reject_some() {
    // `partial_success` (1) with `rejected_spans` (1) = 3.
    let collector = Collector::answering(&[], &[0x0a, 0x02, 0x08, 0x03]);
    let server = serve(&collector.url(), "", "[routes]");
    server.get("/mirror/1");
    collector.wait(4);
    let outcome =
        |page: &str, name: &str| value(page, &format!("wasmux_trace_spans_total{{outcome={name:?}}}"));
    let page = wait_for(&server, "3 failed", |page| outcome(page, "failed") == Some(3.0));
    assert_eq!(outcome(&page, "exported"), Some(1.0));
}

/// Names are of the semantic conventions: unknown methods have one, addresses are bare, and nothing is said that is not known.
#[test]
fn spans_keep_to_the_conventions() {
    let collector = Collector::start(&[]);
    let server = serve(&collector.url(), "", "[routes]");
    let mut conn = server.connect();
    conn.send("BREW /nothing?token=secret HTTP/1.1\r\nHost: [::1]:81\r\n\r\n");
    conn.response();
    let spans = collector.wait(1);
    let top = named(&spans, "HTTP");
    for (key, expected) in [
        ("http.request.method", "_OTHER"),
        ("http.request.method_original", "BREW"),
        ("server.address", "::1"),
        ("server.port", "81"),
    ] {
        assert_eq!(top.attributes.get(key).map(String::as_str), Some(expected), "{key}");
    }
    assert!(!format!("{top:?}").contains("secret"), "{top:?}");
}

#[test]
fn a_collector_that_is_down_costs_spans_and_nothing_else() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = serve(&format!("http://{nobody}"), "", "[routes]");
    for _ in 0..3 {
        assert_eq!(server.get("/mirror/1").status, 200);
    }
    let lost = "wasmux_trace_spans_total{outcome=\"failed\"}";
    wait_for(&server, "12 lost", |page| value(page, lost) == Some(12.0));
    server.log.wait_for(&["spans are lost"]);
    assert_eq!(server.log.count("spans are lost"), 1);
    assert_eq!(server.get("/mirror/1").status, 200);
}

#[test]
fn the_last_spans_are_sent_at_the_end() {
    let collector = Collector::start(&[]);
    let mut server = serve(&collector.url(), "", "[routes]");
    server.get("/mirror/1");
    server.signal("TERM");
    assert!(server.wait().success());
    assert_eq!(collector.wait(4).len(), 4);
}

#[test]
fn mistakes_in_the_table_are_told() {
    for (table, expected) in [
        ("", "[tracing] needs an `endpoint`"),
        ("endpoint = 1", "`endpoint` in [tracing] must be a string"),
        ("endpoint = \"ftp://a\"", "must be a URL such as \"http://127.0.0.1:4318\""),
        ("endpoint = \"http://a\"\nsample = 2", "`sample` must be a number from 0 to 1"),
        ("endpoint = \"http://a\"\nheaders = { \"a b\" = \"x\" }", "\"a b\" is no name of a field"),
        (
            "endpoint = \"http://a\"\nendpoit = 1",
            "unknown key `endpoit` in [tracing] (did you mean `endpoint`?)",
        ),
    ] {
        let site = site(&format!("[routes]\n\"/\" = {{ respond = \"ok\" }}\n[tracing]\n{table}\n"));
        let output = site.run(&["check"]);
        let said =
            [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        assert!(!output.status.success() && said.contains(expected), "{table:?}: {said}");
    }
}
