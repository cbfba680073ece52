//! Request ids and the access log.

use serde_json::Value;

use crate::support::{Server, Site};

/// Streams two bytes, as its Content-Length says.
const DECLARED: &str = r#"(module
  (import "wasmux:http/1" "response_start" (func $start (param i32 i32 i32) (result i32)))
  (import "wasmux:http/1" "response_write" (func $write (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\01\00\00\00" "\0e\00\00\00" "\01\00\00\00" "content-length" "2")
  (func (export "serve_http")
    (drop (call $start (i32.const 200) (i32.const 0) (i32.const 27)))
    (drop (call $write (i32.const 0) (i32.const 2)))))"#;

fn logging(format: &str) -> Server {
    let routes = format!(
        r#"
        [server]
        access_log = "{format}"
        [handlers.ticks]
        wasm = "ticks.wat"
        [handlers.sleep]
        wasm = "sleep.wat"
        [routes]
        "GET /thing/{{id}}" = {{ respond = "thing\n" }}
        "GET /ticks" = "ticks"
        "GET /sleep/{{ms}}" = "sleep"
        "GET /declared/{{status}}" = "declared"
        [handlers.declared]
        wasm = "declared.wat"
    "#
    );
    Site::new(&routes).guest("ticks").guest("sleep").file("declared.wat", DECLARED).serve()
}

#[test]
fn request_ids() {
    let server = logging("off");
    let long = "a".repeat(129);
    for (sent, kept) in [
        ("abc-123_X.y~z+/=:", true),
        ("has space", false),
        ("quote\"", false),
        ("", false),
        (long.as_str(), false),
        (&long[1..], true),
    ] {
        let response = server.request("GET", "/nothing", &[&format!("X-Request-Id: {sent}")], b"");
        let id = response.header("x-request-id").unwrap();
        assert_eq!(id == sent, kept, "{sent:?}: {id:?}");
    }
    let ids = [(); 3].map(|()| server.get("/nothing").header("x-request-id").unwrap().to_owned());
    assert!(ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");
    // Every error that the server makes names the id; a handler's own answers are left alone.
    assert!(server.request("POST", "/thing/1", &[], b"").header("x-request-id").is_some());
    assert_eq!(server.get("/thing/1").header("x-request-id"), None);
}

#[test]
fn json_lines() {
    let server = logging("json");
    let mut conn = server.connect();
    conn.request("GET", "/thing/7?a=b", &["X-Request-Id: j-1"], b"");
    assert_eq!(conn.response().text(), "thing\n");
    let line = server.out.wait_for(&["\"j-1\""]);
    let json: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(json["remote"], conn.local().to_string());
    assert_eq!(json["method"], "GET");
    assert_eq!(json["target"], "/thing/7?a=b");
    assert_eq!(json["protocol"], "HTTP/1.1");
    assert_eq!(json["status"], 200);
    assert_eq!(json["bytes"], 6);
    assert_eq!(json["complete"], true);
    assert_eq!(json["handler"], "respond");
    assert_eq!(json["pattern"], "GET /thing/{id}");
    assert!(json["duration_us"].is_u64(), "{json}");
    assert!(json["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{json}");

    let logged = |method: &str, path: &str, id: &str| {
        server.request(method, path, &[&format!("X-Request-Id: {id}")], b"");
        serde_json::from_str::<Value>(&server.out.wait_for(&[&format!("\"{id}\"")])).unwrap()
    };
    let json = logged("GET", "/%22%0a", "j-2");
    assert_eq!(
        (&json["status"], &json["handler"], &json["pattern"]),
        (&404.into(), &Value::Null, &Value::Null)
    );
    assert_eq!(json["target"], "/%22%0a");
    assert_eq!(logged("POST", "/thing/1", "j-3")["status"], 405);
    let json = logged("HEAD", "/thing/1", "j-4");
    assert_eq!((&json["complete"], &json["status"]), (&true.into(), &200.into()));
    let json = logged("GET", "/declared/200", "j-6");
    assert_eq!((&json["complete"], &json["bytes"]), (&true.into(), &2.into()));
    let json = logged("POST", "/../x", "j-7");
    assert_eq!(
        (&json["complete"], &json["status"]),
        (&true.into(), &307.into()),
        "an empty body is complete"
    );
    assert_eq!(logged("GET", "/sleep/1", "j-5")["handler"], "sleep");
}

#[test]
fn text_lines() {
    let server = logging("text");
    server.request("GET", "/thing/7?a=b", &["X-Request-Id: t-1"], b"");
    let line = server.out.wait_for(&["t-1"]);
    assert!(line.contains("\"GET /thing/7?a=b HTTP/1.1\" 200 6B "), "{line}");
    assert!(line.ends_with("ms respond t-1"), "{line}");
    server.request("GET", "/nothing", &["X-Request-Id: t-2"], b"");
    let line = server.out.wait_for(&["t-2"]);
    assert!(line.contains(" 404 ") && line.ends_with("ms - t-2"), "{line}");
}

/// A response that nobody waited for is on record, and so is a request that nobody waited to see answered.
#[test]
fn incomplete_ones_are_marked() {
    let server = logging("json");
    let mut conn = server.connect();
    conn.request("GET", "/ticks", &["X-Request-Id: i-1"], b"");
    assert_eq!(conn.head().status, 200);
    assert_eq!(conn.chunk().unwrap(), b"tick\n");
    conn.reset();
    let json: Value = serde_json::from_str(&server.out.wait_for(&["\"i-1\""])).unwrap();
    assert_eq!((&json["complete"], &json["status"]), (&false.into(), &200.into()));

    let mut conn = server.connect();
    conn.request("GET", "/sleep/20000", &["X-Request-Id: i-2"], b"");
    conn.reset();
    let json: Value = serde_json::from_str(&server.out.wait_for(&["\"i-2\""])).unwrap();
    assert_eq!(json["complete"], false);
}

#[test]
fn off_writes_nothing() {
    for server in [logging("off"), Site::new("[routes]\n\"/\" = { respond = \"ok\" }\n").serve()] {
        let mut server = server;
        server.get("/thing/1");
        server.signal("TERM");
        assert!(server.wait().success());
        assert_eq!(server.out.all().len(), 1, "{:?}", server.out.all());
    }
}
