use std::io::{Read as _, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{MIRROR, page, site, value, version, wait_for};
use crate::support::frames::{Client, DATA};
use crate::support::guests::guest_folder;
use crate::support::upstream::{Upstream, ok, read_head};

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
    is_more("process_max_fds");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let age = now - value(&page, "process_start_time_seconds").unwrap();
    assert!((-2.0..3_600.0).contains(&age), "{age} s old");
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

/// What is refused before it is a request has no route and no time.
#[test]
fn refused_heads_are_counted() {
    let server = site("[server]\nadmin = \"127.0.0.1:0\"\n[routes]\n\"/\" = { respond = \"ok\" }\n").serve();
    for (head, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("nonsense\r\n\r\n", 400),
        ("GET / HTTP/1.9\r\nHost: a\r\n\r\n", 505),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ] {
        let mut conn = server.connect();
        conn.send(head);
        assert_eq!(conn.head().status, status, "{head}");
    }
    let mut client = Client::connect(server.address(), 65_535, true);
    client.send(DATA, 0, 7, b"of no stream");
    client.read_goaway();
    let none = r#"server="server",route="",handler="",version="""#;
    let code = |code: u16| format!("wasmux_http_requests_total{{{none},code=\"{code}\"}}");
    let page = wait_for(&server, "a bad HTTP/2 client", |page| {
        value(page, "wasmux_http2_errors_total{server=\"server\"}") == Some(1.0)
    });
    assert_eq!([400, 505, 501].map(|status| value(&page, &code(status))), [Some(2.0), Some(1.0), Some(1.0)]);
    let times = format!("wasmux_http_request_duration_seconds_count{{{none}}}");
    assert_eq!(value(&page, &times), Some(0.0));
}

/// Who leaves while it waits for its turn has waited, and has gone.
#[test]
fn who_leaves_the_queue_is_counted() {
    let routes = "[server]\nadmin = \"127.0.0.1:0\"\naccess_log = \"json\"\n[handlers.sleep]\nwasm = \"sleep.wat\"\n\
                  limits = { concurrency = 1 }\n[routes]\n\"/{ms}\" = \"sleep\"\n";
    let server = site(routes).serve();
    let mut first = server.connect();
    first.request("GET", "/20000", &[], b"");
    let is = |page: &str, name: &str, expected: f64| {
        value(page, &format!("{name}{{handler=\"sleep\"}}")) == Some(expected)
    };
    wait_for(&server, "at work", |page| is(page, "wasmux_guests_running", 1.0));
    let mut second = server.connect();
    second.request("GET", "/1", &["X-Request-Id: q-1"], b"");
    wait_for(&server, "waiting", |page| is(page, "wasmux_requests_waiting", 1.0));
    second.reset();
    wait_for(&server, "gone", |page| {
        is(page, "wasmux_client_disconnects_total", 1.0) && is(page, "wasmux_queue_seconds_count", 2.0)
    });
    let json: serde_json::Value = serde_json::from_str(&server.out.wait_for(&["\"q-1\""])).unwrap();
    assert!(json["queue_us"].as_u64().unwrap() > 0, "{json}");
}

/// A connection that has become a tunnel says meanwhile what moves through it, and its life is nobody's latency.
#[test]
fn tunnels_are_counted_while_they_last() {
    let upstream = Upstream::start(|_, mut stream| {
        let _ = read_head(&mut stream);
        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
        let _ = stream.write_all(head.as_bytes());
        let mut bytes = [0; 4_096];
        while let Ok(count @ 1..) = stream.read(&mut bytes) {
            if stream.write_all(&bytes[..count]).is_err() {
                return;
            }
        }
    });
    let routes = format!(
        "[server]\nadmin = \"127.0.0.1:0\"\naccess_log = \"json\"\n[routes]\n\"/\" = {{ proxy = {:?} }}\n",
        upstream.url()
    );
    let server = site(&routes).serve();
    let mut conn = server.connect();
    conn.send(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-Request-Id: u-1\r\n\r\nahead",
    );
    assert_eq!(conn.head().status, 101);
    let labels = "{server=\"server\",route=\"/\",handler=\"proxy\",version=\"\"";
    let open = "wasmux_upgraded_connections{server=\"server\"}";
    let count = format!("wasmux_http_request_duration_seconds_count{labels}}}");
    wait_for(&server, "a tunnel", |page| {
        value(page, open) == Some(1.0)
            && value(page, &format!("wasmux_http_requests_total{labels},code=\"101\"}}")) == Some(1.0)
            && value(page, &count) == Some(1.0)
    });
    conn.send(vec![b'x'; 100_000]);
    wait_for(&server, "bytes both ways", |page| {
        let bytes = |what: &str| value(page, &format!("wasmux_http_{what}_bytes_total{labels}}}")).unwrap();
        bytes("request") >= 100_005.0 && bytes("response") >= 65_536.0
    });
    conn.finish();
    assert_eq!(conn.rest().len(), 100_005);
    let page = wait_for(&server, "no tunnel", |page| value(page, open) == Some(0.0));
    assert_eq!(value(&page, &count), Some(1.0), "once");
    let json: serde_json::Value = serde_json::from_str(&server.out.wait_for(&["\"u-1\""])).unwrap();
    for (key, expected) in [("status", 101), ("bytes", 100_005), ("request_bytes", 100_005)] {
        assert_eq!(json[key], expected, "{key}: {json}");
    }
    assert_eq!(json["complete"], true, "{json}");
}

/// A reload goes on counting what stays; what goes keeps its last numbers for who looks once a minute.
#[test]
fn series_outlive_their_routes() {
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
    assert_eq!(server.get("/goes").status, 404);
    let page = page(&server);
    let of = |path: &str| {
        format!(
            "wasmux_http_requests_total{{server=\"server\",route=\"/{path}\",handler=\"respond\",version=\"\",code=\"200\"}}"
        )
    };
    let goes = of("goes");
    assert_eq!(value(&page, &goes), Some(1.0), "{page}");
    let stays = of("stays");
    assert_eq!(value(&page, &stays), Some(1.0), "{page}");
    server.get("/stays");
    assert_eq!(value(&super::page(&server), &stays), Some(2.0));
    // It comes back.
    std::fs::write(server.site.path("routes.toml"), routes("\"/goes\" = { respond = \"ok\" }\n")).unwrap();
    server.signal("HUP");
    server.log.wait_for_many("reloaded", 2);
    server.get("/goes");
    assert_eq!(value(&super::page(&server), &goes), Some(2.0));
}

/// Who is not asked after is not ill.
#[test]
fn an_upstream_without_checks_is_taken_for_healthy() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let routes = |health: &str| {
        format!(
            "[server]\nadmin = \"127.0.0.1:0\"\nlisten = \"127.0.0.1:0\"\n[handlers.back]\n\
             proxy = {{ to = [\"http://{nobody}\"]{health} }}\n[routes]\n\"/\" = \"back\"\n"
        )
    };
    let server = site(&routes(", health = { path = \"/\", interval = \"1s\" }")).serve();
    server.get("/");
    let healthy = format!("wasmux_upstream_healthy{{handler=\"back\",upstream=\"http://{nobody}\"}}");
    wait_for(&server, "ill", |page| value(page, &healthy) == Some(0.0));
    std::fs::write(server.site.path("routes.toml"), routes("")).unwrap();
    server.signal("HUP");
    server.log.wait_for(&["reloaded"]);
    wait_for(&server, "well", |page| value(page, &healthy) == Some(1.0));
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
