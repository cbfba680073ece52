use serde_json::Value;

use super::{MIRROR, site, value, version, wait_for};
use crate::support::Server;

fn serve(server: &str) -> Server {
    let routes = format!(
        "[server]\n{server}\n[handlers.mirror]\nwasm = \"mirror.wat\"\n[handlers.echo]\nwasm = \"echo.wat\"\n\
         [routes]\n\"/{{$}}\" = \"mirror\"\n\"/echo\" = \"echo\"\n\"/fixed\" = {{ respond = \"fixed\" }}\n"
    );
    site(&routes).serve()
}

/// The parts of a line in Apache's combined log format: host, ident, user, time, request, status, bytes, referer, agent.
fn combined(line: &str) -> Vec<String> {
    let (mut parts, mut rest) = (Vec::new(), line);
    while !rest.is_empty() {
        let (end, skip) = match rest.as_bytes()[0] {
            b'"' => (closing(rest), 1),
            b'[' => (rest.find(']').unwrap(), 1),
            _ => (rest.find(' ').unwrap_or(rest.len()), 0),
        };
        parts.push(rest[skip..end].to_owned());
        rest = rest.get(end + skip..).unwrap_or_default().trim_start_matches(' ');
    }
    parts
}

/// Where the quotes close that `text` begins with.
fn closing(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !is_escaped => return at,
            c => is_escaped = c == '\\' && !is_escaped,
        }
    }
    panic!("no closing quotes in {text}")
}

#[test]
fn the_combined_format_is_apaches() {
    let server = serve("access_log = \"combined\"");
    let fields = ["Referer: http://a.test/\"x", "User-Agent: test/1 \\"];
    server.request("GET", "/fixed?q=1", &fields, b"");
    server.get("/nothing");
    let line = server.out.wait_for(&["/fixed"]);
    let parts = combined(&line);
    assert_eq!(parts.len(), 9, "{line}");
    assert_eq!(parts[..3], ["127.0.0.1", "-", "-"]);
    let time = &parts[3];
    assert!(
        time.len() == 26 && time.ends_with(" +0000") && &time[2..3] == "/" && &time[6..7] == "/",
        "{time}"
    );
    assert_eq!(parts[4..7], ["GET /fixed?q=1 HTTP/1.1", "200", "5"]);
    assert_eq!(parts[7..], ["http://a.test/\\\"x", "test/1 \\\\"]);
    let line = server.out.wait_for(&["/nothing"]);
    assert_eq!(combined(&line)[5], "404");
    assert!(line.ends_with(" \"-\" \"-\""), "{line}");
}

#[test]
fn json_says_what_a_request_has_used() {
    let server = serve("access_log = \"json\"");
    let logged = |target: &str, id: &str, body: &[u8]| {
        server.request("POST", target, &[&format!("X-Request-Id: {id}")], body);
        serde_json::from_str::<Value>(&server.out.wait_for(&[&format!("\"{id}\"")])).unwrap()
    };
    let json = logged("/echo", "j-1", b"12345");
    assert_eq!((&json["request_bytes"], &json["bytes"]), (&5.into(), &5.into()), "{json}");
    assert_eq!(json["complete"], true, "trailers are the end: {json}");
    let json = logged("/", "j-2", b"");
    assert_eq!(json["version"], version(MIRROR));
    assert!(json["queue_us"].is_u64() && json["cpu_us"].is_u64(), "{json}");
    assert!(json.get("trace_id").is_none(), "{json}");
    let json = logged("/fixed", "j-3", b"");
    for guests in ["version", "queue_us", "cpu_us"] {
        assert!(json.get(guests).is_none(), "{json}");
    }
}

