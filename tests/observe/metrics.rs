use super::{MIRROR, page, site, value, version, wait_for};
use crate::support::guests::guest_folder;
use crate::support::upstream::{Upstream, ok};

#[test]
fn each_request_is_counted_where_it_belongs() {
    let routes = r#"
        [server]
        admin = "127.0.0.1:0"
        [handlers.mirror]
        wasm = "mirror.wat"
        [handlers.echo]
        wasm = "echo.wat"
        [handlers.trap]
        wasm = "trap.wat"
        [routes]
        "GET /mirror/{what}" = "mirror"
        "/echo" = "echo"
        "/trap" = "trap"
        "/fixed/a\"b\\c" = { respond = "fixed" }
    "#;
    let server = site(routes).serve();
    let length = server.get("/mirror/1").body.len();
    server.get("/mirror/2");
    server.request("POST", "/mirror/3", &[], b"");
    server.request("POST", "/echo", &[], b"12345");
    server.get("/trap");
    server.get("/nothing");
    server.get("/fixed/a%22b%5Cc");
    let page = page(&server);
    let expect = |series: &str, expected: f64| {
        let found = value(&page, series).unwrap_or_else(|| panic!("no {series} in:\n{page}"));
        assert!((found - expected).abs() < 1e-9, "{series} is {found}, not {expected}");
    };
    let mirror = format!(
        r#"server="server",route="GET /mirror/{{what}}",handler="mirror",version="{}""#,
        version(MIRROR)
    );
    expect(&format!("wasmux_http_requests_total{{{mirror},code=\"200\"}}"), 2.0);
    expect(&format!("wasmux_http_request_duration_seconds_count{{{mirror}}}"), 2.0);
    expect(&format!("wasmux_http_request_duration_seconds_bucket{{{mirror},le=\"+Inf\"}}"), 2.0);
    expect(&format!("wasmux_http_response_bytes_total{{{mirror}}}"), 2.0 * length as f64);
    let none = r#"server="server",route="",handler="",version="""#;
    expect(&format!("wasmux_http_requests_total{{{none},code=\"404\"}}"), 1.0);
    expect(&format!("wasmux_http_requests_total{{{none},code=\"405\"}}"), 1.0);
    let fixed = r#"server="server",route="/fixed/a\"b\\c",handler="respond",version="""#;
    expect(&format!("wasmux_http_requests_total{{{fixed},code=\"200\"}}"), 1.0);
    expect(&format!("wasmux_http_response_bytes_total{{{fixed}}}"), 5.0);
    for (name, expected) in [("request", 5.0), ("response", 5.0)] {
        let start = format!("wasmux_http_{name}_bytes_total{{server=\"server\",route=\"/echo\"");
        let line = page.lines().find(|line| line.starts_with(&start)).unwrap();
        assert!((line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() - expected).abs() < 1e-9, "{line}");
    }
    expect("wasmux_errors_total{handler=\"trap\",reason=\"trapped\"}", 1.0);
    expect("wasmux_queue_seconds_count{handler=\"mirror\"}", 2.0);
    expect("wasmux_queue_seconds_bucket{handler=\"mirror\",le=\"0.0005\"}", 2.0);
    expect("wasmux_connections_accepted_total{server=\"server\"}", 7.0);
    let is_more = |series: &str| assert!(value(&page, series).unwrap() > 0.0, "{series} in:\n{page}");
    is_more("wasmux_guest_cpu_seconds_total{handler=\"mirror\"}");
    is_more("wasmux_guest_instances_made_total{handler=\"mirror\"}");
    is_more("process_resident_memory_bytes");
    is_more("process_cpu_seconds_total");
    is_more("process_open_fds");
    is_more("process_start_time_seconds");
    let peak = value(&page, "wasmux_guest_memory_peak_bytes{handler=\"mirror\"}").unwrap();
    assert!(peak >= 2.0 * 65_536.0, "{peak}");
    let asked =
        ["hits", "misses"].map(|what| value(&page, &format!("wasmux_code_cache_{what}_total")).unwrap());
    assert!((asked.iter().sum::<f64>() - 3.0).abs() < 1e-9, "{asked:?}");
    wait_for(&server, "closed connections", |page| {
        value(page, "wasmux_connections{server=\"server\"}") == Some(0.0)
    });
}