/// Neither forged nor endless, whatever a client sends.
#[test]
fn targets_are_escaped_and_cut() {
    let server = serve("access_log = \"text\"");
    server.request("GET", "/fixed?\"\u{9b}31m\u{202e}\u{2028}é", &["X-Request-Id: e-1"], b"");
    let line = server.out.wait_for(&["e-1"]);
    assert!(line.contains(r#""GET /fixed?\"\u{9b}31m\u{202e}\u{2028}é HTTP/1.1" 200"#), "{line}");
    server.request("GET", &format!("/fixed?{}", "x".repeat(100_000)), &["X-Request-Id: e-2"], b"");
    let line = server.out.wait_for(&["e-2"]);
    assert!(line.len() < 9_000 && line.contains("x… HTTP/1.1"), "{} bytes", line.len());
    let server = serve("access_log = \"json\"");
    let long = "y".repeat(100_000);
    server.request("GET", &format!("/fixed?\u{9b}{long}"), &["X-Request-Id: e-3"], b"");
    let line = server.out.wait_for(&["e-3"]);
    assert!(line.len() < 9_000 && line.contains(r"/fixed?\u009by"), "{} bytes", line.len());
    let server = serve("access_log = \"combined\"");
    server.request("GET", "/fixed", &[&format!("Referer: {long}"), &format!("User-Agent: {long}")], b"");
    let line = server.out.wait_for(&["/fixed"]);
    assert!(line.len() < 17_000 && line.ends_with("y...\""), "{} bytes", line.len());
}

/// Whose it was is known, also when the client does not wait for its response.
#[test]
fn who_went_away_has_a_route() {
    let routes = "[server]\nadmin = \"127.0.0.1:0\"\naccess_log = \"json\"\n[handlers.sleep]\nwasm = \"sleep.wat\"\n\
                  [routes]\n\"/{ms}\" = \"sleep\"\n";
    let server = site(routes).guest("sleep").serve();
    let mut conn = server.connect();
    conn.request("GET", "/20000", &["X-Request-Id: w-1"], b"");
    wait_for(&server, "at work", |page| value(page, "wasmux_guests_running{handler=\"sleep\"}") == Some(1.0));
    conn.reset();
    let json: Value = serde_json::from_str(&server.out.wait_for(&["\"w-1\""])).unwrap();
    assert_eq!((&json["status"], &json["complete"]), (&Value::Null, &false.into()), "{json}");
    assert_eq!((&json["handler"], &json["pattern"]), (&"sleep".into(), &"/{ms}".into()), "{json}");
}

/// There has to be a status, and the time is that of the request.
#[test]
fn combined_lines_of_who_went_away_have_499() {
    let routes = "[server]\nadmin = \"127.0.0.1:0\"\naccess_log = \"combined\"\n[handlers.sleep]\nwasm = \"sleep.wat\"\n\
                  [routes]\n\"/{ms}\" = \"sleep\"\n";
    let server = site(routes).serve();
    let mut conn = server.connect();
    conn.request("GET", "/20000", &[], b"");
    wait_for(&server, "at work", |page| value(page, "wasmux_guests_running{handler=\"sleep\"}") == Some(1.0));
    conn.reset();
    let parts = combined(&server.out.wait_for(&["/20000"]));
    assert_eq!(parts[4..7], ["GET /20000 HTTP/1.1", "499", "-"]);
}

/// What nobody reads is lost, and counted; and it takes a bounded part of memory until then.
#[test]
fn lines_that_nobody_takes_are_counted() {
    let routes =
        "[server]\nadmin = \"127.0.0.1:0\"\naccess_log = \"text\"\n[routes]\n\"/\" = { respond = \"\" }\n";
    let site = site(routes);
    let mut command = site.serve_command(crate::support::server::PROGRAM.as_ref(), &[]);
    let (server, _unread) = Server::start_unread(&mut command, site);
    let dropped = |log: &str| {
        value(&super::page(&server), &format!("wasmux_log_lines_dropped_total{{log={log:?}}}")).unwrap()
    };
    let target = format!("/?{}", "z".repeat(9_000));
    let mut conn = server.connect();
    for _ in 0..4_000 {
        conn.request("GET", &target, &[], b"");
        assert_eq!(conn.response().status, 200);
    }
    assert!(dropped("access") > 0.0);
    assert_eq!(dropped("log"), 0.0);
}

#[test]
fn lines_of_guests_say_whose_they_are() {
    let server = serve("");
    server.request("GET", "/", &["X-Request-Id: g-1"], b"");
    let line = server.log.wait_for(&["guest:", "a line"]);
    for part in
        [" WARN ", "handler=\"mirror\"", "request_id=\"g-1\"", &format!("version=\"{}\"", version(MIRROR))]
    {
        assert!(line.contains(part), "no {part} in {line}");
    }
    assert!(!line.contains("trace_id"), "{line}");
}

#[test]
fn the_log_can_be_json() {
    let site = site("[handlers.mirror]\nwasm = \"mirror.wat\"\n[routes]\n\"/\" = \"mirror\"\n");
    let mut command = site.serve_command(crate::support::server::PROGRAM.as_ref(), &[]);
    command.env("WASMUX_LOG_FORMAT", "json");
    let server = Server::start(command, site);
    server.request("GET", "/", &["X-Request-Id: g-2"], b"");
    let json: Value = serde_json::from_str(&server.log.wait_for(&["a line"])).unwrap();
    assert_eq!((&json["level"], &json["target"]), (&"WARN".into(), &"guest".into()), "{json}");
    assert_eq!((&json["handler"], &json["request_id"]), (&"mirror".into(), &"g-2".into()), "{json}");
    assert_eq!((&json["message"], &json["version"]), (&"a line".into(), &version(MIRROR).into()), "{json}");
}