#[test]
fn who_went_away_is_counted_as_499() {
    let routes = "[server]\nadmin = \"127.0.0.1:0\"\n[handlers.sleep]\nwasm = \"sleep.wat\"\n[routes]\n\"/{ms}\" = \"sleep\"\n";
    let server = site(routes).guest("sleep").serve();
    let mut conn = server.connect();
    conn.request("GET", "/20000", &[], b"");
    wait_for(&server, "at work", |page| value(page, "wasmux_guests_running{handler=\"sleep\"}") == Some(1.0));
    conn.reset();
    wait_for(&server, "a 499", |page| {
        page.lines().any(|line| line.contains("route=\"/{ms}\"") && line.ends_with("code=\"499\"} 1"))
    });
}

/// A reload goes on counting what stays, and forgets what goes.
#[test]
fn series_go_with_their_routes() {
    let routes = |rest: &str| {
        format!(
            "[server]\nadmin = \"127.0.0.1:0\"\nlisten = \"127.0.0.1:0\"\n[routes]\n\"/stays\" = {{ respond = \"ok\" }}\n{rest}"
        )
    };
    let server = site(&routes("\"/goes\" = { respond = \"ok\" }\n")).serve();
    server.get("/stays");
    server.get("/goes");
    assert!(page(&server).contains("route=\"/goes\""));
    std::fs::write(server.site.path("routes.toml"), routes("")).unwrap();
    server.signal("HUP");
    server.log.wait_for(&["reloaded"]);
    let page = wait_for(&server, "without /goes", |page| !page.contains("route=\"/goes\""));
    let stays = r#"wasmux_http_requests_total{server="server",route="/stays",handler="respond",version="",code="200"}"#;
    assert_eq!(value(&page, stays), Some(1.0), "{page}");
    server.get("/stays");
    assert_eq!(value(&super::page(&server), stays), Some(2.0));
}

#[test]
fn calls_to_others_are_counted() {
    let upstream = Upstream::answering(ok);
    let routes = format!(
        r#"
        [server]
        admin = "127.0.0.1:0"
        [kv.stock]
        [handlers.caller]
        wasm = {caller:?}
        outbound = [{url:?}]
        [handlers.store]
        wasm = {store:?}
        kv = ["stock"]
        [handlers.back]
        proxy = {{ to = [{url:?}] }}
        [routes]
        "/call" = "caller"
        "/store" = "store"
        "/proxy" = "back"
        "#,
        caller = guest_folder("caller"),
        store = guest_folder("store"),
        url = upstream.url(),
    );
    let server = site(&routes).serve();
    server.get(&format!("/call?do=get&url={}/", upstream.url()));
    server.get("/call?do=get&url=http://127.0.0.1:1/");
    server.get("/proxy");
    server.get("/store?store=stock&do=set&key=a&value=b");
    let page = page(&server);
    let expect = |series: &str| assert_eq!(value(&page, series), Some(1.0), "{series} in:\n{page}");
    expect("wasmux_outbound_requests_total{handler=\"caller\",outcome=\"ok\"}");
    expect("wasmux_outbound_requests_total{handler=\"caller\",outcome=\"refused\"}");
    let who = format!("handler=\"back\",upstream={:?}", upstream.url());
    expect(&format!("wasmux_upstream_requests_total{{{who},outcome=\"ok\"}}"));
    expect(&format!("wasmux_upstream_healthy{{{who}}}"));
    expect("wasmux_kv_operations_total{store=\"stock\",outcome=\"ok\"}");
}
